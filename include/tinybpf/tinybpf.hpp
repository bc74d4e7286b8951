// The whole library in one include. Including only what is needed compiles faster.
#pragma once

#include <tinybpf/async.hpp>
#include <tinybpf/batch.hpp>
#include <tinybpf/btf.hpp>
#include <tinybpf/dynamic_map.hpp>
#include <tinybpf/dynamic_value.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/event.hpp>
#include <tinybpf/event_source.hpp>
#include <tinybpf/json.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/link.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/number.hpp>
#include <tinybpf/object.hpp>
#include <tinybpf/perf_buffer.hpp>
#include <tinybpf/perf_options.hpp>
#include <tinybpf/program.hpp>
#include <tinybpf/reservation.hpp>
#include <tinybpf/ring_buffer.hpp>
#include <tinybpf/typed_map.hpp>
#include <tinybpf/types.hpp>
#include <tinybpf/user_ring_buffer.hpp>
#include <tinybpf/version.hpp>
#include <tinybpf/wakeup.hpp>
