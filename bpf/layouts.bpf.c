// The C side of layouts_test.cpp. No program: each type is here for its BTF, and a global variable keeps it there.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#define KEEP(type, name) type name##_anchor

struct t_scalars {
	__u8 a;
	__s8 b;
	__u16 c;
	__s16 d;
	__u32 e;
	__s32 f;
	__u64 g;
	__s64 h;
};
KEEP(struct t_scalars, t_scalars);

struct t_pair {
	__u32 pid;
	__u32 tgid;
};
KEEP(struct t_pair, t_pair);

// Padding that somebody wrote down.
struct t_event {
	__u32 pid;
	__u32 pad;
	__u64 time;
};
KEEP(struct t_event, t_event);

// Padding that nobody did, before a field and behind the last.
struct t_hole {
	__u32 pid;
	__u64 time;
};
KEEP(struct t_hole, t_hole);

struct t_tail {
	__u64 time;
	__u32 pid;
};
KEEP(struct t_tail, t_tail);

struct t_packed {
	__u8 a;
	__u32 b;
	__u16 c;
} __attribute__((packed));
KEEP(struct t_packed, t_packed);

struct t_aligned {
	__u32 a;
} __attribute__((aligned(16)));
KEEP(struct t_aligned, t_aligned);

struct t_comm {
	__u32 pid;
	char comm[16];
};
KEEP(struct t_comm, t_comm);

struct t_longs {
	long a;
	unsigned long b;
	long long c;
};
KEEP(struct t_longs, t_longs);

struct t_ints {
	__u32 a;
	__u32 b;
	__u32 c;
};
KEEP(struct t_ints, t_ints);

typedef const __u64 t_nanoseconds;
typedef volatile t_nanoseconds t_time;
struct t_qualified {
	const __u32 a;
	volatile __s32 b;
	t_time c;
	const volatile __u16 d[2];
};
KEEP(struct t_qualified, t_qualified);
typedef const struct t_pair t_pair_alias;
KEEP(t_pair_alias *, t_pair_alias);

struct t_flags {
	bool on;
	bool off;
	__u16 count;
};
KEEP(struct t_flags, t_flags);

struct t_floats {
	float narrow;
	double wide;
};
KEEP(struct t_floats, t_floats);

struct t_chars {
	char c;
	signed char s;
	unsigned char u;
	char text[5];
	__u8 raw[8];
};
KEEP(struct t_chars, t_chars);

enum t_state { T_IDLE, T_BUSY };
enum t_sign { T_MINUS = -1, T_PLUS = 1 };
enum t_wide { T_HUGE = 1ULL << 40 };
struct t_enums {
	enum t_state state;
	enum t_sign sign;
	enum t_wide wide;
	__u8 kind;
};
KEEP(struct t_enums, t_enums);

struct t_nested {
	__u32 id;
	struct t_pair who;
	struct {
		__u16 x;
		__u16 y;
	} at;
};
KEEP(struct t_nested, t_nested);

struct t_deep {
	struct {
		struct {
			__u16 port;
			__u16 family;
		} to;
		__u32 mark;
	} flow;
};
KEEP(struct t_deep, t_deep);

struct t_anonymous {
	__u32 id;
	struct {
		__u32 x;
		__u32 y;
	};
};
KEEP(struct t_anonymous, t_anonymous);

struct t_anonymous_inside {
	struct {
		struct {
			__u32 x;
		};
		__u32 y;
	} at;
};
KEEP(struct t_anonymous_inside, t_anonymous_inside);

struct t_arrays {
	__u32 ports[4];
	__u8 table[2][3];
};
KEEP(struct t_arrays, t_arrays);

struct t_point {
	__u16 x;
	__u32 y;
};
struct t_records {
	__u64 count;
	struct t_point points[3];
};
KEEP(struct t_records, t_records);

struct t_record {
	struct t_point points[1];
};
KEEP(struct t_record, t_record);

struct t_windows {
	struct {
		__u32 limits[2];
		__u64 since;
	} windows[2];
};
KEEP(struct t_windows, t_windows);

struct t_one {
	__u32 v[1];
};
KEEP(struct t_one, t_one);
typedef struct t_one t_ones[2];
KEEP(t_ones, t_ones);

struct t_unions {
	__u32 family;
	union {
		__u32 v4;
		__u32 v6[4];
	} address;
	__u32 port;
};
KEEP(struct t_unions, t_unions);

struct t_padded_union {
	__u64 id;
	union {
		__u32 a;
		__u16 b;
	} value;
};
KEEP(struct t_padded_union, t_padded_union);

struct t_union_list {
	__u64 count;
	union {
		__u32 a;
		__u16 b;
	} values[3];
};
KEEP(struct t_union_list, t_union_list);

struct t_anonymous_union {
	__u64 id;
	union {
		__u64 number;
		void *pointer;
	};
};
KEEP(struct t_anonymous_union, t_anonymous_union);

union t_either {
	__u32 a;
	__u64 b;
};
KEEP(union t_either, t_either);

struct t_bits {
	__u32 pid;
	__u32 first : 3;
	__u32 second : 5;
	__u64 time;
};
KEEP(struct t_bits, t_bits);

// The second lies in two bytes.
struct t_crossing_bits {
	__u32 first : 6;
	__u32 second : 6;
};
KEEP(struct t_crossing_bits, t_crossing_bits);

struct t_bit_records {
	struct {
		__u32 a;
		__u32 bits : 3;
	} records[3];
};
KEEP(struct t_bit_records, t_bit_records);

struct t_pointers {
	void *here;
	__u64 there;
};
KEEP(struct t_pointers, t_pointers);

struct t_list {
	struct t_list *next;
	__u64 value;
};
KEEP(struct t_list, t_list);

typedef __u32 t_number;
KEEP(t_number, t_number);
typedef __u32 t_quad[4];
KEEP(t_quad, t_quad);
typedef struct t_point t_points[2];
KEEP(t_points, t_points);

// What is no good.

struct t_declared;
KEEP(struct t_declared *, t_declared);

struct t_with_declared {
	struct t_declared *far;
};
KEEP(struct t_with_declared, t_with_declared);

struct t_empty {};
KEEP(struct t_empty, t_empty);

struct t_flexible {
	__u32 length;
	__u32 kind;
	char data[];
};
KEEP(struct t_flexible, t_flexible);

// Used in a function alone: no BTF.
struct t_unanchored {
	__u32 pid;
	__u32 answer;
};

SEC("socket")
int unanchored(void *ctx)
{
	volatile struct t_unanchored local = {};

	return local.answer;
}

char LICENSE[] SEC("license") = "GPL";
