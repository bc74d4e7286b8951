// Programs that are what is set before load. None loads by itself.
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MARK 0x5eed0b9f // no process has this id

__u64 seen;

// It is for whatever is set.
SEC("?tp_btf")
int BPF_PROG(on_enter, struct pt_regs *regs, long id)
{
	if ((__u32)PT_REGS_PARM1_CORE_SYSCALL(regs) == MARK)
		__sync_fetch_and_add(&seen, 1);
	return 0;
}

// IPv4 alone has this field.
SEC("?cgroup/connect4")
int on_connect(struct bpf_sock_addr *ctx)
{
	return ctx->user_ip4 != 1;
}

// Reads 4 bytes at an odd place, which strict alignment forbids.
SEC("?xdp")
int misaligned(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 8 > end)
		return XDP_PASS;
	return *(__u32 *)(data + 1) == 1 ? XDP_DROP : XDP_PASS;
}

SEC("?socket")
int packet(struct __sk_buff *skb)
{
	return skb->len;
}

SEC("?freplace")
int other_verdict(struct xdp_md *ctx)
{
	return XDP_TX;
}

SEC("?fexit")
int BPF_PROG(on_verdict, struct xdp_buff *xdp, int result)
{
	if (result == XDP_DROP)
		__sync_fetch_and_add(&seen, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
