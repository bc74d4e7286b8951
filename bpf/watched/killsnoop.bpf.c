// Calls of kill(), in the old way: offsets by hand, no CO-RE, a kernel version.
// Awkward: nothing keeps `struct event_t` in BTF, so that the records are but bytes.
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

struct sys_enter_kill_args {
	unsigned long long common;
	long syscall_nr;
	long pid;
	long sig;
};

struct event_t {
	__u64 timestamp;
	__u32 pid;
	__s32 target;
	__s32 signal;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(int));
	__uint(value_size, sizeof(int));
	__uint(max_entries, 128);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
	__uint(max_entries, 1);
} counter SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_kill")
int trace_kill(struct sys_enter_kill_args *args)
{
	struct event_t event = {};
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&counter, &zero);

	event.timestamp = bpf_ktime_get_ns();
	event.pid = bpf_get_current_pid_tgid() >> 32;
	event.target = args->pid;
	event.signal = args->sig;
	bpf_get_current_comm(&event.comm, sizeof(event.comm));
	bpf_perf_event_output(args, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
__u32 _version SEC("version") = 0xFFFFFFFE;
