// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/bus/guests.c hv/bus/ports.c hv/platform/root_port.c drivers/pci_class.c
// LINK: hv/bus/assoc.c hv/bus/attach.c hv/bus/config_view.c hv/bus/remote_fn.c hv/bus/report.c
// LINK: hv/bus/mirror_slots.c hv/bus/mirror_content.c hv/bus/mirror_map.c hv/bus/mirror_sync.c
// LINK: hv/platform/iommu.c hv/platform/iommu_fault.c hv/platform/iommu_queue.c hv/platform/iommu_walk.c
// LINK: hv/bus/interrupts.c hv/bus/transact.c hv/platform/io_space.c hv/platform/pci_host.c net/wire.c
// A hostile remote: it answers ATTACH with anything, changes, drops and invents records, announces and loses
// the link when it likes, while a guest goes on using its bus. Nothing may crash, hang or break the tables; a
// guest's access always ends. The records are not even those that net/wire.c would let through: hv/bus does
// not lean on that.
#include "tests/unit/bus_fixture.h"

static const uint8_t *input;
static size_t left;

static uint8_t byte(void)
{
    if (left == 0)
        return 0;
    left--;
    return *input++;
}

static bool mutate(struct wire_record *rec, uint8_t *body, size_t *size)
{
    uint8_t how = byte();
    if (how < 0x90)
        return true;
    switch (how & 7) {
    case 0:
        return false; // lost
    case 1:
        rec->status = byte();
        return true;
    case 2:
        rec->tag = (uint16_t)(rec->tag + (int8_t)byte());
        return true;
    case 3:
        rec->type = byte();
        return true;
    case 4:
        *size = byte() % 200;
        return true;
    case 5:
        rec->function = (uint16_t)(byte() | (how & 0x40 ? 0x100 : 0));
        return true;
    default:
        for (unsigned n = how >> 4 & 7; n > 0; n--) {
            unsigned at = byte();
            body[at % (*size ? *size : 1)] = byte();
        }
        return true;
    }
}

static void invent(void)
{
    struct wire_record rec = {.type = byte(), .status = byte(), .function = byte(), .tag = byte()};
    uint8_t body[64];
    size_t size = byte() % sizeof(body);
    for (size_t i = 0; i < size; i++)
        body[i] = byte();
    net_lock();
    if (fake.link.state == LINK_UP)
        fake_deliver(rec, body, size);
    net_unlock();
}

static void announce_anything(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct wire_bar *bar = &fake.fns[i].info.bars[byte() % 6];
        uint8_t kind = byte();
        if (kind & 0x40)
            *bar = (struct wire_bar){.size = 1ull << (byte() % 64), .kind = kind & 0x83};
    }
    fake_announce(PEER + byte() % 2, BOOT_ID + byte() % 2, byte() % 3);
}

static void use(void)
{
    uint8_t what = byte(), devfn = SLOT(2 + what % 2);
    unsigned size = 1u << (what >> 2 & 1);
    switch (what >> 4 & 7) {
    case 0:
        (void)cfg_read(devfn, byte(), size);
        break;
    case 1:
        cfg_write(devfn, byte(), size, byte() * 0x01010101u);
        break;
    case 2:
        (void)io_space_mmio_read(&fx.io, GUEST_MMIO_BASE + byte() * 64u, 1 + what % 8);
        break;
    case 3:
        io_space_mmio_write(&fx.io, GUEST_MMIO_BASE + byte() * 64u, 1 + what % 8, 0x1122334455667788);
        break;
    case 4:
        (void)io_space_port_read(&fx.io, (uint16_t)(GUEST_IO_BASE + byte()), size);
        break;
    case 5:
        cfg_write(devfn, 0x10 + (byte() & 0x14), 4, (uint32_t)byte() << 24);
        break;
    case 6:
        bus_guest_reset(fx.guest);
        break;
    default:
        fake_settle();
        bus_guest_collect(fx.guest);
        bus_guest_eoi(fx.guest, 16 + byte() % 4);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    left = size;
    if (byte() & 1) { // half of the inputs begin where all is well
        fixture_attached();
    } else {
        fixture_clear();
        for (unsigned i = 0; i < 2; i++)
            fake.fns[i].info.flags |= WIRE_FN_MSI;
        fixture_guest();
    }
    fake.mutate = mutate;
    for (unsigned step = 0; left > 0 && step < 64; step++) {
        switch (byte() % 8) {
        case 0:
            announce_anything();
            break;
        case 1:
            invent();
            break;
        case 2:
            if (fake.connected && fake.link.state != LINK_UP)
                fake_up();
            fake_settle();
            break;
        case 3:
            if (fake.connected && fake.link.state == LINK_UP && byte() % 4 == 0)
                fake_down("fuzz");
            break;
        case 4:
            fake_announce(PEER, BOOT_ID, 2);
            if (fake.link.state != LINK_UP)
                fake_up();
            fake_settle();
            break;
        default:
            use();
            break;
        }
    }
    fixture_end();
    if (fx.io.port_count != 2 || fx.io.mmio_count != 1) // CONFIG_ADDRESS, CONFIG_DATA; ECAM
        abort();
    return 0;
}
