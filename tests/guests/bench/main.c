// SPDX-License-Identifier: BSD-2-Clause
// bench: what one operation costs in TSC ticks, guest to guest, interrupts off, the smallest of 7 runs; what
// the loop and the instruction's set-up cost is measured the same way and subtracted. Under Bochs a tick is
// an instruction. Lines: "bench: NAME = ticks per operation", "bench: NAME.operations = how many were done in
// all" (to divide frame counters by). Command line: rows=NAME,... (default: all), repeat=N (local rows,
// default 1000), remote=N (rows that use the network, default 100).
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"
#include "tests/guests/lib/iommu.h"
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"

#define RUNS 7u

static bool wanted(const char *row)
{
    return !option_given("rows") || option_lists("rows", row);
}

/// `prepare` stands in front of the operation in both loops; both loops are the same otherwise.
#define TIMED_LOOP(ticks, count, prepare, operation, ...)                                                    \
    do {                                                                                                     \
        uint32_t low_, high_, n_ = (count);                                                                  \
        __asm__ volatile("rdtsc; movl %%eax, %%esi; movl %%edx, %%edi; .balign 16; 1: " prepare              \
                         "; " operation "; decl %2; jnz 1b; rdtsc; subl %%esi, %%eax; sbbl %%edi, %%edx"     \
                         : "=&a"(low_), "=&d"(high_), "+m"(n_)                                               \
                         : __VA_ARGS__                                                                       \
                         : "esi", "edi", "ecx", "ebx", "cc", "memory");                                      \
        (ticks) = (uint64_t)high_ << 32 | low_;                                                              \
    } while (0)

static void report(const char *name, uint64_t best, uint64_t overhead, uint32_t count)
{
    uint64_t net = best > overhead ? best - overhead : 0;
    uint64_t per = net;
    uint32_t rest = divide(&per, count);
    uint64_t thousandths = (uint64_t)rest * 1000;
    divide(&thousandths, count);
    print("bench: %s = %llu.%03llu\n", name, per, thousandths);
    print("bench: %s.operations = %u\n", name, count * RUNS);
}

/// One row. The operand constraint list comes last, because it has commas.
#define ROW(name, count, prepare, operation, ...)                                                            \
    do {                                                                                                     \
        if (wanted(name)) {                                                                                  \
            uint64_t best_ = ~0ull, overhead_ = ~0ull, t_;                                                   \
            for (unsigned run_ = 0; run_ < RUNS; run_++) {                                                   \
                TIMED_LOOP(t_, count, prepare, "", __VA_ARGS__);                                             \
                overhead_ = t_ < overhead_ ? t_ : overhead_;                                                 \
            }                                                                                                \
            for (unsigned run_ = 0; run_ < RUNS; run_++) {                                                   \
                TIMED_LOOP(t_, count, prepare, operation, __VA_ARGS__);                                      \
                best_ = t_ < best_ ? t_ : best_;                                                             \
            }                                                                                                \
            report(name, best_, overhead_, count);                                                           \
        }                                                                                                    \
    } while (0)

