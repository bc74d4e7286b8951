// A program with a function that another one may replace.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

__noinline int chosen(struct xdp_md *ctx)
{
	volatile int answer = XDP_DROP;

	return answer;
}

__noinline int unlike(struct xdp_md *ctx, int more)
{
	volatile int answer = more;

	return answer;
}

SEC("xdp")
int choose(struct xdp_md *ctx)
{
	return unlike(ctx, 0) ? XDP_ABORTED : chosen(ctx);
}

char LICENSE[] SEC("license") = "GPL";
