// Counts system calls and their time, by number; a map holds what the user wants of it.
// Awkward: no events at all, so that the maps are all there is to show; entries come and go while they are read.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#define TASK_COMM_LEN 16
#define MAX_ENTRIES 8192

typedef int pid_t;

struct trace_event_raw_sys_enter {
	long id;
} __attribute__((preserve_access_index));

struct trace_event_raw_sys_exit {
	long id;
} __attribute__((preserve_access_index));

struct data_t {
	__u64 count;
	__u64 total_ns;
};

struct config {
	pid_t only_pid;
	bool with_latency;
	__u8 reserved[3];
	__u64 min_ns;
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENTRIES);
	__type(key, __u32);
	__type(value, struct data_t);
} data SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int sys_enter(struct trace_event_raw_sys_enter *args)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 zero = 0, tid = (__u32)id;
	struct config *wanted = bpf_map_lookup_elem(&config, &zero);
	__u64 now = bpf_ktime_get_ns();

	if (!wanted || (wanted->only_pid && wanted->only_pid != id >> 32))
		return 0;
	bpf_map_update_elem(&start, &tid, &now, BPF_ANY);
	return 0;
}

SEC("tracepoint/raw_syscalls/sys_exit")
int sys_exit(struct trace_event_raw_sys_exit *args)
{
	static struct data_t zero;
	__u32 tid = (__u32)bpf_get_current_pid_tgid(), nr = (__u32)args->id;
	__u64 *since = bpf_map_lookup_elem(&start, &tid);
	struct data_t *val;

	if (!since)
		return 0;
	val = bpf_map_lookup_elem(&data, &nr);
	if (!val) {
		bpf_map_update_elem(&data, &nr, &zero, BPF_NOEXIST);
		val = bpf_map_lookup_elem(&data, &nr);
	}
	if (val) {
		__sync_fetch_and_add(&val->count, 1);
		__sync_fetch_and_add(&val->total_ns, bpf_ktime_get_ns() - *since);
	}
	bpf_map_delete_elem(&start, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
