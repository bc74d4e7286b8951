// A ring that nobody writes to.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "tinybpf.bpf.h"

TINYBPF_RINGBUF(idle, 4096);

char LICENSE[] SEC("license") = "GPL";
