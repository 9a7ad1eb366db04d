// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/lapic.c
// The local APIC: priorities, EOI, timer in three modes, IPIs, both doors (page and MSRs), faults.
#include "hv/platform/lapic.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
// cmocka wants these first
#include <cmocka.h>

static struct lapic cpus[4];
static struct {
    unsigned ipis, mask, vector, eois, eoi_vector;
    enum ipi_kind kind;
} seen;

static void ipi(void *ctx, uint32_t id, enum ipi_kind kind, uint8_t vector)
{
    (void)ctx;
    seen.ipis++;
    seen.mask |= 1u << id;
    seen.kind = kind;
    seen.vector = vector;
}
static void eoi(void *ctx, uint8_t vector)
{
    (void)ctx;
    seen.eois++;
    seen.eoi_vector = vector;
}
static struct lapic *peer(void *ctx, uint32_t id)
{
    (void)ctx;
    return &cpus[id];
}
static const struct lapic_ops ops = {
    .ipi = ipi, .eoi = eoi, .peer = peer, .cpu_count = 4, .address_bits = 39};
static struct lapic *const l = &cpus[0];

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    memset(cpus, 0, sizeof(cpus));
    for (unsigned i = 0; i < 4; i++) {
        cpus[i].bus_divisor = 10;
        lapic_reset(&cpus[i], i, i == 0, &ops);
        lapic_write(&cpus[i], 0xf0, 0x1ff, 0);
    }
    return 0;
}

static void test_reset_state(void **state)
{
    (void)state;
    lapic_reset(l, 3, true, &ops);
    assert_int_equal(l->bus_divisor, 10);
    uint64_t base;
    assert_true(lapic_msr_read(l, 0x1b, 0, &base));
    assert_int_equal(base, 0xfee00900);
    assert_int_equal(lapic_read(l, 0x20, 0), 3u << 24);
    assert_int_equal(lapic_read(l, 0x30, 0), 0x60014);
    assert_int_equal(lapic_read(l, 0xf0, 0), 0xff);
    assert_int_equal(lapic_read(l, 0xe0, 0), 0xffffffff);
    for (uint32_t lvt = 0x320; lvt <= 0x370; lvt += 0x10)
        assert_int_equal(lapic_read(l, lvt, 0), 0x10000);
    lapic_set_irr(l, 0x40, false); // disabled by SVR: nothing gets in
    assert_int_equal(lapic_pending(l), -1);
    lapic_write(l, 0x320, 0x40, 0); // and LVTs stay masked
    assert_int_equal(lapic_read(l, 0x320, 0), 0x10040);
}

static void test_priorities(void **state)
{
    (void)state;
    assert_int_equal(lapic_pending(l), -1);
    lapic_set_irr(l, 0x31, false);
    lapic_set_irr(l, 0x85, false);
    lapic_set_irr(l, 0x42, false);
    assert_int_equal(lapic_pending(l), 0x85);
    lapic_accept(l, 0x85);
    assert_int_equal(lapic_read(l, 0x100 + 0x40, 0), 1u << 5); // in service
    assert_int_equal(lapic_pending(l), -1);
    lapic_set_irr(l, 0x8f, false); // same class waits
    assert_int_equal(lapic_pending(l), -1);
    lapic_set_irr(l, 0x90, false); // higher class nests
    assert_int_equal(lapic_pending(l), 0x90);
    lapic_accept(l, 0x90);
    assert_int_equal(lapic_read(l, 0xa0, 0), 0x90); // PPR
    lapic_write(l, 0xb0, 0, 0);
    assert_int_equal(lapic_pending(l), -1);
    lapic_write(l, 0xb0, 0, 0);
    assert_int_equal(lapic_pending(l), 0x8f);
    lapic_write(l, 0x80, 0x80, 0); // TPR holds the class back
    assert_int_equal(lapic_pending(l), -1);
    assert_int_equal(lapic_read(l, 0xa0, 0), 0x80);
    lapic_write(l, 0x80, 0, 0);
    lapic_accept(l, 0x8f);
    lapic_write(l, 0xb0, 0, 0);
    assert_int_equal(lapic_pending(l), 0x42);
    lapic_write(l, 0xb0, 0, 0); // EOI with nothing in service
    assert_int_equal(lapic_pending(l), 0x42);
    assert_int_equal(seen.eois, 0); // none was level-triggered
}

static void test_level(void **state)
{
    (void)state;
    lapic_set_irr(l, 0x55, true);
    lapic_accept(l, 0x55);
    assert_int_equal(lapic_read(l, 0x180 + 0x20, 0), 1u << 21);
    lapic_write(l, 0xb0, 0, 0);
    assert_int_equal(seen.eois, 1);
    assert_int_equal(seen.eoi_vector, 0x55);
}

