// Processes as they end: how, and how old.
// Awkward: fields of types that are called otherwise (pid_t, bool, a typedef of nanoseconds), and a hole in the struct.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define TASK_COMM_LEN 16

typedef int pid_t;
typedef __u64 nsec_t;

struct task_struct {
	pid_t pid;
	pid_t tgid;
	int exit_code;
	__u64 start_time;
	struct task_struct *real_parent;
} __attribute__((preserve_access_index));

struct event {
	nsec_t start_time;
	nsec_t exit_time;
	pid_t pid;
	pid_t tid;
	pid_t ppid;
	unsigned char sig;
	bool core_dumped;
	bool thread;
	int exit_code;
	char comm[TASK_COMM_LEN];
};

struct event event_type = {}; // for the reader's sake

const volatile bool trace_failed_only = false;
const volatile bool trace_by_process = true;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} rb SEC(".maps");

SEC("tp/sched/sched_process_exit")
int sched_process_exit(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 id = bpf_get_current_pid_tgid();
	int exit_code = BPF_CORE_READ(task, exit_code);
	struct event *e;

	if (trace_by_process && id >> 32 != (__u32)id)
		return 0;
	if (trace_failed_only && !exit_code)
		return 0;
	e = bpf_ringbuf_reserve(&rb, sizeof(*e), 0);
	if (!e)
		return 0;
	e->start_time = BPF_CORE_READ(task, start_time);
	e->exit_time = bpf_ktime_get_ns();
	e->pid = id >> 32;
	e->tid = (__u32)id;
	e->ppid = BPF_CORE_READ(task, real_parent, tgid);
	e->sig = exit_code & 0x7f;
	e->core_dumped = exit_code & 0x80;
	e->thread = e->pid != e->tid;
	e->exit_code = exit_code >> 8;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
