// The lives of processes: births through one ring buffer, deaths through another.
// Awkward: two types of events, one of them packed and full of bit-fields, some signed, some across bytes; nothing but
// their names says which ring carries which.
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define TASK_COMM_LEN 16
#define DEFAULT_PRIO 120

typedef int pid_t;

struct task_struct {
	pid_t pid;
	pid_t tgid;
	int exit_code;
	int static_prio;
	__u64 start_time;
	char comm[TASK_COMM_LEN];
} __attribute__((preserve_access_index));

struct fork_event {
	__u64 ts;
	struct {
		pid_t pid;
		char comm[TASK_COMM_LEN];
	} parent, child;
};

struct exit_event {
	__u8 version;
	__u32 pid;
	__u16 signal : 7;
	__u16 core_dumped : 1;
	__u16 status : 8;
	__s32 nice : 6;
	__u32 is_thread : 1;
	__u64 lifetime_us : 41;
	__u8 : 0;
	__u16 cpu;
} __attribute__((packed));

const struct fork_event *unused1 __attribute__((unused));
const struct exit_event *unused2 __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} forks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} exits SEC(".maps");

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct fork_event *e = bpf_ringbuf_reserve(&forks, sizeof(*e), 0);

	if (!e)
		return 0;
	e->ts = bpf_ktime_get_ns();
	e->parent.pid = parent->pid;
	e->child.pid = child->pid;
	bpf_probe_read_kernel_str(e->parent.comm, TASK_COMM_LEN, parent->comm);
	bpf_probe_read_kernel_str(e->child.comm, TASK_COMM_LEN, child->comm);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *p)
{
	struct exit_event *e = bpf_ringbuf_reserve(&exits, sizeof(*e), 0);

	if (!e)
		return 0;
	e->version = 1;
	e->pid = p->pid;
	e->signal = p->exit_code & 0x7f;
	e->core_dumped = p->exit_code >> 7 & 1;
	e->status = p->exit_code >> 8 & 0xff;
	e->nice = p->static_prio - DEFAULT_PRIO;
	e->is_thread = p->pid != p->tgid;
	e->lifetime_us = (bpf_ktime_get_ns() - p->start_time) / 1000;
	e->cpu = bpf_get_smp_processor_id();
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
