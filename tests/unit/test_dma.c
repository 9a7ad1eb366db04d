// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/dma_slots.c remote-fw/dma_round.c remote-fw/dma_diff.c net/wire.c
//
// The remote's half of the DMA mirror, with a function that writes whenever it hurts.
#include "tests/unit/dma_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
// cmocka needs these
#include <cmocka.h>

#define RING 0x100000u
#define DATA 0x200000u
#define READ 0x300000u

static uint64_t seed = 1;
static uint32_t rnd(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void test_what_the_function_sees(void **state)
{
    (void)state;
    struct fx *x = fx_new(4);
    uint8_t got[8];
    memcpy(x->memory[0] + 100, "ringring", 8);
    fx_clear(x, 0);
    fx_map_slot(x, 0, RING, 1, 3);
    assert_true(fx_device_read(x, RING + 100, got, 8));
    assert_memory_equal(got, "ringring", 8);
    assert_true(fx_device_read(x, RING + 108, got, 8));
    assert_memory_equal(got, "\0\0\0\0\0\0\0\0", 8); // not what was in that page before
    fx_guest(x, 0, 101, "iii", 3);
    assert_true(fx_device_read(x, RING + 100, got, 8));
    assert_memory_equal(got, "riiiring", 8);
    fx_round(x);
    assert_int_equal(x->data_records, 0); // the guest's own bytes do not come back
    fx_clear(x, 1);
    fx_map_slot(x, 1, READ, 2, 1);
    assert_false(fx_device_write(x, READ, got, 1));
    fx_clear(x, 2);
    fx_map_slot(x, 2, DATA, 3, 2);
    assert_false(fx_device_read(x, DATA, got, 1));
    assert_int_equal(x->dma.mapped, 3);
    assert_int_equal(x->dma.taken, 3);
    fx_unmap_pages(x, 0, 1u << 27, 0);
    assert_int_equal(x->mapped, 0);
    assert_int_equal(x->dma.mapped, 0);
    fx_map_slot(x, 0, RING, 9, 3); // its content is still known
    assert_true(fx_device_read(x, RING + 100, got, 8));
    assert_memory_equal(got, "riiiring", 8);
    fx_free(x);
}

/// Exactly the bytes that changed.
static void test_runs(void **state)
{
    (void)state;
    struct fx *x = fx_new(2);
    for (unsigned i = 0; i < 4096; i++)
        x->memory[0][i] = x->memory[1][i] = (uint8_t)(i * 7);
    fx_clear(x, 0);
    fx_clear(x, 1);
    fx_map_slot(x, 0, RING, 1, 3);
    fx_map_slot(x, 1, DATA, 2, 2);
    for (unsigned turn = 0; turn < 3000; turn++) {
        uint8_t want[2][4096];
        uint64_t before = x->bytes, changed = 0;
        memcpy(want[0], x->memory[0], 4096);
        memcpy(want[1], x->memory[1], 4096);
        for (unsigned n = rnd(turn % 100 == 0 ? 3000 : 9); n > 0; n--) {
            uint8_t bytes[64];
            unsigned page = rnd(2), size = 1 + rnd(turn % 7 == 0 ? 64 : 9), offset = rnd(4097 - size);
            for (unsigned i = 0; i < size; i++)
                bytes[i] = (uint8_t)rnd(turn % 3 == 0 ? 2 : 256);
            memcpy(want[page] + offset, bytes, size);
            assert_true(fx_device_write(x, (page ? DATA : RING) + offset, bytes, size));
        }
        for (unsigned i = 0; i < 4096; i++)
            changed += (want[0][i] != x->memory[0][i] ? 1u : 0) + (want[1][i] != x->memory[1][i] ? 1u : 0);
        fx_round(x);
        assert_memory_equal(x->memory[0], want[0], 4096);
        assert_memory_equal(x->memory[1], want[1], 4096);
        assert_int_equal(x->bytes - before, changed);
    }
    assert_int_equal(x->dma.stats.bytes_out, x->bytes);
    assert_int_equal(x->dma.stats.records_out, x->data_records);
    fx_free(x);
}

/// Every shape of change within a word, and over the border of two.
static void test_all_masks(void **state)
{
    (void)state;
    struct fx *x = fx_new(1);
    fx_clear(x, 0);
    fx_map_slot(x, 0, DATA, 1, 2);
    for (unsigned mask = 1; mask < 65536; mask += 3) {
        unsigned at = 8 * rnd(511), bits = (unsigned)__builtin_popcount(mask);
        uint64_t before = x->bytes;
        for (unsigned i = 0; i < 16; i++)
            if (mask >> i & 1) {
                uint8_t other = (uint8_t)(x->memory[0][at + i] ^ (1u << rnd(8)));
                fx_device_write(x, DATA + at + i, &other, 1);
            }
        fx_round(x);
        assert_int_equal(x->bytes - before, bits);
        assert_memory_equal(x->memory[0], x->iommu[0].page, 4096);
    }
    fx_free(x);
}

static void refused(struct fx *x, enum dma_refusal why, uint64_t times)
{
    assert_int_equal(x->dma.stats.refused[why], times);
    uint64_t all = 0;
    for (unsigned i = 0; i < DMA_REFUSALS; i++)
        all += x->dma.stats.refused[i];
    assert_int_equal(all, times);
    x->dma.stats.refused[why] = 0;
}

static void test_rules(void **state)
{
    (void)state;
    struct fx *x = fx_new(4);
    assert_int_equal(dma_start(&x->dma, &fx_ops, x, 4, FX_RECORD), ERR_INVAL); // it is
    fx_map_slot(x, 4, RING, 1, 3);
    refused(x, DMA_BAD_SLOT, 1);
    fx_map_slot(x, 0, RING, 1, 3);
    refused(x, DMA_SLOT_UNKNOWN, 1);
    fx_guest(x, 0, 0, "x", 1);
    refused(x, DMA_SLOT_UNKNOWN, 1);
    fx_clear(x, 0);
    fx_clear(x, 1);
    fx_map_slot(x, 0, RING, 1, 3);
    fx_map_slot(x, 0, DATA, 1, 3);
    refused(x, DMA_SLOT_MAPPED, 1);
    fx_map_slot(x, 1, RING, 1, 3);
    refused(x, DMA_IOVA_MAPPED, 1);
    fx_guest(x, 0, 0, "x", 1);
    struct wire_dma_data clear = {.slot = 0, .flags = WIRE_DMA_CLEAR};
    fx_input(x, REC_DMA_DATA, &clear, sizeof clear);
    refused(x, DMA_SLOT_MAPPED, 1);
    uint8_t got = 0;
    assert_true(fx_device_read(x, RING, &got, 1) && got == 'x'); // it changed nothing
    clear.slot = 65535;
    fx_input(x, REC_DMA_DATA, &clear, sizeof clear);
    refused(x, DMA_BAD_SLOT, 1);
    x->no_pages = true;
    clear.slot = 2;
    fx_input(x, REC_DMA_DATA, &clear, sizeof clear);
    refused(x, DMA_NO_MEMORY, 1);
    fx_map_slot(x, 1, DATA, 1, 2); // no twin
    refused(x, DMA_NO_MEMORY, 1);
    x->no_pages = false;
    x->no_map = true;
    fx_map_slot(x, 1, DATA, 1, 2);
    refused(x, DMA_NO_MEMORY, 1);
    x->no_map = false;
    fx_map_slot(x, 1, DATA, 1, 2);
    assert_int_equal(x->dma.mapped, 2);
    fx_unmap_pages(x, RING, 1, 1); // nothing was sent
    refused(x, DMA_BAD_SEEN, 1);
    assert_int_equal(x->dma.mapped, 1);
    fx_unmap_pages(x, RING, 1, 0); // nothing there
    fx_unmap_pages(x, DATA - 4096, 3, 0);
    assert_int_equal(x->mapped, 0);
    dma_stop(&x->dma);
    dma_stop(&x->dma);
    fx_map_slot(x, 0, RING, 1, 3);
    refused(x, DMA_NOT_STARTED, 1);
    bool more;
    assert_true(dma_round_go(&x->dma, &more));
    assert_int_equal(dma_start(&x->dma, &fx_ops, x, 0, FX_RECORD), ERR_INVAL);
    assert_int_equal(dma_start(&x->dma, &fx_ops, x, DMA_SLOTS_MOST + 1, FX_RECORD), ERR_INVAL);
    x->no_tables = true;
    assert_int_equal(dma_start(&x->dma, &fx_ops, x, 4, FX_RECORD), ERR_NOMEM);
    x->no_tables = false;
    assert_int_equal(dma_start(&x->dma, &fx_ops, x, DMA_SLOTS_MOST, DMA_RECORD_LEAST), OK);
    fx_map_slot(x, 0, RING, 1, 3);
    refused(x, DMA_SLOT_UNKNOWN, 1); // what it was is forgotten
    fx_free(x);
    for (unsigned i = 0; i <= DMA_REFUSALS; i++)
        assert_int_equal(!strcmp(dma_refusal_name((enum dma_refusal)i), "?"), i == DMA_REFUSALS);
}

static struct fx *two_pages(uint8_t access)
{
    struct fx *x = fx_new(2);
    fx_clear(x, 0);
    fx_clear(x, 1);
    fx_map_slot(x, 0, RING, 1, access);
    fx_map_slot(x, 1, RING + 4096, 2, access);
    return x;
}

/// A function that writes to a page that is taken from it.
static void test_late_bytes_are_undone(void **state)
{
    (void)state;
    for (uint8_t access = 2; access <= 3; access++) {
        struct fx *x = two_pages(access);
        fx_device_write(x, RING + 5, "one", 3);
        fx_round(x);
        fx_device_write(x, RING + 8, "late", 4);
        fx_unmap_pages(x, RING, 1, x->seen);
        assert_int_equal(x->dma.stats.undone, 1);
        assert_int_equal(x->told_spoiled, 0);
        fx_map_slot(x, 0, DATA, 3, 3);
        assert_memory_equal(fx_find(x, DATA)->page, x->memory[0], 4096);
        assert_memory_equal(x->memory[0], "\0\0\0\0\0one\0\0\0\0", 12);
        fx_free(x);
    }
}

static void test_spoiled(void **state)
{
    (void)state;
    struct fx *x = two_pages(2);
    fx_device_write(x, RING, "one", 3);
    fx_round(x);
    fx_device_write(x, RING + 4096, "two", 3);
    fx_round(x);
    fx_unmap_pages(x, RING, 2, 1); // the host had the first record only
    assert_int_equal(x->dma.stats.spoiled, 1);
    assert_false(x->spoiled[0]);
    assert_true(x->spoiled[1]);
    fx_map_slot(x, 1, RING, 3, 3);
    refused(x, DMA_SLOT_SPOILED, 1);
    fx_guest(x, 1, 0, "x", 1);
    refused(x, DMA_SLOT_SPOILED, 1);
    fx_clear(x, 1);
    fx_map_slot(x, 1, RING, 3, 3);
    assert_memory_equal(fx_find(x, RING)->page, x->memory[1], 4096);
    fx_unmap_pages(x, RING, 1, 1); // what was sent of it is older than its content
    assert_int_equal(x->dma.stats.spoiled, 1);

    // the link is full: it is told later, and not twice
    fx_map_slot(x, 1, RING, 4, 2);
    fx_device_write(x, RING, "four", 4);
    fx_round(x);
    x->room = 0;
    fx_unmap_pages(x, RING, 1, 2);
    assert_int_equal(x->told_spoiled, 1);
    assert_false(dma_poll(&x->dma));
    x->room = ~0u;
    assert_true(dma_poll(&x->dma));
    assert_int_equal(x->told_spoiled, 2);
    assert_false(dma_poll(&x->dma));
    assert_int_equal(x->told_spoiled, 2);
    // cleared before it could be told: nothing to tell
    fx_clear(x, 1);
    fx_map_slot(x, 1, RING, 5, 2);
    fx_device_write(x, RING, "five", 4);
    fx_round(x);
    x->room = 0;
    fx_unmap_pages(x, RING, 1, 3);
    fx_clear(x, 1);
    x->room = ~0u;
    assert_false(dma_poll(&x->dma));
    assert_int_equal(x->dma.untold, 0);
    fx_free(x);
}

/// `seen` and the count of records wrap.
static void test_seen_wraps(void **state)
{
    (void)state;
    struct fx *x = two_pages(2);
    x->dma.sent = 0x1fffffffeull;
    x->seen = (uint32_t)x->dma.sent;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t number = 100 + i;
        fx_device_write(x, RING, &number, 4);
        fx_round(x);
    }
    fx_unmap_pages(x, RING, 1, x->seen);
    assert_int_equal(x->dma.stats.spoiled, 0);
    fx_map_slot(x, 0, RING, 7, 2);
    fx_unmap_pages(x, RING, 1, x->seen - 1);
    assert_int_equal(x->dma.stats.spoiled, 1);
    fx_unmap_pages(x, RING, 2, x->seen + 1000); // never sent: nothing is believed
    refused(x, DMA_BAD_SEEN, 1);
    fx_free(x);
}

