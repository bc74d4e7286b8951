// Counts the frames of one IPv4 protocol that nothing else sends, where they pass an interface.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PROTOCOL 253 // for experiments

enum { TC_A, TC_B, TC_DROP, TC_REDIRECT, XDP_A, XDP_B, IP, SLOTS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

// A digit for each run of a and b, the latest one last.
__u64 order;
// Where to redirect to.
__u32 target;

static __always_inline void hit(__u32 slot)
{
	__u64 *value = bpf_map_lookup_elem(&hits, &slot);

	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline int is_ours(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	return (void *)(ip + 1) <= end && eth->h_proto == bpf_htons(ETH_P_IP) && ip->protocol == PROTOCOL;
}

static __always_inline int skb_is_ours(struct __sk_buff *skb)
{
	return is_ours((void *)(long)skb->data, (void *)(long)skb->data_end);
}

SEC("tc")
int tc_a(struct __sk_buff *skb)
{
	if (!skb_is_ours(skb))
		return TC_ACT_UNSPEC;
	hit(TC_A);
	order = order * 10 + 1;
	return TC_ACT_UNSPEC; // which is TCX_NEXT, too
}

SEC("tc")
int tc_b(struct __sk_buff *skb)
{
	if (!skb_is_ours(skb))
		return TC_ACT_UNSPEC;
	hit(TC_B);
	order = order * 10 + 2;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int tc_drop(struct __sk_buff *skb)
{
	if (!skb_is_ours(skb))
		return TC_ACT_UNSPEC;
	hit(TC_DROP);
	return TC_ACT_SHOT;
}

SEC("tc")
int tc_redirect(struct __sk_buff *skb)
{
	if (!skb_is_ours(skb))
		return TC_ACT_UNSPEC;
	hit(TC_REDIRECT);
	return bpf_redirect(target, 0);
}

SEC("tc")
int count_ip(struct __sk_buff *skb)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		hit(IP);
	return TC_ACT_UNSPEC;
}

SEC("xdp")
int xdp_a(struct xdp_md *ctx)
{
	if (is_ours((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		hit(XDP_A);
	return XDP_PASS;
}

SEC("xdp")
int xdp_drop(struct xdp_md *ctx)
{
	if (!is_ours((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_PASS;
	hit(XDP_B);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
