// The verifier accepts the first program and refuses the second, at once.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} shelf SEC(".maps");

SEC("raw_tracepoint/sys_enter")
int harmless(void *ctx)
{
	return 0;
}

SEC("raw_tracepoint/sys_enter")
int forgets_null(void *ctx)
{
	__u32 key = 0;
	__u64 *unchecked_shelf_value = bpf_map_lookup_elem(&shelf, &key);

	return *unchecked_shelf_value;
}

char LICENSE[] SEC("license") = "GPL";
