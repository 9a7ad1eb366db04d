// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/pci.c
// The real PCI scan against mock configuration space: bridges, root buses nobody leads to, BARs of every
// kind, broken capability lists, bridges in a circle, more functions than are kept. Both ways of access are
// used. The mock counts register writes that happened while a function was still decoding, which sizing must
// never do.
#include "drivers/hw.h"
#include "drivers/pci.h"
#include "drivers/pci_access.c" // its state is per boot: each test starts a new one
#include "drivers/pci_regs.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

// ---- The mock machine: functions with 4 KiB of configuration space and BAR masks.

#define FUNCTIONS_MAX 300
#define ECAM_BASE     0xb0000000ull

struct function {
    struct pci_address at;
    uint8_t space[4096];
    uint32_t bar_writable[6]; // bits of each BAR that can be written
    uint32_t bar_fixed[6];    // bits that always read so
    bool bar_there[6];
};

static struct function functions[FUNCTIONS_MAX];
static unsigned function_count;
static unsigned sized_while_decoding, accesses;
static uint32_t cf8;

static struct function *add(uint16_t segment, uint8_t bus, uint8_t device, uint8_t fn, uint16_t vendor,
                            uint16_t id, uint32_t class)
{
    struct function *f = &functions[function_count++];
    memset(f, 0, sizeof *f);
    f->at = (struct pci_address){.segment = segment, .bus = bus, .devfn = (uint8_t)(device << 3 | fn)};
    memcpy(f->space + PCI_VENDOR_ID, &vendor, 2);
    memcpy(f->space + PCI_DEVICE_ID, &id, 2);
    uint32_t class_register = class << 8 | 0x03;
    memcpy(f->space + PCI_REVISION_ID, &class_register, 4);
    f->space[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;
    return f;
}

static void bar(struct function *f, unsigned i, uint32_t fixed, uint32_t writable, uint32_t now)
{
    f->bar_there[i] = true;
    f->bar_fixed[i] = fixed;
    f->bar_writable[i] = writable;
    now |= fixed;
    memcpy(f->space + PCI_BAR0 + 4 * i, &now, 4);
}

static struct function *bridge(uint16_t segment, uint8_t bus, uint8_t device, uint8_t secondary)
{
    struct function *f = add(segment, bus, device, 0, 0x8086, 0x2448, 0x060400);
    f->space[PCI_HEADER_TYPE] = PCI_HEADER_BRIDGE;
    f->space[PCI_PRIMARY_BUS] = bus;
    f->space[PCI_PRIMARY_BUS + 1] = secondary;
    f->space[PCI_PRIMARY_BUS + 2] = 0xff;
    return f;
}

static void capability(struct function *f, uint8_t at, uint8_t id, uint8_t next)
{
    f->space[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    f->space[at] = id;
    f->space[at + 1] = next;
}

static struct function *function_at(unsigned segment, unsigned bus, unsigned devfn)
{
    for (unsigned i = 0; i < function_count; i++) {
        struct pci_address a = functions[i].at;
        if (a.segment == segment && a.bus == bus && a.devfn == devfn)
            return &functions[i];
    }
    return NULL;
}

static uint32_t mock_read(struct function *f, unsigned offset, unsigned size)
{
    uint32_t v = 0xffffffffu;
    accesses++;
    if (f)
        memcpy(&v, f->space + offset, size);
    return size == 4 ? v : v & ((1u << size * 8) - 1);
}

static void mock_write(struct function *f, unsigned offset, unsigned size, uint32_t value)
{
    accesses++;
    if (!f)
        return;
    if (offset >= PCI_BAR0 && offset < PCI_BAR0 + 24 && f->space[PCI_HEADER_TYPE] == 0) {
        unsigned i = (offset - PCI_BAR0) / 4;
        assert_int_equal(size, 4);
        if (f->space[PCI_COMMAND] & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY))
            sized_while_decoding++;
        value = f->bar_there[i] ? (value & f->bar_writable[i]) | f->bar_fixed[i] : 0;
    } else if (offset >= PCI_BAR0 && offset < PCI_BAR0 + 8) {
        value = 0; // the mock's bridges have no BARs
    } else if (offset < 4 || (offset >= 8 && offset < 16)) {
        return; // read-only
    }
    memcpy(f->space + offset, &value, size);
}

// ---- The mock bus, in the place of drivers/hw.c: windows are cookies, never dereferenced.

static const uintptr_t cookie = 0x4000000000;
static unsigned windows;
static int windows_left;

volatile void *mmio_map(phys_t phys, size_t size)
{
    assert_int_equal(size, 1 << 20);
    if (windows_left == 0)
        return NULL;
    windows_left--;
    windows++;
    return (volatile void *)(cookie + phys);
}

/// Segment n's window is where the test says: ECAM_BASE + n * 256 MiB.
static struct function *ecam_function(const volatile void *at, unsigned *offset)
{
    uint64_t p = (uintptr_t)at - cookie - ECAM_BASE;
    *offset = p & 0xfff;
    return function_at((unsigned)(p >> 28), p >> 20 & 0xff, p >> 12 & 0xff);
}

static struct function *cf8_function(unsigned port, unsigned *offset)
{
    assert_true(cf8 & 0x80000000u);
    *offset = (cf8 & 0xfc) + (port - 0xcfc);
    return function_at(0, cf8 >> 16 & 0xff, cf8 >> 8 & 0xff);
}

#define MOCK_WIDTH(bits)                                                                                     \
    uint##bits##_t hw_read##bits(const volatile void *at)                                                    \
    {                                                                                                        \
        unsigned offset;                                                                                     \
        struct function *f = ecam_function(at, &offset);                                                     \
        return (uint##bits##_t)mock_read(f, offset, bits / 8);                                               \
    }                                                                                                        \
    void hw_write##bits(volatile void *at, uint##bits##_t value)                                             \
    {                                                                                                        \
        unsigned offset;                                                                                     \
        struct function *f = ecam_function(at, &offset);                                                     \
        mock_write(f, offset, bits / 8, value);                                                              \
    }                                                                                                        \
    uint##bits##_t hw_in##bits(uint16_t port)                                                                \
    {                                                                                                        \
        unsigned offset;                                                                                     \
        struct function *f = cf8_function(port, &offset);                                                    \
        return (uint##bits##_t)mock_read(f, offset, bits / 8);                                               \
    }                                                                                                        \
    void hw_out##bits(uint16_t port, uint##bits##_t value)                                                   \
    {                                                                                                        \
        if (port == 0xcf8) {                                                                                 \
            cf8 = value;                                                                                     \
            return;                                                                                          \
        }                                                                                                    \
        unsigned offset;                                                                                     \
        struct function *f = cf8_function(port, &offset);                                                    \
        mock_write(f, offset, bits / 8, value);                                                              \
    }
MOCK_WIDTH(8)
MOCK_WIDTH(16)
MOCK_WIDTH(32)

static int fresh(void **state)
{
    (void)state;
    function_count = sized_while_decoding = accesses = windows = 0;
    windows_left = -1;
    cf8 = 0;
    memset(segments, 0, sizeof segments);
    memset(cf8_bus_open, 0, sizeof cf8_bus_open);
    segment_count = 0;
    return 0;
}

static void with_ecam(uint16_t segment, uint8_t first, uint8_t last)
{
    assert_int_equal(pci_set_ecam(segment, ECAM_BASE + ((uint64_t)segment << 28), first, last), OK);
}

static struct pci_device *found(uint16_t segment, uint8_t bus, uint8_t device, uint8_t fn)
{
    return pci_find(
        (struct pci_address){.segment = segment, .bus = bus, .devfn = (uint8_t)(device << 3 | fn)});
}

// ---- Finding functions

static void finds_multi_function_devices_through_cf8(void **state)
{
    (void)state;
    add(0, 0, 0, 0, 0x8086, 0x1237, 0x060000);
    struct function *f = add(0, 0, 1, 0, 0x8086, 0x7000, 0x060100);
    f->space[PCI_HEADER_TYPE] = PCI_HEADER_MULTI;
    add(0, 0, 1, 1, 0x8086, 0x7010, 0x010180);
    add(0, 0, 1, 3, 0x8086, 0x7113, 0x068000);
    add(0, 0, 2, 0, 0x8086, 0x100e, 0x020000);
    add(0, 0, 2, 1, 0xdead, 0xbeef, 0x020000); // function 0 does not say multi-function: must not be seen
    pci_scan();
    assert_int_equal(pci_device_count(), 5);
    assert_non_null(found(0, 0, 1, 1));
    assert_non_null(found(0, 0, 1, 3));
    assert_null(found(0, 0, 2, 1));
    struct pci_device *nic = found(0, 0, 2, 0);
    assert_non_null(nic);
    assert_int_equal(nic->vendor, 0x8086);
    assert_int_equal(nic->device, 0x100e);
    assert_int_equal(nic->class_code, 2);
    assert_int_equal(nic->subclass, 0);
    assert_int_equal(nic->revision, 3);
    assert_int_equal(windows, 0);
}

static void follows_bridges_to_buses_in_any_order(void **state)
{
    (void)state;
    with_ecam(0, 0, 255);
    bridge(0, 0, 1, 7);
    bridge(0, 7, 0, 3); // numbered below its parent, as some firmware does
    add(0, 3, 31, 0, 0x1b36, 0x0010, 0x010802);
    bridge(0, 0, 2, 9); // empty slot behind it
    pci_scan();
    assert_int_equal(pci_device_count(), 4);
    assert_non_null(found(0, 3, 31, 0));
    assert_int_equal(windows, 4); // buses 0, 7, 3, 9 and no other
    struct pci_address empty = {.bus = 9};
    assert_int_equal(pci_config_read(empty, 0, 4), 0xffffffffu);
}

static void bridges_in_a_circle_end(void **state)
{
    (void)state;
    with_ecam(0, 0, 255);
    bridge(0, 0, 1, 1);
    bridge(0, 1, 0, 2);
    bridge(0, 2, 0, 1);
    bridge(0, 2, 1, 0);
    bridge(0, 2, 2, 2);
    pci_scan();
    assert_int_equal(pci_device_count(), 5);
}

static void root_buses_without_a_bridge_are_found(void **state)
{
    (void)state;
    with_ecam(0, 0, 255);
    add(0, 0, 0, 0, 0x8086, 0x29c0, 0x060000);
    bridge(0, 0x80, 5, 0x81);
    add(0, 0x81, 0, 0, 0x8086, 0x10d3, 0x020000);
    pci_scan();
    assert_int_equal(pci_device_count(), 3);
    assert_non_null(found(0, 0x81, 0, 0));
}

static void all_segments_are_scanned_within_their_bus_range(void **state)
{
    (void)state;
    with_ecam(0, 0, 15);
    with_ecam(2, 16, 31);
    add(0, 0, 0, 0, 0x8086, 0x29c0, 0x060000);
    bridge(0, 0, 1, 16); // outside the segment's range: cannot be reached
    add(0, 16, 0, 0, 0xdead, 0xbeef, 0x020000);
    add(2, 16, 3, 0, 0x8086, 0x10d3, 0x020000);
    pci_scan();
    assert_int_equal(pci_device_count(), 3);
    assert_null(found(0, 16, 0, 0));
    assert_non_null(found(2, 16, 3, 0));
    struct pci_address outside = {.segment = 1};
    assert_int_equal(pci_config_read(outside, 0, 2), 0xffff);
}

static void nonsense_in_mcfg_is_refused(void **state)
{
    (void)state;
    assert_int_equal(pci_set_ecam(0, 0, 0, 255), ERR_INVAL);
    assert_int_equal(pci_set_ecam(0, ECAM_BASE + 4096, 0, 255), ERR_INVAL);
    assert_int_equal(pci_set_ecam(0, ECAM_BASE, 9, 8), ERR_INVAL);
    for (uint16_t i = 0; i < 8; i++)
        with_ecam(i, 0, 255);
    assert_int_equal(pci_set_ecam(8, ECAM_BASE, 0, 255), ERR_NOMEM);
}

static void no_address_space_for_a_window_loses_that_bus_only(void **state)
{
    (void)state;
    with_ecam(0, 0, 255);
    windows_left = 1;
    bridge(0, 0, 1, 1);
    add(0, 1, 0, 0, 0x8086, 0x10d3, 0x020000);
    pci_scan();
    assert_int_equal(pci_device_count(), 1);
}

static void more_functions_than_are_kept(void **state)
{
    (void)state;
    with_ecam(0, 0, 255);
    bridge(0, 0, 31, 1);
    for (uint8_t bus = 0; bus < 2; bus++) {
        for (uint8_t d = 0; d < 16; d++) {
            for (uint8_t fn = 0; fn < 8; fn++)
                add(0, bus, d, fn, 0x1af4, 0x1041, 0x020000)->space[PCI_HEADER_TYPE] = PCI_HEADER_MULTI;
        }
    }
    pci_scan();
    assert_int_equal(pci_device_count(), PCI_DEVICES_MAX);
    assert_non_null(strstr(host_log_last(), "129 more functions"));
    assert_null(pci_device_at(PCI_DEVICES_MAX));
    pci_scan(); // again: forgets, does not overflow
    assert_int_equal(pci_device_count(), PCI_DEVICES_MAX);
}

static void a_scan_of_one_bus_is_cheap(void **state)
{
    (void)state;
    add(0, 0, 0, 0, 0x8086, 0x1237, 0x060000);
    struct function *f = add(0, 0, 2, 0, 0x8086, 0x100e, 0x020000);
    bar(f, 0, 0, 0xfffe0000, 0xfebc0000);
    pci_scan();
    // 32 slots, and per function: header, class, subsystem, pin, status; command three times and three
    // accesses a BAR
    assert_true(accesses <= 32 + 2 * 8 + 3 + 6 * 4);
}

// ---- BARs

static void bars_of_every_kind_are_sized_and_restored(void **state)
{
    (void)state;
    struct function *f = add(0, 0, 3, 0, 0x8086, 0x10d3, 0x020000);
    bar(f, 0, 0x0, 0xfffe0000, 0xfebc0000); // 128 KiB memory
    bar(f, 1, 0x1, 0x0000ffe0, 0x0000c000); // 32 ports, upper half hard-wired to 0
    bar(f, 2, PCI_BAR_MEM_64 | PCI_BAR_MEM_PREFETCH, 0xffffc000, 0xc0004000); // 64 bit, 16 KiB
    bar(f, 3, 0, 0xffffffff, 0x00000008);
    bar(f, 4, PCI_BAR_MEM_64, 0x0, 0x0); // 64 bit, 16 GiB: all of its size is in the upper half
    bar(f, 5, 0, 0xfffffffc, 0x00000040);
    uint8_t before[4096];
    memcpy(before, f->space, sizeof before);
    pci_scan();
    assert_memory_equal(before, f->space, sizeof before);
    assert_int_equal(sized_while_decoding, 0);
    const struct pci_bar *b = found(0, 0, 3, 0)->bars;
    assert_int_equal(b[0].kind, PCI_BAR_MEM32);
    assert_int_equal(b[0].base, 0xfebc0000);
    assert_int_equal(b[0].size, 0x20000);
    assert_int_equal(b[1].kind, PCI_BAR_IO);
    assert_int_equal(b[1].base, 0xc000);
    assert_int_equal(b[1].size, 32);
    assert_int_equal(b[2].kind, PCI_BAR_MEM64);
    assert_true(b[2].prefetchable);
    assert_int_equal(b[2].base, 0x8c0004000ull);
    assert_int_equal(b[2].size, 0x4000);
    assert_int_equal(b[3].kind, PCI_BAR_NONE);
    assert_int_equal(b[4].kind, PCI_BAR_MEM64);
    assert_int_equal(b[4].base, 0x4000000000ull);
    assert_int_equal(b[4].size, 0x400000000ull);
    assert_int_equal(b[5].kind, PCI_BAR_NONE);
}

static void a_64_bit_bar_without_an_upper_half_is_32_bits(void **state)
{
    (void)state;
    struct function *f = add(0, 0, 3, 0, 0x1234, 0x1111, 0x030000);
    bar(f, 5, PCI_BAR_MEM_64, 0xfff00000, 0xfd000000);
    pci_scan();
    const struct pci_bar *b = found(0, 0, 3, 0)->bars;
    assert_int_equal(b[5].kind, PCI_BAR_MEM32);
    assert_int_equal(b[5].size, 0x100000);
}

static void bars_that_do_not_answer_are_none(void **state)
{
    (void)state;
    struct function *f = add(0, 0, 3, 0, 0x1234, 0x11e8, 0x00ff00);
    bar(f, 0, 0xffffffff, 0, 0); // stuck at ones
    bar(f, 1, 0, 0, 0);          // stuck at zeroes
    pci_scan();
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(found(0, 0, 3, 0)->bars[i].kind, PCI_BAR_NONE);
}

static void a_host_bridge_keeps_decoding(void **state)
{
    (void)state;
    struct function *f = add(0, 0, 0, 0, 0x8086, 0x29c0, 0x060000);
    bar(f, 0, 0, 0xf0000000, 0xe0000000);
    pci_scan();
    assert_int_equal(sized_while_decoding, 0);
    assert_int_equal(found(0, 0, 0, 0)->bars[0].kind, PCI_BAR_NONE);
    assert_int_equal(f->space[PCI_COMMAND], PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
}

// ---- Capabilities

static void capabilities_are_noted(void **state)
{
    (void)state;
    struct function *f = add(0, 0, 4, 0, 0x8086, 0x10d3, 0x020000);
    f->space[PCI_CAPABILITIES] = 0xc8;
    capability(f, 0xc8, PCI_CAP_PM, 0xd0 | 3); // reserved low bits are ignored
    capability(f, 0xd0, PCI_CAP_MSI, 0xe0);
    capability(f, 0xe0, PCI_CAP_PCIE, 0xa0);
    capability(f, 0xa0, PCI_CAP_MSIX, 0);
    f->space[PCI_INTERRUPT_PIN] = 1;
    pci_scan();
    struct pci_device *d = found(0, 0, 4, 0);
    assert_int_equal(d->cap_pm, 0xc8);
    assert_int_equal(d->cap_msi, 0xd0);
    assert_int_equal(d->cap_pcie, 0xe0);
    assert_int_equal(d->cap_msix, 0xa0);
    assert_int_equal(d->pin, 1);
    assert_int_equal(pci_find_capability(d->at, PCI_CAP_MSIX), 0xa0);
    assert_int_equal(pci_find_capability(d->at, 0x09), 0);
    assert_int_equal(pci_next_capability(d->at, 0xc8, PCI_CAP_MSIX), 0xa0);
    assert_int_equal(pci_next_capability(d->at, 0xe0, PCI_CAP_PM), 0);
    assert_int_equal(pci_next_capability(d->at, 0xa0, PCI_CAP_PM), 0);
}

static void broken_capability_lists_end(void **state)
{
    (void)state;
    struct function *loop = add(0, 0, 1, 0, 1, 1, 0x020000);
    loop->space[PCI_CAPABILITIES] = 0x40;
    capability(loop, 0x40, PCI_CAP_MSI, 0x50);
    capability(loop, 0x50, PCI_CAP_MSI, 0x40); // back, and a second MSI: the first one counts
    struct function *self = add(0, 0, 2, 0, 1, 1, 0x020000);
    self->space[PCI_CAPABILITIES] = 0xfc;
    capability(self, 0xfc, PCI_CAP_PM, 0xfc);
    struct function *low = add(0, 0, 3, 0, 1, 1, 0x020000);
    low->space[PCI_CAPABILITIES] = 0x10; // into the header
    low->space[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    struct function *ones = add(0, 0, 4, 0, 1, 1, 0x020000);
    ones->space[PCI_CAPABILITIES] = 0x60;
    capability(ones, 0x60, 0xff, 0x40);
    capability(ones, 0x40, PCI_CAP_MSI, 0);
    struct function *none = add(0, 0, 5, 0, 1, 1, 0x020000);
    none->space[PCI_CAPABILITIES] = 0x40; // but the status bit says there is no list
    none->space[0x40] = PCI_CAP_MSI;
    struct function *bad_pin = add(0, 0, 6, 0, 1, 1, 0x020000);
    bad_pin->space[PCI_INTERRUPT_PIN] = 9;
    pci_scan();
    assert_int_equal(pci_device_count(), 6);
    assert_int_equal(found(0, 0, 1, 0)->cap_msi, 0x40);
    assert_int_equal(pci_find_capability(loop->at, PCI_CAP_MSIX), 0);
    assert_int_equal(pci_next_capability(loop->at, 0x40, PCI_CAP_MSI), 0x50);
    assert_int_equal(pci_next_capability(loop->at, 0x40, PCI_CAP_MSIX), 0);
    assert_int_equal(found(0, 0, 2, 0)->cap_pm, 0xfc);
    assert_int_equal(found(0, 0, 4, 0)->cap_msi, 0);
    assert_int_equal(found(0, 0, 5, 0)->cap_msi, 0);
    assert_int_equal(found(0, 0, 6, 0)->pin, 0);
}

// ---- Use by a driver

static void enable_wakes_and_decodes_what_is_there(void **state)
{
    (void)state;
    struct function *f = add(0, 0, 4, 0, 0x8086, 0x10d3, 0x020000);
    f->space[PCI_COMMAND] = 0;
    f->space[PCI_CAPABILITIES] = 0xc8;
    capability(f, 0xc8, PCI_CAP_PM, 0);
    f->space[0xc8 + PCI_PM_CONTROL] = 3;
    bar(f, 0, 0, 0xfffe0000, 0xfebc0000);
    pci_scan();
    pci_enable(found(0, 0, 4, 0), true);
    assert_int_equal(f->space[PCI_COMMAND], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(f->space[0xc8 + PCI_PM_CONTROL], 0);
    pci_enable(found(0, 0, 4, 0), false); // never takes bus mastering away
    assert_int_equal(f->space[PCI_COMMAND], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void msi_is_programmed_in_both_layouts(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++) {
        function_count = 0;
        struct function *f = add(0, 0, 4, 0, 0x8086, 0x10d3, 0x020000);
        f->space[PCI_CAPABILITIES] = 0xd0;
        capability(f, 0xd0, PCI_CAP_MSI, 0xa0);
        capability(f, 0xa0, PCI_CAP_MSIX, 0);
        f->space[0xd0 + PCI_MSI_CONTROL] = (uint8_t)(0x30 | (wide ? PCI_MSI_64 : 0));
        f->space[0xa0 + PCI_MSIX_CONTROL + 1] = 0x80;
        memset(f->space + 0xd4, 0xee, 12);
        pci_scan();
        assert_int_equal(pci_msi_enable(found(0, 0, 4, 0), (struct pci_message){0xfee05000, 0x31}), OK);
        uint32_t address = pci_config_read(f->at, 0xd4, 4);
        uint32_t data = pci_config_read(f->at, wide ? 0xdc : 0xd8, 2);
        assert_int_equal(address, 0xfee05000);
        assert_int_equal(data, 0x31);
        if (wide)
            assert_int_equal(pci_config_read(f->at, 0xd8, 4), 0);
        assert_int_equal(f->space[0xd0 + PCI_MSI_CONTROL], (wide ? PCI_MSI_64 : 0) | PCI_MSI_ENABLE);
        assert_int_equal(f->space[0xa0 + PCI_MSIX_CONTROL + 1], 0);
        assert_int_equal(f->space[PCI_COMMAND + 1], PCI_COMMAND_INTX_OFF >> 8);
        pci_msi_disable(found(0, 0, 4, 0));
        assert_int_equal(f->space[0xd0 + PCI_MSI_CONTROL] & PCI_MSI_ENABLE, 0);
    }
    struct pci_device plain = {0};
    assert_int_equal(pci_msi_enable(&plain, (struct pci_message){0xfee00000, 0x31}), ERR_UNSUPPORTED);
}

static void odd_accesses_are_refused(void **state)
{
    (void)state;
    struct function *f = add(0, 0, 4, 0, 0x8086, 0x10d3, 0x020000);
    pci_scan();
    accesses = 0;
    assert_int_equal(pci_config_read(f->at, 1, 2), 0xffff);
    assert_int_equal(pci_config_read(f->at, 2, 4), 0xffffffff);
    assert_int_equal(pci_config_read(f->at, 0, 3), 0xffffff);
    assert_int_equal(pci_config_read(f->at, 256, 4), 0xffffffff); // 0xCF8 reaches 256 bytes
    pci_config_write(f->at, 0x41, 4, 0);
    pci_config_write(f->at, 256, 1, 0);
    assert_int_equal(accesses, 0);
    assert_int_equal(pci_config_read(f->at, 2, 2), 0x10d3);
    assert_int_equal(pci_config_read(f->at, 1, 1), 0x80);
}

static void ecam_reaches_4_kib(void **state)
{
    (void)state;
    with_ecam(0, 0, 255);
    struct function *f = add(0, 0, 4, 0, 0x8086, 0x10d3, 0x020000);
    f->space[0xffc] = 0x5a;
    pci_scan();
    assert_int_equal(pci_config_read(f->at, 0xffc, 1), 0x5a);
    pci_config_write(f->at, 0x100, 2, 0x1234);
    assert_int_equal(f->space[0x101], 0x12);
    assert_int_equal(pci_config_read(f->at, 0x1000, 4), 0xffffffff);
}

static void addresses_are_written_as_people_write_them(void **state)
{
    (void)state;
    char text[PCI_ADDRESS_TEXT];
    struct pci_address at = {.segment = 0xabcd, .bus = 0x9f, .devfn = 0x1e << 3 | 5};
    assert_string_equal(pci_address_text(at, text), "abcd:9f:1e.5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(finds_multi_function_devices_through_cf8, fresh),
        cmocka_unit_test_setup(follows_bridges_to_buses_in_any_order, fresh),
        cmocka_unit_test_setup(bridges_in_a_circle_end, fresh),
        cmocka_unit_test_setup(root_buses_without_a_bridge_are_found, fresh),
        cmocka_unit_test_setup(all_segments_are_scanned_within_their_bus_range, fresh),
        cmocka_unit_test_setup(nonsense_in_mcfg_is_refused, fresh),
        cmocka_unit_test_setup(no_address_space_for_a_window_loses_that_bus_only, fresh),
        cmocka_unit_test_setup(more_functions_than_are_kept, fresh),
        cmocka_unit_test_setup(a_scan_of_one_bus_is_cheap, fresh),
        cmocka_unit_test_setup(bars_of_every_kind_are_sized_and_restored, fresh),
        cmocka_unit_test_setup(a_64_bit_bar_without_an_upper_half_is_32_bits, fresh),
        cmocka_unit_test_setup(bars_that_do_not_answer_are_none, fresh),
        cmocka_unit_test_setup(a_host_bridge_keeps_decoding, fresh),
        cmocka_unit_test_setup(capabilities_are_noted, fresh),
        cmocka_unit_test_setup(broken_capability_lists_end, fresh),
        cmocka_unit_test_setup(enable_wakes_and_decodes_what_is_there, fresh),
        cmocka_unit_test_setup(msi_is_programmed_in_both_layouts, fresh),
        cmocka_unit_test_setup(odd_accesses_are_refused, fresh),
        cmocka_unit_test_setup(ecam_reaches_4_kib, fresh),
        cmocka_unit_test_setup(addresses_are_written_as_people_write_them, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