static void test_illegal_vectors(void **state)
{
    (void)state;
    lapic_write(l, 0x370, 0xe1, 0); // error LVT
    lapic_set_irr(l, 5, false);
    assert_int_equal(lapic_pending(l), 0xe1);
    assert_int_equal(lapic_read(l, 0x280, 0), 0);
    lapic_write(l, 0x280, 0, 0);
    assert_int_equal(lapic_read(l, 0x280, 0), 0x40);
    lapic_write(l, 0x280, 0, 0);
    assert_int_equal(lapic_read(l, 0x280, 0), 0);
    lapic_write(l, 0x300, 0x40000 | 7, 0);
    (void)lapic_read(l, 0x40, 0); // no such register
    lapic_write(l, 0x280, 0, 0);
    assert_int_equal(lapic_read(l, 0x280, 0), 0xa0);
    assert_int_equal(seen.ipis, 0);
}

static void test_one_shot(void **state)
{
    (void)state;
    lapic_write(l, 0x3e0, 3, 0); // divide by 16
    lapic_write(l, 0x320, 0x60, 0);
    lapic_write(l, 0x380, 100, 1000); // 100 * 16 * 10 TSC ticks
    assert_int_equal(lapic_tick(l, 1000), 17000);
    assert_int_equal(lapic_read(l, 0x390, 1000 + 159), 100);
    assert_int_equal(lapic_read(l, 0x390, 1000 + 160), 99);
    assert_int_equal(lapic_tick(l, 16999), 17000);
    assert_int_equal(lapic_pending(l), -1);
    assert_int_equal(lapic_tick(l, 17000), 0);
    assert_int_equal(lapic_pending(l), 0x60);
    assert_int_equal(lapic_read(l, 0x390, 18000), 0);
    lapic_accept(l, 0x60);
    lapic_write(l, 0xb0, 0, 0);
    assert_int_equal(lapic_tick(l, 50000), 0);
    assert_int_equal(lapic_pending(l), -1); // once
    lapic_write(l, 0x380, 5, 50000);
    lapic_write(l, 0x380, 0, 50001); // stopped
    assert_int_equal(lapic_tick(l, 99999), 0);
}

static void test_periodic(void **state)
{
    (void)state;
    lapic_write(l, 0x3e0, 0xb, 0); // divide by 1
    lapic_write(l, 0x320, 0x20061, 0);
    lapic_write(l, 0x380, 10, 0); // 100 ticks
    assert_int_equal(lapic_tick(l, 100), 200);
    assert_int_equal(lapic_pending(l), 0x61);
    lapic_accept(l, 0x61);
    lapic_write(l, 0xb0, 0, 0);
    assert_int_equal(lapic_tick(l, 1234), 1300); // missed ones are one
    assert_int_equal(lapic_read(l, 0x390, 1250), 5);
    lapic_accept(l, 0x61);
    lapic_write(l, 0xb0, 0, 0);
    lapic_write(l, 0x320, 0x30061, 1250); // masked: runs on silently
    assert_int_equal(lapic_tick(l, 1300), 1400);
    assert_int_equal(lapic_pending(l), -1);
}

/// Between one-shot and periodic a count goes on from where it is; one that has ended does not begin again.
static void test_change_of_mode(void **state)
{
    (void)state;
    lapic_write(l, 0x3e0, 0xb, 0); // divide by 1
    lapic_write(l, 0x320, 0x61, 0);
    lapic_write(l, 0x380, 10, 0); // 100 ticks
    lapic_write(l, 0x320, 0x20061, 30);
    assert_int_equal(lapic_read(l, 0x390, 30), 7);
    assert_int_equal(lapic_tick(l, 350), 400);
    assert_int_equal(lapic_read(l, 0x390, 350), 5);
    lapic_write(l, 0x320, 0x61, 360);
    assert_int_equal(lapic_read(l, 0x390, 360), 4);
    assert_int_equal(lapic_read(l, 0x390, 400), 0);
    assert_int_equal(lapic_tick(l, 400), 0);
    lapic_write(l, 0x320, 0x20061, 410);
    assert_int_equal(lapic_read(l, 0x390, 410), 0);
    assert_int_equal(lapic_tick(l, 5000), 0);
    assert_int_equal(lapic_read(l, 0x390, 5000), 0);
}

