// Maps of maps that do not say what is in them.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} by_name SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} by_index SEC(".maps");

// Adds one to what is first in the first.
SEC("syscall")
int add_to_inner(void *ctx)
{
	__u32 zero = 0;
	void *maps[2] = {bpf_map_lookup_elem(&by_name, &zero), bpf_map_lookup_elem(&by_index, &zero)};
	__u64 *value;

	if (maps[0]) {
		value = bpf_map_lookup_elem(maps[0], &zero);
		if (value)
			__sync_fetch_and_add(value, 1);
	}
	if (maps[1]) {
		value = bpf_map_lookup_elem(maps[1], &zero);
		if (value)
			__sync_fetch_and_add(value, 1);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