static void local_rows(uint32_t n)
{
    ROW("nop", n, "nop", "nop", "i"(0));
    ROW("cpuid", n, "movl $1, %%eax; xorl %%ecx, %%ecx", "cpuid", "i"(0));
    // IA32_MISC_ENABLE, IA32_APIC_BASE and IA32_PAT: never left to the processor
    uint64_t value;
    if (try_rdmsr(0x1a0, &value))
        ROW("rdmsr", n, "movl $0x1a0, %%ecx", "rdmsr", "i"(0));
    if (try_rdmsr(0x1b, &value))
        ROW("rdmsr_apic_base", n, "movl $0x1b, %%ecx", "rdmsr", "i"(0));
    if (try_rdmsr(0x277, &value)) {
        ROW("rdmsr_pat", n, "movl $0x277, %%ecx", "rdmsr", "i"(0));
        ROW("wrmsr_pat", n, "movl $0x277, %%ecx; movl %3, %%eax; movl %4, %%edx", "wrmsr",
            "m"((uint32_t){(uint32_t)value}), "m"((uint32_t){(uint32_t)(value >> 32)}));
    }
    ROW("port_read_uart", n, "movl $0x3ff, %%edx", "inb %%dx, %%al", "i"(0));
    ROW("port_write_uart", n, "movl $0x3ff, %%edx", "outb %%al, %%dx", "i"(0));
    ROW("port_read_cmos", n, "nop", "inb $0x71, %%al", "i"(0));
    ROW("port_write_post", n, "nop", "outb %%al, $0x80", "i"(0));
    ROW("port_read_unowned", n, "movl $0x5678, %%edx", "inb %%dx, %%al", "i"(0));
    (void)pci_read(0, PCI_VENDOR, 4);
    ROW("pci_config_read", n, "movl $0xcfc, %%edx", "inl %%dx, %%eax", "i"(0));
    ROW("ecam_read", n, "movl %3, %%ebx", "movl (%%ebx), %%eax", "m"((uint32_t){ecam_base()}));
    ROW("lapic_read", n, "movl $0xfee00080, %%ebx", "movl (%%ebx), %%eax", "i"(0));
    ROW("lapic_write", n, "movl $0xfee00080, %%ebx; xorl %%eax, %%eax", "movl %%eax, (%%ebx)", "i"(0));
    uint32_t hole = (uint32_t)bar_space(BAR_MEM32, 0x1000);
    ROW("unowned_mmio_read", n, "movl %3, %%ebx", "movl (%%ebx), %%eax", "m"(hole));
    ROW("unowned_mmio_write", n, "movl %3, %%ebx", "movl %%eax, (%%ebx)", "m"(hole));
}

/// What a driver does for each map and unmap: a page-selective invalidation, a wait descriptor, the tail.
static void iommu_rows(uint32_t n)
{
    static _Alignas(4096) uint64_t root[512];
    static _Alignas(4096) struct iommu_descriptor queue[256];
    static uint32_t status, tail;
    if (!wanted("iommu_invalidate") || !iommu_here() || !iommu_start((uint32_t)root))
        return;
    for (unsigned i = 0; i < 256; i += 2) {
        queue[i] = (struct iommu_descriptor){IOMMU_IOTLB_PAGES(7), 0xfff00000u + i * 4096u};
        queue[i + 1] = (struct iommu_descriptor){IOMMU_WAIT(2), (uint32_t)&status};
    }
    if (iommu_command(IOMMU_TE)) {
        iommu_write(IOMMU_IQT, 0);
        iommu_write64(IOMMU_IQA, (uint32_t)queue);
        (void)iommu_command(IOMMU_TE | IOMMU_QIE);
        ROW("iommu_invalidate", n,
            "addl $0x20, %3; movl %3, %%eax; andl $0xfe0, %%eax; movl $0xfed90088, %%ebx",
            "movl %%eax, (%%ebx)", "m"(tail));
        if (status != 2 || iommu_read(IOMMU_IQH) != iommu_read(IOMMU_IQT))
            print("bench: iommu_invalidate does nothing\n");
    }
    iommu_stop();
}

/// First touch of 2 MiB regions nobody has touched: once each, so one run.
static void first_touch(void)
{
    uint32_t first = 32u << 20, end = (memory_upper_kib << 10) & ~0x1fffffu, regions = 0;
    uint64_t touched = 0, again = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        uint64_t begin = rdtsc();
        for (uint32_t at = first; at < end; at += 2u << 20)
            (void)mmio_read32(at);
        *(pass == 0 ? &touched : &again) = rdtsc() - begin;
    }
    regions = end > first ? (end - first) >> 21 : 0;
    if (regions == 0 || !wanted("first_touch_2m"))
        return;
    uint64_t per = touched > again ? touched - again : 0;
    divide(&per, regions);
    print("bench: first_touch_2m = %llu\n", per);
    print("bench: first_touch_2m.operations = %u\n", regions);
}

/// Rows that reach the network stand between two marks on the wire: a write of 0xfa6b00nn to edu's liveness
/// register and a read of it, which also waits until everything posted before has arrived.
static void mark(uint32_t edu_base, const char *row)
{
    static uint32_t n;
    mmio_write32(edu_base + 4, 0xfa6b0000u + ++n);
    (void)mmio_read32(edu_base + 4);
    print("bench: mark %u = before %s\n", n, row);
}

