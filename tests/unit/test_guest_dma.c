// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/dma.c hv/vm/memory.c hv/vm/cpus.c
// A guest's memory as the bus sees it: its ranges, pages with the guest's lock and without, what is watched.
#include "hv/vm/cpus.h"
#include "hv/vm/sched.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB 0x100000ull

const struct virt_ops *guest_virt;
static struct cpu here;
static struct bus_memory memory; // as the bus was told
static struct guest_iommu *told_iommu;
static uint64_t watched_gpa;
static unsigned settles;

struct cpu *cpu_self(void)
{
    return &here;
}

void bus_guest_dma(struct bus_guest *guest, const struct bus_memory *m, struct guest_iommu *iommu)
{
    (void)guest;
    memory = *m;
    told_iommu = iommu;
}

static const struct iommu_scope *told_scope;
void bus_guest_mappings(struct bus_guest *guest, const struct iommu_scope *scope)
{
    (void)guest;
    told_scope = scope;
}

uint32_t cpu_count(void)
{
    return 2;
}
void sched_pause(unsigned before)
{
    (void)before;
}
void sched_unlocked(struct guest *guest)
{
    (void)guest;
}
void sched_kick(uint32_t cpu)
{
    (void)cpu;
}

static enum status fake_map(struct nested_map *map, uint64_t gpa, phys_t hpa, uint64_t size)
{
    (void)map, (void)gpa, (void)hpa, (void)size;
    return OK;
}
static void fake_clear(struct nested_map *map)
{
    (void)map;
}
static bool fake_watch(struct nested_map *map, uint64_t gpa)
{
    (void)map;
    watched_gpa = gpa;
    return true;
}
static bool fake_dirty(struct nested_map *map, uint64_t gpa)
{
    (void)map;
    return gpa == 0x5000;
}
static void fake_settle(struct nested_map *map)
{
    (void)map;
    settles++;
}

static const struct virt_ops fake_virt = {.map_ram = fake_map,
                                          .map_clear = fake_clear,
                                          .map_watch = fake_watch,
                                          .map_dirty = fake_dirty,
                                          .map_settle = fake_settle};
static struct boot_guest config;

static struct guest *make(uint64_t bytes, enum boot_dma dma)
{
    struct guest *g = calloc(1, sizeof *g);
    guest_virt = &fake_virt;
    here.index = 1;
    config.dma = dma;
    g->config = &config;
    g->vcpus[0].cpu = 1;
    g->iommu = (struct guest_iommu *)g;
    assert_int_equal(guest_memory_create(g, bytes), OK);
    guest_dma_start(g);
    return g;
}

static void destroy(struct guest *g)
{
    guest_memory_destroy(g);
    free(g);
    assert_int_equal(host_frames_in_use(), 0);
}

static void ranges(void **state)
{
    (void)state;
    struct guest *g = make(8 * MIB, BOOT_DMA_IOMMU);
    uint64_t gpa, size;
    guest_lock(g);
    assert_ptr_equal(told_iommu, g);
    assert_true(memory.range(memory.ctx, 0, &gpa, &size));
    assert_int_equal(gpa, 0);
    assert_int_equal(size, 0xa0000);
    assert_true(memory.range(memory.ctx, 1, &gpa, &size));
    assert_int_equal(gpa, 0xc0000);
    assert_int_equal(gpa + size, 8 * MIB);
    assert_false(memory.range(memory.ctx, 2, &gpa, &size));
    assert_false(memory.range(memory.ctx, 1000, &gpa, &size));
    for (unsigned i = 0; memory.range(memory.ctx, i, &gpa, &size); i++) {
        assert_non_null(memory.page(memory.ctx, gpa));
        assert_non_null(memory.page(memory.ctx, gpa + size - 0x1000));
        assert_null(memory.page(memory.ctx, gpa + size));
    }
    g->memory = 4ull << 30; // 3 GiB below 4 GiB, 1 above
    assert_true(memory.range(memory.ctx, 1, &gpa, &size));
    assert_int_equal(gpa + size, GUEST_LOW_END);
    assert_true(memory.range(memory.ctx, 2, &gpa, &size));
    assert_int_equal(gpa, GUEST_HIGH_START);
    assert_int_equal(size, 1ull << 30);
    g->memory = GUEST_LOW_END;
    assert_false(memory.range(memory.ctx, 2, &gpa, &size));
    destroy(g);
}

static void mirror_has_no_iommu(void **state)
{
    (void)state;
    struct guest *g = make(4 * MIB, BOOT_DMA_MIRROR);
    assert_null(told_iommu);
    const struct iommu_scope scope = {.kind = IOMMU_SCOPE_ALL};
    guest_dma_changed(g, &scope);
    assert_ptr_equal(told_scope, &scope);
    destroy(g);
}

/// A CPU without the lock finds what is there, and puts nothing there.
static void other_cpus(void **state)
{
    (void)state;
    struct guest *g = make(6 * MIB, BOOT_DMA_IOMMU);
    here.index = 0;
    assert_null(memory.page(memory.ctx, 3 * MIB));
    assert_int_equal(g->chunk_state[1], CHUNK_DIRTY);
    here.index = 1;
    guest_lock(g);
    uint8_t *page = memory.page(memory.ctx, 3 * MIB);
    assert_non_null(page);
    assert_int_equal(page[0xfff], 0); // zeroed, whatever was there
    guest_unlock(g);
    here.index = 0;
    assert_ptr_equal(memory.page(memory.ctx, 3 * MIB), page);
    assert_null(memory.page(memory.ctx, 4 * MIB));
    assert_null(memory.page(memory.ctx, 6 * MIB));
    assert_null(memory.page(memory.ctx, ~0xfffull));
    here.index = 1;
    guest_memory_clear(g); // reset
    here.index = 0;
    assert_null(memory.page(memory.ctx, 3 * MIB));
    destroy(g);
}

static void watching(void **state)
{
    (void)state;
    struct guest *g = make(6 * MIB, BOOT_DMA_IOMMU);
    assert_false(g->watched);
    assert_true(memory.watch(memory.ctx, 5 * MIB));
    assert_int_equal(watched_gpa, 5 * MIB);
    assert_int_equal(g->chunk_state[2], CHUNK_MAPPED); // what is not mapped cannot be watched
    assert_true(g->watched);
    assert_false(memory.watch(memory.ctx, 6 * MIB)); // not RAM
    assert_false(memory.watch(memory.ctx, 0xa0000));
    assert_null(memory.still); // one CPU
    assert_true(memory.dirty(memory.ctx, 0x5000));
    assert_false(memory.dirty(memory.ctx, 0x6000));
    memory.settle(memory.ctx);
    assert_int_equal(settles, 1);
    destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(mirror_has_no_iommu),
        cmocka_unit_test(other_cpus),
        cmocka_unit_test(watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
