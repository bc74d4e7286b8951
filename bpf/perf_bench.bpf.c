// The producer of the perf buffer benchmarks: one record an iteration of a loop.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

struct bench_event {
	__u64 time_ns; // 0: nobody asks how late it is
	__u64 sequence;
	__u64 payload[3];
};

struct bench_event bench_event_anchor; // keeps the type in BTF, where the reader checks its own against it

struct produced {
	__u64 written;
	__u64 failed;
};

TINYBPF_PERF_EVENT_ARRAY(events);

// What became of the last run.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct produced);
} result SEC(".maps");

struct run_state {
	void *ctx;
	struct produced done;
};

static long produce_one(__u32 index, struct run_state *s)
{
	struct bench_event e = { .sequence = index, .payload = { index, index, index } };

	if (tinybpf_emit(s->ctx, events, &e, sizeof(e)))
		s->done.failed++;
	else
		s->done.written++;
	return 0;
}

// As many records as the first argument says, as fast as they can be made. Attached nowhere.
SEC("raw_tp/sched_switch")
int produce(struct bpf_raw_tracepoint_args *ctx)
{
	struct run_state s = { .ctx = ctx };
	struct produced *last;
	__u32 zero = 0;

	bpf_loop(ctx->args[0], produce_one, &s, 0);
	last = bpf_map_lookup_elem(&result, &zero);
	if (last)
		*last = s.done;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
