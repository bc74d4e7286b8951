// States that TCP sockets pass through, and for how long they stayed in the one before.
// Awkward: unions of addresses, with a name and without, which `family` tells apart; an integer of 128 bits; ports in
// host order beside addresses in network order; a map that is keyed by a pointer.
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#define TASK_COMM_LEN 16
#define AF_INET 2

struct trace_entry {
	int pid;
} __attribute__((preserve_access_index));

struct trace_event_raw_inet_sock_set_state {
	struct trace_entry ent;
	const void *skaddr;
	int oldstate;
	int newstate;
	__u16 sport;
	__u16 dport;
	__u16 family;
	__u16 protocol;
	__u8 saddr[4];
	__u8 daddr[4];
	__u8 saddr_v6[16];
	__u8 daddr_v6[16];
} __attribute__((preserve_access_index));

struct sock;

enum tcp_state {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE,
	TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_LISTEN, TCP_CLOSING, TCP_NEW_SYN_RECV,
};

struct event {
	union {
		__u32 saddr_v4;
		__u8 saddr_v6[16];
	};
	union {
		__u32 v4;
		unsigned __int128 v6;
	} daddr;
	__u64 skaddr;
	__u64 delta_us;
	__u32 pid;
	enum tcp_state oldstate;
	enum tcp_state newstate;
	__u16 family;
	__u16 sport;
	__u16 dport;
	char task[TASK_COMM_LEN];
};

const struct event *unused_event __attribute__((unused));

const volatile __u16 target_family = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct sock *);
	__type(value, __u64);
} timestamps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

SEC("tracepoint/sock/inet_sock_set_state")
int handle_set_state(struct trace_event_raw_inet_sock_set_state *ctx)
{
	struct sock *sk = (struct sock *)ctx->skaddr;
	__u64 *tsp, ts = bpf_ktime_get_ns();
	struct event event = {};

	if (ctx->protocol != IPPROTO_TCP || (target_family && target_family != ctx->family))
		return 0;

	tsp = bpf_map_lookup_elem(&timestamps, &sk);
	event.delta_us = tsp ? (ts - *tsp) / 1000 : 0;
	event.skaddr = (__u64)sk;
	event.pid = bpf_get_current_pid_tgid() >> 32;
	event.oldstate = ctx->oldstate;
	event.newstate = ctx->newstate;
	event.family = ctx->family;
	event.sport = ctx->sport;
	event.dport = ctx->dport;
	bpf_get_current_comm(event.task, sizeof(event.task));
	if (event.family == AF_INET) {
		bpf_probe_read_kernel(&event.saddr_v4, sizeof(event.saddr_v4), &ctx->saddr);
		bpf_probe_read_kernel(&event.daddr.v4, sizeof(event.daddr.v4), &ctx->daddr);
	} else {
		bpf_probe_read_kernel(&event.saddr_v6, sizeof(event.saddr_v6), &ctx->saddr_v6);
		bpf_probe_read_kernel(&event.daddr.v6, sizeof(event.daddr.v6), &ctx->daddr_v6);
	}
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));

	if (ctx->newstate == TCP_CLOSE)
		bpf_map_delete_elem(&timestamps, &sk);
	else
		bpf_map_update_elem(&timestamps, &sk, &ts, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
