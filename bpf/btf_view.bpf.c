// Types of every kind, to be looked at by btf_test and dynamic_value_test. Opened, and never loaded.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define KEEP(type, name) type name##_anchor

enum v_color { v_red, v_green = 5, v_blue = -1 };
enum v_flags { v_none, v_high = 0x80000000 };
enum v_wide { v_small = 1, v_huge = 0xf000000000000000 };
enum v_deep { v_top = 1, v_bottom = -0x100000000 };
enum { v_nameless_one = 1, v_nameless_two } v_nameless_anchor;
KEEP(enum v_color, v_color);
KEEP(enum v_flags, v_flags);
KEEP(enum v_wide, v_wide);
KEEP(enum v_deep, v_deep);

struct v_point {
	__s32 x;
	__s32 y;
};

union v_either {
	__u32 word;
	__u8 bytes[4];
	struct v_point point;
};

struct v_scalars {
	char c;
	signed char sc;
	unsigned char uc;
	bool flag;
	__s16 s16;
	__u16 u16;
	__s32 s32;
	__u32 u32;
	__s64 s64;
	__u64 u64;
	float f;
	enum v_color color;
	double d;
	void *pointer;
	__int128 s128;
	unsigned __int128 u128;
	enum v_flags flags;
	enum v_deep deep;
	enum v_wide wide;
	struct v_point *to_point;
};
KEEP(struct v_scalars, v_scalars);

struct v_arrays {
	char text[8];
	__u8 octets[4];
	char lines[2][4];
	__u16 matrix[2][3];
	struct v_point points[2];
	enum v_color colors[2];
};
KEEP(struct v_arrays, v_arrays);

struct v_bits {
	__u32 low : 3;
	__s32 middle : 7;
	__u32 : 6;
	__u32 high : 16;
	bool yes : 1;
	enum v_color color : 8;
};
KEEP(struct v_bits, v_bits);

struct v_packed {
	__u64 lead : 5;
	__u64 wide : 64;
	__s64 crossing : 13;
	__s32 negative : 31;
	__u32 last : 7;
} __attribute__((packed));
KEEP(struct v_packed, v_packed);

// A bit-field whose type does not fit behind its place.
struct v_tight {
	__u8 lead[3];
	__u32 flag : 1;
} __attribute__((packed));
KEEP(struct v_tight, v_tight);

struct v_nested {
	__u8 lead;
	struct {
		__u32 in_struct;
		union {
			__u64 as_number;
			struct {
				__u16 deepest;
				__u16 beside;
			};
		};
	};
	union v_either either;
	const volatile struct v_point place;
};
KEEP(struct v_nested, v_nested);

struct v_flexible {
	__u32 count;
	__u16 tail[];
};
KEEP(struct v_flexible, v_flexible);

struct v_flexible_points {
	__u32 count;
	struct v_point tail[];
};
KEEP(struct v_flexible_points, v_flexible_points);

struct v_flexible_text {
	__u32 length;
	char text[];
};
KEEP(struct v_flexible_text, v_flexible_text);

// The flexible array is that of a member without a name.
struct v_flexible_inside {
	__u32 kind;
	struct {
		__u32 count;
		__u16 tail[];
	};
};
KEEP(struct v_flexible_inside, v_flexible_inside);

// An array that marks a place.
struct v_marked {
	__u32 before;
	__u8 here[0];
	__u32 behind;
};
KEEP(struct v_marked, v_marked);

struct v_empty {};
KEEP(struct v_empty, v_empty);

struct v_with_forward {
	struct v_forward *pointer;
	union v_forward_union *other;
};
KEEP(struct v_with_forward, v_with_forward);

typedef __u32 v_alias;
typedef const volatile v_alias v_chain;
KEEP(v_alias, v_alias);
v_chain v_chain_anchor = 1;

int *d_pointer;
char const *d_text;
char *const d_const_pointer = 0;
char const *const *d_chain;
int (*d_pointer_to_array)[4];
int *d_array_of_pointers[4];
int *const d_array_of_const_pointers[2] = {};
int (*d_function)(int, char const *);
void (*d_functions[3])(void);
int (*(*d_returns_function)(long))(char);
int d_matrix[2][3];
volatile int d_volatile;
int *const volatile d_const_volatile_pointer = 0;
const volatile int d_const_volatile = 0;
struct v_point d_struct;
union v_either d_union;
enum v_color d_enum;
struct v_forward *d_forward;
union v_forward_union *d_forward_union;
int (*d_variadic)(char const *, ...);
void *restrict d_restrict;
struct {
	int x;
} d_nameless;
__u32 d_typedef;
unsigned long d_ulong;
const struct v_point *(*d_points[2])(struct v_point (*)[2], union v_either *const *);

__u32 written = 7;
const volatile __u32 asked = 9;
char own_section[4] SEC(".data.own") = "own";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, struct v_point);
	__type(value, struct v_scalars);
} a_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, enum v_color);
} an_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, struct v_point);
} a_queue SEC(".maps");

// The kernel takes no value size here: to be opened, not to be loaded.
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__type(value, struct v_flexible);
} a_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 8);
} sized_only SEC(".maps");

__attribute__((noinline)) int v_global_function(const struct v_point *p, __u64 factor)
{
	return p ? p->x * (int)factor : 0;
}

static __attribute__((noinline)) __u64 v_static_function(__u32 number)
{
	return number * 3 + d_volatile;
}

SEC("raw_tp/sched_switch")
int v_program(void *ctx)
{
	struct v_point p = { .x = d_volatile, .y = 1 };

	return v_global_function(&p, v_static_function(d_volatile)) & 1;
}

char LICENSE[] SEC("license") = "GPL";
