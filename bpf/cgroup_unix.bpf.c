// Gives sockets of the local machine another address. libbpf knows these sections since 1.3 only.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_sock_addr_kern {
};

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern int bpf_sock_addr_set_sun_path(struct bpf_sock_addr_kern *address, const __u8 *path, __u32 path__sz) __ksym;

__u8 there[] = "\0tinybpf_there"; // not const: the kernel refuses what it could not write to

static __always_inline int redirect(struct bpf_sock_addr *ctx)
{
	bpf_sock_addr_set_sun_path(bpf_cast_to_kern_ctx(ctx), there, sizeof(there) - 1);
	return 1;
}

SEC("cgroup/connect_unix")
int on_connect(struct bpf_sock_addr *ctx)
{
	return redirect(ctx);
}

SEC("cgroup/sendmsg_unix")
int on_sendmsg(struct bpf_sock_addr *ctx)
{
	return redirect(ctx);
}

SEC("cgroup/recvmsg_unix")
int on_recvmsg(struct bpf_sock_addr *ctx)
{
	return redirect(ctx);
}

SEC("cgroup/getpeername_unix")
int on_getpeername(struct bpf_sock_addr *ctx)
{
	return redirect(ctx);
}

SEC("cgroup/getsockname_unix")
int on_getsockname(struct bpf_sock_addr *ctx)
{
	return redirect(ctx);
}

char LICENSE[] SEC("license") = "GPL";