/// The link takes a few records at a time: the round goes on where it was, and the ring comes last.
static void test_full_link(void **state)
{
    (void)state;
    for (unsigned step = 1; step < 12; step++) {
        struct fx *x = fx_new(40);
        for (uint32_t i = 0; i < 40; i++) {
            fx_clear(x, i);
            fx_map_slot(x, i, RING + 4096 * i, i + 1, i < 8 ? 3 : 2);
        }
        uint8_t bytes[4096], want[40][4096];
        for (uint32_t i = 0; i < 40; i++) {
            for (unsigned k = 0; k < 4096; k++)
                want[i][k] = bytes[k] = (uint8_t)rnd(256);
            fx_device_write(x, RING + 4096 * i, bytes, 4096);
        }
        x->room = 0;
        assert_int_equal(dma_round_begin(&x->dma), 1);
        bool more = true;
        unsigned calls = 0;
        while (!dma_round_go(&x->dma, &more)) {
            assert_false(more);
            calls++;
            if (x->held_count) // rings are on their way: all data is there
                for (uint32_t i = 8; i < 40; i++)
                    assert_memory_equal(x->memory[i], want[i], 4096);
            for (uint32_t i = 0; i < 8; i++)
                assert_int_equal(x->memory[i][0] | x->memory[i][100] | x->memory[i][4095], 0);
            x->room = step;
        }
        assert_in_range(calls, 40 * 3 / step, 40 * 3 / step + 5);
        for (uint32_t i = 0; i < 40; i++)
            assert_memory_equal(x->memory[i], want[i], 4096);
        assert_int_equal(x->dma.stats.rounds, 1);
        fx_free(x);
    }
}

