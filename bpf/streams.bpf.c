// Writes into several ring buffers, as a test asks: which ring, how many records of which kind, and when they happened.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

enum ring { ring_first, ring_second, ring_tiny, ring_uncounted, ring_by_index };

// The sizes are the kinds': a record of another size is made of the largest one.
struct counted_event {
	__u32 kind; // 1
	__u32 index;
	__u64 serial;
	__u64 time;
};

struct named_event {
	__u32 kind; // 2
	__u32 length;
	__u64 serial;
	// then the name
};

struct large_event {
	__u32 kind;
	__u32 length;
	__u64 serial;
	__u8 rest[4080];
};

struct counted_event counted_event_anchor; // keep the types in BTF
struct named_event named_event_anchor;

struct write_args {
	__u32 ring;
	__u32 index; // in by_index, or in many
	__u32 kind;
	__u32 size; // 0: as the kind has it
	__u64 count;
	__u64 flags;
	__u64 first; // serial; the others follow
	__u64 time; // likewise
	__u64 step; // of time
	__u64 written; // what became of it
	__u64 failed;
};

TINYBPF_RINGBUF(first, 256 * 1024);
TINYBPF_RINGBUF(second, 256 * 1024);
TINYBPF_RINGBUF(tiny, 4096);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} uncounted SEC(".maps");

// A counter that belongs to no ring by name.
TINYBPF_LOST_COUNTER(spare);

struct indexed_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring_0 SEC(".maps"), ring_1 SEC(".maps"), ring_2 SEC(".maps"), ring_3 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct indexed_ring);
} by_index SEC(".maps") = {
	.values = { &ring_0, &ring_1, &ring_2, &ring_3 },
};
TINYBPF_LOST_COUNTER(by_index);

// Filled by the test.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1000);
	__type(key, __u32);
	__array(values, struct indexed_ring);
} many SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct large_event);
} scratch SEC(".maps");

static __always_inline void fill(struct counted_event *e, struct write_args *args, __u32 i)
{
	e->kind = args->kind;
	e->index = args->index;
	e->serial = args->first + i;
	e->time = args->time + i * args->step;
}

// Through the macros that users have.
#define reserve_and_submit(reserve)                \
	({                                         \
		struct counted_event *e = reserve; \
		if (e) {                           \
			fill(e, args, i);          \
			tinybpf_submit(e);         \
		}                                  \
		e != NULL;                         \
	})

static __always_inline bool write_counted(struct write_args *args, __u32 i)
{
	void *ring;

	switch (args->ring) {
	case ring_first:
		return reserve_and_submit(tinybpf_reserve(first, sizeof(*e)));
	case ring_second:
		return reserve_and_submit(tinybpf_reserve(second, sizeof(*e)));
	case ring_tiny:
		return reserve_and_submit(tinybpf_reserve(tiny, sizeof(*e)));
	case ring_uncounted:
		return reserve_and_submit(bpf_ringbuf_reserve(&uncounted, sizeof(*e), 0));
	case ring_by_index:
		ring = bpf_map_lookup_elem(&by_index, &args->index);
		return ring && reserve_and_submit(tinybpf_reserve_in(ring, by_index, sizeof(*e)));
	default:
		ring = bpf_map_lookup_elem(&many, &args->index);
		return ring && reserve_and_submit(bpf_ringbuf_reserve(ring, sizeof(*e), 0));
	}
}

static __always_inline bool write_sized(struct write_args *args, __u32 i)
{
	__u32 zero = 0;
	__u32 size = args->size;
	struct large_event *e = bpf_map_lookup_elem(&scratch, &zero);

	if (!e || size > sizeof(*e))
		return false;
	e->kind = args->kind;
	e->length = size - sizeof(struct named_event);
	e->serial = args->first + i;
	switch (args->ring) {
	case ring_first:
		return args->flags ? bpf_ringbuf_output(&first, e, size, args->flags) == 0 :
				     tinybpf_output(first, e, size) == 0;
	case ring_second:
		return tinybpf_output(second, e, size) == 0;
	case ring_tiny:
		return tinybpf_output(tiny, e, size) == 0;
	default:
		return bpf_ringbuf_output(&uncounted, e, size, args->flags) == 0;
	}
}

static long write_one(__u32 i, struct write_args *args)
{
	if (args->size ? write_sized(args, i) : write_counted(args, i))
		args->written++;
	else
		args->failed++;
	return 0;
}

SEC("syscall")
int write_records(struct write_args *args)
{
	struct write_args copy = *args; // on the stack, where bpf_loop's callback may see it

	bpf_loop(args->count, write_one, &copy, 0);
	args->written = copy.written;
	args->failed = copy.failed;
	return 0;
}

// What the kernel takes to be unread.
SEC("syscall")
int unread(struct write_args *args)
{
	void *ring;
	__u32 index = args->index;

	args->written = 0;
	switch (args->ring) {
	case ring_first:
		args->written = bpf_ringbuf_query(&first, BPF_RB_AVAIL_DATA);
		break;
	case ring_second:
		args->written = bpf_ringbuf_query(&second, BPF_RB_AVAIL_DATA);
		break;
	case ring_tiny:
		args->written = bpf_ringbuf_query(&tiny, BPF_RB_AVAIL_DATA);
		break;
	case ring_uncounted:
		args->written = bpf_ringbuf_query(&uncounted, BPF_RB_AVAIL_DATA);
		break;
	case ring_by_index:
		ring = bpf_map_lookup_elem(&by_index, &index);
		if (ring)
			args->written = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
		break;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
