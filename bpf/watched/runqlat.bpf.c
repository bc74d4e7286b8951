// How long tasks wait for a CPU, as a histogram for each process.
// Awkward: programs that the kernel types (tp_btf), a map of structs with an array and a name, and no events.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define TASK_COMM_LEN 16
#define MAX_SLOTS 26
#define MAX_ENTRIES 10240
#define TASK_RUNNING 0

typedef int pid_t;

struct task_struct {
	unsigned int __state;
	pid_t pid;
	pid_t tgid;
	char comm[TASK_COMM_LEN];
} __attribute__((preserve_access_index));

struct hist {
	__u32 slots[MAX_SLOTS];
	char comm[TASK_COMM_LEN];
};

const volatile bool targ_ms = false;
const volatile pid_t targ_tgid = 0;

static struct hist zero;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ENTRIES);
	__type(key, __u32);
	__type(value, struct hist);
} hists SEC(".maps");

static int trace_enqueue(__u32 tgid, __u32 pid)
{
	__u64 ts = bpf_ktime_get_ns();

	if (!pid || (targ_tgid && targ_tgid != tgid))
		return 0;
	bpf_map_update_elem(&start, &pid, &ts, BPF_ANY);
	return 0;
}

static __always_inline __u32 slot_of(__u64 v)
{
	__u32 slot = 0;

	for (; slot < MAX_SLOTS - 1 && v > 1; slot++)
		v >>= 1;
	return slot;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(sched_wakeup, struct task_struct *p)
{
	return trace_enqueue(p->tgid, p->pid);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(sched_wakeup_new, struct task_struct *p)
{
	return trace_enqueue(p->tgid, p->pid);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	__u32 pid = next->pid, tgid = next->tgid, slot;
	struct hist *histp;
	__u64 *tsp;

	if (prev->__state == TASK_RUNNING)
		trace_enqueue(prev->tgid, prev->pid);
	tsp = bpf_map_lookup_elem(&start, &pid);
	if (!tsp)
		return 0;
	slot = slot_of((bpf_ktime_get_ns() - *tsp) / (targ_ms ? 1000000 : 1000));
	bpf_map_delete_elem(&start, &pid);
	histp = bpf_map_lookup_elem(&hists, &tgid);
	if (!histp) {
		bpf_map_update_elem(&hists, &tgid, &zero, BPF_NOEXIST);
		histp = bpf_map_lookup_elem(&hists, &tgid);
		if (!histp)
			return 0;
		bpf_probe_read_kernel_str(histp->comm, sizeof(histp->comm), next->comm);
	}
	if (slot < MAX_SLOTS)
		__sync_fetch_and_add(&histp->slots[slot], 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
