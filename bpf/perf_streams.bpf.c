// Writes into perf buffers, and into what may be either kind of buffer, as a test asks.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

enum target { target_samples, target_events };

// 24 bytes: padded to 28.
struct counted_event {
	__u32 kind; // 1
	__u32 index;
	__u64 serial;
	__u64 time;
};

// 12 bytes, which need no padding, and no alignment of 8.
struct small_event {
	__u32 kind; // 2
	__u32 serial;
	__u32 check;
};

struct large_event {
	__u32 kind;
	__u32 length;
	__u64 serial;
	__u8 rest[16368];
};

struct counted_event counted_event_anchor; // keep the types in BTF
struct small_event small_event_anchor;

struct emit_args {
	__u32 target;
	__u32 kind;
	__u32 size; // 0: as the kind has it
	__u32 index;
	__u64 count;
	__u64 first; // serial; the others follow
	__u64 written; // what became of it
	__u64 failed;
};

TINYBPF_PERF_EVENT_ARRAY(samples);
TINYBPF_EVENTS(events, 64 * 1024);

// Without places for all CPUs, and without a counter.
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} short_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct large_event);
} scratch SEC(".maps");

// What is asked for, and what became of it.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct emit_args);
} asked SEC(".maps");

struct emit_state {
	void *ctx;
	struct emit_args *args;
};

static __always_inline long emit_to(void *ctx, __u32 target, void *event, __u32 size)
{
	return target == target_events ? tinybpf_emit(ctx, events, event, size) :
					 tinybpf_emit(ctx, samples, event, size);
}

static long emit_one(__u32 i, struct emit_state *state)
{
	struct emit_args *args = state->args;
	__u64 serial = args->first + i;
	__u32 zero = 0;
	long err;

	if (args->size) {
		__u32 size = args->size;
		struct large_event *e = bpf_map_lookup_elem(&scratch, &zero);

		if (!e || size > sizeof(*e))
			return 1;
		e->kind = args->kind;
		e->length = size;
		e->serial = serial;
		err = emit_to(state->ctx, args->target, e, size);
	} else if (args->kind == 2) {
		struct small_event e = { .kind = 2, .serial = serial, .check = ~(__u32)serial };

		err = emit_to(state->ctx, args->target, &e, sizeof(e));
	} else {
		struct counted_event e = {
			.kind = args->kind,
			.index = args->index,
			.serial = serial,
			.time = bpf_ktime_get_ns(),
		};

		err = emit_to(state->ctx, args->target, &e, sizeof(e));
	}
	if (err)
		args->failed++;
	else
		args->written++;
	return 0;
}

// Attached nowhere: run by tests. Programs of the type syscall may sleep, and so may not use perf event arrays.
SEC("raw_tp/sched_switch")
int emit_events(void *ctx)
{
	__u32 zero = 0;
	struct emit_state state = { .ctx = ctx, .args = bpf_map_lookup_elem(&asked, &zero) };

	if (state.args)
		bpf_loop(state.args->count, emit_one, &state, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
