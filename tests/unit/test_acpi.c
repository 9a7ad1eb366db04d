// SPDX-License-Identifier: BSD-2-Clause
// ACPI tables built here byte by byte as the specification lays them out, whole and damaged.
// LINK: drivers/acpi.c
#include "drivers/acpi.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RSDP 0x1000u
#define XSDT 0x2000u
#define RSDT 0x2800u
#define FADT 0x3000u
#define MADT 0x4000u
#define MCFG 0x5000u
#define HPET 0x6000u
#define DSDT 0x7000u
#define DMAR 0x8000u
#define SSDT 0x9000u
#define END  0xa000u

static uint8_t mem[END];

static const void *map(void *ctx, uint64_t phys, size_t size)
{
    (void)ctx;
    return phys < END && size <= END - phys ? mem + phys : NULL;
}

static void put(uint32_t at, uint64_t value, unsigned n)
{
    memcpy(mem + at, &value, n);
}

static void checksum(uint32_t at, uint32_t size, uint32_t where)
{
    uint8_t sum = 0;
    mem[at + where] = 0;
    for (uint32_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + mem[at + i]);
    mem[at + where] = (uint8_t)-sum;
}

static void finish(uint32_t at, const char *signature, uint32_t size)
{
    memcpy(mem + at, signature, 4);
    put(at + 4, size, 4);
    checksum(at, size, 9);
}

static const uint8_t dsdt_aml[] = {0x10, 0x05, '_',  'S',  'B',  '_', // noise before it
                                   0x08, '_',  'S',  '5',  '_',  0x12, 0x07,
                                   0x04, 0x0a, 0x05, 0x0a, 0x06, 0x00, 0x00};

static void make_madt(void)
{
    static const uint8_t entries[] = {
        0, 8,  0, 0, 1, 0,    0,    0,                               // local APIC 0, enabled
        0, 8,  1, 2, 1, 0,    0,    0,                               // local APIC 2, enabled
        0, 8,  2, 4, 0, 0,    0,    0,                               // local APIC 4, not enabled
        9, 16, 0, 0, 0, 1,    0,    0,    1,    0, 0, 0, 3, 0, 0, 0, // x2APIC 256, enabled
        9, 16, 0, 0, 2, 0,    0,    0,    1,    0, 0, 0, 1, 0, 0, 0, // x2APIC 2: listed before
        1, 12, 7, 0, 0, 0,    0xc0, 0xfe, 0,    0, 0, 0,             // I/O APIC 7 at 0xfec00000
        1, 12, 8, 0, 0, 0x10, 0xc0, 0xfe, 24,   0, 0, 0,             // I/O APIC 8, GSI 24
        2, 10, 0, 0, 2, 0,    0,    0,    0,    0,                   // IRQ 0 -> GSI 2
        2, 10, 0, 9, 9, 0,    0,    0,    0x0f, 0,                   // IRQ 9: level, active low
        5, 12, 0, 0, 0, 0,    0,    0xfe, 1,    0, 0, 0,             // local APIC at 0x1fe000000
    };
    put(MADT + 36, 0xfee00000u, 4);
    memcpy(mem + MADT + 44, entries, sizeof entries);
    finish(MADT, "APIC", 44 + sizeof entries);
}

static void make_fadt(void)
{
    put(FADT + 40, DSDT, 4);
    put(FADT + 48, 0xb2, 4);
    put(FADT + 52, 0xf1, 1);
    put(FADT + 64, 0x604, 4);               // PM1a_CNT_BLK
    put(FADT + 76, 0x608, 4);               // PM_TMR_BLK
    put(FADT + 112, 1u << 8 | 1u << 10, 4); // TMR_VAL_EXT, RESET_REG_SUP
    put(FADT + 116, 1, 1);
    put(FADT + 117, 8, 1);
    put(FADT + 120, 0xcf9, 8);
    put(FADT + 128, 0x0f, 1);
    put(FADT + 208, 1, 1); // X_PM_TMR_BLK
    put(FADT + 209, 32, 1);
    put(FADT + 212, 0x1608, 8);
    finish(FADT, "FACP", 244);
}

