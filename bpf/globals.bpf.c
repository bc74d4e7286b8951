// Global variables in all sections that they can be in, and programs that read and change them.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

enum mode { mode_off, mode_on, mode_automatic };

struct config {
	__u16 port;
	__u16 family;
	__u32 limit;
	char name[16];
};

struct pair {
	__u32 low;
	__u32 high;
};

struct config cfg = {80, 2, 100, "first"};
__u64 count = 5;
__s32 balance = -7;
__u16 narrow = 60000;
__u8 level = 200;
bool enabled = true;
enum mode mode = mode_on;
__u32 table[4] = {1, 2, 3, 4};
struct pair pair = {1, 2};
__u32 between = 1;
struct pair other_pair = {3, 4};
static volatile __u32 hidden = 11;

__u64 hits;
struct config empty;
static volatile __u32 hidden_hits;

const volatile __u32 step = 1;
const volatile struct config preset = {443, 10, 1, "fixed"};
static const volatile __u32 hidden_step = 2;

extern int LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_BPF __kconfig;

__u64 mine SEC(".data.mine") = 40;
static volatile __u32 secret SEC(".data.secret") = 3; // the only one of its section
__u32 cleared SEC(".bss.mine");
const volatile __u32 my_step SEC(".rodata.mine") = 6;
const volatile __u32 other_step SEC(".rodata.other") = 7;

// What a program sees.
struct view {
	struct config cfg;
	struct config preset;
	__u64 count;
	__u64 hits;
	__u64 mine;
	__s32 balance;
	__u32 hidden;
	__u32 hidden_hits;
	__u32 step;
	__u32 hidden_step;
	__u32 secret;
	__u32 cleared;
	__u32 my_step;
	__u32 other_step;
	__s32 version;
	__s32 hz;
	__u32 mode;
	__u32 table[4];
	__u16 narrow;
	__u8 level;
	__u8 enabled;
	__u8 bpf_syscall;
	__u8 bpf;
	__u8 padding[2];
};

SEC("syscall")
int look(struct view *v)
{
	v->cfg = cfg;
	v->preset.port = preset.port;
	v->preset.limit = preset.limit;
	v->count = count;
	v->hits = hits;
	v->mine = mine;
	v->balance = balance;
	v->hidden = hidden;
	v->hidden_hits = hidden_hits;
	v->step = step;
	v->hidden_step = hidden_step;
	v->secret = secret;
	v->cleared = cleared;
	v->my_step = my_step;
	v->other_step = other_step;
	v->version = LINUX_KERNEL_VERSION;
	v->hz = CONFIG_HZ;
	v->mode = mode;
	for (int i = 0; i < 4; i++)
		v->table[i] = table[i];
	v->narrow = narrow;
	v->level = level;
	v->enabled = enabled;
	v->bpf_syscall = CONFIG_BPF_SYSCALL;
	v->bpf = CONFIG_BPF;
	return 0;
}

// Each by another amount.
SEC("syscall")
int change(void *ctx)
{
	__sync_fetch_and_add(&hits, step);
	count += 2;
	balance -= 3;
	hidden += 4;
	hidden_hits += 5;
	mine += 6;
	secret += 7;
	cleared += 8;
	cfg.limit += 9;
	empty.port += 10;
	table[2] += 11;
	pair.low += 12;
	narrow += 13;
	level += 14;
	enabled = !enabled;
	mode = mode_automatic;
	return 0;
}

static long add_one(__u32 i, void *ctx)
{
	__sync_fetch_and_add(&hits, 1);
	return 0;
}

struct add_args {
	__u32 times;
	__u32 padding;
};

SEC("syscall")
int add(struct add_args *args)
{
	bpf_loop(args->times, add_one, NULL, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
