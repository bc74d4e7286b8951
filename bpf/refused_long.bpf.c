// The verifier refuses the program after a walk that it tells in a log of more than 100 KiB.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

SEC("raw_tracepoint/sys_enter")
int walks_far(void *ctx)
{
	volatile __u64 stride[8] = {};

	for (int i = 0; i < 1000; i++)
		stride[i & 7] += i;
	return *(int *)(stride[0] + 1);
}

char LICENSE[] SEC("license") = "GPL";
