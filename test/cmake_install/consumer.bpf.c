#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

TINYBPF_RINGBUF(events, 4096);

SEC("raw_tracepoint/sched_process_exec")
int on_exec(void *ctx)
{
	__u64 *event = tinybpf_reserve(events, sizeof(*event));

	if (!event)
		return 0;
	*event = bpf_ktime_get_ns();
	tinybpf_submit(event);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
