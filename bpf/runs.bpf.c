// Programs to be run by test runs, to call one another, and to be set up before they are loaded.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define ETH_LENGTH 14

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} steps SEC(".maps");

__u64 runs;
__u32 last_cpu;

// Writes behind the Ethernet header, and takes the last two bytes off.
SEC("xdp")
int rewrite(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	__sync_fetch_and_add(&runs, 1);
	if (data + ETH_LENGTH + 1 > end)
		return XDP_ABORTED;
	data[ETH_LENGTH] = 0xbe;
	return bpf_xdp_adjust_tail(ctx, -2) == 0 ? XDP_TX : XDP_ABORTED;
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&runs, 1);
	return XDP_DROP;
}

SEC("tc")
int mark(struct __sk_buff *skb)
{
	skb->mark += 1;
	return skb->priority;
}

SEC("raw_tracepoint")
int add(struct bpf_raw_tracepoint_args *ctx)
{
	__sync_fetch_and_add(&runs, 1);
	last_cpu = bpf_get_smp_processor_id();
	return ctx->args[0] + ctx->args[1];
}

struct sum {
	__u64 a;
	__u64 b;
	__u64 result;
};

SEC("syscall")
int compute(struct sum *sum)
{
	sum->result = sum->a + sum->b;
	return 7;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_getpgid(void *ctx)
{
	__sync_fetch_and_add(&runs, 1);
	return 0;
}

// Tail calls.
SEC("xdp")
int walk(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &steps, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int first_step(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &steps, 1);
	return XDP_DROP;
}

SEC("xdp")
int second_step(struct xdp_md *ctx)
{
	return XDP_TX;
}

// A function that another program may replace.
__noinline int verdict(struct xdp_md *ctx)
{
	volatile int result = XDP_DROP;

	return result;
}

SEC("xdp")
int judged(struct xdp_md *ctx)
{
	return verdict(ctx);
}

char LICENSE[] SEC("license") = "GPL";
