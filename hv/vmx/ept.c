// SPDX-License-Identifier: BSD-2-Clause
// Extended page tables of one guest (SDM vol. 3, 29.3). Only RAM is ever mapped, read/write/execute and
// write-back, in 2 MiB pages where the guest's layout allows; everything else is absent, so that every other
// access exits. A 2 MiB page is split when the dirty bits of its 4 KiB pages are asked for. Must not execute
// VMX instructions: what makes cached translations wrong sets `stale`, and who runs vCPUs acts on it (run.c).
#include "hv/vmx/vmx.h"
#include "rt/paging.h"
#include <stdlib.h>
#include <string.h>

#define EPT_READ       0x1ull
#define EPT_WRITE      0x2ull
#define EPT_EXECUTE    0x4ull
#define EPT_RWX        (EPT_READ | EPT_WRITE | EPT_EXECUTE)
#define EPT_TYPE_WB    (6ull << 3)
#define EPT_IGNORE_PAT (1ull << 6)
#define EPT_LARGE      (1ull << 7)
#define EPT_ACCESSED   (1ull << 8) // these two: SDM vol. 3, 29.3.5
#define EPT_DIRTY      (1ull << 9)
#define EPT_ADDRESS    0x000ffffffffff000ull
#define EPTP_WALK_4    (3ull << 3)
#define EPTP_DIRTY     (1ull << 6)
#define EPTP_WB        6ull

#define PAGE_4K 0x1000ull
#define PAGE_2M 0x200000ull
#define ENTRIES 512u

// All leaves begin accessed and dirty: what was put there before they were mapped counts as written.
#define LEAF (EPT_RWX | EPT_TYPE_WB | EPT_IGNORE_PAT | EPT_ACCESSED | EPT_DIRTY)

enum { LEVEL_PML4 = 39, LEVEL_PDPT = 30, LEVEL_PD = 21, LEVEL_PT = 12 }; // shift of a level's index

static uint64_t *table_of(uint64_t entry)
{
    return phys_to_virt(entry & EPT_ADDRESS);
}

enum status ept_create(struct nested_map **out)
{
    struct nested_map *map = calloc(1, sizeof *map);
    if (!map)
        return ERR_NOMEM;
    map->root = frames_alloc(1, FRAME_SIZE, 0);
    if (map->root == FRAME_NONE) {
        free(map);
        return ERR_NOMEM;
    }
    map->eptp = map->root | EPTP_WALK_4 | EPTP_WB | (vmx_controls.ept_dirty ? EPTP_DIRTY : 0);
    *out = map;
    return OK;
}

/// Frees the tables that a table's entries name, and empties it.
static void empty(uint64_t *table, unsigned shift)
{
    for (unsigned i = 0; shift > LEVEL_PT && i < ENTRIES; i++) {
        if (!(table[i] & EPT_RWX) || (table[i] & EPT_LARGE))
            continue;
        if (shift > LEVEL_PD)
            empty(table_of(table[i]), shift - 9);
        frames_free(table[i] & EPT_ADDRESS, 1);
    }
    memset(table, 0, FRAME_SIZE);
}

void ept_clear(struct nested_map *map)
{
    empty(phys_to_virt(map->root), LEVEL_PML4);
    map->last_table = NULL;
    map->stale = true;
}

void ept_destroy(struct nested_map *map)
{
    empty(phys_to_virt(map->root), LEVEL_PML4);
    frames_free(map->root, 1);
    free(map);
}

