// Refuses addresses to sockets of a control group, where a security module would.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

__u64 seen;

SEC("lsm_cgroup/socket_bind")
int BPF_PROG(on_socket_bind, struct socket *sock, struct sockaddr *address, int size)
{
	__sync_fetch_and_add(&seen, 1);
	return 0; // as for every program of a control group: no
}

char LICENSE[] SEC("license") = "GPL";
