// SPDX-License-Identifier: BSD-2-Clause
// Invariant: every field is read through bytes_at(), which knows how long its table is.
#include "drivers/acpi.h"
#include <string.h>

#define TABLE_MAX   (4u << 20) // longer ones are damaged
#define HEADER_SIZE 36u
#define ROOT_MAX    256u // entries of XSDT followed

struct table {
    const uint8_t *bytes;
    uint32_t size;
};

struct reader {
    acpi_map_fn *map;
    void *ctx;
    struct acpi_info *info;
};

/// `n` bytes little-endian at `offset`; 0 when the table is shorter (ACPI: older tables end earlier).
static uint64_t bytes_at(const struct table *t, uint64_t offset, unsigned n)
{
    uint64_t v = 0;
    if (offset > t->size || t->size - offset < n)
        return 0;
    memcpy(&v, t->bytes + offset, n);
    return v;
}

static bool sum_is_zero(const uint8_t *bytes, size_t n)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum == 0;
}

static bool has_signature(const struct table *t, const char *signature)
{
    return t->size >= HEADER_SIZE && memcmp(t->bytes, signature, 4) == 0;
}

static bool open_table(const struct reader *r, uint64_t phys, struct table *t)
{
    t->size = HEADER_SIZE;
    t->bytes = phys ? r->map(r->ctx, phys, HEADER_SIZE) : NULL;
    if (!t->bytes)
        return false;
    uint32_t length = (uint32_t)bytes_at(t, 4, 4);
    if (length < HEADER_SIZE || length > TABLE_MAX)
        return false;
    t->bytes = r->map(r->ctx, phys, length);
    t->size = length;
    return t->bytes && sum_is_zero(t->bytes, length);
}

static struct acpi_register generic_address(const struct table *t, uint64_t offset)
{
    return (struct acpi_register){
        .space = (uint8_t)bytes_at(t, offset, 1),
        .bits = (uint8_t)bytes_at(t, offset + 1, 1),
        .address = bytes_at(t, offset + 4, 8),
    };
}

/// A FADT register: the extended form where it is filled in, else the old port number.
static struct acpi_register fadt_register(const struct table *t, uint64_t extended, uint64_t legacy,
                                          uint8_t bits)
{
    struct acpi_register r = generic_address(t, extended);
    if (r.address == 0 || r.space > ACPI_SPACE_IO)
        r = (struct acpi_register){ACPI_SPACE_IO, bits, bytes_at(t, legacy, 4)};
    return r;
}

// ACPI 6.4, table 5.33 (FADT)
static uint64_t read_fadt(struct acpi_info *info, const struct table *t)
{
    enum {
        DSDT = 40,
        SMI_CMD = 48,
        ACPI_ENABLE = 52,
        PM1A_CNT_BLK = 64,
        PM1B_CNT_BLK = 68,
        PM_TMR_BLK = 76,
        FLAGS = 112,
        RESET_REG = 116,
        RESET_VALUE = 128,
        X_DSDT = 140,
        X_PM1A_CNT_BLK = 172,
        X_PM1B_CNT_BLK = 184,
        X_PM_TMR_BLK = 208
    };
    enum { TMR_VAL_EXT = 1u << 8, RESET_REG_SUP = 1u << 10 };
    uint64_t flags = bytes_at(t, FLAGS, 4);
    info->fadt = true;
    info->pm1a_control = fadt_register(t, X_PM1A_CNT_BLK, PM1A_CNT_BLK, 16);
    info->pm1b_control = fadt_register(t, X_PM1B_CNT_BLK, PM1B_CNT_BLK, 16);
    info->pm_timer = fadt_register(t, X_PM_TMR_BLK, PM_TMR_BLK, 32);
    info->pm_timer_32 = flags & TMR_VAL_EXT;
    info->smi_command = (uint32_t)bytes_at(t, SMI_CMD, 4);
    info->acpi_enable = (uint8_t)bytes_at(t, ACPI_ENABLE, 1);
    if (flags & RESET_REG_SUP) {
        info->reset = generic_address(t, RESET_REG);
        info->reset_value = (uint8_t)bytes_at(t, RESET_VALUE, 1);
    }
    uint64_t dsdt = bytes_at(t, X_DSDT, 8);
    return dsdt ? dsdt : bytes_at(t, DSDT, 4);
}