/// A little change makes it a ring.
static void make_ring(struct fx *x, uint64_t iova)
{
    fx_device_write(x, iova + 4000, "r", 1);
    fx_round(x);
    fx_device_write(x, iova + 4000, "", 1);
    fx_round(x);
}

/// Pages that may be read, too, and are filled: data, with the end of the round told all the same.
static void test_data_in_readable_pages(void **state)
{
    (void)state;
    struct fx *x = two_pages(3);
    uint8_t bytes[4096];
    memset(bytes, 0x77, sizeof bytes);
    fx_device_write(x, RING, bytes, 4096);
    fx_round(x);
    assert_int_equal(x->dma.count[DMA_RINGS], 0);
    assert_int_equal(x->empty_records, 1);
    assert_memory_equal(x->memory[0], bytes, 4096);
    fx_device_write(x, RING, "\1", 1); // little at a time
    fx_device_write(x, RING + 4096, bytes, 600);
    fx_round(x);
    assert_int_equal(x->dma.count[DMA_RINGS], 1);
    assert_int_equal(x->empty_records, 1);
    fx_device_write(x, RING + 4096, "ring", 4);
    fx_round(x);
    assert_int_equal(x->dma.count[DMA_RINGS], 2);
    assert_memory_equal(x->memory[0], fx_find(x, RING)->page, 4096);
    assert_memory_equal(x->memory[1], fx_find(x, RING + 4096)->page, 4096);
    fx_unmap_pages(x, RING, 1, x->seen);
    fx_map_slot(x, 0, RING, 7, 3); // another mapping may be for something else
    assert_int_equal(x->dma.count[DMA_RINGS], 1);
    fx_free(x);
}

