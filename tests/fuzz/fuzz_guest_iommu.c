// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/iommu.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/platform/iommu_fault.c hv/platform/io_space.c
// A hostile guest at its IOMMU: any register access, any tables and descriptors in memory, faults in between.
// Whatever it does: no byte outside its RAM (two allocations, so that the sanitizer sees), no walk backwards,
// beyond the address space or without end, no more scopes a write than promised, status bits that agree with
// the records.
#include "hv/platform/iommu.h"
#include <stdlib.h>
#include <string.h>

#define LOW_PAGES  6u // RAM: [0, 6 pages), and 2 pages at 4 GiB
#define HIGH_PAGES 2u
#define HIGH       0x100000000ull

static struct io_space io;
static struct guest_iommu *unit;
static uint8_t *low_ram, *high_ram;
static unsigned scopes, walks;
static uint64_t next_page, last_page;

static void require(bool good)
{
    if (!good)
        abort();
}

static void *memory(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    (void)ctx;
    bool high = gpa >= HIGH;
    uint64_t at = high ? gpa - HIGH : gpa, size = (high ? HIGH_PAGES : LOW_PAGES) * 4096ull;
    if (at >= size)
        return NULL;
    *contiguous = size - at;
    return (high ? high_ram : low_ram) + at;
}

static const void *peek(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    return memory(ctx, gpa, contiguous);
}

static bool on_page(void *ctx, uint64_t page, uint64_t gpa, unsigned access)
{
    unsigned *left = ctx;
    require(page >= next_page && page <= last_page && page < IOMMU_PAGES);
    require(!(gpa & 0xfff) && access && access <= (IOMMU_READ | IOMMU_WRITE));
    next_page = page + 1;
    return --*left > 0;
}

static void walk(uint16_t source, uint64_t first, uint64_t pages)
{
    unsigned left = 600;
    uint16_t domain;
    if (walks++ > 24 || !pages)
        return;
    next_page = first;
    last_page = pages < IOMMU_PAGES ? first + pages - 1 : UINT64_MAX;
    bool all = iommu_walk(unit, source, first, pages, on_page, &left);
    require(iommu_state(unit, source, &domain) == IOMMU_TRANSLATED || (all && left == 600));
}

static void changed(void *ctx, const struct iommu_scope *s)
{
    (void)ctx;
    require(++scopes <= 40);
    if (s->kind == IOMMU_SCOPE_PAGES) {
        require(s->pages > 0 && s->first_page < IOMMU_PAGES);
        walk(0x18, s->first_page, s->pages);
    } else if (s->kind == IOMMU_SCOPE_ALL) {
        walk(0x18, 0, IOMMU_PAGES);
    } else {
        require(s->kind == IOMMU_SCOPE_DOMAIN || (s->source_mask & ~7u) == 0);
    }
}

static void message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx, (void)data;
    require(!(address & 3));
}

static uint32_t get(unsigned offset)
{
    return (uint32_t)io_space_mmio_read(&io, GUEST_IOMMU_BASE + offset, 4);
}

static void check(void)
{
    uint32_t fsts = get(0x34), pending = 0;
    for (unsigned i = 0; i < 8; i++)
        pending |= (get(0x20c + i * 16) >> 31) << i;
    require((fsts >> 1 & 1) == (pending != 0));
    require(!pending || pending >> (fsts >> 8 & 0xff) & 1);
    require(!(fsts & ~0xf73u));
    require(!(get(0x1c) & ~0xc4000000u));
    // Nothing stays undone: the queue is empty, or it stopped.
    require(!(get(0x1c) & 0x04000000) || fsts & 0x10 || get(0x80) == get(0x88));
    require(!(get(0x2c) >> 31) && !(get(0x28c) >> 31));
}

/// One action of 12 bytes: what, where, value.
static void act(const uint8_t *p)
{
    uint64_t value;
    uint16_t at = (uint16_t)(p[2] | p[3] << 8);
    memcpy(&value, p + 4, 8);
    scopes = 0;
    switch (p[0] % 8) {
    case 0:
    case 1: // registers
        io_space_mmio_write(&io, GUEST_IOMMU_BASE + at % 0x298u, p[1] & 1 ? 8 : 4, value);
        break;
    case 2: // odd ones
        io_space_mmio_write(&io, GUEST_IOMMU_BASE + at % 0x298u, 1u + p[1] % 8, value);
        (void)io_space_mmio_read(&io, GUEST_IOMMU_BASE + at % 0x1000u, 1u + p[1] % 8);
        break;
    case 3:
    case 4: // memory
        memcpy(low_ram + at % (LOW_PAGES * 512) * 8u, &value, 8);
        break;
    case 5: // a run of one entry
        for (unsigned i = 0; i < 512; i += 1u + p[1] % 4)
            memcpy((p[1] & 0x80 ? high_ram + at % HIGH_PAGES * 4096u : low_ram + at % LOW_PAGES * 4096u) +
                       i * 8,
                   &value, 8);
        break;
    case 6:
        iommu_fault(unit, at, value, p[1] & 1, p[1] >> 1);
        break;
    case 7:
        walk(at, value, 1ull << p[1] % 40);
        break;
    }
    check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct guest_iommu_ops ops = {
        .memory = memory, .peek = peek, .changed = changed, .message = message};
    memset(&io, 0, sizeof io);
    low_ram = calloc(LOW_PAGES, 4096);
    high_ram = calloc(HIGH_PAGES, 4096);
    walks = 0;
    if (!low_ram || !high_ram || guest_iommu_create(&unit, &io, &ops) != OK)
        abort();
    for (size_t i = 0; i + 12 <= size && i < 12 * 128; i += 12)
        act(data + i);
    guest_iommu_reset(unit);
    require(get(0x1c) == 0 && get(0x34) == 0);
    guest_iommu_destroy(unit);
    free(low_ram);
    free(high_ram);
    return 0;
}
