// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// A hostile guest: any configuration, port and memory accesses, with a remote whose capability list is
// anything as well. Whatever it does: no record that net/wire.c refuses, no address of the remote's BARs
// seen, hidden registers read 0, BAR bits below the size never change, and the tables are as before when the
// guest is gone.
#include "tests/unit/bus_fixture.h"

static bool messages; // the remote says that MSI and MSI-X can be enabled

static void check_view(uint8_t devfn)
{
    uint32_t bar0 = cfg_read(devfn, 0x10, 4), bar2 = cfg_read(devfn, 0x18, 4);
    if ((bar0 & 0xfff) != 4 || (bar2 & 0x3f) != 1 || cfg_read(devfn, 0x30, 4) != 0 ||
        cfg_read(devfn, 0x3d, 1) != 1)
        abort();
    uint8_t at = (uint8_t)cfg_read(devfn, 0x34, 1);
    for (unsigned n = 0; at; n++) {
        uint8_t id = (uint8_t)cfg_read(devfn, at, 1);
        if (n > CONFIG_CAPS_MAX || at < 0x40 || (!messages && (id == 0x05 || id == 0x11)))
            abort();
        at = (uint8_t)cfg_read(devfn, at + 1u, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 48)
        return 0;
    fixture_clear();
    for (unsigned i = 0; i < 32; i += 2) // sixteen bytes of the first function's capabilities are the input's
        fake.fns[0].config[0x34 + data[i] % 0xcc] = data[i + 1];
    messages = data[0] & 0x80;
    for (unsigned i = 0; i < 2 && messages; i++)
        fake.fns[i].info.flags |= WIRE_FN_MSI;
    fixture_guest();
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    fake_require(bus_guest_ready(fx.guest), "a bad capability list must not keep a function away");
    bus_guest_start(fx.guest);
    uint64_t local = fake.frames;
    for (uint8_t devfn = SLOT(2); devfn <= SLOT(3); devfn += 8)
        check_view(devfn);
    if (fake.frames != local) // the header, and the list, are answered here
        abort();
    for (size_t i = 32; i + 8 <= size && i < 32 + 8 * 64; i += 8) {
        const uint8_t *p = data + i;
        uint32_t value, offset = p[1] | (uint32_t)(p[2] & 0xf) << 8;
        memcpy(&value, p + 4, sizeof(value));
        unsigned width = 1u << p[3] % 3;
        uint8_t devfn = SLOT(2 + (p[3] >> 2) % 2);
        uint64_t ecam = GUEST_ECAM_BASE + ((uint64_t)devfn << 12) + offset;
        switch (p[0] % 8) {
        case 0:
            (void)cfg_read(devfn, p[1], width);
            break;
        case 1:
            cfg_write(devfn, p[1], width, value);
            break;
        case 2:
            (void)io_space_mmio_read(&fx.io, ecam, 1 + p[3] % 8);
            break;
        case 3:
            io_space_mmio_write(&fx.io, ecam, 1 + p[3] % 8, value);
            break;
        case 4:
            cfg_write(devfn, 0x10 + (p[1] % 6) * 4u, 4, value);
            break;
        case 5:
            (void)io_space_mmio_read(&fx.io, value, 1 + p[3] % 8);
            break;
        case 6:
            io_space_mmio_write(&fx.io, value, 1 + p[3] % 8, value);
            break;
        default:
            if (p[1] & 1)
                io_space_port_write(&fx.io, (uint16_t)value, width, value >> 8);
            else
                (void)io_space_port_read(&fx.io, (uint16_t)value, width);
            break;
        }
        for (uint16_t n = 0; n < 70 && messages && i % 32 == 0; n++) {
            struct wire_msi msi = {.vector = n};
            net_lock();
            fake_deliver((struct wire_record){.type = REC_MSI, .function = fake.fns[0].handle}, &msi,
                         sizeof(msi));
            net_unlock();
        }
        bus_guest_collect(fx.guest);
        check_view(devfn);
    }
    if (memcmp(&fake.fns[0].info.bars[0], &fn_of(0)->info.bars[0], sizeof(struct wire_bar)) != 0)
        abort();
    fixture_end();
    if (fx.io.port_count != 2 || fx.io.mmio_count != 1)
        abort();
    return 0;
}
