/* What a program of the tests has seen: a slot of `seen` for each program. Its other side is test/seen.hpp. */
#ifndef SEEN_BPF_H
#define SEEN_BPF_H

#define MARK 0x5eed0b9f /* no process has this id */

struct sight {
	__u64 count;
	__u64 cookie; /* these are of the last time */
	__s64 value;
	__u64 pid;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct sight);
} seen SEC(".maps");

static __always_inline int see(__u32 slot, __u64 cookie, __s64 value)
{
	struct sight *s = bpf_map_lookup_elem(&seen, &slot);

	if (!s)
		return 0;
	s->cookie = cookie;
	s->value = value;
	s->pid = bpf_get_current_pid_tgid() >> 32;
	__sync_fetch_and_add(&s->count, 1);
	return 0;
}

#endif
