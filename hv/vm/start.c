// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/start.h"
#include "hv/platform/acpi_tables.h"
#include "hv/platform/machine.h"
#include "hv/vm/linux.h"
#include "hv/vm/multiboot.h"
#include "rt/paging.h"
#include "rt/x86.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status target_write(void *ctx, uint64_t gpa, const void *from, uint64_t size)
{
    return guest_memory_write(ctx, gpa, from, size);
}

static enum status target_fill(void *ctx, uint64_t gpa, uint8_t byte, uint64_t size)
{
    return guest_memory_fill(ctx, gpa, byte, size);
}

static const struct segment flat_data = {.selector = 16, .limit = 0xffffffff, .access_rights = 0xc093};

static void start_segments(struct vcpu_start *s, struct segment code, struct segment data)
{
    for (unsigned i = 0; i < SEG_LDTR; i++)
        s->segments[i] = i == SEG_CS ? code : data;
    s->segments[SEG_LDTR] = (struct segment){.access_rights = 0x10000};
    s->segments[SEG_TR] = (struct segment){.limit = 0x67, .access_rights = 0x8b};
}

/// 32-bit protected mode without paging, flat segments, interrupts off (Multiboot 3.2).
static void start_multiboot(const struct multiboot_entry *entry, struct vcpu_start *s)
{
    *s = (struct vcpu_start){.rip = entry->eip, .cr0 = CR0_PE | CR0_ET};
    s->gpr[RAX] = MULTIBOOT_ENTRY_MAGIC;
    s->gpr[RBX] = entry->ebx;
    s->gdtr.limit = s->idtr.limit = 0xffff;
    start_segments(s, (struct segment){.selector = 8, .limit = 0xffffffff, .access_rights = 0xc09b},
                   flat_data);
}

/// Long mode, or protected mode without paging; interrupts off (Linux, boot.rst, "64-bit Boot Protocol",
/// "32-bit Boot Protocol").
static void start_linux(const struct linux_entry *entry, struct vcpu_start *s)
{
    struct segment data = flat_data;
    data.selector = LINUX_DATA_SELECTOR;
    *s = (struct vcpu_start){.rip = entry->rip, .cr0 = CR0_PE | CR0_ET | CR0_NE};
    if (entry->long_mode) {
        s->cr0 |= CR0_PG;
        s->cr3 = entry->cr3;
        s->cr4 = CR4_PAE;
        s->efer = EFER_LME | EFER_LMA;
    }
    s->gpr[RSI] = entry->rsi;
    s->gdtr.base = entry->gdt;
    s->gdtr.limit = entry->gdt_limit;
    start_segments(s,
                   (struct segment){.selector = LINUX_CODE_SELECTOR,
                                    .limit = 0xffffffff,
                                    .access_rights = entry->long_mode ? 0xa09b : 0xc09b},
                   data);
}

void start_real_mode(uint8_t vector, struct vcpu_start *s)
{
    const struct segment code = {.selector = (uint16_t)(vector << 8),
                                 .base = (uint64_t)vector << 12,
                                 .limit = 0xffff,
                                 .access_rights = 0x9b};
    const struct segment data = {.limit = 0xffff, .access_rights = 0x93};
    *s = (struct vcpu_start){.cr0 = CR0_ET | CR0_NW | CR0_CD};
    s->gdtr.limit = s->idtr.limit = 0xffff;
    start_segments(s, code, data);
}

static enum status load_multiboot(struct guest *g, const struct image_target *target,
                                  struct vcpu_start *start, const char **why)
{
    const struct boot_guest *c = g->config;
    struct image_module modules[BOOT_MODULES_MAX];
    struct multiboot_entry entry;
    char(*args)[BOOT_PATH_MAX + sizeof c->modules[0].args + 1] = calloc(BOOT_MODULES_MAX, sizeof *args);
    if (!args) {
        *why = "has modules, and there is no memory for their arguments";
        return ERR_NOMEM;
    }

