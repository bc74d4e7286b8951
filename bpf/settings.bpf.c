// Maps to be set up, shared and pinned, and a program that uses them.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct session_key {
	__u32 address;
	__u16 port;
	__u16 protocol;
};

struct session {
	__u64 packets;
	__u32 first;
	__u32 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, struct session_key);
	__type(value, struct session);
} sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} by_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} a_name_that_the_kernel_cuts SEC(".maps");

__u64 runs = 1;

struct event {
	__u64 serial;
};

struct event event_anchor; // keep the type in BTF

SEC("raw_tracepoint")
int work(void *ctx)
{
	struct session_key session_key = {1, 2, 3};
	struct session *session, fresh = {1, 0, 0};
	__u32 zero = 0;
	__u64 *value;
	struct event e;

	e.serial = __sync_fetch_and_add(&runs, 1);
	value = bpf_map_lookup_elem(&totals, &zero);
	if (value)
		__sync_fetch_and_add(value, 1);
	value = bpf_map_lookup_elem(&by_cpu, &zero);
	if (value)
		*value += 1;
	session = bpf_map_lookup_elem(&sessions, &session_key);
	if (session)
		__sync_fetch_and_add(&session->packets, 1);
	else
		bpf_map_update_elem(&sessions, &session_key, &fresh, BPF_ANY);
	bpf_ringbuf_output(&events, &e, sizeof(e), 0);
	bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &e, sizeof(e));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
