// SPDX-License-Identifier: BSD-2-Clause
// See tables.h.
#include "boot/tables.h"

#define GIB       (1ull << 30)
#define PAGE_2M   (2ull << 20)
#define ENTRIES   512
#define ADDRESS   0x000ffffffffff000ull
#define PDPT_SPAN (512 * GIB)
#define LOW_END   (1ull << 47) // identity addresses end where the canonical hole begins

static unsigned slot(uint64_t virt, unsigned level) // level 4: PML4 .. 1: page table
{
    return (unsigned)(virt >> (12 + 9 * (level - 1))) & (ENTRIES - 1);
}

static uint64_t *table_at(const struct tables *t, uint64_t entry)
{
    return t->pages + ((entry & ADDRESS) - t->phys) / sizeof(uint64_t);
}

/// The entry that maps `virt` at `level`, with the tables above it. NULL: no page is left.
static uint64_t *entry_for(struct tables *t, uint64_t virt, unsigned level)
{
    uint64_t *table = t->pages;
    for (unsigned at = 4; at > level; at--) {
        uint64_t *entry = &table[slot(virt, at)];
        if ((*entry & PTE_P) == 0) {
            if (t->used == t->count)
                return NULL;
            *entry = (t->phys + t->used++ * ELF_PAGE) | PTE_P | PTE_W;
        }
        table = table_at(t, *entry);
    }
    return &table[slot(virt, level)];
}

static enum status map_gib(struct tables *t, uint64_t base)
{
    uint64_t *entry = entry_for(t, base, t->page1gb ? 3 : 2);
    if (entry == NULL)
        return ERR_NOMEM;
    if (t->page1gb) {
        *entry = base | PTE_P | PTE_W | PTE_PS;
        return OK;
    }
    for (unsigned i = 0; i < ENTRIES; i++)
        entry[i] = (base + i * PAGE_2M) | PTE_P | PTE_W | PTE_PS;
    return OK;
}

static enum status cover(struct memmap *identity, uint64_t base, uint64_t size)
{
    uint64_t end = base + size;
    if (end > LOW_END)
        end = LOW_END;
    if (size == 0 || base >= end)
        return OK;
    uint64_t from = base & ~(GIB - 1);
    return memmap_set(identity, from, ((end + GIB - 1) & ~(GIB - 1)) - from, BOOT_MEM_USABLE);
}

enum status tables_identity(const struct memmap *map, const struct boot_framebuffer *fb,
                            struct memmap *identity)
{
    identity->count = 0;
    enum status s = cover(identity, 0, 4 * GIB);
    for (uint32_t i = 0; s == OK && i < map->count; i++)
        if (map->mem[i].type != BOOT_MEM_MMIO)
            s = cover(identity, map->mem[i].base, map->mem[i].size);
    return s == OK ? cover(identity, fb->base, fb->size) : s;
}

uint32_t tables_needed(const struct memmap *identity, uint64_t image_size, bool page1gb)
{
    uint64_t pages = 1; // the PML4
    for (uint32_t i = 0; i < identity->count; i++) {
        const struct boot_mem *m = &identity->mem[i];
        pages += (m->base + m->size - 1) / PDPT_SPAN - m->base / PDPT_SPAN + 1;
        pages += page1gb ? 0 : m->size / GIB;
    }
    // The image: a PDPT, at most two page directories, and page tables, one more for each end that is not
    // aligned.
    return (uint32_t)(pages + 1 + 2 + image_size / PAGE_2M + 2);
}

enum status tables_build(struct tables *t, const struct memmap *identity, const struct elf_plan *plan,
                         uint64_t image)
{
    if (t->count == 0)
        return ERR_NOMEM;
    t->used = 1;
    for (uint32_t i = 0; i < identity->count; i++) {
        const struct boot_mem *m = &identity->mem[i];
        for (uint64_t at = m->base; at < m->base + m->size; at += GIB)
            if (map_gib(t, at) != OK)
                return ERR_NOMEM;
    }
    for (unsigned i = 0; i < plan->count; i++) {
        const struct elf_segment *seg = &plan->segments[i];
        uint64_t flags = PTE_P | (seg->writable ? PTE_W : 0) | (seg->executable ? 0 : PTE_NX);
        uint64_t from = seg->image_offset & ~(ELF_PAGE - 1);
        for (uint64_t at = from; at < seg->image_offset + seg->mem_size; at += ELF_PAGE) {
            uint64_t *entry = entry_for(t, plan->image_virt + at, 1);
            if (entry == NULL)
                return ERR_NOMEM;
            *entry = (image + at) | flags;
        }
    }
    return OK;
}
