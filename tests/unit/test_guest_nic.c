// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/virtio_net.c hv/platform/virtio_pci.c hv/platform/virtio_common.c hv/platform/virtqueue.c
// LINK: hv/platform/msix.c hv/platform/io_space.c hv/platform/pci_host.c
// A guest's virtual NIC against a driver that keeps the rules and one that does not: chains over pages,
// indirect ones, merged buffers, checksums, loops, lengths that overflow, rings outside RAM, resets.
#include "tests/unit/guest_nic_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include <cmocka.h>

static int setup(void **state)
{
    (void)state;
    nic_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nic_unmake();
    return 0;
}

static void assert_broken(void)
{
    assert_true(bar_get(STATUS, 1) & NEEDS_RESET);
    unsigned sent = port.sent_count;
    uint64_t written = port.written;
    arrives(100, 0); // nothing moves any more
    bar(AT_NOTIFY + 4, 2, TX);
    assert_int_equal(port.sent_count, sent);
    assert_int_equal(port.written, written);
    nic_up(0);
    assert_false(bar_get(STATUS, 1) & NEEDS_RESET);
    descriptor(TX, 0, 0x8000, 12 + 60, 0, 0);
    give(TX, 0);
    assert_int_equal(port.sent_count, sent + 1);
}

static void sends_over_pages(void **state)
{
    (void)state;
    uint8_t bytes[1530], zero[12] = {0};
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    memcpy(bytes, zero, 12);
    nic_up(0);
    poke(0x8c00, bytes, 1200); // crosses into 0x9000
    poke(0xa000, bytes + 1200, 330);
    descriptor(TX, 3, 0x8c00, 1200, D_NEXT, 9);
    descriptor(TX, 9, 0xa000, 330, 0, 0);
    give(TX, 3);
    assert_int_equal(port.sent_size, 1518);
    assert_memory_equal(port.sent, bytes + 12, 1518);
    assert_int_equal(used_index(TX), 1);
    // one byte more than a frame has, and a header alone: taken, not sent
    descriptor(TX, 9, 0xa000, 331, 0, 0);
    give(TX, 3);
    descriptor(TX, 3, 0x8c00, 12, 0, 0);
    give(TX, 3);
    assert_int_equal(port.sent_count, 1);
    assert_int_equal(used_index(TX), 3);
}

static void indirect(void **state)
{
    (void)state;
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } table[2] = {{0x8000, 12, D_NEXT, 1}, {0x9ff0, 64, 0, 0}};
    nic_up(0);
    poke(0xb000, table, sizeof table);
    descriptor(TX, 0, 0xb000, sizeof table, D_INDIRECT, 0);
    give(TX, 0);
    assert_int_equal(port.sent_size, 64);
    table[1].flags = D_INDIRECT; // a table in a table
    poke(0xb000, table, sizeof table);
    give(TX, 0);
    assert_broken();
    descriptor(TX, 1, 0xb000, 33, D_INDIRECT, 0); // not a multiple
    give(TX, 1);
    assert_broken();
    descriptor(TX, 1, 0xb000, 32, D_INDIRECT | D_NEXT, 0);
    give(TX, 1);
    assert_broken();
    descriptor(TX, 1, 0xb000, 16 * 257, D_INDIRECT, 0); // longer than a queue
    give(TX, 1);
    assert_broken();
}

static void checksums(void **state)
{
    (void)state;
    struct {
        uint8_t flags, gso;
        uint16_t header, segment, start, offset, buffers;
        uint8_t frame[64];
    } f = {.flags = 1, .start = 34, .offset = 6};
    f.frame[34] = 0x12, f.frame[35] = 0x34, f.frame[63] = 0xff;
    nic_up(1);
    poke(0x8000, &f, sizeof f);
    descriptor(TX, 0, 0x8000, sizeof f, 0, 0);
    give(TX, 0);
    assert_int_equal(port.sent_size, 64);
    assert_int_equal(port.sent[40] << 8 | port.sent[41], 0xffff - 0x1234 - 0xff);
    static const uint16_t places[][2] = {{64, 0}, {34, 29}, {0xffff, 0xffff}, {0, 63}, {63, 0xffff}};
    for (unsigned i = 0; i < 5; i++) { // outside of the frame
        f.start = places[i][0], f.offset = places[i][1];
        poke(0x8000, &f, sizeof f);
        give(TX, 0);
    }
    assert_int_equal(port.sent_count, 1);
    assert_int_equal(used_index(TX), 6);
}

static void receives_into_what_there_is(void **state)
{
    (void)state;
    uint8_t got[2048];
    nic_up(MRG_RXBUF);
    arrives(300, 5); // no buffer yet: it waits
    assert_int_equal(port.waiting_size, 300);
    for (uint16_t i = 0; i < 3; i++) {
        descriptor(RX, i, 0x8000 + 0x1000u * i + 0xfc0, 128, D_WRITE, 0); // each over a page's end
        give(RX, i);
    }
    assert_int_equal(port.waiting_size, 0);
    assert_int_equal(used_index(RX), 3);
    assert_int_equal(used_length(RX, 0) + used_length(RX, 1) + used_length(RX, 2), 312);
    peek(0x8fc0, got, 128);
    peek(0x9fc0, got + 128, 128);
    peek(0xafc0, got + 256, 128);
    assert_int_equal(got[10] | got[11] << 8, 3); // buffers
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(got[12 + i], (uint8_t)(5 + i));
    // without merging, what does not fit is lost, and one buffer it is
    nic_up(0);
    descriptor(RX, 0, 0x8000, 128, D_WRITE, 0);
    give(RX, 0);
    arrives(300, 5);
    assert_int_equal(used_index(RX), 1);
    assert_int_equal(used_length(RX, 0), 128);
    // a buffer that cannot even hold the header
    descriptor(RX, 1, 0x9000, 5, D_WRITE, 0);
    give(RX, 1);
    memset(ram[9], 0xee, PAGE);
    arrives(300, 5);
    assert_int_equal(ram[9][5], 0xee);
}

