// Programs as they are executed, with their arguments, through perf buffers.
// Awkward: the map names no type, a pointer that nobody uses is all that keeps `struct event` in BTF, and a record is
// shorter than its struct: it ends where the arguments do.
#include <linux/bpf.h>
#include <stddef.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define TASK_COMM_LEN 16
#define ARGS_LEN 128
#define INVALID_UID ((__u32)-1)

typedef int pid_t;

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
} __attribute__((preserve_access_index));

struct task_struct {
	pid_t tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
} __attribute__((preserve_access_index));

struct event {
	pid_t pid;
	pid_t ppid;
	__u32 uid;
	__u32 args_size;
	char comm[TASK_COMM_LEN];
	char args[ARGS_LEN]; // one behind the other, each with its NUL
};

const struct event *unused __attribute__((unused));

const volatile __u32 targ_uid = INVALID_UID;

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("tracepoint/sched/sched_process_exec")
int handle_exec(void *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 uid = (__u32)bpf_get_current_uid_gid();
	struct event event = {};
	unsigned long start, len;

	if (targ_uid != INVALID_UID && targ_uid != uid)
		return 0;

	event.pid = bpf_get_current_pid_tgid() >> 32;
	event.ppid = BPF_CORE_READ(task, real_parent, tgid);
	event.uid = uid;
	bpf_get_current_comm(&event.comm, sizeof(event.comm));

	start = BPF_CORE_READ(task, mm, arg_start);
	len = BPF_CORE_READ(task, mm, arg_end) - start;
	if (len > ARGS_LEN)
		len = ARGS_LEN;
	if (bpf_probe_read_user(event.args, len, (void *)start))
		len = 0;
	event.args_size = len;

	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, offsetof(struct event, args) + len);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
