// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/linux.h"
#include <stddef.h>
#include <string.h>

// Our own pages below the legacy hole: tables, boot parameters, command line, GDT.
#define AT_PML4    0x70000u
#define AT_PDPT    0x71000u
#define AT_PD      0x72000u // four pages: 4 GiB
#define AT_GDT     0x7c000u
#define AT_PARAMS  0x7d000u
#define AT_CMDLINE 0x7e000u

#define CMDLINE_MAX   2048u
#define PARAMS_SIZE   4096u
#define KERNEL_LOWEST 0x1000000ull

// struct boot_params (Documentation/x86/zero-page.rst) and struct setup_header in it (boot.rst)
enum {
    PARAMS_RSDP = 0x070,
    PARAMS_E820_ENTRIES = 0x1e8,
    HEADER_START = 0x1f1,
    HEADER_SETUP_SECTS = 0x1f1,
    HEADER_BOOT_FLAG = 0x1fe,
    HEADER_JUMP = 0x200, // its second byte says how long the header is
    HEADER_MAGIC = 0x202,
    HEADER_VERSION = 0x206,
    HEADER_LOADER = 0x210,
    HEADER_LOADFLAGS = 0x211,
    HEADER_CODE32_START = 0x214,
    HEADER_RAMDISK = 0x218,
    HEADER_RAMDISK_SIZE = 0x21c,
    HEADER_CMDLINE = 0x228,
    HEADER_INITRD_MAX = 0x22c,
    HEADER_RELOCATABLE = 0x234,
    HEADER_XLOADFLAGS = 0x236,
    HEADER_CMDLINE_SIZE = 0x238,
    HEADER_PREF_ADDRESS = 0x258,
    HEADER_INIT_SIZE = 0x260,
    HEADER_END = 0x268,
    PARAMS_E820 = 0x2d0,
};

#define MAGIC_HDRS      0x53726448u // "HdrS"
#define VERSION_MIN     0x0202u     // command line by its address
#define VERSION_INITRD  0x0203u     // initrd_addr_max
#define VERSION_CMDLINE 0x0206u     // cmdline_size
#define VERSION_PLACE   0x020au     // pref_address, init_size
#define VERSION_64      0x020cu     // xloadflags
#define XLF_KERNEL_64   1u
#define LEGACY_PLACE    0x100000u
#define LEGACY_CMDLINE  255u
#define LEGACY_INITRD   0x37ffffffu
#define LOADED_HIGH     1u
#define LOADER_OTHER    0xffu
#define SECTOR          512u
#define ENTRY_64        0x200u
#define E820_RAM        1u
#define E820_RESERVED   2u

static uint32_t get(const void *image, size_t at, unsigned size)
{
    uint32_t v = 0;
    memcpy(&v, (const uint8_t *)image + at, size);
    return v;
}

static void put(uint8_t *params, size_t at, uint64_t value, unsigned size)
{
    memcpy(params + at, &value, size);
}

bool linux_is_image(const void *kernel, uint64_t size)
{
    return size > HEADER_END && get(kernel, HEADER_BOOT_FLAG, 2) == 0xaa55 &&
           get(kernel, HEADER_MAGIC, 4) == MAGIC_HDRS;
}

static void add_e820(uint8_t *params, uint64_t base, uint64_t size, uint32_t type)
{
    unsigned n = params[PARAMS_E820_ENTRIES]++;
    uint8_t *e = params + PARAMS_E820 + n * 20u;
    memcpy(e, &base, 8);
    memcpy(e + 8, &size, 8);
    memcpy(e + 16, &type, 4);
}

static void memory_map(uint8_t *params, const struct image_target *t)
{
    add_e820(params, 0, 0x9fc00, E820_RAM);
    add_e820(params, 0x9fc00, 0x400, E820_RESERVED);
    add_e820(params, 0xe0000, 0x20000, E820_RESERVED); // ACPI tables
    add_e820(params, 0x100000, t->low_end - 0x100000, E820_RAM);
    add_e820(params, 0xe0000000, 0x10000000, E820_RESERVED); // ECAM
    add_e820(params, 0xfec00000, 0x01400000, E820_RESERVED); // interrupt controllers, firmware
    if (t->high_end > 0x100000000)
        add_e820(params, 0x100000000, t->high_end - 0x100000000, E820_RAM);
}

static enum status write_tables(const struct image_target *t, bool long_mode)
{
    const uint64_t gdt[4] = {0, 0, long_mode ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
                             0x00cf93000000ffffull};
    uint64_t page[512] = {AT_PDPT | 3};
    enum status s = t->write(t->ctx, AT_PML4, page, sizeof page);
    for (unsigned i = 0; i < 4; i++)
        page[i] = (AT_PD + i * 0x1000) | 3;
    if (s == OK)
        s = t->write(t->ctx, AT_PDPT, page, sizeof page);
    for (uint64_t gib = 0; s == OK && gib < 4; gib++) {
        for (uint64_t i = 0; i < 512; i++)
            page[i] = gib << 30 | i << 21 | 0x83; // 2 MiB pages
        s = t->write(t->ctx, AT_PD + gib * 0x1000, page, sizeof page);
    }
    return s == OK ? t->write(t->ctx, AT_GDT, gdt, sizeof gdt) : s;
}