static int setup(void **state)
{
    (void)state;
    memset(mem, 0, sizeof mem);
    make_madt();
    make_fadt();
    put(MCFG + 44, 0xb0000000u, 8);
    put(MCFG + 52, 0, 2);
    put(MCFG + 54, 0, 1);
    put(MCFG + 55, 0xff, 1);
    finish(MCFG, "MCFG", 60);
    put(HPET + 44, 0xfed00000u, 8);
    finish(HPET, "HPET", 56);
    memcpy(mem + DSDT + 36, dsdt_aml, sizeof dsdt_aml);
    finish(DSDT, "DSDT", 36 + sizeof dsdt_aml);
    finish(DMAR, "DMAR", 48);
    finish(SSDT, "SSDT", 36);
    static const uint64_t tables[] = {FADT, MADT, MCFG, HPET, DMAR, SSDT};
    for (unsigned i = 0; i < 6; i++) {
        put(XSDT + 36 + 8 * i, tables[i], 8);
        put(RSDT + 36 + 4 * i, tables[i], 4);
    }
    finish(XSDT, "XSDT", 36 + 48);
    finish(RSDT, "RSDT", 36 + 24);
    memcpy(mem + RSDP, "RSD PTR ", 8);
    mem[RSDP + 15] = 2;
    put(RSDP + 16, RSDT, 4);
    put(RSDP + 20, 36, 4);
    put(RSDP + 24, XSDT, 8);
    checksum(RSDP, 20, 8);
    checksum(RSDP, 36, 32);
    return 0;
}

static void check_all(const struct acpi_info *a)
{
    assert_int_equal(a->bad_tables, 0);
    assert_int_equal(a->tables, 7);
    assert_int_equal(a->cpu_count, 3);
    assert_int_equal(a->cpu_apic_ids[0], 0);
    assert_int_equal(a->cpu_apic_ids[1], 2);
    assert_int_equal(a->cpu_apic_ids[2], 256);
    assert_int_equal(a->lapic_address, 0x1fe000000ull);
    assert_int_equal(a->ioapic_count, 2);
    assert_int_equal(a->ioapics[0].id, 7);
    assert_int_equal(a->ioapics[0].address, 0xfec00000u);
    assert_int_equal(a->ioapics[1].gsi_base, 24);
    assert_int_equal(a->override_count, 2);
    assert_int_equal(a->overrides[0].gsi, 2);
    assert_false(a->overrides[0].level || a->overrides[0].active_low);
    assert_int_equal(a->overrides[1].isa_irq, 9);
    assert_true(a->overrides[1].level && a->overrides[1].active_low);
    assert_int_equal(a->segment_count, 1);
    assert_int_equal(a->segments[0].base, 0xb0000000u);
    assert_int_equal(a->segments[0].last_bus, 255);
    assert_int_equal(a->hpet_address, 0xfed00000u);
    assert_true(a->fadt && a->pm_timer_32);
    assert_int_equal(a->pm1a_control.address, 0x604); // the extended form is empty
    assert_int_equal(a->pm1a_control.space, ACPI_SPACE_IO);
    assert_int_equal(a->pm1b_control.address, 0);
    assert_int_equal(a->pm_timer.address, 0x1608); // the extended form wins
    assert_int_equal(a->reset.address, 0xcf9);
    assert_int_equal(a->reset_value, 0x0f);
    assert_int_equal(a->smi_command, 0xb2);
    assert_int_equal(a->acpi_enable, 0xf1);
    assert_true(a->s5);
    assert_int_equal(a->s5_type_a, 5);
    assert_int_equal(a->s5_type_b, 6);
    assert_int_equal(a->dmar, DMAR);
    assert_int_equal(a->dmar_size, 48);
}

static void test_whole(void **state)
{
    (void)state;
    struct acpi_info a;
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), OK);
    check_all(&a);
}

static void test_rsdt(void **state)
{
    (void)state;
    struct acpi_info a;
    mem[XSDT + 40] ^= 1; // damaged: the old root table is used
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), OK);
    check_all(&a);
    mem[RSDP + 15] = 0; // ACPI 1.0: there is no XSDT field
    checksum(RSDP, 20, 8);
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), OK);
    check_all(&a);
    mem[RSDT + 40] ^= 1;
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), ERR_PROTOCOL);
}

static void test_no_rsdp(void **state)
{
    (void)state;
    struct acpi_info a;
    assert_int_equal(acpi_read(0, map, NULL, &a), ERR_NOTFOUND);
    assert_int_equal(acpi_read(END - 4, map, NULL, &a), ERR_NOTFOUND);
    assert_int_equal(acpi_read(XSDT, map, NULL, &a), ERR_NOTFOUND);
    mem[RSDP + 10] ^= 1;
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), ERR_PROTOCOL);
}