static void half_a_frame_is_none(void **state)
{
    (void)state;
    nic_up(MRG_RXBUF);
    descriptor(RX, 0, 0x8000, 100, D_WRITE, 0);
    give(RX, 0);
    arrives(300, 5);
    assert_int_equal(port.waiting_size, 300); // until there is room for all of it
    assert_int_equal(used_index(RX), 0);
    bar(STATUS, 1, 0); // reset while it waits
    (void)virtio_net_poll(&nic);
    assert_int_equal(port.waiting_size, 0);
    nic_up(MRG_RXBUF);
    descriptor(RX, 0, 0x8000, 400, D_WRITE, 0);
    give(RX, 0);
    arrives(300, 9);
    assert_int_equal(used_length(RX, 0), 312);
}

static void hostile_chains(void **state)
{
    (void)state;
    const struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } bad[] = {
        {0x8000, 64, D_NEXT, 0},      // a loop
        {0x8000, 0, D_NEXT, 0},       // a loop of nothing
        {0x8000, 64, D_NEXT, 256},    // outside of the table
        {0x8000, 64, D_NEXT, 0xffff}, //
        {0x10000, 64, 0, 0},          // outside of RAM
        {~0ull - 10, 64, 0, 0},       // over the end of the address space
        {0xfff0, 17, 0, 0},           // over the end of RAM
        {0x8000, ~0u, 0, 0},          //
        {0xb000, 16, D_INDIRECT, 0},  // whose table says the same (below)
        {0xffff8, 16, D_INDIRECT, 0}, // a table outside
        {0x8000, 0, D_INDIRECT, 0},   // an empty one
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        nic_up(0);
        descriptor(TX, 0, bad[i].address, bad[i].length, bad[i].flags, bad[i].next);
        poke(0xb000, &bad[8], 16);
        give(TX, 0);
        assert_broken();
    }
    nic_up(0);
    descriptor(TX, 0, 0x8000, 64, D_NEXT | D_WRITE, 1); // readable behind writable
    descriptor(TX, 1, 0x8000, 64, 0, 0);
    give(TX, 0);
    assert_broken();
    give(TX, 256); // no such descriptor
    assert_broken();
    uint16_t index = 300; // more than the ring has
    poke(area(TX, 1) + 2, &index, 2);
    bar(AT_NOTIFY + 4, 2, TX);
    assert_broken();
}

static void rings_outside_of_ram(void **state)
{
    (void)state;
    static const uint64_t places[] = {RAM_PAGES * PAGE, RAM_PAGES * PAGE - 1, ~0ull - 4, 1ull << 63};
    for (unsigned which = DESC; which <= USED; which += 8) {
        for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
            bar(STATUS, 1, 0);
            nic_up(0);
            bar(STATUS, 1, 0);
            bar(DRIVER_SELECT, 4, 1);
            bar(DRIVER_FEATURE, 4, 1);
            bar(STATUS, 1, 0xb);
            bar(SELECT, 2, TX);
            bar(DESC, 8, area(TX, 0));
            bar(AVAIL, 8, area(TX, 1));
            bar(USED, 8, area(TX, 2));
            bar(which, 8, places[i]);
            bar(ENABLE, 2, 1);
            bar(STATUS, 1, 0xf);
            descriptor(TX, 0, 0x8000, 72, 0, 0);
            give(TX, 0);
            assert_broken();
        }
    }
}

static void held_while_the_wire_is_busy(void **state)
{
    (void)state;
    nic_up(0);
    port.busy = true;
    descriptor(TX, 0, 0x8000, 72, 0, 0);
    give(TX, 0);
    assert_int_equal(used_index(TX), 0);
    assert_true(virtio_net_poll(&nic));
    descriptor(TX, 0, 0x8000, 82, 0, 0); // a driver that changes it meanwhile has sent what is there then
    port.busy = false;
    assert_false(virtio_net_poll(&nic));
    assert_int_equal(port.sent_size, 70);
    assert_int_equal(used_index(TX), 1);
    port.busy = true;
    give(TX, 0);
    bar(STATUS, 1, 0);
    port.busy = false;
    assert_false(virtio_net_poll(&nic)); // reset: nothing is held
    assert_int_equal(port.sent_count, 1);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(sends_over_pages),
        TEST(indirect),
        TEST(checksums),
        TEST(receives_into_what_there_is),
        TEST(half_a_frame_is_none),
        TEST(hostile_chains),
        TEST(rings_outside_of_ram),
        TEST(held_while_the_wire_is_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
