// Programs that the verifier accepts after walking through most of the million instructions that it allows for each.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

static __always_inline int walk(void *ctx)
{
	volatile __u64 sum = 0;

	for (int i = 0; i < 60000; i++)
		sum += i ^ bpf_ktime_get_ns();
	return sum == 42;
}

#define SLOW(name)                      \
	SEC("raw_tracepoint/sys_enter") \
	int name(void *ctx)             \
	{                               \
		return walk(ctx);       \
	}

SLOW(slow_1)
SLOW(slow_2)
SLOW(slow_3)
SLOW(slow_4)

char LICENSE[] SEC("license") = "GPL";
