// Drains a user ring buffer and answers each command through a ring buffer.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

struct command {
	__u64 serial;
	__u64 value;
};

struct answer {
	__u64 serial;
	__u64 value;
};

struct command command_anchor; // keep the types in BTF
struct answer answer_anchor;

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} commands SEC(".maps");

TINYBPF_RINGBUF(answers, 1024 * 1024);

struct drain_args {
	__u64 flags;
	__u64 most; // commands to take; 0 for all
	__s64 result; // what bpf_user_ringbuf_drain said
};

struct drain_state {
	__u64 left;
};

static long on_command(struct bpf_dynptr *record, void *context)
{
	struct drain_state *state = context;
	struct command c = {};
	struct answer *a;

	bpf_dynptr_read(&c, sizeof(c), record, 0, 0);
	a = tinybpf_reserve(answers, sizeof(*a));
	if (a) {
		a->serial = c.serial;
		a->value = c.value * 2;
		tinybpf_submit(a);
	}
	return --state->left == 0;
}

SEC("syscall")
int drain(struct drain_args *args)
{
	struct drain_state state = { .left = args->most };

	args->result = bpf_user_ringbuf_drain(&commands, on_command, &state, args->flags);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
