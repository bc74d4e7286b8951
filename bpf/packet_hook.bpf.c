// What passes a hook of netfilter. On its own: libbpf knows the section since 1.3.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 packets;
__u32 accept = 1;

SEC("netfilter")
int on_hook(void *ctx)
{
	__sync_fetch_and_add(&packets, 1);
	return accept ? 1 : 0; // NF_ACCEPT, NF_DROP
}

char LICENSE[] SEC("license") = "GPL";