    for (uint32_t i = 0; i < c->module_count; i++) {
        snprintf(args[i], sizeof args[i], "%s%s%s", c->modules[i].path, c->modules[i].args[0] ? " " : "",
                 c->modules[i].args);
        modules[i] = (struct image_module){
            .bytes = phys_to_virt(c->modules[i].base), .size = c->modules[i].size, .args = args[i]};
    }
    const struct multiboot_image image = {.kernel = phys_to_virt(c->kernel.base),
                                          .kernel_size = c->kernel.size,
                                          .cmdline = c->cmdline,
                                          .modules = modules,
                                          .module_count = c->module_count};
    enum status s = multiboot_load(&image, target, &entry, why);
    free(args);
    if (s == OK)
        start_multiboot(&entry, start);
    return s;
}

static enum status load_linux(struct guest *g, const struct image_target *target, struct vcpu_start *start,
                              const char **why)
{
    const struct boot_guest *c = g->config;
    const struct linux_image image = {.kernel = phys_to_virt(c->kernel.base),
                                      .kernel_size = c->kernel.size,
                                      .initrd = c->initrd.size ? phys_to_virt(c->initrd.base) : NULL,
                                      .initrd_size = c->initrd.size,
                                      .cmdline = c->cmdline,
                                      .rsdp = GUEST_ACPI_BASE};
    struct linux_entry entry;
    enum status s = linux_load(&image, target, &entry, why);
    if (s == OK)
        start_linux(&entry, start);
    return s;
}

/// The tables every guest finds below 1 MiB, by the RSDP's signature or by what its loader is told.
static enum status write_acpi(struct guest *g)
{
    extern const uint8_t _binary_dsdt_aml_start[], _binary_dsdt_aml_end[]; // hv/platform/dsdt.asl
    const struct acpi_machine machine = {.cpus = g->config->cpus,
                                         .iommu = g->iommu != NULL,
                                         .dsdt = _binary_dsdt_aml_start,
                                         .dsdt_size =
                                             (size_t)(_binary_dsdt_aml_end - _binary_dsdt_aml_start)};
    uint64_t room;
    size_t used;
    void *at = guest_memory_at(g, GUEST_ACPI_BASE, &room);
    return at ? acpi_tables_build(&machine, GUEST_ACPI_BASE, at, GUEST_ACPI_SIZE, &used) : ERR_RANGE;
}

#define BIOS_DATA    0x400u
#define EBDA_SEGMENT 0x9fc0u // what the memory maps of both loaders keep

/// The words of a BIOS's data area that kernels read without asking a BIOS: where its extended one is, where
/// low memory ends (Xen puts its trampoline below), the serial port.
static enum status write_bios_data(struct guest *g)
{
    static const struct __attribute__((packed)) {
        uint16_t serial[4], parallel[3], ebda, equipment;
        uint8_t test;
        uint16_t memory_kib;
    } data = {.serial = {0x3f8}, .ebda = EBDA_SEGMENT, .equipment = 0x202, .memory_kib = EBDA_SEGMENT >> 6};
    _Static_assert(sizeof data == 0x15, "the BIOS's layout");
    enum status s = guest_memory_write(g, BIOS_DATA, &data, sizeof data);
    return s == OK ? guest_memory_fill(g, EBDA_SEGMENT << 4, 1, 1) : s; // its size, KiB
}

enum status start_load(struct guest *g, struct vcpu_start *start)
{
    const struct boot_guest *c = g->config;
    const char *why = "";
    const struct image_target target = {
        .write = target_write,
        .fill = target_fill,
        .ctx = g,
        .low_end = g->memory < GUEST_LOW_END ? g->memory : GUEST_LOW_END,
        .high_end = g->memory > GUEST_LOW_END ? g->memory - GUEST_LOW_END + GUEST_HIGH_START : 0};
    enum status s = write_bios_data(g); // first: an image may want the place for itself
    if (s == OK)
        s = linux_is_image(phys_to_virt(c->kernel.base), c->kernel.size)
                ? load_linux(g, &target, start, &why)
                : load_multiboot(g, &target, start, &why);
    if (s != OK) {
        snprintf(g->stop_reason, sizeof g->stop_reason, "kernel %s %s", c->kernel.path, why);
        return s;
    }
    s = write_acpi(g);
    if (s != OK)
        snprintf(g->stop_reason, sizeof g->stop_reason, "no room for its ACPI tables");
    return s;
}
