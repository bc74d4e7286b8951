// Counts the calls of getpgid(2) whose argument is the mark, a slot of `calls` for each way to see them.
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MARK 0x5eed0b9f // no process has this id

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 5);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

struct call_event {
	__u32 pid;
	__u32 uid;
	char comm[16];
};

typedef __u64 call_count;

// For the tests of type registration, which need types in BTF.
struct call_event call_event_anchor;
call_count call_count_anchor;

static __always_inline int count(__u32 slot, unsigned long argument)
{
	__u64 *value;

	if ((__u32)argument != MARK)
		return 0;
	value = bpf_map_lookup_elem(&calls, &slot);
	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int on_getpgid(struct trace_event_raw_sys_enter *ctx)
{
	return count(0, ctx->args[0]);
}

SEC("raw_tracepoint/sys_enter")
int on_raw_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return count(1, PT_REGS_PARM1_CORE_SYSCALL((struct pt_regs *)ctx->args[0]));
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_btf_enter, struct pt_regs *regs)
{
	return count(2, PT_REGS_PARM1_CORE_SYSCALL(regs));
}

// These sections leave it open where to attach.
SEC("tracepoint")
int on_tracepoint(struct trace_event_raw_sys_enter *ctx)
{
	return count(3, ctx->args[0]);
}

SEC("raw_tracepoint")
int on_raw(struct bpf_raw_tracepoint_args *ctx)
{
	return count(4, PT_REGS_PARM1_CORE_SYSCALL((struct pt_regs *)ctx->args[0]));
}

// A place that no kernel has.
SEC("tracepoint/syscalls/sys_enter_of_the_dead")
int on_nothing(void *ctx)
{
	return 0;
}

// A type that a section cannot attach.
SEC("socket")
int on_packet(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
