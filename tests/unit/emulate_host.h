// SPDX-License-Identifier: BSD-2-Clause
// What tests of the emulator share: a little machine whose linear memory is one buffer, and the same
// instruction run natively.
#pragma once
#include "hv/vm/emulate.h"
#include <stdint.h>
#include <string.h>

#define MACHINE_BYTES 16384u

struct machine {
    uint64_t base; // linear address of memory[0]
    uint8_t memory[MACHINE_BYTES];
    uint64_t code; // linear address of code_bytes[0]
    uint8_t code_bytes[32];
    unsigned code_size; // bytes that can be fetched
    unsigned reads, writes, fetches, refused;
    int fail_after; // accesses that still succeed; -1: all
};

static inline bool machine_span(const struct machine *m, uint64_t linear, size_t size)
{
    return linear >= m->base && size <= MACHINE_BYTES && linear - m->base <= MACHINE_BYTES - size;
}

static inline bool machine_fault(struct machine *m, uint64_t linear, uint32_t error,
                                 struct emulate_fault *fault)
{
    m->refused++;
    *fault = (struct emulate_fault){.vector = 14, .has_error = true, .error = error, .cr2 = linear};
    return false;
}

static inline bool machine_fetch(void *ctx, uint64_t linear, uint8_t *bytes, size_t want, size_t *got,
                                 struct emulate_fault *fault)
{
    struct machine *m = ctx;
    m->fetches++;
    if (linear < m->code || linear - m->code >= m->code_size)
        return machine_fault(m, linear, 0x10, fault);
    size_t there = m->code_size - (size_t)(linear - m->code);
    *got = want < there ? want : there;
    memcpy(bytes, m->code_bytes + (linear - m->code), *got);
    return true;
}

static inline bool machine_admits(struct machine *m)
{
    if (m->fail_after < 0)
        return true;
    return m->fail_after-- > 0;
}

static inline bool machine_read(void *ctx, uint64_t linear, void *to, size_t size,
                                struct emulate_fault *fault)
{
    struct machine *m = ctx;
    m->reads++;
    if (!machine_span(m, linear, size) || !machine_admits(m))
        return machine_fault(m, linear, 0, fault);
    memcpy(to, m->memory + (linear - m->base), size);
    return true;
}

static inline bool machine_write(void *ctx, uint64_t linear, const void *from, size_t size,
                                 struct emulate_fault *fault)
{
    struct machine *m = ctx;
    m->writes++;
    if (!machine_span(m, linear, size) || !machine_admits(m))
        return machine_fault(m, linear, 2, fault);
    memcpy(m->memory + (linear - m->base), from, size);
    return true;
}

static const struct emulate_ops machine_ops = {
    .fetch = machine_fetch, .read = machine_read, .write = machine_write};
