// Compiled without -g, and so without BTF.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("raw_tracepoint/sys_enter")
int on_enter(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
