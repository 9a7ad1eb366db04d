// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/acpi_tables.c
#include "hv/platform/acpi_tables.h"
#include "hv/platform/iommu.h"
#include "hv/platform/machine.h"
#include "hv/platform/pci_host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint8_t tables[GUEST_ACPI_SIZE];
static const uint8_t dsdt[40] = "DSDT";

static const uint8_t *at(uint64_t address)
{
    assert_true(address >= GUEST_ACPI_BASE && address < GUEST_ACPI_BASE + sizeof tables);
    return tables + (address - GUEST_ACPI_BASE);
}

static uint64_t number(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;
    memcpy(&v, p, size);
    return v;
}

static void check_sum(const uint8_t *p, size_t n)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
    assert_int_equal(sum, 0);
}

static const uint8_t *table_if_any(const char *signature)
{
    const uint8_t *xsdt = at(number(tables + 24, 8));
    assert_memory_equal(xsdt, "XSDT", 4);
    check_sum(xsdt, number(xsdt + 4, 4));
    for (size_t i = 36; i < number(xsdt + 4, 4); i += 8) {
        const uint8_t *t = at(number(xsdt + i, 8));
        check_sum(t, number(t + 4, 4));
        if (memcmp(t, signature, 4) == 0)
            return t;
    }
    return NULL;
}

static const uint8_t *table(const char *signature)
{
    const uint8_t *t = table_if_any(signature);
    if (!t)
        fail_msg("no table %s", signature);
    return t;
}

static void all_tables(void **state)
{
    (void)state;
    const struct acpi_machine m = {.cpus = 3, .dsdt = dsdt, .dsdt_size = sizeof dsdt};
    size_t used;
    assert_int_equal(acpi_tables_build(&m, GUEST_ACPI_BASE, tables, sizeof tables, &used), OK);
    assert_true(used < sizeof tables);
    assert_memory_equal(tables, "RSD PTR ", 8);
    check_sum(tables, 20);
    check_sum(tables, 36);
    const uint8_t *fadt = table("FACP");
    assert_int_equal(number(fadt + 46, 2), GUEST_SCI);
    assert_int_equal(number(fadt + 76, 4), GUEST_PM_TIMER);
    assert_int_equal(fadt[172], 1); // X_PM1a_CNT_BLK is in I/O space
    assert_memory_equal(at(number(fadt + 140, 8)), "DSDT", 4);
    const uint8_t *mcfg = table("MCFG");
    assert_int_equal(number(mcfg + 44, 8), GUEST_ECAM_BASE);
    assert_int_equal(mcfg[55], 255);
    const uint8_t *madt = table("APIC");
    unsigned lapics = 0, ioapics = 0;
    for (size_t i = 44; i < number(madt + 4, 4); i += madt[i + 1]) {
        assert_true(madt[i + 1] >= 6);
        lapics += madt[i] == 0;
        if (madt[i] == 1) {
            ioapics++;
            assert_int_equal(number(madt + i + 4, 4), GUEST_IOAPIC_BASE);
        }
    }
    assert_int_equal(lapics, 3);
    assert_int_equal(ioapics, 1);
    assert_null(table_if_any("DMAR"));
}

static void with_iommu(void **state)
{
    (void)state;
    const struct acpi_machine m = {.cpus = 1, .iommu = true, .dsdt = dsdt, .dsdt_size = sizeof dsdt};
    size_t used;
    assert_int_equal(acpi_tables_build(&m, GUEST_ACPI_BASE, tables, sizeof tables, &used), OK);
    const uint8_t *dmar = table("DMAR");
    assert_int_equal(number(dmar + 4, 4), 64);
    assert_int_equal(dmar[36], 38);            // host address width - 1
    assert_int_equal(dmar[37], 0);             // no interrupt remapping
    assert_int_equal(number(dmar + 48, 2), 0); // DRHD
    assert_int_equal(number(dmar + 50, 2), 16);
    assert_int_equal(dmar[52], 1);             // INCLUDE_PCI_ALL
    assert_int_equal(number(dmar + 54, 2), 0); // segment
    assert_int_equal(number(dmar + 56, 8), GUEST_IOMMU_BASE);
}

static void no_room(void **state)
{
    (void)state;
    const struct acpi_machine m = {.cpus = 3, .dsdt = dsdt, .dsdt_size = sizeof dsdt};
    size_t used;
    for (size_t size = 0; size < 600; size += 7)
        assert_int_equal(acpi_tables_build(&m, GUEST_ACPI_BASE, tables, size, &used), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_tables),
        cmocka_unit_test(with_iommu),
        cmocka_unit_test(no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
