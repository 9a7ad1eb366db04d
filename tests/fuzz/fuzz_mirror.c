// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// A remote that says anything about DMA, while its guest maps, unmaps, writes and uses the function. Nothing
// may crash or hang; no byte changes in a page that is not mapped for writing, none outside a page (each is a
// block of its own: ASan), and what is lent is given back.
#include "hv/platform/iommu.h"
#include "tests/unit/bus_fixture.h"

#define PAGE  4096u
#define PAGES 8u

static const uint8_t *input;
static size_t left;
static uint8_t *memory[PAGES], model[PAGES][PAGE];
static bool dirty[PAGES];
static struct {
    unsigned access;
    unsigned page; // PAGES and more: not memory
} table[32];       // by iova page

static uint8_t byte(void)
{
    if (left == 0)
        return 0;
    left--;
    return *input++;
}

static void *page(void *ctx, uint64_t gpa)
{
    (void)ctx;
    return gpa / PAGE < PAGES ? memory[gpa / PAGE] : NULL;
}
static bool watch(void *ctx, uint64_t gpa)
{
    (void)ctx;
    return gpa / PAGE % 4 != 3;
}
static bool is_dirty(void *ctx, uint64_t gpa)
{
    (void)ctx;
    bool was = dirty[gpa / PAGE];
    dirty[gpa / PAGE] = false;
    return was;
}
static void settle(void *ctx)
{
    (void)ctx;
}
static bool range(void *ctx, unsigned index, uint64_t *gpa, uint64_t *size)
{
    (void)ctx;
    *gpa = 0;
    *size = PAGES * PAGE;
    return index == 0;
}

enum iommu_state iommu_state(struct guest_iommu *u, uint16_t source, uint16_t *domain)
{
    (void)u, (void)source;
    *domain = 1;
    return IOMMU_TRANSLATED;
}
bool iommu_walk(struct guest_iommu *u, uint16_t source, uint64_t first_page, uint64_t pages,
                bool (*each)(void *ctx, uint64_t iova_page, uint64_t gpa, unsigned access), void *ctx)
{
    (void)u, (void)source;
    for (uint64_t i = 0; i < 32; i++) {
        if (table[i].access && i - first_page < pages &&
            !each(ctx, i, (uint64_t)table[i].page * PAGE, table[i].access))
            return false;
    }
    return true;
}
void iommu_fault(struct guest_iommu *u, uint16_t source, uint64_t iova, bool write, uint8_t reason)
{
    (void)u, (void)source, (void)iova, (void)write, (void)reason;
}

static bool writable(unsigned p)
{
    bool is = false;
    for (unsigned i = 0; i < 32; i++)
        is |= table[i].access & WIRE_DMA_WRITE && table[i].page == p;
    return is;
}

/// What the remote may have changed is what is mapped for writing, or was until now (bit of `before`).
static void check(unsigned before)
{
    for (unsigned p = 0; p < PAGES; p++) {
        if (!writable(p) && !(before >> p & 1))
            fake_require(memcmp(memory[p], model[p], PAGE) == 0,
                         "a page changed that is not mapped for writing");
        memcpy(model[p], memory[p], PAGE);
    }
}

static void invent(void)
{
    uint8_t body[512], how = byte();
    size_t size = 0;
    struct wire_record rec = {.type = (uint8_t)(REC_DMA_MAP + how % 5),
                              .function = fake.fns[how >> 7].handle};
    if (rec.type == REC_DMA_DATA) {
        struct wire_dma_data d = {.slot = byte() % 24, .generation = byte(), .flags = byte() & WIRE_DMA_MORE};
        memcpy(body, &d, sizeof(d));
        size = sizeof(d);
        for (unsigned runs = byte() % 4; runs > 0; runs--) {
            struct wire_dma_run run = {.offset = (uint16_t)(byte() * 17), .size = byte() % 64};
            if (how & 0x40)
                run.size = (uint16_t)(run.size * 100);
            memcpy(body + size, &run, sizeof(run));
            size += sizeof(run);
            memset(body + size, byte(), run.size % 64);
            size += run.size % 64;
        }
    } else {
        size = rec.type == REC_DMA_FAULT ? 16 : 8;
        for (size_t i = 0; i < size; i++)
            body[i] = i % 4 == 0 ? byte() % 32 : 0;
    }
    if (how & 0x10)
        size = byte() % (size + 1);
    net_lock();
    if (fake.link.state == LINK_UP)
        fake_deliver(rec, body, size);
    net_unlock();
}

static void change(void)
{
    uint8_t at = byte() % 32, what = byte();
    unsigned count = 1 + (what >> 6), before = 0;
    check(0);
    for (unsigned p = 0; p < PAGES; p++)
        before |= (unsigned)writable(p) << p;
    for (unsigned i = at; i < at + count && i < 32; i++) {
        table[i].access = what & 3;
        table[i].page = (what >> 2 & 15) + i - at;
    }
    const struct iommu_scope scope = {
        .kind = IOMMU_SCOPE_PAGES, .domain = 1, .first_page = at, .pages = count};
    const struct iommu_scope all = {.kind = IOMMU_SCOPE_ALL};
    bus_guest_mappings(fx.guest, count == 3 ? &all : &scope);
    check(before); // what had come is in memory now
    check(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    left = size;
    fixture_clear();
    memset(table, 0, sizeof(table));
    for (unsigned p = 0; p < PAGES; p++) {
        memory[p] = aligned_alloc(PAGE, PAGE);
        memset(memory[p], p % 2 ? 0 : 0x5a, PAGE);
        memcpy(model[p], memory[p], PAGE);
        dirty[p] = true;
    }
    for (unsigned i = 0; i < 2; i++) {
        fake.fns[i].info.flags |= WIRE_FN_DMA;
        fake.fns[i].slots = 4 + byte() % 16;
    }
    fixture_guest();
    const struct bus_memory m = {
        .page = page, .watch = watch, .dirty = is_dirty, .settle = settle, .range = range};
    static int unit;
    bus_guest_dma(fx.guest, &m, (struct guest_iommu *)(void *)&unit);
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    bus_guest_start(fx.guest);
    for (unsigned step = 0; left > 0 && step < 200; step++) {
        uint8_t what = byte();
        switch (what % 8) {
        case 0:
        case 1:
            invent();
            break;
        case 2:
            change();
            break;
        case 3:
            memset(memory[what >> 3 & 7] + byte() * 8, byte(), 1 + what / 8);
            dirty[what >> 3 & 7] = true;
            memcpy(model[what >> 3 & 7], memory[what >> 3 & 7], PAGE);
            break;
        case 4:
            io_space_mmio_write(&fx.io, GUEST_MMIO_BASE + (what & 8 ? 4096 : 0), 4, 1);
            break;
        case 5:
            (void)io_space_mmio_read(&fx.io, GUEST_MMIO_BASE, 4);
            break;
        case 6:
            fake_settle();
            bus_guest_collect(fx.guest);
            break;
        default:
            if (what == 0xff && fake.link.state == LINK_UP)
                fake_down("by the input");
            else if (what == 0xf7)
                bus_guest_reset(fx.guest);
            else if (fake.link.state != LINK_UP)
                fake_up();
            fake_settle();
            break;
        }
    }
    check(0);
    fixture_end();
    for (unsigned p = 0; p < PAGES; p++)
        free(memory[p]);
    fake_require(host_frames_in_use() == 0, "frames lost");
    return 0;
}
