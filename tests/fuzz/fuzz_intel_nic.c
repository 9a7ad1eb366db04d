// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/e1000.c drivers/e1000e.c drivers/igb.c drivers/intel_nic.c drivers/intel_ring.c
//
// An Intel controller that writes anything into its descriptors, in any order, and into its registers.
// Whatever it says, only bytes of buffers are read and written (ASan), what is handed over has a frame's size
// and lies in the buffers, and no descriptor is given to it without its buffer's address. The first byte
// picks the model.
#include "drivers/e1000.h"
#include "drivers/hw.h"
#include "drivers/intel_nic.h"
#include "drivers/pci_regs.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"

#include <stdlib.h>
#include <string.h>

static uint32_t regs[0x20000 / 4];
static struct nic *nic;

static void require(bool condition)
{
    if (!condition)
        abort();
}

volatile void *mmio_map(phys_t phys, size_t size)
{
    require(phys == 0xfebc0000u && size <= sizeof regs);
    return regs;
}
uint32_t hw_read32(const volatile void *at)
{
    return *(const volatile uint32_t *)at;
}
void hw_write32(volatile void *at, uint32_t value)
{
    size_t offset = (size_t)((volatile uint8_t *)at - (volatile uint8_t *)regs);
    if (offset == INTEL_CTRL)
        value &= ~INTEL_CTRL_RST;
    if (offset == INTEL_MDIC)
        value |= INTEL_MDIC_READY;
    if (offset == INTEL_EERD)
        value = 0;
    regs[offset / 4] = value;
}
uint32_t pci_config_read(struct pci_address at, uint16_t offset, unsigned size)
{
    (void)at, (void)offset, (void)size;
    return 0;
}
void pci_config_write(struct pci_address at, uint16_t offset, unsigned size, uint32_t value)
{
    (void)at, (void)offset, (void)size, (void)value;
}
void pci_enable(struct pci_device *dev, bool bus_master)
{
    (void)dev, (void)bus_master;
}
const char *pci_address_text(struct pci_address at, char text[PCI_ADDRESS_TEXT])
{
    (void)at;
    return strcpy(text, "0000:00:02.0");
}

static void receive(void *ctx, const uint8_t *frame, size_t size)
{
    static uint8_t copy[INTEL_JUMBO + NIC_HEADER_MAX];
    const struct intel_nic *n = ctx;
    require(size >= 14 && size <= nic_largest(nic) + NIC_HEADER_MAX && frame >= n->rx_buffers);
    memcpy(copy, frame, size);
}

/// Those that are the device's, [RDH, RDT): whatever it wrote before, each has its buffer.
static void buffers_are_right(const struct intel_nic *n)
{
    uint32_t end = regs[(n->model->rx_base + INTEL_DT) / 4];
    require(end < INTEL_RX_COUNT);
    for (uint32_t i = n->rx_head; i != end; i = (i + 1) % INTEL_RX_COUNT)
        if (!n->rx[i].result)
            require(n->rx[i].address == n->rx_buffers_phys + i * INTEL_BUFFER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum status (*const starts[])(struct pci_device *, struct nic **) = {e1000_start, e1000e_start,
                                                                         igb_start};
    struct pci_device dev = {.vendor = 0x8086};
    static uint8_t frame[INTEL_JUMBO + NIC_HEADER_MAX];
    dev.bars[0] = (struct pci_bar){.kind = PCI_BAR_MEM32, .base = 0xfebc0000u, .size = 0x20000};
    if (size == 0)
        return 0;
    memset(regs, 0, sizeof regs);
    regs[INTEL_RAL0 / 4] = 0x12005452;
    regs[INTEL_RAH0 / 4] = 0x5634 | INTEL_RAH_AV;
    regs[INTEL_EECD / 4] = INTEL_EECD_AUTO_RD;
    regs[INTEL_STATUS / 4] = INTEL_STATUS_LU;
    // No EEPROM: the time it is waited for is the fake clock's.
    require(starts[data[0] % 3](&dev, &nic) == OK);
    struct intel_nic *n = intel_of(nic);
    nic->receive = receive;
    nic->receive_ctx = n;
    nic->irq_vector = 0x31;
    for (data++, size--; size >= 4; data += 4, size -= 4) {
        uint32_t at = (n->rx_head + data[1]) % INTEL_RX_COUNT; // mostly the next ones
        uint64_t length = data[2] & 0x80 ? (uint64_t)data[3] << 8 | data[2] : INTEL_BUFFER;
        uint64_t flags = data[2] & 3;
        const struct nic_piece piece = {frame, (size_t)data[2] * 37};
        switch (data[0] % 8) {
        case 0: // legacy
            n->rx[at].result = (length & 0xffff) | flags << 32 | (uint64_t)(data[3] & 0xf0) << 36;
            break;
        case 1: // advanced
            n->rx[at].result = (length & 0xffff) << 32 | flags | (uint64_t)(data[3] & 0x80) << 24;
            n->rx[at].address = 0xdeadbeef;
            break;
        case 2:
            nic->ops->poll(nic, data[1]);
            buffers_are_right(n);
            break;
        case 3:
            if (nic->ops->send(nic, &piece, 1) == OK)
                require(regs[(n->model->tx_base + INTEL_DT) / 4] < INTEL_TX_COUNT);
            break;
        case 4:
            n->tx[data[1] % INTEL_TX_COUNT].control = data[2] & 1 ? INTEL_TXD_DD : 0;
            break;
        case 5: // many whole frames
            for (unsigned i = 0; i < data[1]; i++)
                n->rx[(n->rx_head + i) % INTEL_RX_COUNT].result =
                    n->model->advanced ? length << 32 | flags | 1 : (length & 0xffff) | (flags | 1) << 32;
            break;
        case 6:
            regs[INTEL_STATUS / 4] = data[1];
            nic->ops->irq_enable(nic, data[2] & 1);
            intel_interrupt(nic, 0x31);
            break;
        default:
            host_time_advance_ns((uint64_t)data[1] << 22);
            (void)nic->ops->room(nic, data[2]);
            (void)nic->ops->link_up(nic);
            break;
        }
    }
    intel_free(n);
    require(host_frames_in_use() == 0);
    return 0;
}