static void add_cpu(struct acpi_info *info, uint32_t apic_id)
{
    for (uint32_t i = 0; i < info->cpu_count; i++)
        if (info->cpu_apic_ids[i] == apic_id)
            return; // firmware may list a CPU as APIC and as x2APIC
    if (info->cpu_count < ACPI_CPUS_MAX)
        info->cpu_apic_ids[info->cpu_count++] = apic_id;
    else
        info->cpus_dropped++;
}

static void add_override(struct acpi_info *info, const struct table *e)
{
    // ACPI 6.4, table 5.26 (MPS INTI flags): polarity in bits 1:0, trigger mode in 3:2; 3 = active low, level
    uint64_t flags = bytes_at(e, 8, 2);
    if (info->override_count == ACPI_OVERRIDES_MAX || e->size < 10)
        return;
    info->overrides[info->override_count].isa_irq = (uint8_t)bytes_at(e, 3, 1);
    info->overrides[info->override_count].gsi = (uint32_t)bytes_at(e, 4, 4);
    info->overrides[info->override_count].active_low = (flags & 3) == 3;
    info->overrides[info->override_count++].level = (flags >> 2 & 3) == 3;
}

// ACPI 6.4, 5.2.12 (MADT)
static void read_madt(struct acpi_info *info, const struct table *t)
{
    enum { LOCAL_APIC, IO_APIC, SOURCE_OVERRIDE, LOCAL_APIC_ADDRESS = 5, LOCAL_X2APIC = 9 };
    enum { ENABLED = 1u };
    info->lapic_address = bytes_at(t, 36, 4);
    for (uint32_t at = 44; at + 2 <= t->size;) {
        uint32_t length = t->bytes[at + 1];
        if (length < 2 || length > t->size - at)
            return;
        const struct table e = {t->bytes + at, length};
        switch (e.bytes[0]) {
        case LOCAL_APIC:
            if (bytes_at(&e, 4, 4) & ENABLED)
                add_cpu(info, (uint32_t)bytes_at(&e, 3, 1));
            break;
        case LOCAL_X2APIC:
            if (bytes_at(&e, 8, 4) & ENABLED)
                add_cpu(info, (uint32_t)bytes_at(&e, 4, 4));
            break;
        case IO_APIC:
            if (info->ioapic_count < ACPI_IOAPICS_MAX && length >= 12) {
                info->ioapics[info->ioapic_count].id = (uint32_t)bytes_at(&e, 2, 1);
                info->ioapics[info->ioapic_count].address = bytes_at(&e, 4, 4);
                info->ioapics[info->ioapic_count++].gsi_base = (uint32_t)bytes_at(&e, 8, 4);
            }
            break;
        case SOURCE_OVERRIDE:
            add_override(info, &e);
            break;
        case LOCAL_APIC_ADDRESS:
            if (length >= 12)
                info->lapic_address = bytes_at(&e, 4, 8);
            break;
        default:
            break;
        }
        at += length;
    }
}

static void read_mcfg(struct acpi_info *info, const struct table *t)
{
    for (uint32_t at = 44; at + 16 <= t->size && info->segment_count < ACPI_SEGMENTS_MAX; at += 16) {
        uint32_t n = info->segment_count++;
        info->segments[n].base = bytes_at(t, at, 8);
        info->segments[n].segment = (uint16_t)bytes_at(t, at + 8, 2);
        info->segments[n].first_bus = (uint8_t)bytes_at(t, at + 10, 1);
        info->segments[n].last_bus = (uint8_t)bytes_at(t, at + 11, 1);
    }
}

/// A constant of AML (ACPI 6.4, 20.2.3): its value and the bytes it takes; 0 bytes: something else.
static unsigned aml_constant(const uint8_t *aml, size_t size, uint8_t *value)
{
    enum { ZERO_OP = 0x00, ONE_OP = 0x01, BYTE_PREFIX = 0x0a, WORD_PREFIX = 0x0b, DWORD_PREFIX = 0x0c };
    if (size == 0)
        return 0;
    switch (aml[0]) {
    case ZERO_OP:
    case ONE_OP:
        *value = aml[0];
        return 1;
    case BYTE_PREFIX:
    case WORD_PREFIX:
    case DWORD_PREFIX: {
        unsigned n = aml[0] == BYTE_PREFIX ? 2 : aml[0] == WORD_PREFIX ? 3 : 5;
        if (size < n)
            return 0;
        *value = aml[1];
        return n;
    }
    default:
        return 0;
    }
}

