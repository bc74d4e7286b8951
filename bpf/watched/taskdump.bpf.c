// Lists tasks when somebody reads its iterator.
// Awkward: attaches, but no event ever comes: the output is text, and reading it is up to the reader.
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define TASK_COMM_LEN 16

typedef int pid_t;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct task_struct {
	pid_t pid;
	pid_t tgid;
	char comm[TASK_COMM_LEN];
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

const volatile bool with_threads = false;

__u64 tasks_seen;

SEC("iter/task")
int dump_task(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;

	if (!task || (!with_threads && task->pid != task->tgid))
		return 0;
	if (!ctx->meta->seq_num)
		BPF_SEQ_PRINTF(seq, "%8s %8s %s\n", "TGID", "PID", "COMM");
	BPF_SEQ_PRINTF(seq, "%8d %8d %s\n", task->tgid, task->pid, task->comm);
	__sync_fetch_and_add(&tasks_seen, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
