// Two types of events through one ring, told apart by their first field.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

enum event_kind { event_exec = 1, event_exit = 2 };

struct exec_event {
	__u32 kind;
	__u32 pid;
	char comm[16];
};

struct exit_event {
	__u32 kind;
	__u32 pid;
	__u64 lived_ns;
};

struct exec_event exec_event_anchor; // keep the types in BTF
struct exit_event exit_event_anchor;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u64);
} started SEC(".maps");

TINYBPF_RINGBUF(events, 256 * 1024);

SEC("tracepoint/sched/sched_process_exec")
int on_exec(void *ctx)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct exec_event *e = tinybpf_reserve(events, sizeof(*e));

	bpf_map_update_elem(&started, &pid, &now, BPF_ANY);
	if (!e)
		return 0;
	e->kind = event_exec;
	e->pid = pid;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	tinybpf_submit(e);
	return 0;
}

SEC("tracepoint/sched/sched_process_exit")
int on_exit(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 pid = id >> 32;
	__u64 *since = bpf_map_lookup_elem(&started, &pid);
	struct exit_event *e;

	if ((__u32)id != pid || !since) // a thread, or a program that was there before us
		return 0;
	e = tinybpf_reserve(events, sizeof(*e));
	if (!e)
		return 0;
	e->kind = event_exit;
	e->pid = pid;
	e->lived_ns = bpf_ktime_get_ns() - *since;
	tinybpf_submit(e);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
