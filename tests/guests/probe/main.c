// SPDX-License-Identifier: BSD-2-Clause
// probe: lists PCI as the guest sees it, then asks every device it knows. Command line:
// want=nvme,edu,serial,testdev,memory,absent, modules,unowned,frames (default: all but the last two), loop=N.
// What is wanted by name and not there has FAILED.
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/long_mode.h"
#include "tests/guests/lib/text.h"
#include "tests/guests/probe/probe.h"

uint32_t loops;
static unsigned findings, failures;

const char *verdict(bool ok)
{
    findings++;
    failures += !ok;
    return ok ? "ok" : "FAILED";
}

static bool list_function(void *ctx, pci_bdf at, uint32_t id)
{
    unsigned *count = ctx;
    uint32_t class = pci_read(at, PCI_REVISION, 4), header = pci_read(at, PCI_HEADER_TYPE, 1) & 0x7fu;
    ++*count;
    FINDING(header <= 2, "pci %02x:%02x.%x = %04x:%04x class %06x revision %02x header %x", at >> 8,
            at >> 3 & 31u, at & 7u, id & 0xffffu, id >> 16, class >> 8, class & 0xffu, header);
    for (unsigned i = 0; header == 0 && i < 6; i++) {
        struct bar bar = bar_size(at, i);
        if (bar.kind == BAR_NONE)
            continue;
        uint64_t now = pci_read(at, (uint16_t)(PCI_BAR0 + 4 * i), 4) & (bar.kind == BAR_IO ? ~3u : ~15u);
        FINDING(now == (uint32_t)bar.base && (bar.size & (bar.size - 1)) == 0,
                "pci %02x:%02x.%x bar%u = %s %llu at 0x%llx", at >> 8, at >> 3 & 31u, at & 7u, i,
                bar_kind_names[bar.kind], bar.size, bar.base);
        i += bar.kind == BAR_MEM64;
    }
    return false;
}

void describe(const char *name, pci_bdf at)
{
    uint32_t id = pci_read(at, PCI_VENDOR, 4), class = pci_read(at, PCI_REVISION, 4);
    FINDING(true, "%s.id = %04x:%04x", name, id & 0xffffu, id >> 16);
    FINDING(true, "%s.class = %06x revision %02x", name, class >> 8, class & 0xffu);
    uint32_t subsystem = pci_read(at, PCI_SUBSYSTEM, 4);
    FINDING(true, "%s.subsystem = %04x:%04x", name, subsystem & 0xffffu, subsystem >> 16);
    for (unsigned i = 0; i < 6; i++) {
        struct bar bar = bar_size(at, i);
        if (bar.kind == BAR_NONE)
            continue;
        FINDING((bar.size & (bar.size - 1)) == 0, "%s.bar%u = %s%s %llu", name, i, bar_kind_names[bar.kind],
                bar.prefetchable ? " prefetchable" : "", bar.size);
        i += bar.kind == BAR_MEM64;
    }
    bool same = true;
    for (uint16_t offset = 0; offset < 64; offset = (uint16_t)(offset + 4)) {
        uint32_t value = pci_read(at, offset, 4);
        same = same && ecam_read(at, offset, 4) == value;
        for (unsigned i = 0; i < 4; i++)
            same = same && pci_read(at, (uint16_t)(offset + i), 1) == (value >> 8 * i & 0xffu) &&
                   ecam_read(at, (uint16_t)(offset + i), 1) == (value >> 8 * i & 0xffu);
        for (unsigned i = 0; i < 4; i += 2)
            same = same && pci_read(at, (uint16_t)(offset + i), 2) == (value >> 8 * i & 0xffffu) &&
                   ecam_read(at, (uint16_t)(offset + i), 2) == (value >> 8 * i & 0xffffu);
    }
    FINDING(same, "%s.config = %s", name, "ports and ECAM, 8, 16 and 32 bits agree");
    uint32_t line = pci_read(at, PCI_INTERRUPT_LINE, 1);
    ecam_write(at, PCI_INTERRUPT_LINE, 1, 0xa5);
    uint32_t read_back = pci_read(at, PCI_INTERRUPT_LINE, 1);
    pci_write(at, PCI_INTERRUPT_LINE, 1, line);
    FINDING(read_back == 0xa5, "%s.interrupt_line = 0x%02x", name, read_back);
}

void move_and_read(const char *name, pci_bdf at, unsigned index, uint32_t offset, uint32_t expected)
{
    struct bar bar = bar_size(at, index);
    uint64_t places[] = {bar_space(BAR_MEM32, bar.size), bar_space(BAR_MEM64, bar.size)};
    for (unsigned i = 0; i < (bar.kind == BAR_MEM64 ? 2u : 1u); i++) {
        if (i == 1 && !long_mode_present())
            break;
        bar_move(at, index, &bar, places[i]);
        uint32_t value = i == 0 ? mmio_read32((uint32_t)places[i] + offset)
                                : (uint32_t)mmio_read_long(places[i] + offset, 4);
        FINDING(value == expected, "%s.moved%u = 0x%08x", name, i == 0 ? 32u : 64u, value);
        if (bar.base < 0x100000000ull) {
            value = mmio_read32((uint32_t)bar.base + offset);
            FINDING(value != expected, "%s.moved%u = %s", name, i == 0 ? 32u : 64u,
                    value != expected ? "gone from the old place" : "still at the old place");
        }
    }
    bar_move(at, index, &bar, bar.base);
    uint32_t value = bar.base < 0x100000000ull ? mmio_read32((uint32_t)bar.base + offset)
                                               : (uint32_t)mmio_read_long(bar.base + offset, 4);
    FINDING(value == expected, "%s.moved_back = 0x%08x", name, value);
}

static bool wanted(const char *group)
{
    return !option_given("want") || option_lists("want", group);
}

static void device(const char *name, pci_bdf at, void (*probe)(pci_bdf at))
{
    if (!wanted(name))
        return;
    if (at == PCI_NONE)
        FINDING(!option_given("want"), "%s = absent", name);
    else
        probe(at);
}

static void probe_modules(void)
{
    FINDING(true, "cmdline = %s", command_line);
    FINDING(true, "modules = %u", module_count);
    for (unsigned i = 0; i < module_count; i++) {
        const struct guest_module *m = module_at(i);
        FINDING(m->end >= m->start && m->start % 4096 == 0, "module %u = %s %u 0x%08x", i, m->args,
                m->end - m->start, crc32(0, (const void *)m->start, m->end - m->start));
    }
}

int guest_main(void)
{
    loops = option_number("loop", 16);
    if (wanted("modules"))
        probe_modules();
    unsigned functions = 0;
    pci_walk(list_function, &functions);
    FINDING(functions > 0, "pci functions = %u", functions);
    pci_bdf edu = pci_find_id(0x1234, 0x11e8);
    device("nvme", pci_find_class(0x0108), probe_nvme);
    device("edu", edu, probe_edu);
    device("serial", pci_find_id(0x1b36, 0x0002), probe_serial);
    device("testdev", pci_find_id(0x1b36, 0x0005), probe_testdev);
    device("memory", pci_find_id(0x1af4, 0x1110), probe_memory);
    if (wanted("absent"))
        probe_absent();
    if (option_lists("want", "unowned"))
        probe_unowned();
    if (option_lists("want", "frames"))
        device("frames", edu, probe_frames);
    print("probe: %u findings, %u failed\n", findings, failures);
    return failures != 0;
}
