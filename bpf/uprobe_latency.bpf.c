// How long a function takes, as a histogram of powers of two.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH); // of threads that ended within the function, nothing is left
	__uint(max_entries, 10240);
	__type(key, __u64);
	__type(value, __u64);
} entered SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} latencies SEC(".maps");

SEC("uprobe")
int on_entry(void *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();

	bpf_map_update_elem(&entered, &thread, &now, BPF_ANY);
	return 0;
}

SEC("uretprobe")
int on_return(void *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid(), taken, *begin, *count;
	__u32 slot = 0;

	begin = bpf_map_lookup_elem(&entered, &thread);
	if (!begin)
		return 0; // it was in the function before we were
	taken = bpf_ktime_get_ns() - *begin;
	bpf_map_delete_elem(&entered, &thread);
	for (int bit = 32; bit; bit >>= 1) {
		if (taken >> bit) {
			taken >>= bit;
			slot += bit;
		}
	}
	count = bpf_map_lookup_elem(&latencies, &slot);
	if (count)
		++*count; // no other CPU writes here
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
