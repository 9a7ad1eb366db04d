// SPDX-License-Identifier: BSD-2-Clause
// Trace events: a ring per CPU of (TSC, event, argument), always on, read by the console and printed by a
// panic. The names are stable: tools/bench.py and people depend on them. About 15 instructions an event; not
// for the shortest exits (CPUID, RDMSR).
#pragma once
#include <stdint.h>

/// X(enumerator, name on the console, what the argument is)
#define TRACE_EVENTS(X)                                                                                      \
    X(TRACE_EXIT, "exit", "VM exit reason, of exits that reach a device")                                    \
    X(TRACE_ENTRY, "entry", "VM exit reason handled; next is VM entry")                                      \
    X(TRACE_DECODED, "decoded", "bytes of the emulated instruction")                                         \
    X(TRACE_REQUEST, "request", "record type queued on a link")                                              \
    X(TRACE_DOORBELL, "doorbell", "bytes of the frame handed to the NIC")                                    \
    X(TRACE_FRAME, "frame", "bytes of a frame taken from the NIC")                                           \
    X(TRACE_COMPLETION, "completion", "completion status")                                                   \
    X(TRACE_GUEST_START, "guest-start", "guest index: about to enter its first instruction")                 \
    X(TRACE_GUEST_STOP, "guest-stop", "guest index")

enum trace_event {
#define X(e, name, arg) e,
    TRACE_EVENTS(X)
#undef X
        TRACE_EVENT_COUNT
};

#define TRACE_RING 256u // events kept per CPU, a power of two

/// Appends an event to this CPU's ring.
void trace(enum trace_event event, uint32_t arg);

struct trace_record {
    uint64_t tsc;
    uint32_t event, arg;
};

/// The `back`-th newest event of a CPU's ring (0: the newest). False: there is none.
_Bool trace_get(uint32_t cpu, uint32_t back, struct trace_record *out);
const char *trace_name(uint32_t event);
