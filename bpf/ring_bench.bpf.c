// The producers of the ring buffer benchmarks: one record an iteration of a loop, and one record a traced system call.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

struct bench_event {
	__u64 time_ns; // CLOCK_MONOTONIC; 0 from the loop
	__u64 sequence;
	__u64 payload[3];
};

struct bench_event bench_event_anchor; // keeps the type in BTF, where the reader checks its own against it

struct produce_args {
	__u64 count;
};

TINYBPF_RINGBUF(events, 64 * 1024 * 1024);

__u64 traced_task;
__u64 traced_calls;

static __always_inline void emit(__u64 time_ns, __u64 sequence)
{
	struct bench_event *e = tinybpf_reserve(events, sizeof(*e));

	if (!e)
		return;
	e->time_ns = time_ns;
	e->sequence = sequence;
	e->payload[0] = sequence;
	e->payload[1] = sequence;
	e->payload[2] = sequence;
	tinybpf_submit(e);
}

static long produce_one(__u32 index, void *unused)
{
	emit(0, index);
	return 0;
}

// As many records as asked for, as fast as they can be made.
SEC("syscall")
int produce(struct produce_args *args)
{
	bpf_loop(args->count, produce_one, NULL, 0);
	return 0;
}

// Whoever runs this is traced from now on, and nobody else.
SEC("syscall")
int trace_me(void *unused)
{
	traced_task = bpf_get_current_pid_tgid();
	traced_calls = 0;
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_getpgid(void *unused)
{
	if (bpf_get_current_pid_tgid() == traced_task)
		emit(bpf_ktime_get_ns(), traced_calls++);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
