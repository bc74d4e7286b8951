// A call of kill() fills a map with more than anybody wants to read.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct square {
	__u64 root;
	__u64 square;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100000);
	__type(key, __u32);
	__type(value, struct square);
} squares SEC(".maps");

bool filled;

static long fill(__u32 i, void *unused)
{
	struct square s = {i, (__u64)i * i};

	bpf_map_update_elem(&squares, &i, &s, BPF_ANY);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_kill")
int on_kill(void *ctx)
{
	if (!filled)
		bpf_loop(100000, fill, NULL, 0);
	filled = true;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
