// One half of an object: both halves declare the same ring and its counter.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

// Not as in streams.bpf.c.
struct counted_event {
	__u32 kind;
	__u32 index;
	__u64 serial;
};

struct counted_event counted_event_anchor;

TINYBPF_RINGBUF(events, 4096);

SEC("syscall")
int write_one(void *unused)
{
	struct counted_event *e = tinybpf_reserve(events, sizeof(*e));

	if (!e)
		return 0;
	e->kind = 1;
	e->index = 1;
	e->serial = 0;
	tinybpf_submit(e);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