/// A page mapped and unmapped for edu, over and over: each time an entry of a table is changed and the tail
/// written. What is in the page stays the same, so after the first time no content travels.
static void map_row(const char *name, pci_bdf edu, uint32_t access, uint32_t n)
{
    static _Alignas(4096) uint64_t root[512], context[512], table3[512], table2[512], table1[512];
    static _Alignas(4096) struct iommu_descriptor queue[256];
    static _Alignas(4096) uint8_t page[4096];
    static uint32_t status, tail;
    if (!wanted(name) || !iommu_here() || !iommu_start((uint32_t)root))
        return;
    root[(edu >> 8) * 2] = (uint32_t)context | 1;
    context[(edu & 0xff) * 2] = (uint32_t)table3 | 1;
    context[(edu & 0xff) * 2 + 1] = 7 << 8 | 1;
    table3[0] = (uint32_t)table2 | 3;
    table2[0] = (uint32_t)table1 | 3;
    table1[1] = (uint32_t)page | access;
    for (unsigned i = 0; i < 256; i += 2) {
        queue[i] = (struct iommu_descriptor){IOMMU_IOTLB_PAGES(7), 4096};
        queue[i + 1] = (struct iommu_descriptor){IOMMU_WAIT(2), (uint32_t)&status};
    }
    if (iommu_command(IOMMU_TE)) {
        tail = 0;
        iommu_write(IOMMU_IQT, 0);
        iommu_write64(IOMMU_IQA, (uint32_t)queue);
        (void)iommu_command(IOMMU_TE | IOMMU_QIE);
        ROW(name, n,
            "xorl %4, %5; addl $0x20, %3; movl %3, %%eax; andl $0xfe0, %%eax; movl $0xfed90088, %%ebx",
            "movl %%eax, (%%ebx)", "m"(tail), "r"(access), "m"(table1[1]));
    }
    iommu_stop();
}

static void remote_rows(uint32_t n)
{
    pci_bdf edu = pci_find_id(0x1234, 0x11e8), serial = pci_find_id(0x1b36, 0x0002),
            nvme = pci_find_class(0x0108);
    if (edu == PCI_NONE)
        return;
    uint32_t base = (uint32_t)bar_use(edu, 0, true).base, liveness = base + 4;
    mark(base, "mmio_write");
    ROW("mmio_write", n, "movl %3, %%ebx", "movl %%eax, (%%ebx)", "m"(liveness));
    mark(base, "mmio_write_drained"); // a write that finds the link idle, and the read that waits for it
    ROW("mmio_write_drained", n, "movl %3, %%ebx", "movl %%eax, (%%ebx); movl (%%ebx), %%ecx", "m"(liveness));
    mark(base, "mmio_read");
    ROW("mmio_read", n, "movl %3, %%ebx", "movl (%%ebx), %%eax", "m"(base));
    mark(base, "dma_map_read");
    map_row("dma_map_read", edu, 1, n);
    mark(base, "dma_map_write");
    map_row("dma_map_write", edu, 2, n);
    mark(base, "after dma");
    if (nvme != PCI_NONE) {
        uint32_t registers = (uint32_t)bar_use(nvme, 0, true).base;
        mark(base, "mmio_read_nvme");
        ROW("mmio_read_nvme", n, "movl %3, %%ebx", "movl 8(%%ebx), %%eax", "m"(registers));
        (void)pci_read(nvme, 0x40, 4); // leaves 0xcf8 pointing there
        mark(base, "config_read_remote");
        ROW("config_read_remote", n, "movl $0xcfc, %%edx", "inl %%dx, %%eax", "i"(0));
    }
    if (serial != PCI_NONE) {
        uint32_t scratch = (uint32_t)bar_use(serial, 0, true).base + 7;
        mark(base, "io_read");
        ROW("io_read", n, "movl %3, %%edx", "inb %%dx, %%al", "m"(scratch));
        mark(base, "io_write");
        ROW("io_write", n, "movl %3, %%edx", "outb %%al, %%dx", "m"(scratch));
    }
    mark(base, "end");
}

int guest_main(void)
{
    __asm__ volatile("cli");
    print("bench: begin\n");
    first_touch();
    local_rows(option_number("repeat", 1000));
    iommu_rows(option_number("repeat", 1000));
    uint32_t remote = option_number("remote", 100);
    if (remote > 0)
        remote_rows(remote);
    print("bench: end\n");
    return 0;
}
