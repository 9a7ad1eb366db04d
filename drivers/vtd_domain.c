// SPDX-License-Identifier: BSD-2-Clause
// drivers/vtd.h: address spaces of functions. Second-level tables (9.8, table 35): 512 entries a level, three
// levels where the units know them (39 bits), else four. Must not know whose pages they are. Invariants: a
// table's frame is not freed before the units have forgotten it; an entry that points to a table counts, in
// bits that the hardware ignores, how many of that table's entries are in use, and is never 0 there.
#include "drivers/vtd_internal.h"
#include "rt/paging.h"
#include "rt/panic.h"

#define IOVA_BITS   39u
#define DOMAINS_MAX 64u
#define TABLES_MAX  1024u // of a domain, its root not counted: 2 GiB where pages are dense
#define SPARES_MAX                                                                                           \
    4u // empty tables that are kept, so that the same page mapped and unmapped again costs none
#define LEVEL_BITS  9u
#define PERMISSIONS 3ull // R, W
#define SNP         (1ull << 11)
#define ADDRESS     0x000ffffffffff000ull
#define COUNT_ONE   (1ull << 52) // bits 61:52 are ignored
#define COUNT_OF(e) ((e) >> 52)

struct vtd_domain {
    volatile struct vtd_entry *context; // NULL: this domain is free
    volatile uint64_t *root;
    phys_t spare; // chain through entry 0: an address alone has no permission, so it is not present
    uint16_t source, id;
    uint8_t levels;
    unsigned tables, spares;
};

static struct vtd_domain domains[DOMAINS_MAX];

/// What the units still may hold of a range that is being cleared, as page numbers, and the tables that go.
struct sweep {
    uint64_t first, last;
    bool any;
    phys_t tables;
};

static volatile uint64_t *table_at(uint64_t entry)
{
    return phys_to_virt(entry & ADDRESS);
}

static volatile uint64_t *slot(volatile uint64_t *table, unsigned level, uint64_t iova)
{
    return &table[iova >> (12 + (level - 1) * LEVEL_BITS) & 511];
}

static void push(phys_t *chain, volatile uint64_t *table)
{
    table[0] = *chain;
    *chain = virt_to_phys((const void *)table);
}

static volatile uint64_t *pop(phys_t *chain)
{
    volatile uint64_t *table = phys_to_virt(*chain);
    *chain = table[0];
    table[0] = 0;
    return table;
}

/// Sees to it that `n` tables are at hand, so that what follows cannot fail half-way.
static enum status reserve(struct vtd_domain *d, unsigned n)
{
    if (d->tables + n > TABLES_MAX)
        return ERR_NOMEM;
    while (d->spares < n) {
        uint64_t *table = vtd_new_table();
        if (!table)
            return ERR_NOMEM;
        vtd_flush(table, FRAME_SIZE);
        push(&d->spare, table);
        d->spares++;
    }
    return OK;
}

/// Tables that no unit knows any more.
static void drop_tables(struct vtd_domain *d, phys_t chain)
{
    while (chain) {
        volatile uint64_t *table = pop(&chain);
        d->tables--;
        if (d->spares < SPARES_MAX) {
            push(&d->spare, table);
            d->spares++;
        } else {
            frames_free(virt_to_phys((const void *)table), 1);
        }
    }
}

/// Nothing that asks for this can go on without it: memory that a device still reaches would be given away.
static void must(enum status s)
{
    if (s != OK)
        panic("VT-d does not invalidate (%s): memory cannot be kept from devices", status_name(s));
}

/// Clears the pages from `first` to `last` (page numbers) in this table of `level`. Returns how many of its
/// entries that emptied.
static unsigned clear(volatile uint64_t *table, unsigned level, uint64_t first, uint64_t last,
                      struct sweep *sweep)
{
    unsigned shift = (level - 1) * LEVEL_BITS, gone = 0;
    uint64_t next;
    for (uint64_t at = first; at <= last; at = next) {
        volatile uint64_t *e = &table[at >> shift & 511];
        uint64_t was = *e, end;
        next = ((at >> shift) + 1) << shift;
        end = next - 1 < last ? next - 1 : last;
        if (!(was & PERMISSIONS))
            continue;
        if (level > 1) {
            unsigned less = clear(table_at(was), level - 1, at, end, sweep);
            *e = was - less * COUNT_ONE;
            if (less < COUNT_OF(was))
                continue;
            push(&sweep->tables, table_at(was));
        } else {
            sweep->first = sweep->any ? sweep->first : at;
            sweep->last = at;
            sweep->any = true;
        }
        *e = 0;
        vtd_flush(e, sizeof *e);
        gone++;
    }
    return gone;
}

