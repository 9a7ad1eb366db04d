// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/vtd.c drivers/vtd_unit.c drivers/vtd_queue.c drivers/vtd_interrupts.c drivers/vtd_fault.c
//
// Interrupt remapping, as a unit sees it that caches entries, sees only what was flushed, and checks what is
// reserved: which messages of which function reach a processor.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include <cmocka.h>
// and this one needs cmocka
#include "tests/unit/fake_vtd.h"

#define CAP    (CAP_39 | CAP_48)
#define ECAP   (ECAP_PT | ECAP_QI | ECAP_IR)
#define EDU    0x0028u
#define DISK   0x0308u
#define HANDLE 0x10u // of address: the new format

static const struct pci_device edu = {.at = {0, 0, 0x28}}, disk = {.at = {0, 3, 0x08}, .cap_pcie = 0x40};

static void start(uint64_t cap, uint64_t ecap, bool x2apic)
{
    fake_reset(cap, ecap);
    fake_make_dmar(0);
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), OK);
    assert_int_equal(vtd_start_interrupts(x2apic), OK);
}

static uint64_t goes(uint64_t processor, uint8_t vector)
{
    return processor << 32 | vector;
}

static uint64_t send(uint16_t source, struct pci_message m)
{
    return fake_message(source, m.address, m.data);
}

static void stopped(uint16_t source, uint32_t address, uint32_t data, uint8_t reason, uint64_t entry)
{
    struct vtd_fault f;
    assert_int_equal(fake_message(source, address, data), FAKE_STOPPED);
    assert_true(vtd_take_fault(&f, NULL));
    assert_int_equal(f.bus << 8 | f.devfn, source);
    assert_int_equal(f.reason, reason);
    assert_int_equal(f.iova, entry);
    assert_true(f.reason >= VTD_FAULT_INTERRUPT && f.write);
    assert_false(vtd_take_fault(&f, NULL));
}

static void test_refused(void **state)
{
    (void)state;
    struct pci_message m;
    uint16_t entry;
    fake_reset(CAP, ECAP);
    fake_make_dmar(0);
    fake_dmar[64 + 7] = 1; // another segment's: nothing is started
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), ERR_NOTFOUND);
    assert_int_equal(vtd_start_interrupts(false), ERR_UNSUPPORTED);
    static const uint64_t less[] = {ECAP_PT, ECAP_PT | ECAP_QI, ECAP_PT | ECAP_IR, ECAP};
    for (unsigned i = 0; i < 4; i++) {
        fake_reset(CAP, less[i]);
        fake_make_dmar(0);
        fake_dmar[37] = i < 3; // the unit cannot, or the platform
        assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), OK);
        assert_int_equal(vtd_start_interrupts(false), ERR_UNSUPPORTED);
        assert_false(fake_get(0x1c) & GSTS_IRE);
        // without remapping: the old format
        assert_int_equal(vtd_interrupt(&edu, 5, 0x41, &m), OK);
        assert_int_equal(m.address, 0xfee05000);
        assert_int_equal(m.data, 0x41);
        assert_int_equal(send(EDU, m), goes(5, 0x41));
        assert_int_equal(vtd_interrupt(&edu, 0x100, 0x41, &m), ERR_UNSUPPORTED);
        assert_int_equal(vtd_interrupt_pin(FAKE_IOAPIC, 0, 0x41, false, &entry), ERR_UNSUPPORTED);
    }
    start(CAP, ECAP, false);
    const struct pci_device behind = {.at = {0, 3, 0x08}}, elsewhere = {.at = {1, 0, 0x28}, .cap_pcie = 0x40};
    assert_int_equal(vtd_interrupt(&behind, 0, 0x41, &m), ERR_UNSUPPORTED); // its bridge asks
    assert_int_equal(vtd_interrupt(&elsewhere, 0, 0x41, &m), ERR_UNSUPPORTED);
    assert_int_equal(vtd_interrupt(&edu, 0x100, 0x41, &m), ERR_UNSUPPORTED);
    assert_int_equal(vtd_interrupt_pin(FAKE_IOAPIC + 1, 0, 0x41, false, &entry), ERR_UNSUPPORTED);
    stopped(EDU, 0xfee00000 | HANDLE | 0x41 << 5, 0, 0x22, 0x41);
}

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        uint64_t cap, ecap;
        bool x2apic;
        uint32_t processor;
    } kinds[] = {
        {CAP, ECAP | ECAP_C, false, 0},
        {CAP, ECAP, false, 0xfe},
        {CAP | CAP_CM, ECAP, false, 3},
        {CAP | CAP_CM | CAP_RWBF, ECAP | ECAP_C, false, 3},
        {CAP | CAP_RWBF, ECAP, false, 3},
        {CAP, ECAP | ECAP_EIM, true, 0x12345},
        {CAP, ECAP | ECAP_EIM, false, 7}, // could, but the processors are not so
        {CAP, ECAP, true, 7},             // the other way round
    };
    for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        uint32_t cpu = kinds[k].processor;
        struct pci_message a, b;
        start(kinds[k].cap, kinds[k].ecap, kinds[k].x2apic);
        assert_int_equal(fake_get(0x1c) & (GSTS_IRE | GSTS_CFI), GSTS_IRE);
        assert_int_equal(fake.interrupts_global, 1);
        // before it is given: also what a unit in caching mode keeps of an entry that is not present
        stopped(EDU, 0xfee00000 | HANDLE | 0x41 << 5, 0, 0x22, 0x41);
        assert_int_equal(vtd_interrupt(&edu, cpu, 0x41, &a), OK);
        assert_int_equal(vtd_interrupt(&disk, cpu, 0xef, &b), OK);
        assert_int_equal(send(EDU, a), goes(cpu, 0x41));
        assert_int_equal(send(DISK, b), goes(cpu, 0xef));
        // another's, in both directions; the data is of no matter
        stopped(DISK, a.address, a.data, 0x26, 0x41);
        stopped(EDU, b.address, 0x500, 0x26, 0xef);
        assert_int_equal(fake_message(EDU, a.address, 0x500), goes(cpu, 0x41));
        // through a sub-handle: the same entries
        stopped(DISK, 0xfee00000 | HANDLE | 8 | 0x40 << 5, 1, 0x26, 0x41);
        stopped(EDU, 0xfee00000 | HANDLE | 8, 0x10041, 0x20, 0x41);
        // nobody's, too high, and the old format: INIT, and a vector
        for (unsigned i = 0; i < 256; i++)
            if (i != 0x41 && i != 0xef)
                stopped(EDU, 0xfee00000 | HANDLE | i << 5, 0, 0x22, i);
        stopped(EDU, 0xfee00000 | HANDLE | 0x100 << 5, 0, 0x21, 0x100);
        stopped(EDU, 0xfee00000 | HANDLE | 4, 0, 0x21, 0x8000);
        stopped(EDU, 0xfee00000, 0x500, 0x25, 0);
        stopped(EDU, 0xfee0300c, 0x41, 0x25, 0);
    }
}

