// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/platform/virtio_net.c hv/platform/virtio_pci.c hv/platform/virtio_common.c hv/platform/virtqueue.c
// LINK: hv/platform/msix.c hv/platform/io_space.c hv/platform/pci_host.c
//
// A driver in a guest that does anything with its virtual NIC: registers, configuration space and the window
// in it, rings and descriptors, frames coming and going meanwhile. Only the guest's pages are touched (each
// is its own allocation), what is sent has a frame's size, and after a reset it is a NIC again.
#include "tests/unit/guest_nic_fixture.h"

enum { BAR_WRITE, BAR_READ, CONFIG, POKE, DESCRIPTOR, GIVE, FRAME, BUSY, UP, POLL, OPS };

static void ends_well(void)
{
    port.busy = false;
    port.waiting_size = 0;
    virtio_net_reset(&nic);
    nic_up(MRG_RXBUF);
    need(bar_get(STATUS, 1) == 0xf);
    unsigned sent = port.sent_count;
    descriptor(TX, 0, 0x8000, 72, 0, 0);
    memset(ram[8], 0, PAGE);
    give(TX, 0);
    need(port.sent_count == sent + 1 && port.sent_size == 60 && used_index(TX) == 1);
    descriptor(RX, 0, 0x9000, 2000, D_WRITE, 0);
    give(RX, 0);
    arrives(1500, 3);
    need(port.waiting_size == 0 && used_index(RX) == 1 && used_length(RX, 0) == 1512);
    for (unsigned i = 0; i < 1500; i++)
        need(ram[9][12 + i] == (uint8_t)(3 + i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nic_make();
    if (size && data[0] & 1)
        nic_up(data[0] & 2 ? MRG_RXBUF | 1 : 1);
    size -= size != 0;
    data++;
    for (; size >= 12; data += 12, size -= 12) {
        uint16_t a;
        uint64_t value;
        memcpy(&a, data + 2, 2);
        memcpy(&value, data + 4, 8);
        unsigned width = 1u << (data[1] & 3), queue = data[1] >> 2 & 1;
        switch (data[0] % OPS) {
        case BAR_WRITE:
            bar(a & 0x7fff & ~(width - 1), width, value);
            break;
        case BAR_READ:
            (void)bar_get(a & 0x7fff & ~(width - 1), width);
            break;
        case CONFIG: // 0xcf8, 0xcfc: also where the BAR is, and the window to it
            io_space_port_write(&io, 0xcf8, 4, 0x80000000u | NIC_DEVFN << 8 | (a & 0xfc));
            if (data[1] & 0x80)
                (void)io_space_port_read(&io, 0xcfc, width > 4 ? 4 : width);
            else
                io_space_port_write(&io, 0xcfc, width > 4 ? 4 : width, (uint32_t)value);
            break;
        case POKE:
            poke(a, &value, width);
            break;
        case DESCRIPTOR: // mostly inside of RAM
            descriptor(queue, data[1] >> 3, data[11] & 1 ? value : value & 0x1ffff, a & 0xfff, a >> 12 & 7,
                       data[10]);
            break;
        case GIVE:
            give(queue, data[1] & 0x80 ? a : a & 31);
            break;
        case FRAME:
            if (!port.waiting_size)
                arrives(a % 1505 + 14, data[4]);
            break;
        case BUSY:
            port.busy = data[1] & 1;
            break;
        case UP:
            nic_up((uint32_t)value);
            break;
        default:
            (void)virtio_net_poll(&nic);
            break;
        }
    }
    ends_well();
    nic_unmake();
    return 0;
}
