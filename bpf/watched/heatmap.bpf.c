// Which CPU ran what of which priority: a table, of which every process that ends makes a snapshot.
// Awkward: arrays of arrays of structs, in the event and in a map, and a type that is only known by its typedef.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define ROWS 3
#define COLUMNS 4

typedef int pid_t;

struct task_struct {
	pid_t pid;
	int prio;
} __attribute__((preserve_access_index));

struct cell {
	__u32 runs;
	__s16 last_prio;
	bool hot;
};

typedef struct {
	__u64 seq;
	pid_t cause;
	struct cell grid[ROWS][COLUMNS];
	char legend[ROWS][8];
	__u8 bits[2][2][2];
} snapshot_t;

snapshot_t current = {.legend = {"rt", "normal", "idle"}};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct cell[ROWS][COLUMNS]);
} history SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 128 * 1024);
} snapshots SEC(".maps");

SEC("raw_tracepoint/sched_process_exit")
int snapshot(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 slot;

	if (id >> 32 != (__u32)id)
		return 0;
	slot = ++current.seq & 1;
	current.cause = id >> 32;
	current.bits[slot][current.seq >> 1 & 1][current.seq >> 2 & 1] = current.seq;
	bpf_map_update_elem(&history, &slot, current.grid, BPF_ANY);
	bpf_ringbuf_output(&snapshots, &current, sizeof(current), 0);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(count, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	int prio = next->prio;
	__u32 row = !next->pid ? 2 : prio < 100 ? 0 : 1;
	struct cell *cell = &current.grid[row][bpf_get_smp_processor_id() % COLUMNS];

	cell->last_prio = prio;
	cell->hot = ++cell->runs > 1000;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
