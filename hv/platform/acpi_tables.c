// SPDX-License-Identifier: BSD-2-Clause
#include "hv/platform/acpi_tables.h"
#include "hv/platform/iommu.h"
#include "hv/platform/lapic.h"
#include "hv/platform/machine.h"
#include "hv/platform/pci_host.h"
#include <string.h>

struct __attribute__((packed)) header { // ACPI 5.2.6
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
};
_Static_assert(sizeof(struct header) == 36, "ACPI 5.2.6");

struct __attribute__((packed)) rsdp { // 5.2.5.3
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
};
_Static_assert(sizeof(struct rsdp) == 36, "ACPI 5.2.5.3");

struct __attribute__((packed)) address { // generic address structure, 5.2.3.2
    uint8_t space, width, offset, access;
    uint64_t address;
};

struct __attribute__((packed)) fadt { // 5.2.9
    struct header h;
    uint32_t facs, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci_int;
    uint32_t smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len, gpe1_base, cst_cnt;
    uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t iapc_boot_arch;
    uint8_t reserved1;
    uint32_t flags;
    struct address reset_reg;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct address x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr, x_gpe0, x_gpe1,
        sleep_control, sleep_status;
    uint64_t hypervisor;
};
_Static_assert(sizeof(struct fadt) == 276, "ACPI 5.2.9");

struct __attribute__((packed)) facs { // 5.2.10
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[31];
};
_Static_assert(sizeof(struct facs) == 64, "ACPI 5.2.10");

// FADT fixed feature flags
#define FADT_WBINVD     (1u << 0)
#define FADT_PROC_C1    (1u << 2)
#define FADT_PWR_BUTTON (1u << 4) // no fixed power button
#define FADT_SLP_BUTTON (1u << 5)
#define FADT_FIX_RTC    (1u << 6)
#define FADT_RESET_REG  (1u << 10)
// IA-PC boot architecture flags
#define BOOT_NO_VGA (1u << 2)

#define SPACE_IO 1u

/// The tables, one after another in a buffer.
struct writer {
    uint8_t *buffer;
    size_t size, used;
    uint64_t base;
    bool full;
};

static void *reserve(struct writer *w, size_t size)
{
    size_t at = (w->used + 63) & ~(size_t)63;
    if (w->full || at > w->size || size > w->size - at) {
        w->full = true;
        return NULL;
    }
    w->used = at + size;
    memset(w->buffer + at, 0, size);
    return w->buffer + at;
}

static uint64_t address_of(const struct writer *w, const void *table)
{
    return w->base + (uint64_t)((const uint8_t *)table - w->buffer);
}

static uint8_t checksum(const void *bytes, size_t n)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    return (uint8_t)-sum;
}

static void set_header(struct header *h, const char signature[5], uint32_t length, uint8_t revision)
{
    memcpy(h->signature, signature, 4);
    h->length = length;
    h->revision = revision;
    memcpy(h->oem_id, "FARBUS", 6);
    memcpy(h->oem_table_id, "FARBUSVM", 8);
    h->oem_revision = 1;
    memcpy(h->creator_id, "FARB", 4);
    h->creator_revision = 1;
}

/// Once all is written.
static void seal(struct header *h)
{
    h->checksum = 0;
    h->checksum = checksum(h, h->length);
}

static struct address io_register(uint16_t port, uint8_t bits, uint8_t access)
{
    return (struct address){.space = SPACE_IO, .width = bits, .access = access, .address = port};
}

static struct header *build_fadt(struct writer *w, uint64_t dsdt)
{
    struct facs *facs = reserve(w, sizeof *facs);
    struct fadt *f = reserve(w, sizeof *f);
    if (!facs || !f)
        return NULL;
    memcpy(facs->signature, "FACS", 4);
    facs->length = sizeof *facs;
    facs->version = 2;
    set_header(&f->h, "FACP", sizeof *f, 6);
    f->minor = 4;
    f->facs = (uint32_t)address_of(w, facs);
    f->dsdt = (uint32_t)dsdt;
    f->x_dsdt = dsdt;
    f->sci_int = GUEST_SCI;
    f->pm1a_evt = GUEST_PM1_EVENT;
    f->pm1a_cnt = GUEST_PM1_CONTROL;
    f->pm_tmr = GUEST_PM_TIMER;
    f->pm1_evt_len = 4;
    f->pm1_cnt_len = 2;
    f->pm_tmr_len = 4;
    f->p_lvl2_lat = 0xfff; // no C2, no C3
    f->p_lvl3_lat = 0xfff;
    f->century = 0x32;
    f->iapc_boot_arch = BOOT_NO_VGA; // neither 8042 nor legacy devices to look for
    f->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_RESET_REG;
    f->reset_reg = io_register(0xcf9, 8, 1);
    f->reset_value = 6;
    f->x_pm1a_evt = io_register(GUEST_PM1_EVENT, 32, 2);
    f->x_pm1a_cnt = io_register(GUEST_PM1_CONTROL, 16, 2);
    f->x_pm_tmr = io_register(GUEST_PM_TIMER, 32, 3);
    seal(&f->h);
    return &f->h;
}

