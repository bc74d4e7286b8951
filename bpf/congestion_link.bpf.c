// The same, to be held by a link of the kernel's.
#define CONGESTION_SECTION ".struct_ops.link"
#include "congestion.bpf.c"
