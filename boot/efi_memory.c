// SPDX-License-Identifier: BSD-2-Clause
// See efi_memory.h.
#include "boot/efi_memory.h"
#include <stddef.h>

enum { ALLOCATIONS_MAX = 160, EXIT_TRIES = 8, MAP_MARGIN = 32 };

static EFI_BOOT_SERVICES *bs;
static EFI_HANDLE self;

static struct {
    EFI_PHYSICAL_ADDRESS base;
    UINTN pages;
} allocations[ALLOCATIONS_MAX];
static unsigned allocation_count;

/// The firmware's descriptors: fetched into this buffer, which is as large as ever needed and taken before
/// the map is.
static struct {
    void *bytes;
    UINTN room, size, key, stride;
} raw;

void memory_start(EFI_BOOT_SERVICES *services, EFI_HANDLE image)
{
    bs = services;
    self = image;
}

void fill_zero(void *to, uint64_t bytes)
{
    uint64_t words = bytes / 8, rest = bytes % 8;
    __asm__ volatile("cld; rep stosq" : "+D"(to), "+c"(words) : "a"(0ull) : "memory", "cc");
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(0ull) : "memory");
}

void copy(void *to, const void *from, uint64_t bytes)
{
    uint64_t words = bytes / 8, rest = bytes % 8;
    __asm__ volatile("cld; rep movsq" : "+D"(to), "+S"(from), "+c"(words)::"memory", "cc");
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(rest)::"memory");
}

enum status memory_pages(uint64_t bytes, uint64_t limit, const char *what, uint64_t *phys,
                         struct refusal *why)
{
    UINTN pages = (bytes + EFI_PAGE_SIZE - 1) / EFI_PAGE_SIZE;
    EFI_PHYSICAL_ADDRESS base = limit - 1;
    if (allocation_count == ALLOCATIONS_MAX)
        return refuse(why, ERR_NOMEM, "More than %d pieces of memory needed.", ALLOCATIONS_MAX);
    EFI_STATUS got =
        bs->AllocatePages(limit != 0 ? AllocateMaxAddress : AllocateAnyPages, EfiLoaderData, pages, &base);
    if (EFI_ERROR(got))
        return refuse(why, ERR_NOMEM, "Too little memory: the firmware has no %llu KiB in one piece for %s.",
                      (unsigned long long)pages * 4, what);
    allocations[allocation_count].base = base;
    allocations[allocation_count].pages = pages;
    allocation_count++;
    *phys = base;
    return OK;
}

enum status memory_zeroed(uint64_t bytes, const char *what, uint64_t *phys, struct refusal *why)
{
    enum status s = memory_pages(bytes, 0, what, phys, why);
    if (s == OK)
        fill_zero((void *)*phys, (bytes + EFI_PAGE_SIZE - 1) & ~(uint64_t)(EFI_PAGE_SIZE - 1));
    return s;
}

void memory_release(void)
{
    while (allocation_count > 0) {
        allocation_count--;
        (void)bs->FreePages(allocations[allocation_count].base, allocations[allocation_count].pages);
    }
    raw.bytes = NULL;
}

static EFI_STATUS fetch(void)
{
    UINT32 version;
    raw.size = raw.room;
    return bs->GetMemoryMap(&raw.size, raw.bytes, &raw.key, &raw.stride, &version);
}

/// The buffer for the map, with room for what our own allocations (each splits a range in three) will still
/// add.
static enum status prepare(struct refusal *why)
{
    if (raw.bytes != NULL)
        return OK;
    raw.room = 0;
    (void)fetch(); // says the size
    if (raw.stride == 0)
        return refuse(why, ERR_IO, "The firmware gives no memory map.");
    uint64_t room = raw.size + 2 * ALLOCATIONS_MAX * raw.stride, base;
    enum status s = memory_pages(room, 0, "the memory map", &base, why);
    if (s != OK)
        return s;
    raw.room = (room + EFI_PAGE_SIZE - 1) & ~(uint64_t)(EFI_PAGE_SIZE - 1);
    raw.bytes = (void *)base;
    return OK;
}

enum status memory_map(struct memmap *map, struct refusal *why)
{
    enum status s = prepare(why);
    if (s != OK)
        return s;
    EFI_STATUS got = fetch();
    if (EFI_ERROR(got))
        return refuse(why, ERR_IO, "The firmware gives no memory map (status 0x%llx).",
                      (unsigned long long)got);
    if (memmap_from_efi(map, raw.bytes, raw.size, raw.stride) != OK || map->count > BOOT_MEM_MAX - MAP_MARGIN)
        return refuse(why, ERR_RANGE, "The firmware's memory map has more than %d ranges.",
                      BOOT_MEM_MAX - MAP_MARGIN);
    return OK;
}

enum status memory_exit_boot_services(struct refusal *why)
{
    enum status s = prepare(why);
    if (s != OK)
        return s;
    EFI_STATUS got = EFI_SUCCESS;
    // The key is refused when an event of the firmware allocated between the two calls: then fetch again,
    // nothing else.
    for (unsigned tries = 0; tries < EXIT_TRIES; tries++) {
        got = fetch();
        if (!EFI_ERROR(got))
            got = bs->ExitBootServices(self, raw.key);
        if (!EFI_ERROR(got))
            return OK;
    }
    return refuse(why, ERR_IO, "The firmware does not let go (ExitBootServices: status 0x%llx).",
                  (unsigned long long)got);
}

enum status memory_final_map(struct memmap *map, uint64_t image, uint64_t image_size)
{
    enum status s = memmap_from_efi(map, raw.bytes, raw.size, raw.stride);
    return s == OK ? memmap_set(map, image, image_size, BOOT_MEM_IMAGE) : s;
}
