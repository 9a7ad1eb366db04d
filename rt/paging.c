// SPDX-License-Identifier: BSD-2-Clause
// Our address space: who lies where, with which rights. The mechanics are in rt/pagetable.c.
//   ffff8000_00000000  direct map of RAM            RW NX, the image's text and constants R NX
//   ffffc000_00000000  device windows               RW NX, UC or WC
//   ffffd000_00000000  heap of the C library        RW NX
//   ffffe000_00000000  stacks, unmapped page between RW NX
//   ffffffff_80000000  image                        text R X, constants R NX, data RW NX
// Invariant: pages are only ever added, so no CPU has to be told (no stale TLB entry can exist).
#include "rt/paging.h"
#include "rt/log.h"
#include "rt/pagetable.h"
#include "rt/paging_internal.h"
#include "rt/panic.h"
#include "rt/spinlock.h"
#include "rt/x86.h"
#include <string.h>

#define DIRECT_BASE  0xffff800000000000ull
#define DIRECT_LIMIT 0x0000400000000000ull // bytes: 64 TiB
#define MMIO_BASE    0xffffc00000000000ull
#define HEAP_BASE    0xffffd00000000000ull
#define STACK_BASE   0xffffe00000000000ull
#define AREA_LIMIT   0x0000001000000000ull // 64 GiB for each of the three

#define PAGE_4K FRAME_SIZE
#define PAGE_2M (2ull << 20)
#define PAGE_1G (1ull << 30)

// linker.ld; all page aligned
extern const uint8_t __image_start[], __text_start[], __text_end[], __rodata_start[], __rodata_end[],
    __data_start[], __image_end[];

static phys_t root = FRAME_NONE;
static uint64_t direct_base; // 0 while the loader's identity map is in use
static uint64_t image_phys;
static uint64_t mmio_next = MMIO_BASE, heap_next = HEAP_BASE, stack_next = STACK_BASE + FRAME_SIZE;
static struct spinlock lock;

static uint64_t image_virt(void)
{
    return (uint64_t)(uintptr_t)__image_start;
}

void *phys_to_virt(phys_t phys)
{
    return (void *)(uintptr_t)(direct_base + phys);
}

phys_t virt_to_phys(const void *virt)
{
    uint64_t v = (uint64_t)(uintptr_t)virt;
    if (v >= image_virt())
        return v - image_virt() + image_phys;
    ASSERT(v >= direct_base && v - direct_base < DIRECT_LIMIT);
    return v - direct_base;
}

static bool in_direct_map(const struct boot_mem *m)
{
    return m->type == BOOT_MEM_USABLE || m->type == BOOT_MEM_LOADER || m->type == BOOT_MEM_ACPI ||
           m->type == BOOT_MEM_IMAGE;
}

static uint64_t largest_page(void)
{
    return cpuid(0x80000000u, 0).eax >= 0x80000001u && (cpuid(0x80000001u, 0).edx & 1u << 26) ? PAGE_1G
                                                                                              : PAGE_2M;
}

/// One part of the image at its own address, and again in the direct map, where it is never executable.
static enum status map_image_part(const uint8_t *start, const uint8_t *end, uint64_t flags)
{
    uint64_t virt = (uint64_t)(uintptr_t)start;
    uint64_t size = ((uint64_t)(end - start) + FRAME_SIZE - 1) & ~(FRAME_SIZE - 1);
    if (size == 0)
        return OK;
    phys_t phys = virt - image_virt() + image_phys;
    enum status s = pagetable_map(root, virt, phys, size, flags, PAGE_2M);
    if (s != OK)
        return s;
    return pagetable_map(root, DIRECT_BASE + phys, phys, size, flags | PTE_NX, PAGE_2M);
}

static enum status map_image(const struct boot_info *info)
{
    enum status s = map_image_part(__text_start, __text_end, 0);
    if (s == OK)
        s = map_image_part(__rodata_start, __rodata_end, PTE_NX);
    if (s == OK)
        s = map_image_part(__data_start, __image_end, PTE_W | PTE_NX);
    (void)info;
    return s;
}

/// Maps all RAM but the image, joining neighbours so that large pages fit.
static enum status map_ram(const struct boot_info *info)
{
    uint64_t largest = largest_page();
    uint64_t base = 0, end = 0;
    for (uint32_t i = 0; i <= info->mem_count; i++) {
        const struct boot_mem *m = i < info->mem_count ? &info->mem[i] : NULL;
        if (m && (!in_direct_map(m) || m->type == BOOT_MEM_IMAGE || m->size == 0))
            continue;
        if (m && m->base == end) {
            end += m->size;
            continue;
        }
        if (end > DIRECT_LIMIT)
            return ERR_RANGE;
        enum status s = pagetable_map(root, DIRECT_BASE + base, base, end - base, PTE_W | PTE_NX, largest);
        if (s != OK)
            return s;
        if (m) {
            base = m->base;
            end = m->base + m->size;
        }
    }
    return OK;
}

/// The page for starting CPUs may lie in memory that the map does not call RAM of ours.
static enum status map_trampoline(uint64_t page)
{
    if (page == 0 || pagetable_lookup(root, DIRECT_BASE + page) != 0)
        return OK;
    return pagetable_map(root, DIRECT_BASE + page, page, FRAME_SIZE, PTE_W | PTE_NX, PAGE_4K);
}