enum status vtd_map(struct vtd_domain *d, uint64_t iova, phys_t page, unsigned access)
{
    if (iova % FRAME_SIZE || page & ~ADDRESS || access & ~PERMISSIONS || !access)
        return ERR_INVAL;
    if (iova >> IOVA_BITS || iova >> vtd_units.address_bits)
        return ERR_RANGE;
    volatile uint64_t *parent = NULL, *e;
    unsigned level = d->levels;
    for (e = slot(d->root, level, iova); level > 1 && *e & PERMISSIONS; level--) {
        parent = e;
        e = slot(table_at(*e), level - 1, iova);
    }
    if (*e & PERMISSIONS)
        return ERR_BUSY;
    enum status s = reserve(d, level - 1);
    if (s != OK)
        return s;
    uint64_t entry = page | access | (vtd_units.snoop_control ? SNP : 0);
    for (unsigned l = 1; l < level; l++) { // tables from the leaf up; the units see nothing of them yet
        volatile uint64_t *table = pop(&d->spare);
        d->spares--;
        d->tables++;
        *slot(table, l, iova) = entry;
        vtd_flush(slot(table, l, iova), sizeof *table);
        entry = virt_to_phys((const void *)table) | PERMISSIONS | COUNT_ONE;
    }
    *e = entry;
    vtd_flush(e, sizeof *e);
    if (parent)
        *parent += COUNT_ONE;
    if (vtd_units.caching_mode)
        must(vtd_forget_pages(d->id, iova, 0));
    else if (vtd_units.write_buffer)
        must(vtd_flush_write_buffer());
    return OK;
}

void vtd_unmap(struct vtd_domain *d, uint64_t iova, uint64_t pages)
{
    struct sweep sweep = {0};
    uint64_t first = iova / FRAME_SIZE, end = 1ull << (IOVA_BITS - 12);
    if (pages == 0 || first >= end)
        return;
    clear(d->root, d->levels, first, first + (pages < end - first ? pages : end - first) - 1, &sweep);
    if (!sweep.any)
        return;
    unsigned order = 0;
    while (sweep.first >> order != sweep.last >> order)
        order++;
    must(vtd_forget_pages(d->id, sweep.first >> order << (order + 12), order));
    drop_tables(d, sweep.tables);
}

enum status vtd_domain_create(const struct pci_device *dev, struct vtd_domain **domain)
{
    volatile struct vtd_entry *context = vtd_context(dev);
    struct vtd_domain *d = NULL;
    if (!context)
        return ERR_UNSUPPORTED;
    for (unsigned i = 0; i < DOMAINS_MAX; i++) {
        if (domains[i].context == context)
            return ERR_BUSY;
        if (!d && !domains[i].context && VTD_DOMAIN_FIRST + i < vtd_units.domains)
            d = &domains[i];
    }
    unsigned width = vtd_units.sagaw & 2 ? 1 : vtd_units.sagaw & 4 ? 2 : 0; // AW (9.3); 39 bits are enough
    if (!width)
        return ERR_UNSUPPORTED;
    uint64_t *root = d ? vtd_new_table() : NULL;
    if (!root)
        return ERR_NOMEM;
    vtd_flush(root, FRAME_SIZE);
    *d = (struct vtd_domain){
        .context = context,
        .root = root,
        .source = (uint16_t)(dev->at.bus << 8 | dev->at.devfn),
        .id = (uint16_t)(VTD_DOMAIN_FIRST + (d - domains)),
        .levels = (uint8_t)(width + 2),
    };
    context->high = width | (uint64_t)d->id << VTD_CONTEXT_DOMAIN;
    context->low = VTD_PRESENT | VTD_CONTEXT_TABLE | virt_to_phys(root);
    vtd_flush(context, sizeof *context);
    if (vtd_units.caching_mode) { // what is cached of an entry that was not present belongs to domain 0 (6.1)
        must(vtd_forget_context(d->source, 0));
        must(vtd_forget_pages(d->id, 0, VTD_ALL_PAGES));
    } else {
        must(vtd_flush_write_buffer());
    }
    *domain = d;
    return OK;
}

void vtd_domain_destroy(struct vtd_domain *d)
{
    struct sweep sweep = {0};
    d->context->low = 0;
    vtd_flush(d->context, sizeof *d->context);
    must(vtd_forget_context(d->source, d->id));
    must(vtd_forget_pages(d->id, 0, VTD_ALL_PAGES));
    clear(d->root, d->levels, 0, (1ull << (IOVA_BITS - 12)) - 1, &sweep);
    drop_tables(d, sweep.tables);
    while (d->spare)
        frames_free(virt_to_phys((const void *)pop(&d->spare)), 1);
    frames_free(virt_to_phys((const void *)d->root), 1);
    *d = (struct vtd_domain){0};
}
