// The same congestion control in the section of those that are not made unless somebody asks (libbpf 1.4).
#define CONGESTION_SECTION "?.struct_ops"
#include "congestion.bpf.c"
