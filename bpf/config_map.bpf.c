// Counts the programs that users start, as a configuration that user space may change at any time says.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct config {
	bool enabled;
	__u8 reserved[3];
	__u32 least_uid; // users below are not counted
	char comm[16]; // if not empty: programs of this name alone
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} configs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} execs_by_uid SEC(".maps");

SEC("tracepoint/sched/sched_process_exec")
int on_exec(void *ctx)
{
	__u32 key = 0, uid = bpf_get_current_uid_gid();
	struct config *config = bpf_map_lookup_elem(&configs, &key);
	__u64 one = 1, *count;
	char comm[16] = {};

	if (!config || !config->enabled || uid < config->least_uid)
		return 0;
	bpf_get_current_comm(comm, sizeof(comm));
	for (int i = 0; i < 16 && config->comm[0] && config->comm[i]; i++)
		if (comm[i] != config->comm[i])
			return 0;
	count = bpf_map_lookup_elem(&execs_by_uid, &uid);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&execs_by_uid, &uid, &one, BPF_NOEXIST);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