/// A vector goes from one function to another: from then on the first one's message is nothing.
static void test_taken_away(void **state)
{
    (void)state;
    struct pci_message a, b;
    for (unsigned i = 0; i < 4; i++) {
        start(CAP | (i & 1 ? CAP_CM : 0), ECAP | (i & 2 ? ECAP_C : 0), false);
        assert_int_equal(vtd_interrupt(&edu, 1, 0x50, &a), OK);
        assert_int_equal(send(EDU, a), goes(1, 0x50)); // cached now
        unsigned before = fake.interrupts_one;
        assert_int_equal(vtd_interrupt(&disk, 1, 0x50, &b), OK);
        assert_int_equal(fake.interrupts_one, before + 1);
        assert_int_equal(send(DISK, b), goes(1, 0x50));
        stopped(EDU, a.address, a.data, 0x26, 0x50);
        assert_int_equal(fake.interrupts_global, 1);
    }
    fake.mute = true;
    assert_int_equal(vtd_interrupt(&edu, 1, 0x50, &a), ERR_IO);
}

static void test_pins(void **state)
{
    (void)state;
    uint16_t entry;
    start(CAP, ECAP, false);
    for (unsigned level = 0; level < 2; level++) {
        uint8_t vector = (uint8_t)(0x34 + level);
        assert_int_equal(vtd_interrupt_pin(FAKE_IOAPIC, 2, vector, level, &entry), OK);
        uint32_t address = 0xfee00000 | HANDLE | (uint32_t)entry << 5;
        stopped(EDU, address, vector, 0x26, entry);
        const uint64_t *table = phys_to_virt(fake.irta & ~0xfffull);
        assert_int_equal(table[2 * entry] >> 4 & 1, level);
        if (!level)
            assert_int_equal(fake_message(FAKE_IOAPIC_SOURCE, address, vector), goes(2, vector));
    }
}

static void test_deaf(void **state)
{
    (void)state;
    struct pci_message m;
    fake_reset(CAP, ECAP);
    fake_make_dmar(0);
    assert_int_equal(vtd_start(fake_dmar, sizeof fake_dmar), OK);
    fake.deaf = true;
    assert_int_equal(vtd_start_interrupts(false), ERR_TIMEOUT);
    fake.deaf = false;
    fake.mute = true;
    assert_int_equal(vtd_start_interrupts(false), ERR_IO);
    assert_false(fake_get(0x1c) & GSTS_IRE);
    assert_int_equal(vtd_interrupt(&edu, 1, 0x50, &m), OK);
    assert_int_equal(m.address, 0xfee01000); // the old way
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_messages), cmocka_unit_test(test_taken_away),
        cmocka_unit_test(test_pins),    cmocka_unit_test(test_deaf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
