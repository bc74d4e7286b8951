// Has a section that no libbpf knows, as an object for a newer one would.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("raw_tracepoint/sys_enter")
int on_enter(void *ctx)
{
	return 0;
}

SEC("teleport/elsewhere")
int on_arrival(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
