// Programs that start, through a ring buffer or through perf buffers: user space decides before it loads this.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

struct exec_event {
	__u32 pid;
	char comm[16];
};

struct exec_event exec_event_anchor; // keeps the type in BTF

TINYBPF_EVENTS(events, 256 * 1024);

SEC("tracepoint/sched/sched_process_exec")
int on_exec(void *ctx)
{
	struct exec_event e = { .pid = bpf_get_current_pid_tgid() >> 32 };

	bpf_get_current_comm(e.comm, sizeof(e.comm));
	tinybpf_emit(ctx, events, &e, sizeof(e));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
