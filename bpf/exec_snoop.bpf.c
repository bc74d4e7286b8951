// One event for every program that is started.
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

struct exec_event {
	__u64 time_ns; // CLOCK_MONOTONIC
	__u32 pid;
	__u32 ppid;
	__u32 uid;
	char comm[16];
	char filename[256];
};

struct exec_event exec_event_anchor; // keeps the type in BTF, where the reader checks its own against it

TINYBPF_RINGBUF(events, 1024 * 1024);

SEC("tracepoint/sched/sched_process_exec")
int on_exec(struct trace_event_raw_sched_process_exec *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct exec_event *e = tinybpf_reserve(events, sizeof(*e));

	if (!e)
		return 0;
	e->time_ns = bpf_ktime_get_ns();
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->ppid = BPF_CORE_READ(task, real_parent, tgid);
	e->uid = (__u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_kernel_str(e->filename, sizeof(e->filename), (void *)ctx + (ctx->__data_loc_filename & 0xffff));
	tinybpf_submit(e);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
