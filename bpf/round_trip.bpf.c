// Answers what user space asks through a user ring buffer, whenever some process calls getpgid.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

struct question {
	__u64 number;
	__u64 asked_ns; // CLOCK_MONOTONIC
};

struct answer {
	__u64 number;
	__u64 asked_ns;
	__u64 answered_ns;
	__u32 cpu;
	__u32 pid; // of whose call it was
};

struct question question_anchor; // keep the types in BTF
struct answer answer_anchor;

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 64 * 1024);
} questions SEC(".maps");

TINYBPF_RINGBUF(answers, 64 * 1024);

static long on_question(struct bpf_dynptr *record, void *unused)
{
	struct question q;
	struct answer *a;

	if (bpf_dynptr_read(&q, sizeof(q), record, 0, 0))
		return 0;
	a = tinybpf_reserve(answers, sizeof(*a));
	if (!a)
		return 1;
	a->number = q.number;
	a->asked_ns = q.asked_ns;
	a->answered_ns = bpf_ktime_get_ns();
	a->cpu = bpf_get_smp_processor_id();
	a->pid = bpf_get_current_pid_tgid() >> 32;
	tinybpf_submit(a);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_getpgid(void *unused)
{
	bpf_user_ringbuf_drain(&questions, on_question, NULL, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