static void test_deadline(void **state)
{
    (void)state;
    uint64_t v;
    assert_true(lapic_msr_write(l, 0x6e0, 500, 0)); // not in this mode: ignored
    assert_int_equal(lapic_tick(l, 1000), 0);
    lapic_write(l, 0x320, 0x40062, 0);
    assert_true(lapic_msr_write(l, 0x6e0, 5000, 0));
    assert_true(lapic_msr_read(l, 0x6e0, 0, &v));
    assert_int_equal(v, 5000);
    lapic_write(l, 0x380, 77, 0); // the count register is dead in this mode
    assert_int_equal(lapic_read(l, 0x390, 10), 0);
    assert_int_equal(lapic_tick(l, 4999), 5000);
    assert_int_equal(lapic_tick(l, 5000), 0);
    assert_int_equal(lapic_pending(l), 0x62);
    assert_true(lapic_msr_read(l, 0x6e0, 0, &v));
    assert_int_equal(v, 0);
    assert_true(lapic_msr_write(l, 0x6e0, 9000, 0));
    assert_true(lapic_msr_write(l, 0x6e0, 0, 0));
    assert_int_equal(lapic_tick(l, 10000), 0);
    assert_true(lapic_msr_write(l, 0x6e0, 20000, 0));
    lapic_write(l, 0x320, 0x62, 0); // leaving the mode disarms
    assert_int_equal(lapic_tick(l, 30000), 0);
}

static void send(uint32_t low, uint32_t destination)
{
    memset(&seen, 0, sizeof(seen));
    lapic_write(l, 0x310, destination << 24, 0);
    lapic_write(l, 0x300, low, 0);
}

static void test_ipis(void **state)
{
    (void)state;
    send(0x4041, 2);
    assert_int_equal(seen.mask, 1u << 2);
    assert_int_equal(seen.kind, IPI_FIXED);
    assert_int_equal(seen.vector, 0x41);
    send(0x4041, 9); // nobody
    assert_int_equal(seen.ipis, 0);
    send(0x4041, 0xff); // everybody, itself without ops
    assert_int_equal(seen.mask, 0xe);
    assert_int_equal(lapic_pending(l), 0x41);
    send(0x44042, 3); // self, whatever the destination
    assert_int_equal(seen.ipis, 0);
    assert_int_equal(lapic_pending(l), 0x42);
    send(0x84043, 0); // all including self
    assert_int_equal(seen.mask, 0xe);
    assert_int_equal(lapic_pending(l), 0x43);
    send(0xc4500, 0); // INIT to all others
    assert_int_equal(seen.mask, 0xe);
    assert_int_equal(seen.kind, IPI_INIT);
    send(0xc8500, 0); // its de-assertion
    assert_int_equal(seen.ipis, 0);
    send(0xc4608, 0);
    assert_int_equal(seen.kind, IPI_STARTUP);
    assert_int_equal(seen.vector, 8);
    send(0x4400, 1);
    assert_int_equal(seen.kind, IPI_NMI);
    send(0x4700, 1); // ExtINT cannot be sent
    assert_int_equal(seen.ipis, 0);
    assert_int_equal(lapic_read(l, 0x300, 0) & 0x1000, 0); // never "send pending"
}

static void test_logical_destinations(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        lapic_write(&cpus[i], 0xd0, 1u << (24 + 3 - i), 0); // not the usual order
    send(0x4850, 0x6);
    assert_int_equal(seen.mask, 0x6);
    send(0x4850, 0x1);
    assert_int_equal(seen.mask, 0x8);
    send(0x4950, 0x7); // lowest priority: one of them
    assert_int_equal(seen.ipis, 1);
    for (unsigned i = 0; i < 4; i++) { // cluster model
        lapic_write(&cpus[i], 0xe0, 0x0fffffff, 0);
        lapic_write(&cpus[i], 0xd0, (0x10u * (i / 2) + (1u << i % 2)) << 24, 0);
    }
    send(0x4850, 0x13);
    assert_int_equal(seen.mask, 0xc);
    send(0x4850, 0x12);
    assert_int_equal(seen.mask, 0x8);
}

