// A TCP congestion control that does not control much, and counts how often it is asked.
//
// The kernel's structs are declared here with what is used alone: libbpf looks for each member in the running kernel,
// and a newer kernel's vmlinux.h has members that an older one lacks.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef CONGESTION_SECTION
#define CONGESTION_SECTION ".struct_ops"
#endif

struct sock;

struct tcp_sock {
	__u32 snd_cwnd;
} __attribute__((preserve_access_index));

struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u64);
} asked SEC(".maps");

static __always_inline void count(__u32 slot)
{
	__u64 *value = bpf_map_lookup_elem(&asked, &slot);

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("struct_ops/count_init")
void BPF_PROG(count_init, struct sock *sk)
{
	count(0);
}

SEC("struct_ops/count_release")
void BPF_PROG(count_release, struct sock *sk)
{
	count(1);
}

SEC("struct_ops/count_ssthresh")
__u32 BPF_PROG(count_ssthresh, struct sock *sk)
{
	count(2);
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

SEC("struct_ops/count_cong_avoid")
void BPF_PROG(count_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	count(3);
}

SEC("struct_ops/count_undo_cwnd")
__u32 BPF_PROG(count_undo_cwnd, struct sock *sk)
{
	count(4);
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

SEC(CONGESTION_SECTION)
struct tcp_congestion_ops counting = {
	.init = (void *)count_init,
	.release = (void *)count_release,
	.ssthresh = (void *)count_ssthresh,
	.cong_avoid = (void *)count_cong_avoid,
	.undo_cwnd = (void *)count_undo_cwnd,
	.name = "tinybpf_counts",
};

char LICENSE[] SEC("license") = "GPL";
