// Counts what sockets and their control groups do, and interferes with some of it.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// What there is for IPv4 and for IPv6 counts in one place.
enum {
	INGRESS,
	EGRESS,
	EITHER,
	SOCK_CREATE,
	SOCK_RELEASE,
	CONNECT,
	BIND,
	POST_BIND,
	SENDMSG,
	RECVMSG,
	GETPEERNAME,
	GETSOCKNAME,
	GETSOCKOPT,
	SETSOCKOPT,
	SYSCTL,
	DEVICE,
	SOCKOPS,
	LOOKUP,
	DISSECTOR,
	MSG,
	SKB,
	FILTER,
	CHOOSER,
	SLOTS
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} group SEC(".maps");

__u32 refuse;   // 1: what can be refused is
__u32 port;     // where what is for port 7007 goes
__u32 keep;     // so many bytes of a datagram, with its header
__u32 chosen;   // the socket of a group

static __always_inline void hit(__u32 slot)
{
	__u64 *value = bpf_map_lookup_elem(&hits, &slot);

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("cgroup_skb/ingress")
int on_ingress(struct __sk_buff *skb)
{
	hit(INGRESS);
	return !refuse;
}

SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *skb)
{
	hit(EGRESS);
	return !refuse;
}

SEC("cgroup/skb")
int on_either(struct __sk_buff *skb)
{
	hit(EITHER);
	return 1;
}

SEC("cgroup/sock_create")
int on_sock_create(struct bpf_sock *sk)
{
	hit(SOCK_CREATE);
	return !refuse;
}

SEC("cgroup/sock_release")
int on_sock_release(struct bpf_sock *sk)
{
	hit(SOCK_RELEASE);
	return 1;
}

// What is for port 7007 goes elsewhere.
static __always_inline int redirect(struct bpf_sock_addr *ctx, __u32 slot)
{
	hit(slot);
	if (ctx->user_port == bpf_htons(7007))
		ctx->user_port = bpf_htons(port);
	return 1;
}

// Its port is 7007, whatever is true.
static __always_inline int rename(struct bpf_sock_addr *ctx, __u32 slot)
{
	hit(slot);
	ctx->user_port = bpf_htons(7007);
	return 1;
}

static __always_inline int refuse_port(struct bpf_sock_addr *ctx)
{
	hit(BIND);
	return ctx->user_port != bpf_htons(7007);
}

static __always_inline int refuse_socket(void)
{
	hit(POST_BIND);
	return !refuse;
}

SEC("cgroup/connect4")
int on_connect4(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, CONNECT);
}

SEC("cgroup/connect6")
int on_connect6(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, CONNECT);
}

SEC("cgroup/bind4")
int on_bind4(struct bpf_sock_addr *ctx)
{
	return refuse_port(ctx);
}

SEC("cgroup/bind6")
int on_bind6(struct bpf_sock_addr *ctx)
{
	return refuse_port(ctx);
}

SEC("cgroup/post_bind4")
int on_post_bind4(struct bpf_sock *sk)
{
	return refuse_socket();
}

SEC("cgroup/post_bind6")
int on_post_bind6(struct bpf_sock *sk)
{
	return refuse_socket();
}

SEC("cgroup/sendmsg4")
int on_sendmsg4(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, SENDMSG);
}

SEC("cgroup/sendmsg6")
int on_sendmsg6(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, SENDMSG);
}

SEC("cgroup/recvmsg4")
int on_recvmsg4(struct bpf_sock_addr *ctx)
{
	return rename(ctx, RECVMSG);
}

SEC("cgroup/recvmsg6")
int on_recvmsg6(struct bpf_sock_addr *ctx)
{
	return rename(ctx, RECVMSG);
}

SEC("cgroup/getpeername4")
int on_getpeername4(struct bpf_sock_addr *ctx)
{
	return rename(ctx, GETPEERNAME);
}

SEC("cgroup/getpeername6")
int on_getpeername6(struct bpf_sock_addr *ctx)
{
	return rename(ctx, GETPEERNAME);
}

SEC("cgroup/getsockname4")
int on_getsockname4(struct bpf_sock_addr *ctx)
{
	return rename(ctx, GETSOCKNAME);
}

SEC("cgroup/getsockname6")
int on_getsockname6(struct bpf_sock_addr *ctx)
{
	return rename(ctx, GETSOCKNAME);
}

#define OWN_LEVEL 0xdead

SEC("cgroup/getsockopt")
int on_getsockopt(struct bpf_sockopt *ctx)
{
	__u8 *value = ctx->optval, *end = ctx->optval_end;

	if (ctx->level != OWN_LEVEL)
		return 1;
	hit(GETSOCKOPT);
	if (value + 1 > end)
		return 0;
	value[0] = 77;
	ctx->retval = 0;
	barrier(); // one store for both is refused
	ctx->optlen = 1;
	return 1;
}

SEC("cgroup/setsockopt")
int on_setsockopt(struct bpf_sockopt *ctx)
{
	if (ctx->level != OWN_LEVEL)
		return 1;
	hit(SETSOCKOPT);
	ctx->optlen = -1; // the kernel is not asked
	return 1;
}

SEC("cgroup/sysctl")
int on_sysctl(struct bpf_sysctl *ctx)
{
	hit(SYSCTL);
	return !refuse;
}

SEC("cgroup/dev")
int on_device(struct bpf_cgroup_dev_ctx *ctx)
{
	hit(DEVICE);
	return !(ctx->major == 1 && ctx->minor == 5); // /dev/zero
}

SEC("sockops")
int on_sockops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		hit(SOCKOPS);
	return 1;
}

SEC("sk_lookup")
int on_lookup(struct bpf_sk_lookup *ctx)
{
	__u32 first = 0;
	struct bpf_sock *sk;
	long err;

	if (ctx->local_port != 7007)
		return SK_PASS;
	hit(LOOKUP);
	sk = bpf_map_lookup_elem(&socks, &first);
	if (!sk)
		return SK_DROP;
	err = bpf_sk_assign(ctx, sk, 0);
	bpf_sk_release(sk);
	return err ? SK_DROP : SK_PASS;
}

SEC("flow_dissector")
int on_dissect(struct __sk_buff *skb)
{
	hit(DISSECTOR);
	return BPF_OK;
}

SEC("sk_msg")
int on_msg(struct sk_msg_md *msg)
{
	hit(MSG);
	return bpf_msg_redirect_map(msg, &socks, 1, BPF_F_INGRESS);
}

SEC("sk_skb/stream_verdict")
int on_stream(struct __sk_buff *skb)
{
	hit(SKB);
	return bpf_sk_redirect_map(skb, &socks, 1, 0);
}

SEC("sk_skb")
int on_skb(struct __sk_buff *skb)
{
	hit(SKB);
	return bpf_sk_redirect_map(skb, &socks, 1, 0);
}

SEC("socket")
int on_datagram(struct __sk_buff *skb)
{
	hit(FILTER);
	return keep;
}

SEC("socket")
int choose_by_number(struct __sk_buff *skb)
{
	hit(CHOOSER);
	return chosen;
}

SEC("sk_reuseport")
int choose_by_map(struct sk_reuseport_md *md)
{
	__u32 key = chosen;

	hit(CHOOSER);
	return bpf_sk_select_reuseport(md, &group, &key, 0) ? SK_DROP : SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";
