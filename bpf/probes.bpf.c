// A program for each way to attach to functions: what each one has seen is in a slot of `seen`.
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
#include "seen.bpf.h"

// Kernel functions are anyone's: what counts is the call whose first argument is the mark, here of the function behind a
// system call, which gets its arguments in registers that its own first argument points to.
static __always_inline bool is_marked(struct pt_regs *ctx)
{
	return (__u32)PT_REGS_PARM1_CORE_SYSCALL((struct pt_regs *)PT_REGS_PARM1(ctx)) == MARK;
}

SEC("kprobe")
int on_kprobe(struct pt_regs *ctx)
{
	return is_marked(ctx) ? see(0, bpf_get_attach_cookie(ctx), MARK) : 0;
}

// The kernel's answer to the marked call; others ask for nothing that does not exist.
SEC("kretprobe")
int on_kretprobe(struct pt_regs *ctx)
{
	__s64 answer = (int)PT_REGS_RC(ctx);

	return answer == -3 ? see(1, bpf_get_attach_cookie(ctx), answer) : 0;
}

SEC("kprobe.multi")
int on_kprobe_multi(struct pt_regs *ctx)
{
	return is_marked(ctx) ? see(2, bpf_get_attach_cookie(ctx), 0) : 0;
}

SEC("kretprobe.multi")
int on_kretprobe_multi(struct pt_regs *ctx)
{
	__s64 answer = (int)PT_REGS_RC(ctx);

	return answer == -3 ? see(3, bpf_get_attach_cookie(ctx), answer) : 0;
}

SEC("ksyscall")
int BPF_KSYSCALL(on_ksyscall, int pid)
{
	return (__u32)pid == MARK ? see(4, bpf_get_attach_cookie(ctx), pid) : 0;
}

SEC("kretsyscall")
int on_kretsyscall(struct pt_regs *ctx)
{
	__s64 answer = (int)PT_REGS_RC(ctx);

	return answer == -3 ? see(5, bpf_get_attach_cookie(ctx), answer) : 0;
}

SEC("uprobe")
int BPF_KPROBE(on_uprobe, long argument)
{
	return see(6, bpf_get_attach_cookie(ctx), argument);
}

SEC("uretprobe")
int on_uretprobe(struct pt_regs *ctx)
{
	return see(7, bpf_get_attach_cookie(ctx), (int)PT_REGS_RC(ctx));
}

SEC("usdt")
int BPF_USDT(on_usdt, int number, long other)
{
	return see(8, bpf_usdt_cookie(ctx), (__s64)number + other);
}

// With newer versions of libbpf a section of the wrong kind.
SEC("?uprobe")
int BPF_USDT(usdt_as_uprobe, int number)
{
	return see(8, 0, number);
}

// At the place that its section names.
SEC("kprobe/__x64_sys_getpgid")
int by_section_kprobe(struct pt_regs *ctx)
{
	return is_marked(ctx) ? see(9, 0, 0) : 0;
}

SEC("kprobe.multi/*_x64_sys_getpgi?")
int by_section_kprobe_multi(struct pt_regs *ctx)
{
	return is_marked(ctx) ? see(10, 0, 0) : 0;
}

SEC("kretsyscall/getpgid")
int by_section_kretsyscall(struct pt_regs *ctx)
{
	__s64 answer = (int)PT_REGS_RC(ctx);

	return answer == -3 ? see(11, 0, answer) : 0;
}

SEC("uprobe//proc/self/exe:probed_function")
int BPF_KPROBE(by_section_uprobe, long argument)
{
	return see(12, 0, argument);
}

SEC("usdt//proc/self/exe:tinybpf_test:place")
int BPF_USDT(by_section_usdt, int number)
{
	return see(13, 0, number);
}

// Where nothing is.
SEC("kprobe/__x64_sys_getpgjd")
int nowhere_kprobe(void *ctx)
{
	return 0;
}

SEC("uprobe//proc/self/exe:probed_functjon")
int nowhere_uprobe(void *ctx)
{
	return 0;
}

SEC("usdt//proc/self/exe:tinybpf_test:plaice")
int nowhere_usdt(void *ctx)
{
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int of_another_type(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
