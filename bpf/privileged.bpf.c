// Programs and maps that ask for more than CAP_BPF, each for its own reason. None does anything.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>


struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, 1U << 6); // BPF_F_ZERO_SEED: CAP_SYS_ADMIN
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} zero_seed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP); // CAP_NET_ADMIN
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

// Attached by a perf event: CAP_SYS_ADMIN.
SEC("uprobe/libc.so.6:getpgid")
int on_call(void *ctx)
{
	return 0;
}

// Attached by a perf event as well: CAP_PERFMON.
SEC("kprobe/do_nanosleep")
int on_sleep(void *ctx)
{
	return 0;
}

// CAP_NET_ADMIN to attach, and not to load.
SEC("cgroup_skb/ingress")
int on_ingress(void *ctx)
{
	return 1;
}

// May be attached by whoever has a descriptor of it.
SEC("xdp")
int on_frame(void *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
