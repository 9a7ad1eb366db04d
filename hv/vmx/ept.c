// SPDX-License-Identifier: BSD-2-Clause
// Extended page tables of one guest (SDM vol. 3, 29.3). Only RAM is ever mapped, read/write/execute and
// write-back, in 2 MiB pages where the guest's layout allows; everything else is absent, so that every other
// access exits.
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
#define EPT_ADDRESS    0x000ffffffffff000ull
#define EPTP_WALK_4    (3ull << 3)
#define EPTP_WB        6ull

#define PAGE_4K 0x1000ull
#define PAGE_2M 0x200000ull

#define EPT_TABLES_MAX 1024u // page directories and tables of one guest: 512 GiB in 2 MiB pages

static phys_t new_table(struct nested_map *map)
{
    if (map->table_count == EPT_TABLES_MAX)
        return FRAME_NONE;
    phys_t table = frames_alloc(1, FRAME_SIZE, 0);
    if (table != FRAME_NONE)
        map->table_list[map->table_count++] = table;
    return table;
}

enum status ept_create(struct nested_map **out)
{
    struct nested_map *map = calloc(1, sizeof *map);
    if (!map)
        return ERR_NOMEM;
    map->table_list = calloc(EPT_TABLES_MAX, sizeof *map->table_list);
    map->root = map->table_list ? new_table(map) : FRAME_NONE;
    if (map->root == FRAME_NONE) {
        ept_destroy(map);
        return ERR_NOMEM;
    }
    map->eptp = map->root | EPTP_WALK_4 | EPTP_WB;
    *out = map;
    return OK;
}

void ept_destroy(struct nested_map *map)
{
    for (uint64_t i = 0; map->table_list && i < map->table_count; i++)
        frames_free(map->table_list[i], 1);
    free(map->table_list);
    free(map);
}

void ept_clear(struct nested_map *map)
{
    memset(phys_to_virt(map->root), 0, FRAME_SIZE);
    invept(1, map->eptp);        // before the tables and what they named are used for something else
    while (map->table_count > 1) // the first is the root
        frames_free(map->table_list[--map->table_count], 1);
}

enum status ept_map(struct nested_map *map, uint64_t gpa, phys_t hpa, uint64_t size)
{
    if ((size != PAGE_4K && size != PAGE_2M) || ((gpa | hpa) & (size - 1)) || gpa >> 48)
        return ERR_INVAL;
    uint64_t *table = phys_to_virt(map->root);
    unsigned last = size == PAGE_2M ? 21 : 12;
    for (unsigned shift = 39; shift > last; shift -= 9) {
        uint64_t *entry = &table[gpa >> shift & 511];
        if (!(*entry & EPT_RWX)) {
            phys_t next = new_table(map);
            if (next == FRAME_NONE)
                return ERR_NOMEM;
            *entry = next | EPT_RWX;
        } else if (*entry & EPT_LARGE) {
            return ERR_BUSY;
        }
        table = phys_to_virt(*entry & EPT_ADDRESS);
    }
    table[gpa >> last & 511] =
        hpa | EPT_RWX | EPT_TYPE_WB | EPT_IGNORE_PAT | (size == PAGE_2M ? EPT_LARGE : 0);
    // Absent -> present needs no INVEPT: absent entries are not cached (SDM vol. 3, 29.4.3.1).
    return OK;
}
