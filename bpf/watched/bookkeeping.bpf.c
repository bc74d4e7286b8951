// Keeps books of calls of kill() in every sort of place that is not a ring buffer.
// Awkward: a queue and a stack, which have no keys; maps of maps; variables in .data, .bss, .rodata and sections of the
// program's own; an enum of 64 bits.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#define TASK_COMM_LEN 16

typedef int pid_t;

struct trace_event_raw_sys_enter {
	unsigned long args[6];
} __attribute__((preserve_access_index));

enum mark { MARK_NONE = 0, MARK_SEEN = 1, MARK_FAR = 1ULL << 40, MARK_FARTHEST = 0xffffffffffffffffULL };

struct call {
	__u64 ts;
	pid_t from;
	pid_t to;
	int sig;
};

struct tally {
	__u64 count;
	enum mark mark;
};

int verbosity = 3;
enum mark last_mark = MARK_FAR;
__u64 total;
char last_comm[TASK_COMM_LEN];
struct call last_call;
const volatile struct {
	pid_t min, max;
} targets = {0, 0x7fffffff};
const volatile char greeting[] = "books of kill()";
__s64 tuning SEC(".data.tuning") = -1;

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 16);
	__type(value, struct call);
} oldest SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 16);
	__type(value, struct call);
} newest SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65);
	__type(key, __u32);
	__type(value, struct tally);
} even SEC(".maps"), odd SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} by_parity SEC(".maps") = {.values = {&even, &odd}};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, struct inner);
} by_hash SEC(".maps") = {.values = {[1] = &odd, [4] = &even}};

SEC("tracepoint/syscalls/sys_enter_kill")
int on_kill(struct trace_event_raw_sys_enter *ctx)
{
	pid_t pid = bpf_get_current_pid_tgid() >> 32;
	struct call call = {.ts = bpf_ktime_get_ns(), .from = pid, .to = (pid_t)ctx->args[0], .sig = (int)ctx->args[1]};
	__u32 parity = pid & 1, sig = call.sig;
	struct tally *tally;
	void *inner;

	if (call.to < targets.min || call.to > targets.max)
		return 0;
	bpf_map_push_elem(&oldest, &call, 0);
	bpf_map_push_elem(&newest, &call, BPF_EXIST);
	__sync_fetch_and_add(&total, 1);
	last_call = call;
	last_mark = sig ? MARK_FARTHEST : MARK_SEEN;
	bpf_get_current_comm(last_comm, sizeof(last_comm));
	inner = bpf_map_lookup_elem(&by_parity, &parity);
	tally = inner ? bpf_map_lookup_elem(inner, &sig) : 0;
	if (tally) {
		__sync_fetch_and_add(&tally->count, 1);
		tally->mark = last_mark;
	}
	if (verbosity > 8)
		bpf_printk("%s: %lld", (const char *)greeting, tuning);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