static void test_x2apic(void **state)
{
    (void)state;
    uint64_t v;
    assert_false(lapic_msr_read(l, 0x802, 0, &v));         // not in this mode yet
    assert_false(lapic_msr_write(l, 0x1b, 0xfee00500, 0)); // EXTD without EN
    assert_false(lapic_msr_write(l, 0x1b, 0xfee00d01, 0)); // reserved bit
    assert_true(lapic_msr_write(l, 0x1b, 0xfee00d00, 0));
    assert_true(lapic_x2apic(l));
    assert_false(lapic_msr_write(l, 0x1b, 0xfee00900, 0)); // no way straight back
    assert_true(lapic_msr_read(l, 0x802, 0, &v));
    assert_int_equal(v, 0);
    assert_true(lapic_msr_read(l, 0x80d, 0, &v));
    assert_int_equal(v, 1);
    assert_false(lapic_msr_write(l, 0x802, 0, 0));
    assert_false(lapic_msr_write(l, 0x80d, 0, 0));
    assert_false(lapic_msr_read(l, 0x80e, 0, &v)); // DFR is gone
    assert_false(lapic_msr_read(l, 0x831, 0, &v)); // ICR is one register
    assert_false(lapic_msr_read(l, 0x80b, 0, &v)); // EOI is write-only
    assert_false(lapic_msr_write(l, 0x80b, 1, 0));
    assert_true(lapic_msr_write(l, 0x80b, 0, 0));
    assert_false(lapic_msr_write(l, 0x808, 0x100, 0));
    assert_true(lapic_msr_write(l, 0x808, 0x20, 0));
    assert_true(lapic_msr_read(l, 0x80a, 0, &v));
    assert_int_equal(v, 0x20);
    assert_false(lapic_msr_write(l, 0x808, 1ull << 32, 0));
    assert_true(lapic_msr_write(l, 0x830, 0x0000000200004041, 0));
    assert_int_equal(seen.mask, 4);
    assert_true(lapic_msr_read(l, 0x830, 0, &v));
    assert_int_equal(v, 0x0000000200004041);
    memset(&seen, 0, sizeof(seen));
    assert_true(lapic_msr_write(l, 0x830, 0x0000000600004841, 0)); // logical: cluster 0, ids 1 and 2
    assert_int_equal(seen.mask, 6);
    assert_true(lapic_msr_write(l, 0x83f, 0x77, 0)); // self
    assert_int_equal(lapic_pending(l), 0x77);
    assert_false(lapic_msr_read(l, 0x83f, 0, &v));
    assert_false(lapic_msr_write(l, 0x828, 1, 0));
    assert_false(lapic_msr_read(l, 0x8ff, 0, &v));
    assert_false(lapic_msr_read(l, 0x900, 0, &v));
    assert_true(lapic_msr_write(l, 0x1b, 0xfee00000, 0)); // off: forgets all
    assert_int_equal(lapic_pending(l), -1);
    assert_false(lapic_msr_write(l, 0x1b, 0xfee00c00, 0)); // and not straight to x2APIC
    assert_true(lapic_msr_write(l, 0x1b, 0xfee00800, 0));
    assert_int_equal(l->base_msr, 0xfee00900); // BSP stays
}

/// SDM vol. 3, 10.4.5 "Relocating the Local APIC Registers".
static void test_base_moves(void **state)
{
    (void)state;
    uint64_t v;
    assert_true(lapic_msr_write(l, 0x1b, 0xfed40900, 0));
    assert_true(lapic_msr_read(l, 0x1b, 0, &v));
    assert_int_equal(v, 0xfed40900);
    assert_true(lapic_msr_write(l, 0x1b, 0x7ffffff800, 0)); // the highest page of 39 bits
    assert_int_equal(l->base_msr, 0x7ffffff900);
    assert_false(lapic_msr_write(l, 0x1b, 0x80fee00900, 0)); // beyond them
    for (unsigned bit = 0; bit < 12; bit++) {
        bool kept = bit == 8 || bit == 10 || bit == 11; // BSP, EXTD, EN
        assert_true(kept || !lapic_msr_write(l, 0x1b, 0xfee00900 | 1u << bit, 0));
    }
    assert_int_equal(l->base_msr, 0x7ffffff900);
    lapic_init(l);
    assert_int_equal(l->base_msr, 0x7ffffff900); // INIT leaves it, a reset does not
    lapic_reset(l, 0, true, &ops);
    assert_int_equal(l->base_msr, 0xfee00900);
}

static void test_init_keeps_mode(void **state)
{
    (void)state;
    uint64_t base;
    assert_true(lapic_msr_write(l, 0x1b, 0xfee00d00, 0)); // x2APIC
    assert_true(lapic_msr_write(l, 0x808, 0x50, 0));
    lapic_set_irr(l, 0x60, false);
    lapic_init(l);
    assert_true(lapic_msr_read(l, 0x1b, 0, &base));
    assert_int_equal(base, 0xfee00d00);
    assert_int_equal(l->tpr, 0);
    assert_int_equal(lapic_pending(l), -1);
    assert_int_equal(l->svr, 0xff);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        T(test_reset_state),          T(test_priorities), T(test_level),
        T(test_illegal_vectors),      T(test_one_shot),   T(test_periodic),
        T(test_change_of_mode),       T(test_deadline),   T(test_ipis),
        T(test_logical_destinations), T(test_x2apic),     T(test_init_keeps_mode),
        T(test_base_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