static struct header *build_madt(struct writer *w, uint32_t cpus) // 5.2.12
{
    uint32_t length = (uint32_t)sizeof(struct header) + 8 + cpus * 8 + 12 + 2 * 10 + 6;
    uint8_t *m = reserve(w, length);
    if (!m)
        return NULL;
    set_header((struct header *)m, "APIC", length, 5);
    uint8_t *p = m + sizeof(struct header);
    uint32_t lapic = (uint32_t)LAPIC_BASE, pcat = 1; // there are 8259s to mask
    memcpy(p, &lapic, 4);
    memcpy(p + 4, &pcat, 4);
    p += 8;
    for (uint32_t i = 0; i < cpus; i++, p += 8)
        memcpy(p, (const uint8_t[8]){0, 8, (uint8_t)i, (uint8_t)i, 1}, 8); // local APIC, enabled
    const uint8_t ioapic[12] = {1, 12, (uint8_t)cpus, 0, 0x00, 0x00, 0xc0, 0xfe};
    memcpy(p, ioapic, 12);
    const uint8_t timer[10] = {2, 10, 0, 0, 2};                                 // ISA IRQ 0 is GSI 2
    const uint8_t sci[10] = {2, 10, 0, GUEST_SCI, GUEST_SCI, 0, 0, 0, 0x0d, 0}; // active high, level
    memcpy(p + 12, timer, 10);
    memcpy(p + 22, sci, 10);
    const uint8_t nmi[6] = {4, 6, 0xff, 0, 0, 1}; // LINT1 of every CPU
    memcpy(p + 32, nmi, 6);
    seal((struct header *)m);
    return (struct header *)m;
}

static struct header *build_mcfg(struct writer *w) // PCI Firmware Specification 4.1.2
{
    uint32_t length = sizeof(struct header) + 8 + 16;
    uint8_t *m = reserve(w, length);
    if (!m)
        return NULL;
    set_header((struct header *)m, "MCFG", length, 1);
    uint64_t ecam = GUEST_ECAM_BASE;
    memcpy(m + 44, &ecam, 8);
    m[55] = (uint8_t)(GUEST_ECAM_SIZE / 0x100000 - 1); // last bus
    seal((struct header *)m);
    return (struct header *)m;
}

static struct header *build_dmar(struct writer *w) // VT-d 8.1, 8.3
{
    const uint32_t length = sizeof(struct header) + 12 + 16;
    const uint64_t base = GUEST_IOMMU_BASE;
    uint8_t *m = reserve(w, length);
    if (!m)
        return NULL;
    set_header((struct header *)m, "DMAR", length, 1);
    m[36] = 39 - 1; // host address width; no flags: interrupts are not remapped
    uint8_t *drhd = m + 48;
    drhd[2] = 16; // length; type 0
    drhd[4] = 1;  // INCLUDE_PCI_ALL, segment 0
    memcpy(drhd + 8, &base, 8);
    seal((struct header *)m);
    return (struct header *)m;
}

enum status acpi_tables_build(const struct acpi_machine *machine, uint64_t base, void *buffer, size_t size,
                              size_t *used)
{
    struct writer w = {.buffer = buffer, .size = size, .base = base};
    struct rsdp *rsdp = reserve(&w, sizeof *rsdp);
    void *dsdt = reserve(&w, machine->dsdt_size);
    if (!rsdp || !dsdt)
        return ERR_RANGE;
    memcpy(dsdt, machine->dsdt, machine->dsdt_size);
    struct header *tables[4] = {build_fadt(&w, address_of(&w, dsdt)), build_madt(&w, machine->cpus),
                                build_mcfg(&w)};
    uint32_t count = 3;
    if (machine->iommu)
        tables[count++] = build_dmar(&w);
    uint32_t length = (uint32_t)(sizeof(struct header) + count * 8);
    uint8_t *xsdt = reserve(&w, length);
    if (w.full)
        return ERR_RANGE;
    set_header((struct header *)xsdt, "XSDT", length, 1);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = address_of(&w, tables[i]);
        memcpy(xsdt + sizeof(struct header) + i * 8, &at, 8);
    }
    seal((struct header *)xsdt);
    memcpy(rsdp->signature, "RSD PTR ", 8);
    memcpy(rsdp->oem_id, "FARBUS", 6);
    rsdp->revision = 2;
    rsdp->length = sizeof *rsdp;
    rsdp->xsdt = address_of(&w, xsdt);
    rsdp->checksum = checksum(rsdp, 20);
    rsdp->extended_checksum = checksum(rsdp, sizeof *rsdp);
    *used = w.used;
    return OK;
}
