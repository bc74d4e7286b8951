// Counts the packets that the processes of each control group send.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 10240);
	__type(key, __u64); // the control group's id
	__type(value, struct traffic);
} sent SEC(".maps");

SEC("cgroup_skb/egress")
int count(struct __sk_buff *skb)
{
	__u64 id = bpf_skb_cgroup_id(skb);
	struct traffic *seen = bpf_map_lookup_elem(&sent, &id), none = {};

	if (!seen) {
		bpf_map_update_elem(&sent, &id, &none, BPF_NOEXIST);
		seen = bpf_map_lookup_elem(&sent, &id);
	}
	if (seen) {
		seen->packets++; // no other CPU writes here
		seen->bytes += skb->len;
	}
	return 1; // let it pass
}

char LICENSE[] SEC("license") = "GPL";
