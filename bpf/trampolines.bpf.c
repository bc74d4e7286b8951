// A program for each place that takes a trampoline in a function of the kernel.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "seen.bpf.h"

// Whose calls count, and are refused by what can refuse.
int watched = 0;

static __always_inline int is_watched(void)
{
	return watched != 0 && bpf_get_current_pid_tgid() >> 32 == watched;
}

static __always_inline int see_watched(__u32 slot, __u64 cookie, __s64 value)
{
	return is_watched() ? see(slot, cookie, value) : 0;
}

// What getpgid(2) asks before it answers.
SEC("fentry/security_task_getpgid")
int BPF_PROG(on_fentry, struct task_struct *task)
{
	return see_watched(0, bpf_get_attach_cookie(ctx), task->tgid);
}

SEC("fexit/security_task_getpgid")
int BPF_PROG(on_fexit, struct task_struct *task, int answer)
{
	return see_watched(1, bpf_get_attach_cookie(ctx), answer);
}

SEC("fmod_ret/security_task_getpgid")
int BPF_PROG(on_fmod_ret, struct task_struct *task, int answer)
{
	see_watched(2, bpf_get_attach_cookie(ctx), task->tgid);
	return is_watched() ? -7 : answer; // E2BIG, which it never says by itself
}

SEC("lsm/task_getpgid")
int BPF_PROG(on_lsm, struct task_struct *task)
{
	see_watched(3, bpf_get_attach_cookie(ctx), task->tgid);
	return is_watched() ? -1 : 0;
}

char LICENSE[] SEC("license") = "GPL";
