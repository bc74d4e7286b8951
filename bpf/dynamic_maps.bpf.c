// Maps of numbers and of other things, for dynamic_map_test.cpp, and a program that needs the kernel's types to load.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

enum color { red, green = 5, blue = -1 };
enum wide { small = 1, huge = 0xf000000000000000 };

#define MAP(name, kind, key_type, value_type)         \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_##kind);    \
		__uint(max_entries, 8);               \
		__type(key, key_type);                \
		__type(value, value_type);            \
	} name SEC(".maps")

MAP(u8_s8, HASH, __u8, __s8);
MAP(s8_u8, HASH, __s8, __u8);
MAP(u16_s16, HASH, __u16, __s16);
MAP(s16_u16, HASH, __s16, __u16);
MAP(u32_s32, HASH, __u32, __s32);
MAP(s32_u32, HASH, __s32, __u32);
MAP(u64_s64, HASH, __u64, __s64);
MAP(s64_u64, HASH, __s64, __u64);
MAP(bool_bool, HASH, bool, bool);
MAP(color_wide, HASH, enum color, enum wide);
MAP(u32_float, HASH, __u32, float);
MAP(u32_double, HASH, __u32, double);
MAP(char_int128, HASH, char, __int128);
MAP(an_array, ARRAY, __u32, __u64);
MAP(by_cpu, PERCPU_ARRAY, __u32, __u32);
MAP(hash_by_cpu, PERCPU_HASH, __u32, __u64);
MAP(lru, LRU_HASH, __u32, __u32);

struct point {
	__s32 x;
	__s32 y;
};
MAP(points, HASH, struct point, __u32);
MAP(to_points, HASH, __u32, struct point);

struct prefix {
	__u32 length;
	__u8 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__type(value, __u32);
} a_queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} a_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 4);
} sized_only SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} inner_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} of_maps SEC(".maps") = {
	.values = { &inner_map },
};

__u32 counter = 7;
struct point place = { 3, -4 };

SEC("raw_tp/sched_switch")
int with_core(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	counter += BPF_CORE_READ(task, pid) != 0;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
