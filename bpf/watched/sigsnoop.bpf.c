// Signals: who sends which to whom, as kill() is called and as the kernel generates them.
// Awkward: enums, one of them with negative values, one with gaps, one the key of a per-CPU hash; `struct event` is in
// BTF as the value of a map.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define TASK_COMM_LEN 16

typedef int pid_t;

struct trace_entry {
	int pid;
} __attribute__((preserve_access_index));

struct trace_event_raw_signal_generate {
	struct trace_entry ent;
	int sig;
	int code;
	pid_t pid;
	int result;
} __attribute__((preserve_access_index));

struct trace_event_raw_sys_enter {
	unsigned long args[6];
} __attribute__((preserve_access_index));

struct trace_event_raw_sys_exit {
	long ret;
} __attribute__((preserve_access_index));

enum signo { HUP = 1, INT, QUIT, ABRT = 6, KILL = 9, USR1, SEGV, USR2, PIPE, ALRM, TERM, CHLD = 17 };
enum origin { FROM_TKILL = -6, FROM_TIMER = -2, FROM_QUEUE = -1, FROM_USER = 0, FROM_KERNEL = 128 };
enum outcome { DELIVERED, IGNORED, ALREADY_PENDING, OVERFLOW_FAIL, LOSE_INFO };

struct event {
	__u32 pid;
	__u32 tpid;
	enum signo sig;
	enum origin origin;
	enum outcome outcome;
	int ret;
	char comm[TASK_COMM_LEN];
};

const volatile int target_signal = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct event);
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 128);
	__type(key, enum signo);
	__type(value, __u64);
} generated SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("tracepoint/syscalls/sys_enter_kill")
int kill_entry(struct trace_event_raw_sys_enter *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = (__u32)id;
	struct event event = {.pid = id >> 32, .tpid = (__u32)ctx->args[0], .sig = (enum signo)ctx->args[1]};

	if (target_signal && event.sig != target_signal)
		return 0;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_map_update_elem(&values, &tid, &event, BPF_ANY);
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_kill")
int kill_exit(struct trace_event_raw_sys_exit *ctx)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	struct event *eventp = bpf_map_lookup_elem(&values, &tid);

	if (!eventp)
		return 0;
	eventp->ret = (int)ctx->ret;
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, eventp, sizeof(*eventp));
	bpf_map_delete_elem(&values, &tid);
	return 0;
}

SEC("tracepoint/signal/signal_generate")
int sig_trace(struct trace_event_raw_signal_generate *ctx)
{
	struct event event = {.pid = bpf_get_current_pid_tgid() >> 32, .tpid = ctx->pid, .sig = ctx->sig};
	__u64 one = 1, *count;

	if (target_signal && event.sig != target_signal)
		return 0;
	count = bpf_map_lookup_elem(&generated, &event.sig);
	if (count)
		++*count;
	else
		bpf_map_update_elem(&generated, &event.sig, &one, BPF_NOEXIST);
	event.origin = ctx->code;
	event.outcome = ctx->result;
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
