// SPDX-License-Identifier: BSD-2-Clause
// A guest's memory as the DMA of its remote functions reaches it: joins the bus, nested paging's dirty bits
// and the guest's IOMMU. Must not know which pages are mirrored, or where.
#include "hv/vm/cpus.h"

static void *on_page(void *ctx, uint64_t gpa)
{
    struct guest *g = ctx;
    uint64_t room;
    // Only who has the guest's lock may put a piece of RAM in its place; the others come to pages that were
    // asked for before.
    if (!guest_locked(g) && !guest_memory_present(g, gpa))
        return NULL;
    return guest_memory_at(g, gpa, &room);
}

static bool on_still(void *ctx)
{
    return guest_still(ctx);
}

static bool on_watch(void *ctx, uint64_t gpa)
{
    struct guest *g = ctx;
    if (guest_memory_touch(g, gpa) != OK)
        return false;
    g->watched = true;
    (void)guest_still(g);
    return guest_virt->map_watch(g->map, gpa);
}

static bool on_dirty(void *ctx, uint64_t gpa)
{
    struct guest *g = ctx;
    (void)guest_still(g); // what is read from the page after this is what the bit told of
    return guest_virt->map_dirty(g->map, gpa);
}

static void on_settle(void *ctx)
{
    guest_virt->map_settle(((struct guest *)ctx)->map);
}

static const volatile uint64_t *on_note(void *ctx, uint64_t gpa, uint64_t *mask)
{
    return guest_virt->map_note(((struct guest *)ctx)->map, gpa, mask);
}

static bool on_range(void *ctx, unsigned index, uint64_t *gpa, uint64_t *size)
{
    const struct guest *g = ctx;
    uint64_t low = g->memory < GUEST_LOW_END ? g->memory : GUEST_LOW_END;
    const struct {
        uint64_t gpa, end;
    } ranges[] = {
        {0, GUEST_HOLE_START},
        {GUEST_HOLE_END, low},
        {GUEST_HIGH_START, GUEST_HIGH_START + g->memory - low},
    };
    if (index >= sizeof ranges / sizeof *ranges || ranges[index].end == ranges[index].gpa)
        return false;
    *gpa = ranges[index].gpa;
    *size = ranges[index].end - ranges[index].gpa;
    return true;
}

void guest_dma_start(struct guest *g)
{
    const struct bus_memory memory = {.page = on_page,
                                      .still = g->spread ? on_still : NULL,
                                      .watch = on_watch,
                                      .dirty = on_dirty,
                                      .settle = on_settle,
                                      .note = on_note,
                                      .range = on_range,
                                      .ctx = g};
    bus_guest_dma(g->bus, &memory, g->config->dma == BOOT_DMA_MIRROR ? NULL : g->iommu);
}

void guest_dma_changed(void *guest, const struct iommu_scope *scope)
{
    bus_guest_mappings(((struct guest *)guest)->bus, scope);
}