/// More rings changed than the buffer holds: nothing of it is shown before all of it is there.
static void test_more_than_the_buffer(void **state)
{
    (void)state;
    struct fx *x = fx_new(60);
    uint8_t bytes[4096];
    memset(bytes, 0x55, sizeof bytes);
    for (uint32_t i = 0; i < 60; i++) {
        fx_clear(x, i);
        fx_map_slot(x, i, RING + 4096 * i, i + 1, i < 50 ? 3 : 2);
        make_ring(x, RING + 4096 * i);
    }
    assert_int_equal(x->dma.count[DMA_RINGS], 50);
    for (uint32_t i = 0; i < 60; i++)
        fx_device_write(x, RING + 4096 * i, bytes, 4096);
    x->dma.stats.pages = 0;
    fx_round(x);
    for (uint32_t i = 0; i < 60; i++)
        assert_memory_equal(x->memory[i], bytes, 4096);
    assert_in_range(x->dma.stats.pages, 100 + 10, 150 + 30); // once to find, once to be sure
    assert_int_equal(x->dma.ring_used, 0);
    fx_free(x);
}

// A function at work: it writes a number to data, then to one ring, then to another. Whenever the guest is
// shown something, what was written first is there.
#define WORKERS 5u
static struct {
    uint32_t number, until;
    unsigned pages, rings;
} work;