bool acpi_find_s5(const uint8_t *aml, size_t size, uint8_t *type_a, uint8_t *type_b)
{
    enum { NAME_OP = 0x08, PACKAGE_OP = 0x12, SLP_TYP_MAX = 7 };
    for (size_t i = 1; i + 5 <= size; i++) {
        if (aml[i] != '_' || aml[i + 4] != PACKAGE_OP || memcmp(aml + i, "_S5_", 4) != 0)
            continue;
        // NameOp comes before the name, or before the root prefix of the name
        if (aml[i - 1] != NAME_OP && !(i >= 2 && aml[i - 1] == '\\' && aml[i - 2] == NAME_OP))
            continue;
        size_t at = i + 5;
        if (at >= size)
            return false;
        at += 1u + (aml[at] >> 6); // PkgLength: bits 7:6 count the bytes that follow
        if (at >= size || aml[at] < 1)
            continue;
        unsigned elements = aml[at++];
        uint8_t a = 0, b = 0;
        unsigned n = aml_constant(aml + at, at < size ? size - at : 0, &a);
        if (n == 0)
            continue;
        at += n;
        if (elements >= 2 && aml_constant(aml + at, at < size ? size - at : 0, &b) == 0)
            continue;
        if (a > SLP_TYP_MAX || b > SLP_TYP_MAX)
            continue;
        *type_a = a;
        *type_b = b;
        return true;
    }
    return false;
}

static void read_aml(struct acpi_info *info, const struct table *t)
{
    if (!info->s5)
        info->s5 =
            acpi_find_s5(t->bytes + HEADER_SIZE, t->size - HEADER_SIZE, &info->s5_type_a, &info->s5_type_b);
}

static void read_one(const struct reader *r, uint64_t phys)
{
    struct table t;
    struct acpi_info *info = r->info;
    if (!open_table(r, phys, &t)) {
        info->bad_tables++;
        return;
    }
    info->tables++;
    if (has_signature(&t, "APIC")) {
        read_madt(info, &t);
    } else if (has_signature(&t, "MCFG")) {
        read_mcfg(info, &t);
    } else if (has_signature(&t, "HPET")) {
        struct acpi_register base = generic_address(&t, 40);
        info->hpet_address = base.space == ACPI_SPACE_MEMORY ? base.address : 0;
    } else if (has_signature(&t, "DMAR")) {
        info->dmar = phys;
        info->dmar_size = t.size;
    } else if (has_signature(&t, "SSDT")) {
        read_aml(info, &t);
    } else if (has_signature(&t, "FACP")) {
        uint64_t dsdt = read_fadt(info, &t);
        if (open_table(r, dsdt, &t) && has_signature(&t, "DSDT")) {
            info->tables++;
            read_aml(info, &t);
        } else {
            info->bad_tables++;
        }
    }
}

static enum status read_root(const struct reader *r, uint64_t phys, const char *signature, unsigned entry)
{
    struct table root;
    if (!open_table(r, phys, &root) || !has_signature(&root, signature))
        return ERR_PROTOCOL;
    for (uint32_t i = 0; i < ROOT_MAX && HEADER_SIZE + (i + 1) * entry <= root.size; i++)
        read_one(r, bytes_at(&root, HEADER_SIZE + i * entry, entry));
    return OK;
}

enum status acpi_read(uint64_t rsdp, acpi_map_fn *map, void *ctx, struct acpi_info *info)
{
    enum { RSDP_V1 = 20, RSDP_V2 = 36, REVISION = 15, RSDT = 16, XSDT = 24 };
    const struct reader r = {map, ctx, info};
    memset(info, 0, sizeof *info);
    struct table t = {rsdp ? map(ctx, rsdp, RSDP_V1) : NULL, RSDP_V1};
    if (!t.bytes || memcmp(t.bytes, "RSD PTR ", 8) != 0)
        return ERR_NOTFOUND;
    if (!sum_is_zero(t.bytes, RSDP_V1))
        return ERR_PROTOCOL;
    uint64_t rsdt = bytes_at(&t, RSDT, 4), xsdt = 0;
    if (t.bytes[REVISION] >= 2) {
        t = (struct table){map(ctx, rsdp, RSDP_V2), RSDP_V2};
        if (t.bytes && sum_is_zero(t.bytes, RSDP_V2))
            xsdt = bytes_at(&t, XSDT, 8);
    }
    if (xsdt && read_root(&r, xsdt, "XSDT", 8) == OK)
        return OK;
    return read_root(&r, rsdt, "RSDT", 4);
}
