// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/mirror_slots.c
// Slots and twins of two functions of one guest: whoever maps pages finds room for them as long as anything
// of that guest's that is not in use takes it, and all of it is given back. Without records and without a
// remote.
#include "hv/bus/remote.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

#define PAGE WIRE_DMA_PAGE
#define MANY 100u // pages of the first function
#define RW   (WIRE_DMA_READ | WIRE_DMA_WRITE)

struct bus_counters bus_counts;
static struct bus_guest guests[2];
static struct remote_fn fns[3]; // 0 and 1 are the first guest's, 2 is the second's
static uint8_t page[PAGE];

unsigned assoc_count(void)
{
    return 3;
}
struct remote_fn *assoc_get(unsigned i)
{
    return &fns[i];
}

static int setup(void **state)
{
    (void)state;
    memset(guests, 0, sizeof(guests));
    memset(fns, 0, sizeof(fns));
    memset(&bus_counts, 0, sizeof(bus_counts));
    for (unsigned g = 0; g < 2; g++) {
        guests[g].dma.frames_limit = 4096;
        assert_int_equal(mirror_guest_create(&guests[g].dma), OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        fns[i].guest = &guests[i / 2];
        fns[i].at.devfn = (uint8_t)(i << 3);
        fns[i].mirror = mirror_create(&fns[i]);
        assert_non_null(fns[i].mirror);
        fns[i].mirror->limit = 1024;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        mirror_destroy(fns[i].mirror);
    for (unsigned g = 0; g < 2; g++) {
        mirror_guest_destroy(&guests[g].dma);
        assert_int_equal(guests[g].dma.frames_used, 0);
    }
    assert_int_equal(bus_counts.dma_twins, 0);
    assert_int_equal(host_frames_in_use(), 0);
    return 0;
}

/// Page n of the guest for function i, at IOVA = its number, with a twin. NULL: no room.
static struct slot *map(unsigned i, unsigned n)
{
    struct slot *s = mirror_take(fns[i].mirror, (uint64_t)n * PAGE, page);
    if (!s || !mirror_twin(s))
        return NULL;
    mirror_attach(s, (uint64_t)n * PAGE, RW);
    return s;
}

/// Function i has mapped and unmapped so many pages: their twins stay, for the next time.
static void use(unsigned i, unsigned pages)
{
    for (unsigned n = 1; n <= pages; n++)
        assert_non_null(map(i, n));
    for (unsigned n = 1; n <= pages; n++)
        mirror_detach(mirror_mapped_at(fns[i].mirror, (uint64_t)n * PAGE));
}

static void no_more_frames(struct bus_guest *guest)
{
    guest->dma.frames_limit = guest->dma.frames_used;
}

/// All that a guest may have is in unused twins of one function: another one finds room for its slots and
/// twins, a page of slots after the other.
static void test_unused_twins_make_room(void **state)
{
    (void)state;
    use(0, MANY);
    no_more_frames(&guests[0]);
    assert_int_equal(bus_counts.dma_twins, MANY);
    unsigned mapped = 0;
    while (map(1, 1000 + mapped))
        mapped++;
    unsigned frames = fns[1].mirror->frames;
    assert_int_equal(frames, (mapped + SLOTS_PER_FRAME - 1) / SLOTS_PER_FRAME);
    assert_true(frames > 1);
    assert_int_equal(mapped + frames, MANY); // each page that was a twin is one again, or holds slots
    assert_int_equal(bus_counts.dma_twins, mapped);
    assert_int_equal(guests[0].dma.frames_used, guests[0].dma.frames_limit);
    assert_ptr_equal(mirror_take(fns[0].mirror, PAGE, page)->twin,
                     NULL); // the first knows nothing of its page
}

/// What is mapped stays: then there is no room, for slots neither.
static void test_used_twins_stay(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= MANY; n++)
        assert_non_null(map(0, n));
    no_more_frames(&guests[0]);
    assert_null(map(1, 1000));
    assert_int_equal(fns[1].mirror->used, 0);
    for (unsigned n = 1; n <= MANY; n++)
        assert_non_null(mirror_mapped_at(fns[0].mirror, (uint64_t)n * PAGE)->twin);
    assert_int_equal(bus_counts.dma_twins, MANY);
    mirror_detach(mirror_mapped_at(fns[0].mirror, PAGE)); // one frame: for slots, not for a twin
    assert_non_null(mirror_take(fns[1].mirror, (uint64_t)1000 * PAGE, page));
    assert_null(map(1, 1000));
    mirror_detach(mirror_mapped_at(fns[0].mirror, (uint64_t)2 * PAGE));
    assert_non_null(map(1, 1000));
}

/// Another guest's twins are not this one's to take.
static void test_another_guests_twins(void **state)
{
    (void)state;
    use(2, MANY);
    no_more_frames(&guests[0]);
    assert_null(map(1, 1000));
    assert_int_equal(bus_counts.dma_twins, MANY);
}

/// A function that leaves takes nothing along: the guest has what it had before, whatever it mapped; and so
/// each time.
static void test_nothing_is_kept(void **state)
{
    (void)state;
    uint64_t before[2] = {guests[0].dma.frames_used, host_frames_in_use()};
    for (unsigned round = 0; round < 3; round++) {
        use(1, MANY);
        for (unsigned n = MANY + 1; n <= 2 * MANY; n++) // and some are mapped still
            assert_non_null(map(1, n));
        assert_true(guests[0].dma.frames_used > before[0] + 2 * MANY);
        mirror_destroy(fns[1].mirror);
        assert_int_equal(guests[0].dma.frames_used,
                         before[0] - (MIRROR_FRAMES + MIRROR_PENDING / FRAME_SIZE));
        fns[1].mirror = mirror_create(&fns[1]);
        assert_non_null(fns[1].mirror);
        fns[1].mirror->limit = 1024;
        assert_int_equal(guests[0].dma.frames_used, before[0]);
        assert_int_equal(host_frames_in_use(), before[1]);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_unused_twins_make_room),
        T(test_used_twins_stay),
        T(test_another_guests_twins),
        T(test_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