static void work_once(struct fx *x)
{
    if (work.number >= work.until)
        return;
    work.number++;
    for (uint32_t i = 0; i < work.pages; i++) { // data pages first, then rings from the highest down and up
        uint32_t page = i;
        fx_device_write(x, DATA + 4096 * page + 8 * (work.number % 512), &work.number, 4);
        fx_device_write(x, DATA + 4096 * page + 4088, &work.number, 4);
    }
}

static uint32_t number_at(struct fx *x, uint32_t slot)
{
    uint32_t n;
    memcpy(&n, x->memory[slot] + 4088, 4);
    return n;
}

static void work_shown(struct fx *x)
{
    for (uint32_t i = 0; i + 1 < work.pages; i++) // written later, never shown earlier; data may be early
        assert_true(number_at(x, i) >= number_at(x, x->ring[i] ? i + 1 : work.pages - work.rings));
    uint32_t n = number_at(x, work.pages - 1), entry = 0;
    if (n % 512 == 511 || n == 0)
        return;
    memcpy(&entry, x->memory[work.pages - 1] + 8 * (n % 512), 4);
    assert_true(entry >= n); // nor half of it
}

static void test_order(void **state)
{
    (void)state;
    for (unsigned rings = 1; rings <= 6; rings++) {
        struct fx *x = fx_new(16);
        work.number = 0;
        work.until = ~0u;
        work.pages = 8;
        work.rings = rings;
        for (uint32_t i = 0; i < 8; i++) {
            fx_clear(x, i);
            fx_map_slot(x, i, DATA + 4096 * i, i + 1, i >= 8 - rings ? 3 : 2);
        }
        x->on_send = work_once;
        x->on_shown = work_shown;
        for (unsigned turn = 0; turn < 2000; turn++) {
            bool more;
            work.until = work.number + rnd(6); // then it waits
            for (unsigned n = rnd(3); n > 0; n--)
                work_once(x);
            dma_round_begin(&x->dma);
            x->room = rnd(8);
            while (!dma_round_go(&x->dma, &more)) {
                work.until += rnd(2);
                work_once(x);
                x->room = 1 + rnd(8);
            }
        }
        work.until = work.number;
        x->room = ~0u;
        fx_round(x);
        for (uint32_t i = 0; i < 8; i++)
            assert_memory_equal(x->memory[i], fx_find(x, DATA + 4096 * i)->page, 4096);
        assert_int_equal(x->dma.stats.restless, 0);
        fx_free(x);
    }
}

// A function that never rests: it writes a number to hundreds of pages, a little each, then to the ring that
// was mapped first, and so on.
#define BUSY 700u
static void busy_shown(struct fx *x)
{
    for (uint32_t i = 1; i < BUSY; i++)
        assert_true(number_at(x, i) >= number_at(x, 0));
}

static void busy_once(struct fx *x, uint32_t number)
{
    for (uint32_t i = 1; i < BUSY; i++)
        fx_device_write(x, DATA + 4096 * i + 4088, &number, 4);
    fx_device_write(x, DATA + 4088, &number, 4);
}

static void test_no_rest(void **state)
{
    (void)state;
    struct fx *x = fx_new(BUSY);
    for (uint32_t i = 0; i < BUSY; i++) {
        fx_clear(x, i);
        fx_map_slot(x, i, DATA + 4096 * i, i + 1, 3);
    }
    uint32_t number = 1;
    busy_once(x, number);
    fx_round(x);
    assert_int_equal(x->dma.count[DMA_RINGS], BUSY);
    x->on_shown = busy_shown;
    for (unsigned turn = 0; turn < 25; turn++) {
        bool more;
        unsigned calls = 0;
        dma_round_begin(&x->dma);
        do {
            busy_once(x, ++number);
            x->room = 300; // so that the function goes on between records, too
            calls++;
        } while (!dma_round_go(&x->dma, &more));
        assert_in_range(calls, 10, 60);
        assert_int_equal(x->dma.stats.restless, turn + 1);
        assert_true(number_at(x, 0) > number - calls);
    }
    fx_free(x);
}

