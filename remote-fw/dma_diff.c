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

// Freestanding: only the built-in ones become single moves.
static inline uint64_t load64(const uint8_t *from)
{
    uint64_t v;
    __builtin_memcpy(&v, from, 8);
    return v;
}

static inline struct wire_dma_run load_run(const uint8_t *from)
{
    struct wire_dma_run run;
    __builtin_memcpy(&run, from, sizeof run);
    return run;
}

/// Where runs go. The newest one's header is written when it is complete.
struct out {
    uint8_t *at, *end;
    uint8_t *run;         // its header; NULL: none yet
    unsigned begin, next; // offsets: of its first byte, behind its last
};

static inline void close_run(struct out *o)
{
    struct wire_dma_run run = {.offset = (uint16_t)o->begin, .size = (uint16_t)(o->next - o->begin)};
    if (o->run)
        __builtin_memcpy(o->run, &run, sizeof run);
}

/// False: no room.
static bool append(struct out *o, unsigned offset, uint64_t bytes, unsigned count)
{
    bool joins = o->run && offset == o->next;
    if ((size_t)(o->end - o->at) < count + (joins ? 0 : sizeof(struct wire_dma_run)))
        return false;
    if (!joins) {
        close_run(o);
        o->run = o->at;
        o->begin = offset;
        o->at += sizeof(struct wire_dma_run);
    }
    for (unsigned i = 0; i < count; i++, bytes >>= 8)
        o->at[i] = (uint8_t)bytes;
    o->at += count;
    o->next = offset + count;
    return true;
}

/// The highest bit of each byte that is 0, up to and including the lowest such byte.
static inline uint64_t zero_bytes(uint64_t x)
{
    return (x - 0x0101010101010101u) & ~x & 0x8080808080808080u;
}

/// The bytes of one word that changed (x is not 0). False: no room for all of them.
static bool append_word(struct out *o, unsigned offset, uint64_t now, uint64_t x)
{
    while (x) {
        unsigned skip = (unsigned)__builtin_ctzll(x) / 8;
        x >>= 8 * skip;
        now >>= 8 * skip;
        offset += skip;
        uint64_t zero = zero_bytes(x);
        unsigned count = zero ? (unsigned)__builtin_ctzll(zero) / 8 : 8;
        if (!append(o, offset, now, count))
            return false;
        if (count == 8)
            break;
        x >>= 8 * count;
        now >>= 8 * count;
        offset += count;
    }
    return true;
}

size_t dma_take(const uint64_t *page, const uint64_t *twin, uint32_t *word, uint8_t *out, size_t room)
{
    struct out o = {.at = out, .end = out + room};
    uint32_t w = *word;
    for (; w < DMA_PAGE_WORDS; w++) {
        uint64_t now = read_word(page, w), x = now ^ twin[w];
        if (!zero_bytes(x) && o.run && o.next == 8 * w && o.end - o.at >= 8) { // in the middle of much
            __builtin_memcpy(o.at, &now, 8);
            o.at += 8;
            o.next += 8;
            continue;
        }
        if (!x) {
            w = dma_differs(page, twin, w);
            if (w == DMA_PAGE_WORDS)
                break;
            now = read_word(page, w);
            x = now ^ twin[w];
        }
        if (!append_word(&o, 8 * w, now, x))
            break; // what of it was appended is not new any more once it is settled
    }
    close_run(&o);
    *word = w;
    return (size_t)(o.at - out);
}

size_t dma_settle(uint64_t *twin, const uint8_t *runs, size_t size)
{
    size_t bytes = 0;
    for (const uint8_t *at = runs, *end = runs + size; at < end;) {
        struct wire_dma_run run = load_run(at);
        memcpy((uint8_t *)twin + run.offset, at + sizeof run, run.size);
        at += sizeof run + run.size;
        bytes += run.size;
    }
    return bytes;
}

static inline void put_word(uint64_t *page, uint64_t *twin, uint64_t mask, uint64_t value)
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
    uint64_t mask = 0, value = 0; // of page[word], not written yet
    uint32_t word = 0;
    size_t bytes = 0;
    for (const uint8_t *at = runs, *end = runs + size; at < end;) {
        struct wire_dma_run run = load_run(at);
        at += sizeof run;
        bytes += run.size;
        for (unsigned offset = run.offset, left = run.size; left;) {
            unsigned in_word = offset % 8, count = 8 - in_word < left ? 8 - in_word : left;
            if (offset / 8 != word) {
                put_word(page + word, twin ? twin + word : NULL, mask, value);
                word = offset / 8;
                mask = value = 0;
            }
            if (count == 8) {
                for (; left >= 8; left -= 8, at += 8, offset += 8, word++)
                    put_word(page + word, twin ? twin + word : NULL, ~0ull, load64(at));
                word--; // with nothing in it
                continue;
            }
            uint64_t piece = 0;
            for (unsigned i = 0; i < count; i++)
                piece |= (uint64_t)at[i] << 8 * i;
            mask |= ((1ull << 8 * count) - 1) << 8 * in_word;
            value |= piece << 8 * in_word;
            at += count;
            offset += count;
            left -= count;
        }
    }
    put_word(page + word, twin ? twin + word : NULL, mask, value);
    return bytes;
}
