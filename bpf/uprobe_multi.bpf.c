// For uprobe.multi, of which libbpf knows the sections since 1.3 only.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "seen.bpf.h"

SEC("uprobe.multi")
int BPF_KPROBE(on_uprobe_multi, long argument)
{
	return see(0, bpf_get_attach_cookie(ctx), argument);
}

SEC("uretprobe.multi")
int on_uretprobe_multi(struct pt_regs *ctx)
{
	return see(1, bpf_get_attach_cookie(ctx), (int)PT_REGS_RC(ctx));
}

char LICENSE[] SEC("license") = "GPL";