/// Unmapped in the middle of a round: nothing is sent of it any more, what was found and not sent makes it
/// spoiled, the rest of the round is whole, and its end is told.
static void test_unmap_in_a_round(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    for (unsigned room = 0; room < 14; room++)
        for (uint32_t victim = 0; victim < 4; victim++) {
            struct fx *x = fx_new(4);
            memset(bytes, 0x11 + (int)room, sizeof bytes);
            for (uint32_t i = 0; i < 4; i++) {
                fx_clear(x, i);
                fx_map_slot(x, i, RING + 4096 * i, i + 1, i < 2 ? 3 : 2);
                make_ring(x, RING + 4096 * i);
            }
            for (uint32_t i = 0; i < 4; i++)
                fx_device_write(x, RING + 4096 * i, bytes, 4096);
            x->room = room;
            bool more;
            uint32_t before = x->seen;
            dma_round_begin(&x->dma);
            bool done = dma_round_go(&x->dma, &more);
            uint32_t seen = x->seen, told = seen - before;
            x->room = ~0u;
            x->generation[victim] = 0;
            fx_unmap_pages(x, RING + 4096 * victim, 1, seen);
            fx_round(x);
            assert_int_equal(x->held_count, 0);
            for (uint32_t i = 0; i < 4; i++)
                if (i != victim)
                    assert_memory_equal(x->memory[i], bytes, 4096);
            if (victim < 2 && !done)
                assert_int_equal(x->spoiled[victim], told < (victim == 1 ? 9u : 12u));
            else
                assert_false(x->spoiled[victim]);
            fx_map_slot(x, victim, DATA, 9, 3);
            if (!x->spoiled[victim])
                assert_non_null(fx_find(x, DATA));
            else
                assert_null(fx_find(x, DATA));
            fx_free(x);
        }
}

/// A slice is 512 pages: the function goes on between two of them, and pages come and go.
static void test_slices(void **state)
{
    (void)state;
    struct fx *x = fx_new(FX_SLOTS);
    for (uint32_t i = 0; i < 1500; i++) {
        fx_clear(x, i);
        fx_map_slot(x, i, DATA + 4096 * i, i + 1, i % 2 ? 3 : 2);
    }
    uint32_t next = 1500;
    for (unsigned turn = 0; turn < 40; turn++) {
        bool more;
        unsigned calls = 0;
        dma_round_begin(&x->dma);
        do {
            for (unsigned n = 0; n < 20; n++) {
                uint32_t page = rnd(next), value = rnd(~0u);
                if (calls < 6)
                    fx_device_write(x, DATA + 4096 * page + 4 * rnd(1024), &value, 4);
            }
            uint32_t gone = rnd(next);
            if (x->generation[gone] && calls < 6) {
                fx_unmap_pages(x, DATA + 4096 * gone, 1, x->seen);
                x->generation[gone] = 0;
            }
            if (next < FX_SLOTS && calls < 6) {
                fx_clear(x, next);
                fx_map_slot(x, next, DATA + 4096 * next, next + 1, next % 2 ? 3 : 2);
                next++;
            }
            calls++;
        } while (!dma_round_go(&x->dma, &more));
        assert_true(calls > 2);
        fx_round(x);
        for (uint32_t i = 0; i < next; i++)
            if (x->generation[i])
                assert_memory_equal(x->memory[i], fx_find(x, DATA + 4096 * i)->page, 4096);
    }
    fx_free(x);
}

static void test_link_down(void **state)
{
    (void)state;
    struct fx *x = two_pages(3);
    fx_device_write(x, RING, "x", 1);
    x->down = true;
    fx_round(x); // ends all the same
    assert_int_equal(x->dma.done, 1);
    assert_int_equal(dma_round_begin(&x->dma), 2);
    dma_stop(&x->dma);
    assert_int_equal(x->dma.done, 2); // whoever waits for it waits no more
    assert_false(dma_round_active(&x->dma));
    fx_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_function_sees),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_all_masks),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_late_bytes_are_undone),
        cmocka_unit_test(test_spoiled),
        cmocka_unit_test(test_seen_wraps),
        cmocka_unit_test(test_full_link),
        cmocka_unit_test(test_data_in_readable_pages),
        cmocka_unit_test(test_more_than_the_buffer),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_no_rest),
        cmocka_unit_test(test_unmap_in_a_round),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_link_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
