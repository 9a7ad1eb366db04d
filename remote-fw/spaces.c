// SPDX-License-Identifier: BSD-2-Clause
// remote-fw/spaces.h.
#include "remote-fw/spaces.h"
#include "drivers/vtd.h"
#include "remote-fw/vectors.h"
#include "rt/log.h"
#include "rt/paging.h"
#include <string.h>

static const struct pci_device *device_of(const struct function *f)
{
    return pci_find((struct pci_address){f->info.at.segment, f->info.at.bus, f->info.at.devfn});
}

static enum status open_space(struct function *f, void **space)
{
    struct vtd_domain *domain;
    const struct pci_device *dev = device_of(f);
    enum status s = dev ? vtd_domain_create(dev, &domain) : ERR_NOTFOUND;
    if (s == OK)
        *space = domain;
    return s;
}

static void close_space(void *space)
{
    vtd_domain_destroy(space);
}

static enum status map(void *space, uint64_t iova, void *page, unsigned access)
{
    _Static_assert(VTD_READ == WIRE_DMA_READ && VTD_WRITE == WIRE_DMA_WRITE, "passed on as they are");
    return vtd_map(space, iova, virt_to_phys(page), access);
}

static void unmap(void *space, uint64_t iova, uint64_t pages)
{
    vtd_unmap(space, iova, pages);
}

static size_t frames(size_t bytes)
{
    return (bytes + FRAME_SIZE - 1) / FRAME_SIZE;
}

static void *table_take(size_t bytes)
{
    phys_t at = frames_alloc(frames(bytes), FRAME_SIZE, 0);
    return at == FRAME_NONE ? NULL : phys_to_virt(at);
}

static void table_give(void *table, size_t bytes)
{
    frames_free(virt_to_phys(table), frames(bytes));
}

static void *page_take(void)
{
    phys_t at = frames_alloc_dirty(1, FRAME_SIZE, 0); // the engine clears it
    return at == FRAME_NONE ? NULL : phys_to_virt(at);
}

static void page_give(void *page)
{
    frames_free(virt_to_phys(page), 1);
}

static bool take_fault(struct wire_pci_address *at, struct wire_dma_fault *fault)
{
    struct vtd_fault f;
    if (!vtd_take_fault(&f, NULL))
        return false;
    *at = (struct wire_pci_address){.bus = f.bus, .devfn = f.devfn};
    uint64_t page = f.iova & ~(uint64_t)(WIRE_DMA_PAGE - 1);
    *fault = (struct wire_dma_fault){
        .iova = f.reason < MASTERING_MESSAGE ? page : f.iova, .write = f.write, .reason = f.reason};
    return true;
}

static const struct mastering_machine machine = {
    .open = open_space,
    .close = close_space,
    .map = map,
    .unmap = unmap,
    .table_take = table_take,
    .table_give = table_give,
    .page_take = page_take,
    .page_give = page_give,
    .take_fault = take_fault,
    .breathe = vectors_breathe,
};

const struct mastering_machine *spaces_start(struct functions *functions)
{
    unsigned able = 0;
    for (unsigned i = 0; i < functions->count; i++) {
        struct function *f = &functions->all[i];
        void *space;
        if (!(f->info.flags & WIRE_FN_MSI)) // not even blocked
            continue;
        if (open_space(f, &space) != OK)
            continue;
        close_space(space);
        f->info.flags |= WIRE_FN_DMA;
        able++;
    }
    if (able < functions->count)
        log_warn("lend", "bus mastering is refused to %u of %u lent functions: VT-d cannot confine them",
                 functions->count - able, functions->count);
    return able ? &machine : NULL;
}
