// A program with a function that another one may replace.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

// What keeps the compiler from knowing what they return.
int answer = XDP_DROP;
int other = 0;

__noinline int chosen(struct xdp_md *ctx)
{
	return ctx ? answer : XDP_ABORTED;
}

// With other arguments.
__noinline int unlike(int more)
{
	return other + more;
}

SEC("xdp")
int choose(struct xdp_md *ctx)
{
	return unlike(0) ? XDP_ABORTED : chosen(ctx);
}

char LICENSE[] SEC("license") = "GPL";
