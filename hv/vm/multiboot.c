// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/multiboot.h"
#include "rt/elf_format.h"
#include <stdbool.h>
#include <string.h>

#define HEADER_MAGIC     0x1badb002u
#define HEADER_SEARCH    8192u
#define HEADER_ADDRESSES (1u << 16)
#define HEADER_REQUIRED  0xffffu
#define HEADER_KNOWN     0x7u // page-aligned modules, memory information, video mode (a wish: there is no video)

#define INFO_MEMORY  (1u << 0)
#define INFO_CMDLINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MMAP    (1u << 6)
#define INFO_LOADER  (1u << 9)

#define PAGE        4096u
#define MODULES_MAX 16u

struct header {
    uint32_t magic, flags, checksum;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length,
        mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table;
};
_Static_assert(sizeof(struct info) == 72, "Multiboot 3.3");

struct module {
    uint32_t start, end, string, reserved;
};

struct __attribute__((packed)) mmap_entry {
    uint32_t size; // of what follows
    uint64_t base, length;
    uint32_t type; // 1: RAM, 2: reserved
};

static bool find_header(const struct multiboot_image *image, struct header *h, uint64_t *at)
{
    const uint8_t *bytes = image->kernel;
    uint64_t end = image->kernel_size < HEADER_SEARCH ? image->kernel_size : HEADER_SEARCH;
    for (uint64_t i = 0; i + 12 <= end; i += 4) {
        uint32_t w[3];
        memcpy(w, bytes + i, sizeof w);
        if (w[0] != HEADER_MAGIC || w[0] + w[1] + w[2] != 0)
            continue;
        memset(h, 0, sizeof *h);
        memcpy(h, bytes + i, image->kernel_size - i < sizeof *h ? image->kernel_size - i : sizeof *h);
        if ((h->flags & HEADER_ADDRESSES) && image->kernel_size - i < sizeof *h)
            return false;
        *at = i;
        return true;
    }
    return false;
}

static enum status put(const struct image_target *t, uint64_t gpa, const void *from, uint64_t size)
{
    if (gpa + size < gpa || gpa + size > t->low_end)
        return ERR_RANGE;
    return t->write(t->ctx, gpa, from, size);
}

static enum status zero(const struct image_target *t, uint64_t gpa, uint64_t size)
{
    if (gpa + size < gpa || gpa + size > t->low_end)
        return ERR_RANGE;
    return size ? t->fill(t->ctx, gpa, 0, size) : OK;
}

#define NO_ROOM "does not fit the guest's memory: give it more, or link it lower"

/// The headers of either class, as those of ELF64 (Multiboot 1 does not name such files, boot loaders take
/// them, and enter them as 32-bit ones). False: not whole.
static bool elf_header(const struct multiboot_image *image, struct elf64_ehdr *e)
{
    struct elf32_ehdr h;
    uint64_t size = e->e_ident[EI_CLASS] == ELFCLASS64 ? sizeof *e : sizeof h;
    uint64_t each =
        e->e_ident[EI_CLASS] == ELFCLASS64 ? sizeof(struct elf64_phdr) : sizeof(struct elf32_phdr);
    if (image->kernel_size < size)
        return false;
    if (e->e_ident[EI_CLASS] == ELFCLASS64) {
        memcpy(e, image->kernel, sizeof *e);
    } else {
        memcpy(&h, image->kernel, sizeof h);
        e->e_entry = h.e_entry;
        e->e_phoff = h.e_phoff;
        e->e_phentsize = h.e_phentsize;
        e->e_phnum = h.e_phnum;
    }
    return e->e_phentsize == each && e->e_phoff <= image->kernel_size &&
           e->e_phnum * each <= image->kernel_size - e->e_phoff;
}

static struct elf64_phdr elf_segment(const struct multiboot_image *image, const struct elf64_ehdr *e,
                                     unsigned number)
{
    struct elf64_phdr p;
    struct elf32_phdr s;
    const uint8_t *at = (const uint8_t *)image->kernel + e->e_phoff + (uint64_t)number * e->e_phentsize;
    if (e->e_ident[EI_CLASS] == ELFCLASS64) {
        memcpy(&p, at, sizeof p);
        return p;
    }
    memcpy(&s, at, sizeof s);
    return (struct elf64_phdr){.p_type = s.p_type,
                               .p_offset = s.p_offset,
                               .p_vaddr = s.p_vaddr,
                               .p_paddr = s.p_paddr,
                               .p_filesz = s.p_filesz,
                               .p_memsz = s.p_memsz};
}

