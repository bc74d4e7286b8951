// Files as they are unlinked, seen by a tracepoint and by probes of the kernel's function.
// Awkward: where the kernel has no kprobes, two of three programs cannot be attached and the rest has to go on.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define TASK_COMM_LEN 16
#define PATH_LEN 96

typedef int pid_t;

struct trace_event_raw_sys_enter {
	unsigned long args[6];
} __attribute__((preserve_access_index));

struct filename {
	const char *name;
} __attribute__((preserve_access_index));

enum seen_by { BY_TRACEPOINT = 't', BY_KPROBE = 'p', BY_KRETPROBE = 'r' };

struct event {
	__u8 seen_by; // enum seen_by
	__s8 removes_folder;
	pid_t pid;
	long ret;
	char comm[TASK_COMM_LEN];
	char path[PATH_LEN];
};

struct event *unused __attribute__((unused));
enum seen_by *unused_enum __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

static struct event *begin(enum seen_by seen_by)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->seen_by = seen_by;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	return e;
}

SEC("tracepoint/syscalls/sys_enter_unlinkat")
int enter_unlinkat(struct trace_event_raw_sys_enter *ctx)
{
	struct event *e = begin(BY_TRACEPOINT);

	if (!e)
		return 0;
	e->removes_folder = ctx->args[2] ? 1 : -1;
	bpf_probe_read_user_str(e->path, sizeof(e->path), (void *)ctx->args[1]);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("kprobe/do_unlinkat")
int BPF_KPROBE(do_unlinkat, int dfd, struct filename *name)
{
	struct event *e = begin(BY_KPROBE);

	if (!e)
		return 0;
	bpf_probe_read_kernel_str(e->path, sizeof(e->path), BPF_CORE_READ(name, name));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("kretprobe/do_unlinkat")
int BPF_KRETPROBE(do_unlinkat_exit, long ret)
{
	struct event *e = begin(BY_KRETPROBE);

	if (!e)
		return 0;
	e->ret = ret;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
