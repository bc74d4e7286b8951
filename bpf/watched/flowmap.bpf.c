// IPv4 connections, kept in maps alone: by flow, by network, by CPU.
// Awkward: structs as keys (one with padding that counts, one of an LPM trie), addresses and ports in network order,
// and a program that loads but wants a cgroup to be attached to.
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2

struct trace_event_raw_inet_sock_set_state {
	int newstate;
	__u16 sport;
	__u16 dport;
	__u16 family;
	__u16 protocol;
	__u8 saddr[4];
	__u8 daddr[4];
} __attribute__((preserve_access_index));

struct flow_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
};

struct flow_stats {
	__u64 first_ns;
	__u64 last_ns;
	__u32 changes;
	__u8 state;
};

struct lpm_key {
	struct bpf_lpm_trie_key trie;
	__u8 addr[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lpm_key);
	__type(value, __u32);
} networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 64);
	__type(key, __u16);
	__type(value, struct { __u64 packets; __u64 bytes; });
} by_family SEC(".maps");

SEC("tp/sock/inet_sock_set_state")
int track(struct trace_event_raw_inet_sock_set_state *ctx)
{
	struct flow_stats fresh = {}, *stats;
	struct lpm_key network = {.trie.prefixlen = 24};
	struct flow_key key = {};
	__u32 one = 1;

	if (ctx->family != AF_INET || ctx->protocol != IPPROTO_TCP)
		return 0;
	bpf_probe_read_kernel(&key.saddr, sizeof(key.saddr), &ctx->saddr);
	bpf_probe_read_kernel(&key.daddr, sizeof(key.daddr), &ctx->daddr);
	key.sport = bpf_htons(ctx->sport);
	key.dport = bpf_htons(ctx->dport);
	key.proto = IPPROTO_TCP;

	fresh.first_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST);
	stats = bpf_map_lookup_elem(&flows, &key);
	if (stats) {
		stats->last_ns = fresh.first_ns;
		stats->state = ctx->newstate;
		__sync_fetch_and_add(&stats->changes, 1);
	}
	bpf_probe_read_kernel(network.addr, 3, &ctx->daddr);
	bpf_map_update_elem(&networks, &network, &one, BPF_NOEXIST);
	return 0;
}

SEC("cgroup_skb/egress")
int count_egress(struct __sk_buff *skb)
{
	struct { __u64 packets; __u64 bytes; } first = {1, skb->len}, *sum;
	__u16 family = skb->family;

	sum = bpf_map_lookup_elem(&by_family, &family);
	if (sum) {
		sum->packets++;
		sum->bytes += skb->len;
	} else {
		bpf_map_update_elem(&by_family, &family, &first, BPF_NOEXIST);
	}
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