static enum status load_elf(const struct multiboot_image *image, const struct image_target *t,
                            uint32_t *entry, uint64_t *end, const char **why)
{
    struct elf64_ehdr e = {0};
    if (image->kernel_size < sizeof e.e_ident) {
        *why = "is too short for an ELF file";
        return ERR_PROTOCOL;
    }
    memcpy(e.e_ident, image->kernel, sizeof e.e_ident);
    if (memcmp(e.e_ident, ELFMAG, 4) != 0) {
        *why = "is not an ELF file, and its Multiboot header has no load addresses";
        return ERR_PROTOCOL;
    }
    if ((e.e_ident[EI_CLASS] != ELFCLASS32 && e.e_ident[EI_CLASS] != ELFCLASS64) ||
        e.e_ident[EI_DATA] != ELFDATA2LSB) {
        *why = "is not a little-endian ELF file of 32 or 64 bits";
        return ERR_UNSUPPORTED;
    }
    if (!elf_header(image, &e)) {
        *why = "has program headers outside the file: it is damaged or cut short";
        return ERR_PROTOCOL;
    }
    uint64_t start = e.e_entry;
    for (unsigned i = 0; i < e.e_phnum; i++) {
        struct elf64_phdr p = elf_segment(image, &e, i);
        if (p.p_type != PT_LOAD || p.p_memsz == 0)
            continue;
        if (p.p_offset > image->kernel_size || p.p_filesz > image->kernel_size - p.p_offset ||
            p.p_filesz > p.p_memsz) {
            *why = "has a segment outside the file: it is damaged or cut short";
            return ERR_PROTOCOL;
        }
        if (p.p_paddr > t->low_end || p.p_memsz > t->low_end - p.p_paddr ||
            put(t, p.p_paddr, (const uint8_t *)image->kernel + p.p_offset, p.p_filesz) != OK ||
            zero(t, p.p_paddr + p.p_filesz, p.p_memsz - p.p_filesz) != OK) {
            *why = NO_ROOM;
            return ERR_RANGE;
        }
        if (p.p_paddr + p.p_memsz > *end)
            *end = p.p_paddr + p.p_memsz;
        if (e.e_entry >= p.p_vaddr && e.e_entry - p.p_vaddr < p.p_memsz)
            start = e.e_entry - p.p_vaddr + p.p_paddr;
    }
    if (*end == 0) {
        *why = "has nothing to load";
        return ERR_PROTOCOL;
    }
    if (start > UINT32_MAX) {
        *why = "has its entry point outside what is loaded";
        return ERR_PROTOCOL;
    }
    *entry = (uint32_t)start;
    return OK;
}

/// Load addresses from the header (Multiboot 3.1.3).
static enum status load_addresses(const struct multiboot_image *image, const struct header *h, uint64_t at,
                                  const struct image_target *t, uint32_t *entry, uint64_t *end,
                                  const char **why)
{
    uint64_t before = (uint64_t)h->header_addr - h->load_addr;
    if (h->load_addr > h->header_addr || before > at ||
        (h->load_end_addr && h->load_end_addr < h->load_addr)) {
        *why = "has load addresses in its Multiboot header that contradict each other";
        return ERR_PROTOCOL;
    }
    uint64_t from = at - before;
    uint64_t size = h->load_end_addr ? h->load_end_addr - h->load_addr : image->kernel_size - from;
    if (size > image->kernel_size - from) {
        *why = "is shorter than its Multiboot header says: it is damaged or cut short";
        return ERR_PROTOCOL;
    }
    *end = h->load_addr + size;
    uint64_t bss = h->bss_end_addr > *end ? h->bss_end_addr - *end : 0;
    if (put(t, h->load_addr, (const uint8_t *)image->kernel + from, size) != OK || zero(t, *end, bss) != OK) {
        *why = NO_ROOM;
        return ERR_RANGE;
    }
    *end += bss;
    *entry = h->entry_addr;
    return OK;
}

