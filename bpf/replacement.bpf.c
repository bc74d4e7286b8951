// What replaces a function of replaced.bpf.c.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

SEC("freplace")
int replacement(struct xdp_md *ctx)
{
	return XDP_TX;
}

char LICENSE[] SEC("license") = "GPL";
