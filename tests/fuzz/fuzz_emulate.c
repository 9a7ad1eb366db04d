// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/emulate.c hv/vm/emulate_decode.c hv/vm/emulate_alu.c @zydis
// Any bytes, any registers, any mode: the emulator ends, touches no memory but through its three functions
// with 1 to 8 bytes, and leaves RIP and the flags alone unless it is done.
#include "hv/vm/emulate.h"
#include <stdlib.h>
#include <string.h>

struct guest {
    const uint8_t *code;
    size_t code_size;
    uint64_t rip;
    uint64_t seed;
    unsigned accesses;
};

static uint64_t next(struct guest *g)
{
    g->seed = g->seed * 6364136223846793005u + 1442695040888963407u;
    return g->seed >> 29;
}

static bool fetch(void *ctx, uint64_t linear, uint8_t *bytes, size_t want, size_t *got,
                  struct emulate_fault *fault)
{
    struct guest *g = ctx;
    uint64_t offset = linear - g->rip;
    if (want == 0 || want > 15)
        abort();
    if (offset >= g->code_size) {
        *fault = (struct emulate_fault){.vector = 14, .has_error = true, .cr2 = linear};
        return false;
    }
    *got = want < g->code_size - offset ? want : (size_t)(g->code_size - offset);
    if (next(g) % 16 == 0)
        *got = 1;
    memcpy(bytes, g->code + offset, *got);
    return true;
}

static bool access_ok(struct guest *g, uint64_t linear, size_t size, struct emulate_fault *fault)
{
    if (size == 0 || size > 8)
        abort();
    g->accesses++;
    if (next(g) % 8 != 0)
        return true;
    *fault = (struct emulate_fault){.vector = 14, .has_error = true, .cr2 = linear};
    return false;
}

static bool read(void *ctx, uint64_t linear, void *to, size_t size, struct emulate_fault *fault)
{
    uint64_t value = next(ctx);
    memcpy(to, &value, size <= 8 ? size : 8);
    return access_ok(ctx, linear, size, fault);
}

static bool write(void *ctx, uint64_t linear, const void *from, size_t size, struct emulate_fault *fault)
{
    (void)from;
    return access_ok(ctx, linear, size, fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct emulate_ops ops = {.fetch = fetch, .read = read, .write = write};
    static const enum emulate_mode modes[] = {EMULATE_16, EMULATE_32, EMULATE_64};
    if (size < 3)
        return 0;
    struct guest g = {.code = data + 2,
                      .code_size = size - 2 < 15 ? size - 2 : 15,
                      .seed = data[0] | (uint64_t)data[1] << 8};
    uint64_t gpr[16];
    for (unsigned i = 0; i < 16; i++)
        gpr[i] = next(&g) << (next(&g) % 32);
    struct emulate_cpu cpu = {.gpr = gpr,
                              .rip = 0x1000,
                              .rflags = next(&g) & 0xfff,
                              .mode = modes[data[0] % 3],
                              .stack32 = data[1] & 1};
    for (unsigned i = 0; i < 6; i++)
        cpu.segment_base[i] = i == 1 ? 0x20000 : next(&g);
    g.rip = cpu.mode == EMULATE_64 ? cpu.rip : cpu.rip + cpu.segment_base[1];
    struct emulate_cache *cache = calloc(1, emulate_cache_size());
    for (unsigned i = 0; i < 4; i++) { // the second time from the cache
        uint64_t rip = cpu.rip, flags = cpu.rflags;
        struct emulate_fault fault = {.vector = 0xff};
        g.accesses = 0;
        switch (emulate_one(&cpu, &ops, &g, cache, &fault)) {
        case EMULATE_DONE:
            if (cpu.rip <= rip || cpu.rip > rip + 15)
                abort();
            cpu.rip = rip;
            break;
        case EMULATE_FAULT:
            if (fault.vector == 0xff || cpu.rip != rip)
                abort();
            break;
        case EMULATE_UNSUPPORTED:
            if (cpu.rip != rip || cpu.rflags != flags || g.accesses || !emulate_refusal(cache))
                abort();
            break;
        case EMULATE_AGAIN:
            if (cpu.rip != rip)
                abort();
            break;
        }
        if (g.accesses > 64)
            abort();
    }
    free(cache);
    return 0;
}
