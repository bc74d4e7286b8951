// Programs for places that no kernel has.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

SEC("fentry/security_task_getpgjd")
int nowhere_fentry(void *ctx)
{
	return 0;
}

SEC("lsm/task_getpgjd")
int nowhere_lsm(void *ctx)
{
	return 0;
}

SEC("tp_btf/sched_swjtch")
int nowhere_tp_btf(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
