// A program for each place that the kernel offers for tracing and that needs no trampoline, and for samples.
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "seen.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} samples_of_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} samples_of_thread SEC(".maps");

SEC("tracepoint")
int on_tracepoint(struct trace_event_raw_sys_enter *ctx)
{
	return (__u32)ctx->args[0] == MARK ? see(0, bpf_get_attach_cookie(ctx), MARK) : 0;
}

SEC("tp/syscalls/sys_exit_getpgid")
int by_section_tracepoint(struct trace_event_raw_sys_exit *ctx)
{
	return ctx->ret == -3 ? see(1, 0, ctx->ret) : 0;
}

SEC("raw_tracepoint")
int on_raw_tracepoint(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 argument = PT_REGS_PARM1_CORE_SYSCALL((struct pt_regs *)ctx->args[0]);

	return argument == MARK ? see(2, 0, MARK) : 0;
}

SEC("raw_tp/sys_enter")
int by_section_raw_tracepoint(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 argument = PT_REGS_PARM1_CORE_SYSCALL((struct pt_regs *)ctx->args[0]);

	return argument == MARK ? see(3, 0, MARK) : 0;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_tp_btf, struct pt_regs *regs)
{
	return (__u32)PT_REGS_PARM1_CORE_SYSCALL(regs) == MARK ? see(4, 0, MARK) : 0;
}

// Cookies, which older kernels know nothing of here.
SEC("?raw_tp")
int raw_tracepoint_cookie(struct bpf_raw_tracepoint_args *ctx)
{
	__u32 argument = PT_REGS_PARM1_CORE_SYSCALL((struct pt_regs *)ctx->args[0]);

	return argument == MARK ? see(6, bpf_get_attach_cookie(ctx), MARK) : 0;
}

SEC("?tp_btf/sys_enter")
int BPF_PROG(tp_btf_cookie, struct pt_regs *regs)
{
	return (__u32)PT_REGS_PARM1_CORE_SYSCALL(regs) == MARK ? see(7, bpf_get_attach_cookie(ctx), MARK) : 0;
}

SEC("perf_event")
int on_sample(struct bpf_perf_event_data *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u32 thread = bpf_get_current_pid_tgid();
	__u64 one = 1;
	__u64 *n = bpf_map_lookup_elem(&samples_of_cpu, &cpu);

	if (n)
		__sync_fetch_and_add(n, 1);
	n = bpf_map_lookup_elem(&samples_of_thread, &thread);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&samples_of_thread, &thread, &one, BPF_NOEXIST);
	return see(5, bpf_get_attach_cookie(ctx), ctx->sample_period);
}

// Where nothing is.
SEC("tp/syscalls/sys_enter_getpgjd")
int nowhere_tracepoint(void *ctx)
{
	return 0;
}

SEC("raw_tp/sched_swjtch")
int nowhere_raw_tracepoint(void *ctx)
{
	return 0;
}

// It lacks the maps of usdt.bpf.h.
SEC("uprobe")
int without_usdt(void *ctx)
{
	return 0;
}

SEC("xdp")
int of_another_type(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