/// Writes behind what is there, page aligned or not; moves *end.
static enum status append(const struct image_target *t, uint64_t *end, bool page, const void *bytes,
                          uint64_t size, uint32_t *at)
{
    uint64_t align = page ? PAGE : 8;
    uint64_t gpa = (*end + align - 1) & ~(align - 1);
    enum status s = put(t, gpa, bytes, size);
    *at = (uint32_t)gpa;
    *end = gpa + size;
    return s;
}

static enum status append_string(const struct image_target *t, uint64_t *end, const char *string,
                                 uint32_t *at)
{
    return append(t, end, false, string, strlen(string) + 1, at);
}

static enum status append_memory_map(const struct image_target *t, uint64_t *end, struct info *info)
{
    struct mmap_entry map[6] = {
        {.base = 0, .length = 0x9fc00, .type = 1},
        {.base = 0x9fc00, .length = 0x60400, .type = 2},
        {.base = 0x100000, .length = t->low_end - 0x100000, .type = 1},
        {.base = 0xe0000000, .length = 0x10000000, .type = 2}, // ECAM
        {.base = 0xfec00000, .length = 0x01400000, .type = 2}, // interrupt controllers, firmware
        {.base = 0x100000000, .length = t->high_end > 0x100000000 ? t->high_end - 0x100000000 : 0, .type = 1},
    };
    uint32_t count = map[5].length ? 6 : 5;
    for (uint32_t i = 0; i < count; i++)
        map[i].size = sizeof map[i] - sizeof map[i].size;
    info->mmap_length = count * (uint32_t)sizeof *map;
    info->mem_lower = 0x9fc00 / 1024;
    info->mem_upper = (uint32_t)((t->low_end - 0x100000) / 1024);
    return append(t, end, false, map, info->mmap_length, &info->mmap_addr);
}

static enum status append_information(const struct multiboot_image *image, const struct image_target *t,
                                      uint64_t end, uint32_t *ebx)
{
    struct info info = {.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MMAP | INFO_LOADER};
    struct module modules[MODULES_MAX] = {0};
    enum status s = OK;

    if (image->module_count > MODULES_MAX)
        return ERR_RANGE;
    for (uint32_t i = 0; s == OK && i < image->module_count; i++) {
        const struct image_module *m = &image->modules[i];
        s = append(t, &end, true, m->bytes, m->size, &modules[i].start);
        modules[i].end = modules[i].start + (uint32_t)m->size;
    }
    end = (end + PAGE - 1) & ~(uint64_t)(PAGE - 1);
    for (uint32_t i = 0; s == OK && i < image->module_count; i++)
        s = append_string(t, &end, image->modules[i].args, &modules[i].string);
    if (s == OK)
        s = append_string(t, &end, image->cmdline, &info.cmdline);
    if (s == OK)
        s = append_string(t, &end, "Farbus", &info.boot_loader_name);
    if (s == OK)
        s = append_memory_map(t, &end, &info);
    info.mods_count = image->module_count;
    if (s == OK)
        s = append(t, &end, false, modules, image->module_count * sizeof *modules, &info.mods_addr);
    if (s == OK)
        s = append(t, &end, false, &info, sizeof info, ebx);
    return s;
}

enum status multiboot_load(const struct multiboot_image *image, const struct image_target *target,
                           struct multiboot_entry *entry, const char **why)
{
    struct header h;
    uint64_t at, end = 0;

    if (!find_header(image, &h, &at)) {
        *why = "has no Multiboot 1 header in its first 8 KiB";
        return ERR_PROTOCOL;
    }
    if (h.flags & HEADER_REQUIRED & ~HEADER_KNOWN) {
        *why = "asks for Multiboot features that Farbus does not know";
        return ERR_UNSUPPORTED;
    }
    enum status s = h.flags & HEADER_ADDRESSES ? load_addresses(image, &h, at, target, &entry->eip, &end, why)
                                               : load_elf(image, target, &entry->eip, &end, why);
    if (s != OK)
        return s;
    if (end < 0x100000)
        end = 0x100000; // modules and information go above the legacy area
    s = append_information(image, target, end, &entry->ebx);
    if (s != OK)
        *why = "fits, but its modules and command line do not: give the guest more memory";
    return s;
}
