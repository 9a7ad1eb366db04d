// SPDX-License-Identifier: BSD-2-Clause
// See memmap.h.
#include "boot/memmap.h"
#include <string.h>

#define PAGE       4096ull
#define PHYS_LIMIT (1ull << 52) // no x86-64 physical address is higher (SDM vol. 3A, 4.1.4)

struct efi_memory_descriptor {
    uint32_t type;
    uint32_t pad;
    uint64_t physical_start;
    uint64_t virtual_start;
    uint64_t number_of_pages;
    uint64_t attribute;
};

enum { EFI_TYPES = 15 };

/// What the firmware says (UEFI 2.10, table 7.6: after ExitBootServices) and what it means to us. Unknown
/// types: reserved.
static const uint8_t efi_types[EFI_TYPES] = {
    [0] = BOOT_MEM_RESERVED,  // EfiReservedMemoryType
    [1] = BOOT_MEM_LOADER,    // EfiLoaderCode: this program
    [2] = BOOT_MEM_LOADER,    // EfiLoaderData: what it allocated
    [3] = BOOT_MEM_USABLE,    // EfiBootServicesCode
    [4] = BOOT_MEM_USABLE,    // EfiBootServicesData
    [5] = BOOT_MEM_RESERVED,  // EfiRuntimeServicesCode
    [6] = BOOT_MEM_RESERVED,  // EfiRuntimeServicesData
    [7] = BOOT_MEM_USABLE,    // EfiConventionalMemory
    [8] = BOOT_MEM_RESERVED,  // EfiUnusableMemory
    [9] = BOOT_MEM_ACPI,      // EfiACPIReclaimMemory
    [10] = BOOT_MEM_ACPI,     // EfiACPIMemoryNVS
    [11] = BOOT_MEM_MMIO,     // EfiMemoryMappedIO
    [12] = BOOT_MEM_MMIO,     // EfiMemoryMappedIOPortSpace
    [13] = BOOT_MEM_RESERVED, // EfiPalCode
    [14] = BOOT_MEM_RESERVED, // EfiPersistentMemory
};

/// Weakest first: what comes later overwrites what came before.
static const uint8_t order[] = {BOOT_MEM_USABLE, BOOT_MEM_LOADER, BOOT_MEM_ACPI, BOOT_MEM_MMIO,
                                BOOT_MEM_RESERVED};

/// Appends to a list of at most three pieces, joining with the last one where they touch and agree.
static unsigned add_piece(struct boot_mem *pieces, unsigned n, uint64_t base, uint64_t end, uint32_t type)
{
    if (base >= end)
        return n;
    if (n > 0 && pieces[n - 1].type == type && pieces[n - 1].base + pieces[n - 1].size == base) {
        pieces[n - 1].size += end - base;
        return n;
    }
    pieces[n] = (struct boot_mem){.base = base, .size = end - base, .type = type};
    return n + 1;
}

enum status memmap_set(struct memmap *map, uint64_t base, uint64_t size, uint32_t type)
{
    uint64_t end = base + size;
    if (end <= base)
        return OK;
    // Ranges [first, last) touch base..end: they are cut, joined or gone.
    uint32_t first = map->count;
    while (first > 0 && map->mem[first - 1].base + map->mem[first - 1].size >= base)
        first--;
    uint32_t last = first;
    while (last < map->count && map->mem[last].base <= end)
        last++;
    struct boot_mem pieces[3];
    unsigned n = 0;
    if (first < last)
        n = add_piece(pieces, n, map->mem[first].base,
                      map->mem[first].base + map->mem[first].size < base
                          ? map->mem[first].base + map->mem[first].size
                          : base,
                      map->mem[first].type);
    n = add_piece(pieces, n, base, end, type);
    if (first < last) {
        const struct boot_mem *tail = &map->mem[last - 1];
        n = add_piece(pieces, n, tail->base > end ? tail->base : end, tail->base + tail->size, tail->type);
    }
    if (map->count - (last - first) + n > BOOT_MEM_MAX)
        return ERR_NOMEM;
    memmove(&map->mem[first + n], &map->mem[last], (map->count - last) * sizeof map->mem[0]);
    memcpy(&map->mem[first], pieces, n * sizeof pieces[0]);
    map->count = map->count - (last - first) + n;
    return OK;
}

static uint32_t type_of(uint32_t efi_type)
{
    return efi_type < EFI_TYPES ? efi_types[efi_type] : (uint32_t)BOOT_MEM_RESERVED;
}

enum status memmap_from_efi(struct memmap *map, const void *descriptors, size_t bytes, size_t stride)
{
    map->count = 0;
    if (stride < sizeof(struct efi_memory_descriptor))
        return ERR_INVAL;
    for (size_t pass = 0; pass < sizeof order; pass++) {
        for (size_t at = 0; bytes - at >= stride; at += stride) {
            struct efi_memory_descriptor d;
            memcpy(&d, (const uint8_t *)descriptors + at, sizeof d);
            if (type_of(d.type) != order[pass] || d.physical_start >= PHYS_LIMIT)
                continue;
            uint64_t base = d.physical_start & ~(PAGE - 1);
            uint64_t pages_left = (PHYS_LIMIT - base) / PAGE;
            uint64_t pages = d.number_of_pages < pages_left ? d.number_of_pages : pages_left;
            enum status s = memmap_set(map, base, pages * PAGE, order[pass]);
            if (s != OK)
                return s;
        }
    }
    return OK;
}

uint64_t memmap_available(const struct memmap *map)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < map->count; i++)
        if (map->mem[i].type == BOOT_MEM_USABLE || map->mem[i].type == BOOT_MEM_LOADER)
            bytes += map->mem[i].size;
    return bytes;
}

uint64_t memory_reserve(uint64_t guests)
{
    return (16ull << 20) + guests / 100;
}

static unsigned long long mib_up(uint64_t bytes)
{
    return (unsigned long long)((bytes >> 20) + ((bytes & 0xfffff) != 0));
}

enum status memory_check(const struct memmap *map, const struct boot_info *info, uint64_t files,
                         const char *ini, struct refusal *why)
{
    const uint64_t limit = 1ull << 60; // sums of sizes below it do not overflow
    uint64_t guests = 0;
    for (uint32_t i = 0; i < info->guest_count; i++)
        guests += info->guests[i].memory < limit ? info->guests[i].memory : limit;
    uint64_t available = memmap_available(map);
    uint64_t needed = guests + memory_reserve(guests) + files;
    if (needed <= available)
        return OK;
    if (info->guest_count == 0)
        return refuse(
            why, ERR_NOMEM,
            "Too little memory: Farbus needs %llu MiB with its files, and this machine has %llu MiB.",
            mib_up(needed), (unsigned long long)(available >> 20));
    const struct boot_guest *largest = &info->guests[0];
    for (uint32_t i = 1; i < info->guest_count; i++)
        if (info->guests[i].memory > largest->memory)
            largest = &info->guests[i];
    return refuse_line(
        why, ERR_NOMEM, ini, largest->ini_line,
        "too little memory: the guests ask for %llu MiB (the largest, '%s', for %llu MiB) and Farbus "
        "needs %llu MiB with its files, together %llu MiB; this machine has %llu MiB. Give the guests "
        "less 'memory'.",
        mib_up(guests), largest->name, mib_up(largest->memory), mib_up(needed - guests), mib_up(needed),
        (unsigned long long)(available >> 20));
}
