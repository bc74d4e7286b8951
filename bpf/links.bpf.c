// Programs to swap, pin and leave attached: each counts its runs in a slot of `runs`.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/usdt.bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} runs SEC(".maps");

static __always_inline void count(__u32 slot)
{
	__u64 *value = bpf_map_lookup_elem(&runs, &slot);

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("xdp")
int xdp_first(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}

SEC("xdp")
int xdp_second(struct xdp_md *ctx)
{
	count(1);
	return XDP_PASS;
}

SEC("cgroup/sock_create")
int sock_first(struct bpf_sock *ctx)
{
	count(2);
	return 1;
}

SEC("cgroup/sock_create")
int sock_second(struct bpf_sock *ctx)
{
	count(3);
	return 1;
}

// Of the same type, for another place.
SEC("cgroup/sock_release")
int sock_gone(struct bpf_sock *ctx)
{
	return 1;
}

SEC("usdt//proc/self/exe:tinybpf_test:mark")
int on_mark(struct pt_regs *ctx)
{
	long argument = 0;

	// The cookie and the argument are in maps that libbpf fills in for each link.
	if (bpf_usdt_arg(ctx, 0, &argument) == 0 && argument == 42)
		count(4);
	return 0;
}

SEC("uprobe//proc/self/exe:tinybpf_test_called")
int on_call(struct pt_regs *ctx)
{
	count(5);
	return 0;
}

SEC("iter/task")
int walk_tasks(struct bpf_iter__task *ctx)
{
	count(6);
	return 0;
}

SEC("iter/bpf_map_elem")
int walk_elements(struct bpf_iter__bpf_map_elem *ctx)
{
	count(7);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