enum status paging_init(const struct boot_info *info)
{
    if (read_cr4() & CR4_LA57)
        return ERR_UNSUPPORTED; // 5-level paging cannot be left without leaving long mode
    image_phys = info->image_base;
    if (info->image_virt != image_virt())
        return ERR_INVAL;
    root = frames_alloc(1, FRAME_SIZE, 0);
    if (root == FRAME_NONE)
        return ERR_NOMEM;
    enum status s = map_image(info);
    if (s == OK)
        s = map_ram(info);
    if (s == OK)
        s = map_trampoline(info->trampoline);
    if (s != OK)
        return s;
    paging_load();
    direct_base = DIRECT_BASE;
    return OK;
}

void paging_load(void)
{
    write_cr3(root);
}

static uint64_t round_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

static volatile void *map_device(phys_t phys, size_t size, uint64_t cache)
{
    phys_t start = phys & ~(FRAME_SIZE - 1);
    if (size == 0 || phys + size < phys || phys + size > PTE_ADDR)
        return NULL;
    uint64_t bytes = round_up(phys + size, FRAME_SIZE) - start;
    // Same offset within 2 MiB as the device has, so that large windows take large pages.
    uint64_t colour = bytes >= PAGE_2M ? PAGE_2M : PAGE_4K;
    volatile void *window = NULL;
    spin_lock(&lock);
    uint64_t virt = round_up(mmio_next, colour) + start % colour;
    if (virt + bytes <= MMIO_BASE + AREA_LIMIT) {
        mmio_next = virt + bytes + FRAME_SIZE; // an unmapped page between windows
        if (pagetable_map(root, virt, start, bytes, PTE_W | PTE_NX | cache, PAGE_2M) == OK)
            window = (volatile void *)(uintptr_t)(virt + (phys - start));
    }
    spin_unlock(&lock);
    return window;
}

volatile void *mmio_map(phys_t phys, size_t size)
{
    return map_device(phys, size, PTE_PCD | PTE_PWT);
}

volatile void *mmio_map_wc(phys_t phys, size_t size)
{
    return map_device(phys, size, PTE_PWT);
}

/// `frames` fresh frames at `virt`, one by one: they need not be contiguous.
static enum status map_fresh(uint64_t virt, size_t frames)
{
    for (size_t i = 0; i < frames; i++) {
        phys_t frame = frames_alloc_dirty(1, FRAME_SIZE, 0);
        if (frame == FRAME_NONE)
            return ERR_NOMEM;
        enum status s =
            pagetable_map(root, virt + i * FRAME_SIZE, frame, FRAME_SIZE, PTE_W | PTE_NX, PAGE_4K);
        if (s != OK)
            return s;
    }
    return OK;
}

void *stack_alloc(size_t size)
{
    void *top = NULL;
    size_t frames = size / FRAME_SIZE;
    if (frames == 0 || size % FRAME_SIZE != 0)
        return NULL;
    spin_lock(&lock);
    uint64_t base = stack_next;
    if (size < AREA_LIMIT && base + size + FRAME_SIZE <= STACK_BASE + AREA_LIMIT) {
        stack_next = base + size + FRAME_SIZE;
        if (map_fresh(base, frames) == OK)
            top = (void *)(uintptr_t)(base + size);
    }
    spin_unlock(&lock);
    return top;
}

enum status paging_heap_grow(size_t size, uint8_t **start)
{
    enum status s = ERR_NOMEM;
    spin_lock(&lock);
    if (size % FRAME_SIZE == 0 && size < AREA_LIMIT && heap_next + size <= HEAP_BASE + AREA_LIMIT) {
        s = map_fresh(heap_next, size / FRAME_SIZE);
        if (s == OK)
            heap_next += size;
    }
    spin_unlock(&lock);
    *start = (uint8_t *)(uintptr_t)HEAP_BASE;
    return s;
}

enum status paging_trampoline_make(phys_t page, phys_t *out)
{
    phys_t top = frames_alloc(1, FRAME_SIZE, 1ull << 32);
    if (top == FRAME_NONE)
        return ERR_NOMEM;
    uint64_t *table = phys_to_virt(top);
    memcpy(table + 256, (uint64_t *)phys_to_virt(root) + 256, 256 * sizeof *table);
    *out = top;
    return pagetable_map(top, page, page, FRAME_SIZE, 0, PAGE_4K);
}

void paging_trampoline_free(phys_t top)
{
    // PML4 entry 0 -> PDPT entry 0 -> PD entry 0 -> the one page table: the page lies below 1 MiB
    phys_t tables[4] = {top};
    unsigned n = 1;
    for (; n < 4; n++) {
        uint64_t e = *(const uint64_t *)phys_to_virt(tables[n - 1]);
        if (!(e & PTE_P))
            break;
        tables[n] = e & PTE_ADDR;
    }
    while (n-- > 0)
        frames_free(tables[n], 1);
}

bool paging_readable(uint64_t addr, size_t size)
{
    if (addr + size < addr || (addr < DIRECT_BASE && addr + size > 1ull << 47))
        return false;
    for (uint64_t p = addr & ~(FRAME_SIZE - 1); p < addr + size; p += FRAME_SIZE)
        if (pagetable_lookup(read_cr3() & PTE_ADDR, p) == 0)
            return false;
    return true;
}

bool paging_is_stack_guard(uint64_t addr)
{
    return addr >= STACK_BASE && addr < stack_next && !paging_readable(addr, 1);
}

struct paging_audit paging_audit(void)
{
    return pagetable_audit(read_cr3() & PTE_ADDR);
}
