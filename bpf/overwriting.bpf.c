// A ring whose writers overwrite what was not read: newer kernels than most have it.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__uint(map_flags, 1U << 19); // BPF_F_RB_OVERWRITE
} events SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
