// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/gva.h"
#include "rt/x86.h"
#include <string.h>

#define PTE_P       0x01ull
#define PTE_W       0x02ull
#define PTE_U       0x04ull
#define PTE_A       0x20ull
#define PTE_D       0x40ull
#define PTE_PS      0x80ull
#define PTE_NX      (1ull << 63)
#define PTE_ADDRESS 0x000ffffffffff000ull

// Page-fault error code (SDM vol. 3, figure 4-12)
#define PF_PRESENT  0x01u
#define PF_WRITE    0x02u
#define PF_USER     0x04u
#define PF_RESERVED 0x08u
#define PF_FETCH    0x10u

static bool page_fault(const struct gva_mmu *m, uint64_t linear, enum gva_access access, uint32_t why,
                       struct emulate_fault *fault)
{
    bool nx_reported = (m->efer & EFER_NXE) || (m->cr4 & CR4_SMEP);
    uint32_t error = why | (access == GVA_WRITE ? PF_WRITE : 0) | (m->user ? PF_USER : 0);
    if (access == GVA_FETCH && nx_reported)
        error |= PF_FETCH;
    *fault = (struct emulate_fault){.vector = EXC_PF, .has_error = true, .error = error, .cr2 = linear};
    return false;
}

/// What the levels of a walk allow together.
struct rights {
    bool writable, user, no_execute;
};

static bool allowed(const struct gva_mmu *m, const struct rights *r, enum gva_access access)
{
    if (access == GVA_FETCH) {
        if (r->no_execute)
            return false;
        return m->user ? r->user : !(r->user && (m->cr4 & CR4_SMEP));
    }
    if (m->user)
        return r->user && (access == GVA_READ || r->writable);
    if (r->user && (m->cr4 & CR4_SMAP) && !(m->rflags & RFLAGS_AC))
        return false;
    return access == GVA_READ || r->writable || !(m->cr0 & CR0_WP);
}

struct format {
    unsigned top, bits;  // shift of the first table's index; index bits per level
    unsigned entry_size; // bytes
    bool nx;
};

static uint64_t load_entry(const void *at, unsigned size)
{
    if (size == 8) {
        uint64_t e;
        memcpy(&e, at, 8);
        return e;
    }
    uint32_t e;
    memcpy(&e, at, 4);
    return e;
}

static void set_bits(const struct gva_mmu *m, uint64_t table, void *at, uint64_t entry, uint64_t bits)
{
    if ((entry & bits) == bits)
        return;
    // A and D are in the low byte of both formats; the guest's other vCPUs may be writing the entry.
    __atomic_fetch_or((uint8_t *)at, (uint8_t)bits, __ATOMIC_RELAXED);
    if (m->written)
        m->written(m->ctx, table & PTE_ADDRESS);
}

static bool is_leaf(const struct gva_mmu *m, const struct format *f, unsigned shift, uint64_t entry)
{
    if (shift == 12)
        return true;
    if (!(entry & PTE_PS) || shift > 30)
        return false;
    return f->entry_size == 8 || (m->cr4 & CR4_PSE);
}

static bool walk(const struct gva_mmu *m, const struct format *f, uint64_t table, uint64_t linear,
                 enum gva_access access, uint64_t *gpa, struct emulate_fault *fault)
{
    struct rights rights = {.writable = true, .user = true, .no_execute = false};
    for (unsigned shift = f->top;; shift -= f->bits) {
        uint8_t *page = m->table(m->ctx, table & PTE_ADDRESS);
        if (!page)
            return page_fault(m, linear, access, PF_PRESENT | PF_RESERVED, fault);
        uint64_t index = linear >> shift & ((1u << f->bits) - 1);
        uint8_t *at = page + index * f->entry_size;
        uint64_t entry = load_entry(at, f->entry_size);
        if (!(entry & PTE_P))
            return page_fault(m, linear, access, 0, fault);
        if ((f->nx && (entry & PTE_NX) && !(m->efer & EFER_NXE)) || (shift == 39 && (entry & PTE_PS)))
            return page_fault(m, linear, access, PF_PRESENT | PF_RESERVED, fault);
        rights.writable &= (entry & PTE_W) != 0;
        rights.user &= (entry & PTE_U) != 0;
        rights.no_execute |= f->nx && (entry & PTE_NX);
        if (is_leaf(m, f, shift, entry)) {
            if (!allowed(m, &rights, access))
                return page_fault(m, linear, access, PF_PRESENT, fault);
            set_bits(m, table, at, entry, PTE_A | (access == GVA_WRITE ? PTE_D : 0));
            uint64_t mask = (1ull << shift) - 1;
            uint64_t base = entry & PTE_ADDRESS & ~mask;
            if (f->entry_size == 4 && shift == 22) // PSE-36: physical bits 32-39 are in bits 13-20
                base = (entry & 0xffc00000u) | (entry >> 13 & 0xff) << 32;
            *gpa = base | (linear & mask);
            return true;
        }
        set_bits(m, table, at, entry, PTE_A);
        table = entry;
    }
}

bool gva_translate(const struct gva_mmu *m, uint64_t linear, enum gva_access access, uint64_t *gpa,
                   struct emulate_fault *fault)
{
    static const struct format legacy = {.top = 22, .bits = 10, .entry_size = 4, .nx = false};
    static const struct format pae = {.top = 21, .bits = 9, .entry_size = 8, .nx = true};
    static const struct format long_mode = {.top = 39, .bits = 9, .entry_size = 8, .nx = true};

    if (m->efer & EFER_LMA) {
        if ((uint64_t)((int64_t)(linear << 16) >> 16) != linear) {
            *fault = (struct emulate_fault){.vector = EXC_GP, .has_error = true};
            return false;
        }
        return walk(m, &long_mode, m->cr3, linear, access, gpa, fault);
    }
    linear &= 0xffffffffu;
    if (!(m->cr0 & CR0_PG)) {
        *gpa = linear;
        return true;
    }
    if (m->cr4 & CR4_PAE) {
        uint64_t pdpte = m->pdpte[linear >> 30];
        if (!(pdpte & PTE_P))
            return page_fault(m, linear, access, 0, fault);
        return walk(m, &pae, pdpte, linear, access, gpa, fault);
    }
    return walk(m, &legacy, m->cr3 & 0xfffff000u, linear, access, gpa, fault);
}
