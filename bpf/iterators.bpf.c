// Iterators that write records, or text.
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_record {
	__u32 pid;
	__u32 tgid;
	char comm[16];
};

struct file_record {
	__u32 tgid;
	__u32 fd;
	__u64 inode;
};

struct map_record {
	__u32 id;
	__u32 max_entries;
	char name[16];
};

struct cgroup_record {
	__u64 id;
	__u64 level;
};

struct element {
	__u64 value;
	__u32 key;
	__u32 seq_num;
};

// So that the types are in BTF.
struct task_record task_record_anchor;
struct file_record file_record_anchor;
struct map_record map_record_anchor;
struct cgroup_record cgroup_record_anchor;
struct element element_anchor;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 50000);
	__type(key, __u32);
	__type(value, __u64);
} elements SEC(".maps");

// The kernel lets an iterator take a million steps at most before a read returns.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1100000);
	__type(key, __u32);
	__type(value, __u64);
} quiet_elements SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} block_counts SEC(".maps");

SEC("iter/task")
int dump_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct task_record record = {};

	if (!task)
		return 0;
	record.pid = task->pid;
	record.tgid = task->tgid;
	BPF_CORE_READ_STR_INTO(&record.comm, task, comm);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

SEC("iter/task")
int print_task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "the end");
	else
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d of %d\n", task->pid, task->tgid);
	return 0;
}

SEC("iter/task_file")
int dump_file(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct file_record record = {};

	if (!task || !file)
		return 0;
	record.tgid = task->tgid;
	record.fd = ctx->fd;
	record.inode = BPF_CORE_READ(file, f_inode, i_ino);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

SEC("iter/bpf_map")
int dump_map(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	struct map_record record = {};

	if (!map)
		return 0;
	record.id = map->id;
	record.max_entries = map->max_entries;
	BPF_CORE_READ_STR_INTO(&record.name, map, name);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

SEC("iter/bpf_map_elem")
int dump_element(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;
	struct element e = {};

	if (!key || !value)
		return 0;
	e.value = *value;
	e.key = *key;
	e.seq_num = ctx->meta->seq_num;
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}

// Writes of what is not 0 alone.
SEC("iter/bpf_map_elem")
int dump_loud_element(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;
	struct element e = {};

	if (!key || !value || !*value)
		return 0;
	e.value = *value;
	e.key = *key;
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}

// 8 bytes each.
SEC("iter/bpf_map_elem")
int dump_value(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;
	__u64 copy;

	if (!value)
		return 0;
	copy = *value;
	bpf_seq_write(ctx->meta->seq, &copy, sizeof(copy));
	return 0;
}

char block[1024];

// As many blocks as the value says.
SEC("iter/bpf_map_elem")
int dump_blocks(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;
	__u64 count, i;

	if (!value)
		return 0;
	count = *value;
	for (i = 0; i < 64; i++) {
		if (i >= count)
			break;
		bpf_seq_write(ctx->meta->seq, block, sizeof(block));
	}
	return 0;
}

SEC("iter/cgroup")
int dump_cgroup(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;
	struct cgroup_record record = {};

	if (!cgroup)
		return 0;
	record.id = BPF_CORE_READ(cgroup, kn, id);
	record.level = BPF_CORE_READ(cgroup, level);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

// 16 blocks each.
SEC("iter/cgroup")
int dump_cgroup_blocks(struct bpf_iter__cgroup *ctx)
{
	__u64 i;

	if (!ctx->cgroup)
		return 0;
	for (i = 0; i < 16; i++)
		bpf_seq_write(ctx->meta->seq, block, sizeof(block));
	return 0;
}

SEC("raw_tracepoint/sys_enter")
int no_iterator(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
