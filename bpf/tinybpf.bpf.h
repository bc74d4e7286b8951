/* What a BPF program includes to hand events to tinybpf, so that none is lost in silence.
 *
 *     #include "vmlinux.h"
 *     #include <bpf/bpf_helpers.h>
 *     #include "tinybpf.bpf.h"
 *
 *     TINYBPF_RINGBUF(events, 256 * 1024);
 *
 *     SEC("tracepoint/sched/sched_process_exec")
 *     int on_exec(void *ctx)
 *     {
 *             struct exec_event *e = tinybpf_reserve(events, sizeof(*e));
 *             if (!e)
 *                     return 0;
 *             e->pid = bpf_get_current_pid_tgid() >> 32;
 *             tinybpf_submit(e);
 *             return 0;
 *     }
 *
 * An event that found no room is counted in the map <ring>_lost, which tinybpf::ring_buffer::lost() reads without a
 * system call.
 * Both maps are weak, so that several objects with the same TINYBPF_RINGBUF can be linked into one.
 */
#ifndef TINYBPF_BPF_H
#define TINYBPF_BPF_H

/* One cache line a CPU. CPUs beyond the last slot share: the counters are atomic, so no loss goes uncounted. */
#define TINYBPF_LOST_SLOTS 256

struct tinybpf_lost_slot {
	__u64 count;
	__u64 padding[7];
};

/* A ring buffer of `bytes` bytes (a power of two, a multiple of the page size) and the counter of what it lost. */
#define TINYBPF_RINGBUF(ring, bytes)                     \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_RINGBUF);      \
		__uint(max_entries, bytes);              \
	} ring SEC(".maps") __weak;                      \
	TINYBPF_LOST_COUNTER(ring)

/* The counter alone, for a ring that is declared by hand. */
#define TINYBPF_LOST_COUNTER(ring)                       \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_ARRAY);        \
		__uint(max_entries, TINYBPF_LOST_SLOTS); \
		__uint(map_flags, BPF_F_MMAPABLE);       \
		__type(key, __u32);                      \
		__type(value, struct tinybpf_lost_slot); \
	} ring##_lost SEC(".maps") __weak

static __always_inline void tinybpf_count_lost(void *counter)
{
	__u32 slot = bpf_get_smp_processor_id() % TINYBPF_LOST_SLOTS;
	struct tinybpf_lost_slot *lost = bpf_map_lookup_elem(counter, &slot);

	if (lost)
		__sync_fetch_and_add(&lost->count, 1);
}

/* Room for an event in the ring, or NULL, which is counted. Every reservation ends in a submit or a discard. */
#define tinybpf_reserve(ring, size) tinybpf_reserve_in(&ring, ring, size)

/* The same in a ring that was looked up, such as this CPU's in an array of ring buffers; losses count as `counted_as`'s,
 * which TINYBPF_LOST_COUNTER declared. */
#define tinybpf_reserve_in(ring_pointer, counted_as, size)                    \
	({                                                                    \
		void *tinybpf_room = bpf_ringbuf_reserve(ring_pointer, size, 0); \
		if (!tinybpf_room)                                            \
			tinybpf_count_lost(&counted_as##_lost);               \
		tinybpf_room;                                                 \
	})

/* Hands the event over. */
#define tinybpf_submit(event) bpf_ringbuf_submit(event, 0)

/* Gives the room back: nobody sees the event, and it is not counted. */
#define tinybpf_discard(event) bpf_ringbuf_discard(event, 0)

/* Copies an event of `size` bytes, which need not be a constant, into the ring: 0, or an error, which is counted. */
#define tinybpf_output(ring, event, size)                                  \
	({                                                                 \
		long tinybpf_err = bpf_ringbuf_output(&ring, event, size, 0); \
		if (tinybpf_err)                                           \
			tinybpf_count_lost(&ring##_lost);                  \
		tinybpf_err;                                               \
	})

/* A stream of events that may go through a ring buffer of `bytes` bytes, as TINYBPF_RINGBUF declares it, or through perf
 * buffers: tinybpf::set_events_type decides before the object is loaded. Events are handed over by tinybpf_emit. */
#define TINYBPF_EVENTS(events, bytes)                                  \
	TINYBPF_RINGBUF(events, bytes);                                \
	__weak const volatile __u32 events##_type = BPF_MAP_TYPE_RINGBUF

/* Perf buffers, and the counter of what was lost without the kernel's knowledge. For tinybpf_emit, too. */
#define TINYBPF_PERF_EVENT_ARRAY(events)                               \
	struct {                                                       \
		__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);           \
		__uint(key_size, sizeof(__u32));                       \
		__uint(value_size, sizeof(__u32));                     \
	} events SEC(".maps") __weak;                                  \
	TINYBPF_LOST_COUNTER(events);                                  \
	__weak const volatile __u32 events##_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY

#define TINYBPF_ENOSPC 28

/* Copies an event of `size` bytes into what TINYBPF_EVENTS or TINYBPF_PERF_EVENT_ARRAY declared: 0, or an error. What
 * finds no room in a perf buffer is counted by the kernel, and all else that is lost by us. `ctx` is the program's. */
#define tinybpf_emit(ctx, events, event, size)                                                                  \
	({                                                                                                      \
		long tinybpf_err;                                                                               \
		if (events##_type == BPF_MAP_TYPE_PERF_EVENT_ARRAY) {                                           \
			tinybpf_err = bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, size);      \
			if (tinybpf_err && tinybpf_err != -TINYBPF_ENOSPC)                                      \
				tinybpf_count_lost(&events##_lost);                                             \
		} else {                                                                                        \
			tinybpf_err = bpf_ringbuf_output(&events, event, size, 0);                              \
			if (tinybpf_err)                                                                        \
				tinybpf_count_lost(&events##_lost);                                             \
		}                                                                                               \
		tinybpf_err;                                                                                    \
	})

#endif