static void test_damaged_tables_are_left_out(void **state)
{
    (void)state;
    struct acpi_info a;
    mem[MADT + 60] ^= 1;
    put(MCFG + 4, 35, 4); // shorter than a header
    put(HPET + 4, 0xffffffffu, 4);
    put(DSDT + 4, END, 4); // runs out of memory that can be read
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), OK);
    assert_int_equal(a.bad_tables, 4);
    assert_int_equal(a.cpu_count + a.segment_count, 0);
    assert_int_equal(a.hpet_address, 0);
    assert_false(a.s5);
    assert_true(a.fadt);
}

static void test_madt_entries_that_lie(void **state)
{
    (void)state;
    struct acpi_info a;
    mem[MADT + 44 + 9] = 0; // second entry of length 0: the list ends there
    finish(MADT, "APIC", (uint32_t)(mem[MADT + 4] | mem[MADT + 5] << 8));
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), OK);
    assert_int_equal(a.cpu_count, 1);
    mem[MADT + 44 + 9] = 255; // longer than the table
    finish(MADT, "APIC", (uint32_t)(mem[MADT + 4] | mem[MADT + 5] << 8));
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), OK);
    assert_int_equal(a.cpu_count, 1);
}

static void test_more_than_fits(void **state)
{
    (void)state;
    struct acpi_info a;
    for (uint32_t i = 0; i < 100; i++) {
        const uint8_t entry[] = {0, 8, 0, (uint8_t)i, 1, 0, 0, 0};
        memcpy(mem + MADT + 44 + 8 * i, entry, 8);
    }
    finish(MADT, "APIC", 44 + 800);
    for (uint32_t i = 0; i < 20; i++)
        put(MCFG + 44 + 16 * i, 0x10000000u * i, 8);
    finish(MCFG, "MCFG", 44 + 320);
    assert_int_equal(acpi_read(RSDP, map, NULL, &a), OK);
    assert_int_equal(a.cpu_count, ACPI_CPUS_MAX);
    assert_int_equal(a.cpus_dropped, 100 - ACPI_CPUS_MAX);
    assert_int_equal(a.segment_count, ACPI_SEGMENTS_MAX);
}

static void test_s5_forms(void **state)
{
    (void)state;
    static const struct {
        uint8_t aml[24], size;
        bool found;
        uint8_t a, b;
    } cases[] = {
        {{8, '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0}, 12, true, 0, 0},                   // ZeroOp
        {{8, '_', 'S', '5', '_', 0x12, 6, 4, 1, 1, 0, 0}, 12, true, 1, 1},                   // OneOp
        {{8, '\\', '_', 'S', '5', '_', 0x12, 8, 4, 0x0a, 7, 0x0a, 7, 0, 0}, 15, true, 7, 7}, // root prefix
        {{8, '_', 'S', '5', '_', 0x12, 0x4a, 0, 4, 0x0b, 5, 0, 0x0a, 5},
         14,
         true,
         5,
         5},                                                                        // long PkgLength, word
        {{8, '_', 'S', '5', '_', 0x12, 4, 1, 0x0a, 3}, 10, true, 3, 0},             // one element
        {{9, '_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0}, 12, false, 0, 0},         // no name
        {{8, '_', 'S', '5', '_', 0x11, 6, 4, 0, 0, 0, 0}, 12, false, 0, 0},         // no package
        {{8, '_', 'S', '5', '_', 0x12, 6, 0, 0, 0, 0, 0}, 12, false, 0, 0},         // empty package
        {{8, '_', 'S', '5', '_', 0x12, 6, 4, 0x0a, 8, 0, 0}, 12, false, 0, 0},      // SLP_TYP is 3 bits
        {{8, '_', 'S', '5', '_', 0x12, 6, 4, 'A', 'B', 'C', 'D'}, 12, false, 0, 0}, // no constant
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t a = 0xee, b = 0xee;
        uint8_t *exact = malloc(cases[i].size);
        assert_non_null(exact);
        memcpy(exact, cases[i].aml, cases[i].size);
        assert_int_equal(acpi_find_s5(exact, cases[i].size, &a, &b), cases[i].found);
        if (cases[i].found) {
            assert_int_equal(a, cases[i].a);
            assert_int_equal(b, cases[i].b);
        }
        free(exact);
        for (size_t size = 0; size < cases[i].size; size++) { // every truncation: no read beyond it
            exact = malloc(size ? size : 1);
            assert_non_null(exact);
            memcpy(exact, cases[i].aml, size);
            (void)acpi_find_s5(exact, size, &a, &b);
            free(exact);
        }
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        T(test_whole),
        T(test_rsdt),
        T(test_no_rsdp),
        T(test_damaged_tables_are_left_out),
        T(test_madt_entries_that_lie),
        T(test_more_than_fits),
        T(test_s5_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
