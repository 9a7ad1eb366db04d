// SPDX-License-Identifier: BSD-2-Clause
// Pages against their twins (remote-fw/dma_internal.h). A page may change at any moment, a twin only here: so
// each word of a page is read once, and what was read is what is compared, sent and kept.
#include "remote-fw/dma_internal.h"
#include <string.h>

#define SSE2  __attribute__((target("sse2")))
#define BLOCK 32u // words compared at a time

#define FIRST   "movdqa (%1), %%xmm0\n\tpxor (%2), %%xmm0\n\t"
#define NEXT(n) "movdqa " #n "(%1), %%xmm1\n\tpxor " #n "(%2), %%xmm1\n\tpor %%xmm1, %%xmm0\n\t"

/// 256 bytes, three instructions for each 16. SSE2 is there on every x86-64, the loader turns it on, and
/// nothing else on a remote uses its registers.
SSE2 static inline bool block_same(const uint64_t *page, const uint64_t *twin)
{
    uint32_t same;
    __asm__ volatile(FIRST NEXT(16) NEXT(32) NEXT(48) NEXT(64) NEXT(80) NEXT(96) NEXT(112) NEXT(128) NEXT(144)
                         NEXT(160) NEXT(176) NEXT(192) NEXT(208) NEXT(224) NEXT(240) //
                     "pxor %%xmm1, %%xmm1\n\t"
                     "pcmpeqd %%xmm1, %%xmm0\n\t"
                     "pmovmskb %%xmm0, %0"
                     : "=r"(same)
                     : "r"(page), "r"(twin)
                     : "xmm0", "xmm1", "memory");
    return same == 0xffff;
}

static inline uint64_t read_word(const uint64_t *page, uint32_t word)
{
    return __atomic_load_n(&page[word], __ATOMIC_RELAXED);
}

SSE2 uint32_t dma_differs(const uint64_t *page, const uint64_t *twin, uint32_t from)
{
    while (from < DMA_PAGE_WORDS) {
        if (from % BLOCK == 0 && block_same(page + from, twin + from)) {
            from += BLOCK;
            continue;
        }
        uint32_t end = (from / BLOCK + 1) * BLOCK;
        for (; from < end; from++)
            if (read_word(page, from) != twin[from])
                return from;
    }
    return DMA_PAGE_WORDS;
}

/// Where runs go.
struct out {
    uint8_t *at, *end;
    uint8_t *run;  // header of the newest
    unsigned next; // offset behind it
};

/// False: no room.
static inline bool append(struct out *o, unsigned offset, uint64_t bytes, unsigned count)
{
    bool joins = o->run && offset == o->next;
    struct wire_dma_run run = {.offset = (uint16_t)offset};
    if ((size_t)(o->end - o->at) < count + (joins ? 0 : sizeof run))
        return false;
    if (!joins) {
        o->run = o->at;
        o->at += sizeof run;
    } else {
        run.offset = (uint16_t)(o->next - (unsigned)(o->at - o->run - (ptrdiff_t)sizeof run));
    }
    if (count == 8)
        memcpy(o->at, &bytes, 8);
    else
        for (unsigned i = 0; i < count; i++)
            o->at[i] = (uint8_t)(bytes >> 8 * i);
    o->at += count;
    o->next = offset + count;
    run.size = (uint16_t)(o->next - run.offset);
    memcpy(o->run, &run, sizeof run);
    return true;
}

/// Bytes from the lowest one on that are not 0; `x`'s lowest byte is not.
static unsigned leading(uint64_t x)
{
    uint64_t zero = (x - 0x0101010101010101u) & ~x & 0x8080808080808080u; // the lowest bit set is exact
    return zero ? (unsigned)__builtin_ctzll(zero) / 8 : 8;
}

size_t dma_take(const uint64_t *page, const uint64_t *twin, uint32_t *word, uint8_t *out, size_t room)
{
    struct out o = {.at = out, .end = out + room};
    uint32_t w = *word;
    for (;; w++) {
        uint64_t now = w < DMA_PAGE_WORDS ? read_word(page, w) : 0;
        uint64_t x = w < DMA_PAGE_WORDS ? now ^ twin[w] : 0;
        if (!x) {
            w = dma_differs(page, twin, w);
            if (w >= DMA_PAGE_WORDS)
                break;
            now = read_word(page, w);
            x = now ^ twin[w];
        }
        unsigned at = 0;
        while (x) {
            unsigned skip = (unsigned)__builtin_ctzll(x) / 8;
            x >>= 8 * skip;
            now >>= 8 * skip;
            at += skip;
            unsigned count = leading(x);
            if (!append(&o, 8 * w + at, now, count)) {
                *word = w; // what stands before `at` in it is not new any more once it is settled
                return (size_t)(o.at - out);
            }
            if (count == 8)
                break;
            x >>= 8 * count;
            now >>= 8 * count;
            at += count;
        }
    }
    *word = DMA_PAGE_WORDS;
    return (size_t)(o.at - out);
}

void dma_settle(uint64_t *twin, const uint8_t *runs, size_t size)
{
    for (const uint8_t *at = runs, *end = runs + size; at < end;) {
        struct wire_dma_run run;
        memcpy(&run, at, sizeof run);
        memcpy((uint8_t *)twin + run.offset, at + sizeof run, run.size);
        at += sizeof run + run.size;
    }
}

static void put_word(uint64_t *page, uint64_t *twin, uint64_t mask, uint64_t value)
{
    if (mask == ~0ull) {
        __atomic_store_n(page, value, __ATOMIC_RELAXED);
    } else if (mask) {
        uint64_t was = __atomic_load_n(page, __ATOMIC_RELAXED);
        while (!__atomic_compare_exchange_n(page, &was, (was & ~mask) | value, true, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED)) {
        }
    }
    if (twin)
        *twin = (*twin & ~mask) | value;
}

size_t dma_put(uint64_t *page, uint64_t *twin, const uint8_t *runs, size_t size)
{
    uint64_t mask = 0, value = 0;
    uint32_t word = 0;
    size_t bytes = 0;
    for (const uint8_t *at = runs, *end = runs + size; at < end;) {
        struct wire_dma_run run;
        memcpy(&run, at, sizeof run);
        at += sizeof run;
        bytes += run.size;
        for (unsigned offset = run.offset, left = run.size; left;) {
            unsigned in_word = offset % 8, count = 8 - in_word < left ? 8 - in_word : left;
            uint64_t piece = 0;
            memcpy(&piece, at, count);
            if (offset / 8 != word) {
                put_word(page + word, twin ? twin + word : NULL, mask, value);
                word = offset / 8;
                mask = value = 0;
            }
            mask |= (count == 8 ? ~0ull : (1ull << 8 * count) - 1) << 8 * in_word;
            value |= piece << 8 * in_word;
            at += count;
            offset += count;
            left -= count;
        }
    }
    put_word(page + word, twin ? twin + word : NULL, mask, value);
    return bytes;
}
