// Hands the bytes that a test gives it to a ring buffer and to perf buffers, for dynamic_streams_test.cpp.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct plain_event {
	__u32 pid;
	__s32 code;
	char comm[16];
};
struct plain_event plain_event_anchor;

// Here and in streams.bpf.c, but not the same.
struct counted_event {
	__u64 only;
};
struct counted_event counted_event_anchor;

struct tailed_event {
	__u32 count;
	__u16 tail[];
};
struct tailed_event tailed_event_anchor;

#define MOST 64

struct emit_request {
	__u32 to; // 0: ring, 1: other_ring, 2: perf
	__u32 size;
	__u8 data[MOST];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct emit_request);
} asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} other_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} perf SEC(".maps");

SEC("raw_tp/sched_switch")
int emit(void *ctx)
{
	__u32 zero = 0;
	struct emit_request *r = bpf_map_lookup_elem(&asked, &zero);
	__u32 size;

	if (!r)
		return 0;
	size = r->size;
	if (size > MOST)
		return 0;
	if (r->to == 2)
		bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, r->data, size);
	else if (r->to == 1)
		bpf_ringbuf_output(&other_ring, r->data, size, 0);
	else
		bpf_ringbuf_output(&ring, r->data, size, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