enum status ept_map(struct nested_map *map, uint64_t gpa, phys_t hpa, uint64_t size)
{
    if ((size != PAGE_4K && size != PAGE_2M) || ((gpa | hpa) & (size - 1)) || gpa >> 48)
        return ERR_INVAL;
    uint64_t *table = phys_to_virt(map->root);
    unsigned last = size == PAGE_2M ? LEVEL_PD : LEVEL_PT;
    for (unsigned shift = LEVEL_PML4; shift > last; shift -= 9) {
        uint64_t *entry = &table[gpa >> shift & (ENTRIES - 1)];
        if (!(*entry & EPT_RWX)) {
            phys_t next = frames_alloc(1, FRAME_SIZE, 0);
            if (next == FRAME_NONE)
                return ERR_NOMEM;
            *entry = next | EPT_RWX;
        } else if (*entry & EPT_LARGE) {
            return ERR_BUSY;
        }
        table = table_of(*entry);
    }
    table[gpa >> last & (ENTRIES - 1)] = hpa | LEAF | (size == PAGE_2M ? EPT_LARGE : 0);
    // Absent -> present needs no INVEPT: absent entries are not cached (SDM vol. 3, 29.4.3.1).
    return OK;
}

/// The page-directory entry above gpa; NULL: there is no page directory.
static uint64_t *directory_entry(struct nested_map *map, uint64_t gpa)
{
    uint64_t *table = phys_to_virt(map->root);
    for (unsigned shift = LEVEL_PML4; shift > LEVEL_PD; shift -= 9) {
        uint64_t entry = table[gpa >> shift & (ENTRIES - 1)];
        if (!(entry & EPT_RWX))
            return NULL;
        table = table_of(entry);
    }
    return gpa >> 48 ? NULL : &table[gpa >> LEVEL_PD & (ENTRIES - 1)];
}

/// The entry of a 4 KiB page; NULL: absent, or within a 2 MiB page.
static uint64_t *page_entry(struct nested_map *map, uint64_t gpa)
{
    if (map->last_region != gpa >> LEVEL_PD || !map->last_table) { // whoever asks goes from page to page
        const uint64_t *directory = directory_entry(map, gpa);
        if (!directory || !(*directory & EPT_RWX) || (*directory & EPT_LARGE))
            return NULL;
        map->last_region = gpa >> LEVEL_PD;
        map->last_table = table_of(*directory);
    }
    uint64_t *entry = &map->last_table[gpa >> LEVEL_PT & (ENTRIES - 1)];
    return *entry & EPT_RWX ? entry : NULL;
}

bool ept_watch(struct nested_map *map, uint64_t gpa)
{
    if (!vmx_controls.ept_dirty)
        return false;
    uint64_t *directory = directory_entry(map, gpa);
    if (!directory || !(*directory & EPT_RWX))
        return false;
    if (!(*directory & EPT_LARGE))
        return page_entry(map, gpa) != NULL;
    phys_t split = frames_alloc_dirty(1, FRAME_SIZE, 0);
    if (split == FRAME_NONE)
        return false;
    uint64_t *table = phys_to_virt(split);
    uint64_t large = *directory & ~EPT_LARGE;
    for (unsigned i = 0; i < ENTRIES; i++)
        table[i] =
            large + i * PAGE_4K; // permissions and memory type are in the same bits (tables 29-5, 29-6)
    *directory = split | EPT_RWX;
    map->stale = true;
    return true;
}

bool ept_dirty(struct nested_map *map, uint64_t gpa)
{
    uint64_t *entry = page_entry(map, gpa);
    if (!entry || !vmx_controls.ept_dirty)
        return true;
    if (!(*entry & EPT_DIRTY))
        return false;
    *entry &= ~EPT_DIRTY;
    map->stale = true; // a translation that is cached as dirty would not set the bit again (29.3.5)
    return true;
}

const volatile uint64_t *ept_note(struct nested_map *map, uint64_t gpa, uint64_t *mask)
{
    *mask = EPT_DIRTY;
    return vmx_controls.ept_dirty ? page_entry(map, gpa) : NULL;
}

void ept_mark(struct nested_map *map, uint64_t gpa)
{
    uint64_t *entry = page_entry(map, gpa);
    if (entry)
        *entry |= EPT_DIRTY;
}
