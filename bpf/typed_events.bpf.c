// An event with everything that a struct can have in it: nested structs, an enumeration, arrays.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

enum task_change { task_started = 1, task_ended = 2 };

struct ids {
	__u32 first;
	__u32 group;
};

struct task_event {
	__u64 time_ns;
	struct ids task;
	struct ids user;
	enum task_change change;
	char comm[16];
	__u64 recent[4]; // when tasks changed, the latest first
};

struct task_event task_event_anchor; // keep the type in BTF

TINYBPF_RINGBUF(events, 256 * 1024);

__u64 recent[4];

static int emit(enum task_change change)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u64 user = bpf_get_current_uid_gid();
	struct task_event *e;

	if ((__u32)id != id >> 32)
		return 0; // a thread
	e = tinybpf_reserve(events, sizeof(*e));
	if (!e)
		return 0;
	e->time_ns = bpf_ktime_get_ns();
	e->task.first = id;
	e->task.group = id >> 32;
	e->user.first = user;
	e->user.group = user >> 32;
	e->change = change;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	for (int i = 3; i > 0; i--)
		recent[i] = recent[i - 1];
	recent[0] = e->time_ns;
	__builtin_memcpy(e->recent, recent, sizeof(recent));
	tinybpf_submit(e);
	return 0;
}

SEC("tracepoint/sched/sched_process_exec")
int on_exec(void *ctx)
{
	return emit(task_started);
}

SEC("tracepoint/sched/sched_process_exit")
int on_exit(void *ctx)
{
	return emit(task_ended);
}

char LICENSE[] SEC("license") = "GPL";
