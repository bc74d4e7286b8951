// Time in soft interrupts, by kind.
// Awkward: the histograms are an array of structs in .bss, the counters a per-CPU array of structs, the settings one
// struct in .rodata. No events.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MAX_SLOTS 20

enum vec { HI, TIMER, NET_TX, NET_RX, BLOCK, IRQ_POLL, TASKLET, SCHED, HRTIMER, RCU, NR_SOFTIRQS };

struct hist {
	__u32 slots[MAX_SLOTS];
};

struct stat {
	__u64 count;
	__u64 time_ns;
	__u64 max_ns;
};

struct settings {
	bool dist;
	bool ns;
	__u64 min_ns;
};

const volatile struct settings settings = {.dist = true, .ns = false, .min_ns = 0};

struct hist hists[NR_SOFTIRQS] = {};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NR_SOFTIRQS);
	__type(key, __u32); // enum vec
	__type(value, struct stat);
} stats SEC(".maps");

SEC("raw_tp/softirq_entry")
int BPF_PROG(softirq_entry, unsigned int vec_nr)
{
	__u64 ts = bpf_ktime_get_ns();
	__u32 key = 0;

	bpf_map_update_elem(&start, &key, &ts, BPF_ANY);
	return 0;
}

SEC("raw_tp/softirq_exit")
int BPF_PROG(softirq_exit, unsigned int vec_nr)
{
	__u64 *tsp, delta, left;
	struct stat *stat;
	__u32 key = 0, vec = vec_nr, slot = 0;

	if (vec_nr >= NR_SOFTIRQS)
		return 0;
	tsp = bpf_map_lookup_elem(&start, &key);
	stat = bpf_map_lookup_elem(&stats, &vec);
	if (!tsp || !*tsp || !stat)
		return 0;
	delta = bpf_ktime_get_ns() - *tsp;
	if (delta < settings.min_ns)
		return 0;
	stat->count++;
	stat->time_ns += delta;
	if (delta > stat->max_ns)
		stat->max_ns = delta;
	if (!settings.dist)
		return 0;
	for (left = settings.ns ? delta : delta / 1000; slot < MAX_SLOTS - 1 && left > 1; slot++)
		left >>= 1;
	__sync_fetch_and_add(&hists[vec_nr].slots[slot], 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
