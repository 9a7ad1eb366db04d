// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// A hostile guest and its root ports: any configuration writes to ports and to what is behind them, while
// functions come, go, are reset, attached and detached, and handed to another guest and back. Whatever
// happens: a BAR is decoded only while its function is in its slot with the link up and the port passes all
// of it; a function is one guest's at most, in one slot, and nobody waits for what no guest has; what leaves
// the host is well-formed; the guest's address space is as before when the guest is gone.
#include "tests/unit/bus_fixture.h"

/// The guest that has slots and no lines.
static struct {
    struct io_space io;
    struct guest_pci pci;
    struct bus_guest *bus;
} other;

static void check_owners(void)
{
    for (unsigned i = 0; i < 2; i++) {
        unsigned owners = 0;
        bool waits;
        for (unsigned k = 0; k < assoc_count(); k++) {
            const struct remote_fn *fn = assoc_get(k);
            if (fn->state == ASSOC_FREE || fn->at.devfn != fx.devices[i].at.devfn)
                continue;
            owners++;
            if (fn->port->fn != fn || fn->port->guest != fn->guest || !fn->guest->claims)
                abort();
        }
        for (unsigned n = 0; guests_wishing(&fx.devices[i], n, &waits); n++) {
            if (waits && owners == 0)
                abort();
        }
        if (owners > 1)
            abort();
    }
}

static void check(void)
{
    check_owners();
    for (unsigned i = 0; i < assoc_count(); i++) {
        const struct remote_fn *fn = assoc_get(i);
        for (unsigned b = 0; fn->state != ASSOC_FREE && b < 6; b++) {
            const struct remote_bar *bar = &fn->bars[b];
            if (!bar->is_mapped)
                continue;
            const struct root_port *port = &fn->port->port;
            uint64_t size = fn->info.bars[b].size;
            if (!port->present || !port->bus.up || port->bus.card.dev != fn ||
                !(bar->is_io ? root_port_passes_io(port, bar->mapped, size)
                             : root_port_passes_memory(port, bar->mapped, size)))
                abort();
        }
    }
    for (unsigned i = 0; i < fx.guest->port_count; i++) {
        const struct root_port *port = &fx.guest->ports[i].port;
        if (port->bus.up && (!port->present || !port->ready || !root_port_powered(port)))
            abort();
    }
}

/// Loss and return of remotes, hand-over, time.
static void happen(uint8_t what, uint8_t which)
{
    struct bus_guest *guest = which & 2 ? other.bus : fx.guest;
    switch (what % 10) {
    case 0:
        if (fake.connected && fake.link.state == LINK_UP)
            fake_down("it happens");
        break;
    case 1:
        fake_announce(PEER, BOOT_ID, 2);
        if (fake.connected && fake.link.state != LINK_UP)
            fake_up();
        break;
    case 2:
        fake_settle();
        break;
    case 3:
        if (fake.connected && fake.link.state == LINK_UP && fake.fns[which % 2].handle) {
            net_lock();
            fake_deliver((struct wire_record){.type = REC_GONE, .function = fake.fns[which % 2].handle}, NULL,
                         0);
            net_unlock();
        }
        break;
    case 4:
        (void)!bus_guest_detach(guest, &fx.devices[which % 2]);
        break;
    case 5:
        (void)!bus_guest_attach(guest, &fx.devices[which % 2]);
        break;
    case 6: // its guest ends, and starts again
        bus_guest_stop(guest);
        break;
    case 7:
        bus_guest_claim(guest);
        bus_guest_start(guest);
        break;
    case 8:
        host_time_advance_ns((uint64_t)which * 100000000);
        break;
    default:
        fake.silent = which & 1;
        break;
    }
}

static void step(const uint8_t p[8])
{
    uint32_t value, offset = p[1] | (uint32_t)(p[2] & 0xf) << 8;
    memcpy(&value, p + 4, sizeof(value));
    unsigned width = 1u << p[3] % 3;
    uint8_t port = SLOT(2 + p[2] / 16 % 6);
    uint64_t ecam = GUEST_ECAM_BASE + ((uint64_t)p[3] << 20) + offset;
    switch (p[0] % 8) {
    case 0:
        cfg_write(port, p[1], width, value);
        break;
    case 1:
        (void)cfg_read(port, p[1], width);
        break;
    case 2:
        io_space_mmio_write(&fx.io, ecam, 4, value);
        break;
    case 3:
        (void)io_space_mmio_read(&fx.io, ecam, 4);
        break;
    case 4:
        (void)io_space_mmio_read(&fx.io, value, 4);
        io_space_mmio_write(&fx.io, value, 4, value);
        break;
    case 5:
        (void)io_space_port_read(&fx.io, (uint16_t)value, width);
        break;
    case 6:
        happen(p[1], p[2]);
        break;
    default:
        bus_guest_collect(fx.guest);
        bus_guest_collect(other.bus);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    fixture_clear();
    fixture_layout = BOOT_BUS_PORTS;
    fixture_guest();
    memset(&other, 0, sizeof(other));
    if (guest_pci_init(&other.pci, &other.io) != OK ||
        bus_guest_add("h", BOOT_BUS_PORTS, NULL, 0, &other.io, &other.pci, &other.bus) != OK)
        abort();
    bus_guest_start(other.bus);
    if (data[0] & 1) { // there before the guest is
        fake_announce(PEER, BOOT_ID, 2);
        fake_up();
        fake_settle();
    }
    bus_guest_start(fx.guest);
    check();
    for (size_t i = 1; i + 8 <= size && i < 1 + 8 * 64; i += 8) {
        step(data + i);
        check();
    }
    bus_guest_collect(fx.guest);
    check();
    fake.silent = false;
    bus_guest_reset(fx.guest);
    check();
    bus_guest_remove(other.bus);
    check_owners();
    fixture_end();
    if (fx.io.port_count != 2 || fx.io.mmio_count != 1)
        abort();
    return 0;
}
