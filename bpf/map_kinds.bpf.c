// A map of each kind that the tests of maps need, and no program.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct flow_key {
	__u32 address;
	__u16 port;
	__u16 protocol;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, struct flow_key);
	__type(value, __u64);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u32);
} slots SEC(".maps");

// A value of which the kernel rounds each CPU's copy up to 8 bytes.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} slots_by_cpu SEC(".maps");

// A name that the kernel cuts.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counters_by_key_and_cpu SEC(".maps");
