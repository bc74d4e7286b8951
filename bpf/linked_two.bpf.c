// The other half: see linked_one.bpf.c.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

struct pair_event {
	__u32 kind;
	__u32 index;
	__u64 pair[2];
};

struct pair_event pair_event_anchor;

TINYBPF_RINGBUF(events, 4096);

SEC("syscall")
int write_two(void *unused)
{
	struct pair_event e = { .kind = 2, .index = 2 };

	tinybpf_output(events, &e, sizeof(e));
	return 0;
}
