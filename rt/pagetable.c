// SPDX-License-Identifier: BSD-2-Clause
// Invariant: no leaf is ever writable and executable, and no present entry is ever changed.
#include "rt/pagetable.h"
#include <stddef.h>

#define ENTRIES 512u

static unsigned index_at(uint64_t virt, unsigned level) // level 1: page table ... 4: PML4
{
    return (unsigned)(virt >> (12 + 9 * (level - 1))) & (ENTRIES - 1);
}

static uint64_t size_at(unsigned level)
{
    return FRAME_SIZE << (9 * (level - 1));
}

/// The entry for `virt` at `level`, making the tables above it.
static enum status reach(phys_t root, uint64_t virt, unsigned level, uint64_t **entry)
{
    uint64_t *table = phys_to_virt(root);
    for (unsigned l = 4; l > level; l--) {
        uint64_t *e = &table[index_at(virt, l)];
        if (!(*e & PTE_P)) {
            phys_t frame = frames_alloc(1, FRAME_SIZE, 0);
            if (frame == FRAME_NONE)
                return ERR_NOMEM;
            *e = frame | PTE_P | PTE_W;
        } else if (*e & PTE_PS) {
            return ERR_BUSY;
        }
        table = phys_to_virt(*e & PTE_ADDR);
    }
    *entry = &table[index_at(virt, level)];
    return OK;
}

enum status pagetable_map(phys_t root, uint64_t virt, phys_t phys, uint64_t size, uint64_t flags,
                          uint64_t largest)
{
    if ((virt | phys | size) % FRAME_SIZE != 0 || ((flags & PTE_W) && !(flags & PTE_NX)))
        return ERR_INVAL;
    while (size > 0) {
        unsigned level = 3;
        while (level > 1 &&
               (size_at(level) > largest || size_at(level) > size || (virt | phys) % size_at(level) != 0))
            level--;
        uint64_t *entry;
        enum status s = reach(root, virt, level, &entry);
        if (s != OK)
            return s;
        // A run of leaves in one table needs one walk.
        do {
            if (*entry & PTE_P)
                return ERR_BUSY;
            *entry++ =
                phys | flags | PTE_P | PTE_A | ((flags & PTE_W) ? PTE_D : 0) | (level > 1 ? PTE_PS : 0);
            virt += size_at(level);
            phys += size_at(level);
            size -= size_at(level);
        } while (size >= size_at(level) && index_at(virt, level) != 0 &&
                 (level == 3 || size_at(level + 1) > largest || (virt | phys) % size_at(level + 1) != 0));
    }
    return OK;
}

uint64_t pagetable_lookup(phys_t root, uint64_t virt)
{
    const uint64_t *table = phys_to_virt(root);
    uint64_t w = PTE_W, nx = 0;
    for (unsigned l = 4; l >= 1; l--) {
        uint64_t e = table[index_at(virt, l)];
        if (!(e & PTE_P))
            return 0;
        w &= e;
        nx |= e & PTE_NX;
        if (l == 1 || (e & PTE_PS))
            return (e & ~(PTE_W | PTE_NX)) | w | nx;
        table = phys_to_virt(e & PTE_ADDR);
    }
    return 0;
}

static void audit_table(phys_t at, unsigned level, uint64_t w, uint64_t nx, struct paging_audit *sum)
{
    const uint64_t *table = phys_to_virt(at);
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t e = table[i];
        if (!(e & PTE_P))
            continue;
        uint64_t here_w = w & e, here_nx = nx | (e & PTE_NX);
        if (level > 1 && !(e & PTE_PS)) {
            audit_table(e & PTE_ADDR, level - 1, here_w, here_nx, sum);
            continue;
        }
        sum->leaves++;
        sum->writable += here_w != 0;
        sum->executable += here_nx == 0;
        sum->both += here_w != 0 && here_nx == 0;
    }
}

struct paging_audit pagetable_audit(phys_t root)
{
    struct paging_audit sum = {0};
    audit_table(root, 4, PTE_W, 0, &sum);
    return sum;
}