/// The initrd goes as high as the kernel lets it, out of the way of what the kernel unpacks.
static enum status place_initrd(const struct linux_image *image, const struct image_target *t,
                                uint64_t kernel_end, uint8_t *params, const char **why)
{
    if (!image->initrd_size)
        return OK;
    uint64_t limit = (uint64_t)get(params, HEADER_INITRD_MAX, 4) + 1;
    uint64_t end = t->low_end < limit ? t->low_end : limit;
    uint64_t at = end > image->initrd_size ? (end - image->initrd_size) & ~0xfffull : 0;
    if (at < kernel_end) {
        *why = "and its initrd do not fit the guest's memory: give it more";
        return ERR_RANGE;
    }
    put(params, HEADER_RAMDISK, at, 4);
    put(params, HEADER_RAMDISK_SIZE, image->initrd_size, 4);
    return t->write(t->ctx, at, image->initrd, image->initrd_size);
}

/// Takes over the kernel's header, as far as it goes, with what older versions of the protocol do not say.
static enum status take_header(const struct linux_image *image, uint8_t *params, const char **why)
{
    if (!linux_is_image(image->kernel, image->kernel_size)) {
        *why = "is not a bzImage";
        return ERR_PROTOCOL;
    }
    size_t end = (size_t)HEADER_MAGIC + get(image->kernel, HEADER_JUMP + 1, 1);
    if (end > HEADER_END)
        end = HEADER_END;
    if (end < HEADER_INITRD_MAX) // VERSION_MIN has as much
        end = HEADER_INITRD_MAX;
    memcpy(params + HEADER_START, (const uint8_t *)image->kernel + HEADER_START, end - HEADER_START);

    uint32_t version = get(params, HEADER_VERSION, 2);
    if (version < VERSION_MIN || !(get(params, HEADER_LOADFLAGS, 1) & LOADED_HIGH)) {
        *why = "is a Linux image from before bzImages";
        return ERR_UNSUPPORTED;
    }
    if (version < VERSION_INITRD)
        put(params, HEADER_INITRD_MAX, LEGACY_INITRD, 4);
    if (version < VERSION_CMDLINE)
        put(params, HEADER_CMDLINE_SIZE, LEGACY_CMDLINE, 4);
    if (version < VERSION_PLACE) {
        put(params, HEADER_PREF_ADDRESS, LEGACY_PLACE, 8);
        put(params, HEADER_INIT_SIZE, 0, 4);
    }
    if (version < VERSION_64)
        put(params, HEADER_XLOADFLAGS, 0, 2);
    if (!(get(params, HEADER_XLOADFLAGS, 2) & XLF_KERNEL_64) && get(params, HEADER_CODE32_START, 4) == 0) {
        *why = "starts in real mode and calls a BIOS, which guests do not have";
        return ERR_UNSUPPORTED;
    }
    size_t length = strlen(image->cmdline);
    if (length > get(params, HEADER_CMDLINE_SIZE, 4) || length >= CMDLINE_MAX) {
        *why = "takes a shorter command line than it is given";
        return ERR_RANGE;
    }
    return OK;
}

enum status linux_load(const struct linux_image *image, const struct image_target *t,
                       struct linux_entry *entry, const char **why)
{
    uint8_t params[PARAMS_SIZE] = {0};
    enum status s = take_header(image, params, why);
    if (s != OK)
        return s;

    uint32_t sectors = get(image->kernel, HEADER_SETUP_SECTS, 1);
    uint64_t offset = (uint64_t)((sectors ? sectors : 4) + 1) * SECTOR;
    if (offset >= image->kernel_size) {
        *why = "is cut short";
        return ERR_PROTOCOL;
    }
    uint64_t at;
    memcpy(&at, params + HEADER_PREF_ADDRESS, 8);
    uint64_t init_size = get(params, HEADER_INIT_SIZE, 4), size = image->kernel_size - offset;
    if (at < 0x100000 || (get(params, HEADER_RELOCATABLE, 1) && at > KERNEL_LOWEST))
        at = KERNEL_LOWEST;
    uint64_t need = size > init_size ? size : init_size;
    if (at > t->low_end || need > t->low_end - at) {
        *why = "does not fit the guest's memory: give it more";
        return ERR_RANGE;
    }
    s = place_initrd(image, t, at + need, params, why);
    if (s != OK)
        return s;
    params[HEADER_LOADER] = LOADER_OTHER;
    params[HEADER_LOADFLAGS] |= LOADED_HIGH;
    put(params, HEADER_CMDLINE, AT_CMDLINE, 4);
    put(params, PARAMS_RSDP, image->rsdp, 8);
    memory_map(params, t);

    bool long_mode = get(params, HEADER_XLOADFLAGS, 2) & XLF_KERNEL_64;
    *entry = (struct linux_entry){.long_mode = long_mode,
                                  .rip = long_mode ? at + ENTRY_64 : at,
                                  .rsi = AT_PARAMS,
                                  .cr3 = AT_PML4,
                                  .gdt = AT_GDT,
                                  .gdt_limit = 31};
    put(params, HEADER_CODE32_START, at, 4);
    s = t->write(t->ctx, at, (const uint8_t *)image->kernel + offset, size);
    if (s == OK)
        s = t->write(t->ctx, AT_PARAMS, params, sizeof params);
    if (s == OK)
        s = t->write(t->ctx, AT_CMDLINE, image->cmdline, strlen(image->cmdline) + 1);
    if (s == OK)
        s = write_tables(t, long_mode);
    if (s != OK)
        *why = "does not fit the guest's memory: give it more";
    return s;
}
