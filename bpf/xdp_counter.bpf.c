// Counts the packets that an interface receives, by IP protocol, each CPU on its own.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct traffic);
} counters SEC(".maps");

SEC("xdp")
int count(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *v4 = (void *)(eth + 1);
	struct ipv6hdr *v6 = (void *)(eth + 1);
	struct ipv6_opt_hdr *options = (void *)(v6 + 1);
	struct traffic *seen;
	__u32 protocol;

	if ((void *)(v4 + 1) > end) // the shorter header of the two
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		protocol = v4->protocol;
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6) && (void *)(v6 + 1) <= end) {
		protocol = v6->nexthdr;
		// Options for routers come before the protocol that they are about.
		if (protocol == IPPROTO_HOPOPTS && (void *)(options + 1) <= end)
			protocol = options->nexthdr;
	} else {
		return XDP_PASS;
	}
	seen = bpf_map_lookup_elem(&counters, &protocol);
	if (seen) {
		seen->packets++; // no other CPU writes here
		seen->bytes += end - data;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
