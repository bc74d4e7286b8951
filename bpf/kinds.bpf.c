// Maps of the kinds that have views of their own. The tests run the programs one by one, with numbers as arguments, and
// see what they return.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define NOTHING 0xffffffff

// Values of 4, 12 and 16 bytes: what the kernel rounds up to 8 bytes, and what it does not.
struct tally {
	__u32 seen;
	__u32 dropped;
	__s32 balance;
};

struct traffic {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct traffic);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 6000);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 100);
	__type(key, __u32);
	__type(value, __s64);
} recent SEC(".maps");

struct job {
	__u32 id;
	__u32 priority;
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__type(value, struct job);
} jobs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 3);
	__type(value, __u64);
} marks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1000);
	__type(value, __u32);
} known SEC(".maps");

struct network {
	__u32 length;
	__u8 address[4];
};

struct network6 {
	__u32 prefixlen;
	struct in6_addr addr;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 200);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network);
	__type(value, __u32);
} zones SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct network6);
	__type(value, struct traffic);
} zones6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u32);
} steps SEC(".maps");

struct shelf {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct shelf);
} shelves SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u64);
	__array(values, struct shelf);
} shelves_by_id SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} clocks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 64);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_STACK_BUILD_ID);
	__uint(key_size, 4);
	__uint(value_size, 8 * sizeof(struct bpf_stack_build_id));
} build_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1000);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32);
} switches SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct tally);
} shared_tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} unshared SEC(".maps");

// Adds the second argument to what the per-CPU maps have under the first, on the CPU that it gives.
SEC("raw_tracepoint")
int count(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 key = ctx->args[0];
	__u32 amount = ctx->args[1];
	struct tally none = {};
	struct traffic *flow;
	struct tally *tally;
	__u32 *hit;

	hit = bpf_map_lookup_elem(&hits, &key);
	if (hit)
		*hit += amount;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (flow) {
		flow->packets++;
		flow->bytes += amount;
	}
	bpf_map_update_elem(&tallies, &key, &none, BPF_NOEXIST);
	tally = bpf_map_lookup_elem(&tallies, &key);
	if (tally) {
		tally->seen++;
		tally->dropped += amount;
		tally->balance -= amount;
	}
	return bpf_get_smp_processor_id();
}

SEC("raw_tracepoint")
int push_job(struct bpf_raw_tracepoint_args *ctx)
{
	struct job job = {ctx->args[0], ctx->args[1]};

	return bpf_map_push_elem(&jobs, &job, BPF_ANY);
}

SEC("raw_tracepoint")
int pop_job(struct bpf_raw_tracepoint_args *ctx)
{
	struct job job;

	return bpf_map_pop_elem(&jobs, &job) ? NOTHING : job.id * 1000 + job.priority;
}

SEC("raw_tracepoint")
int learn(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 value = ctx->args[0];

	return bpf_map_push_elem(&known, &value, BPF_ANY);
}

SEC("raw_tracepoint")
int knows(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 value = ctx->args[0];

	return bpf_map_peek_elem(&known, &value) == 0;
}

// The zone of an address as a packet has it.
SEC("raw_tracepoint")
int zone_of(struct bpf_raw_tracepoint_args *ctx)
{
	struct network key = {.length = 32};
	__u32 *zone;

	__builtin_memcpy(key.address, &ctx->args[0], sizeof(key.address));
	zone = bpf_map_lookup_elem(&zones, &key);
	return zone ? *zone : NOTHING;
}

SEC("raw_tracepoint")
int dispatch(struct bpf_raw_tracepoint_args *ctx)
{
	bpf_tail_call(ctx, &steps, ctx->args[0]);
	return NOTHING;
}

SEC("raw_tracepoint")
int step_one(struct bpf_raw_tracepoint_args *ctx)
{
	return 1000 + ctx->args[1];
}

SEC("raw_tracepoint")
int step_two(struct bpf_raw_tracepoint_args *ctx)
{
	return 2000 + ctx->args[1];
}

// Of a type that cannot be a step.
SEC("socket")
int on_packet(void *ctx)
{
	return 0;
}

static __always_inline __u32 first_of(void *shelf)
{
	__u32 first = 0;
	__u64 *value = shelf ? bpf_map_lookup_elem(shelf, &first) : 0;

	return value ? *value : NOTHING;
}

SEC("raw_tracepoint")
int first_of_shelf(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 key = ctx->args[0];

	return first_of(bpf_map_lookup_elem(&shelves, &key));
}

SEC("raw_tracepoint")
int first_of_shelf_by_id(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 key = ctx->args[0];

	return first_of(bpf_map_lookup_elem(&shelves_by_id, &key));
}

SEC("raw_tracepoint")
int in_group(struct bpf_raw_tracepoint_args *ctx)
{
	return bpf_current_task_under_cgroup(&groups, ctx->args[0]);
}

SEC("raw_tracepoint")
int kernel_stack(struct bpf_raw_tracepoint_args *ctx)
{
	return bpf_get_stackid(ctx, &stacks, 0);
}

SEC("raw_tracepoint")
int user_stack(struct bpf_raw_tracepoint_args *ctx)
{
	return bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
}

// They give what is there when they are done.
SEC("raw_tracepoint")
int add_total(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 key = ctx->args[0];
	__u64 *total = bpf_map_lookup_elem(&totals, &key);

	if (!total)
		return NOTHING;
	return __sync_fetch_and_add(total, ctx->args[1]) + ctx->args[1];
}

SEC("raw_tracepoint")
int add_switch(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 key = ctx->args[0];
	__u32 *value = bpf_map_lookup_elem(&switches, &key);

	return value ? *value += ctx->args[1] : NOTHING;
}

SEC("raw_tracepoint")
int add_tally(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 key = ctx->args[0];
	struct tally *tally = bpf_map_lookup_elem(&shared_tallies, &key);

	return tally ? tally->balance += ctx->args[1] : NOTHING;
}

char LICENSE[] SEC("license") = "GPL";
