// The reader of the user ring buffer benchmark: takes everything and looks at nothing.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 64 * 1024 * 1024);
} commands SEC(".maps");

struct drain_args {
	__s64 result; // records, or an error
};

static long on_record(struct bpf_dynptr *record, void *context)
{
	return 0;
}

SEC("syscall")
int drain(struct drain_args *args)
{
	args->result = bpf_user_ringbuf_drain(&commands, on_record, NULL, BPF_RB_NO_WAKEUP);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
