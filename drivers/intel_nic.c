// SPDX-License-Identifier: BSD-2-Clause
// Bringing an e1000-family controller up, as far as the models agree: registers, memory, station address,
// PHY. Must not know frames (drivers/intel_ring.c) nor a model's reset (drivers/e1000.c, drivers/e1000e.c,
// drivers/igb.c).
#include "drivers/intel_nic.h"
#include "drivers/hw.h"
#include "drivers/pci_regs.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/time.h"
#include <string.h>

#define REGISTERS_SIZE 0x20000u // all models: 128 KiB
#define BELOW_4_GIB    0x100000000ull
#define RINGS_FRAMES   2u // RX descriptors and TX descriptors
#define SELF_FRAMES    1u

_Static_assert(INTEL_RX_COUNT * 16 + INTEL_TX_COUNT * 16 <= RINGS_FRAMES * FRAME_SIZE, "rings fit");
_Static_assert(sizeof(struct intel_nic) <= SELF_FRAMES * FRAME_SIZE, "state fits");

// Behind the last buffer there is room for the rest of a frame that begins in it (drivers/intel_ring.c).
static const size_t rx_frames = (INTEL_RX_COUNT + INTEL_SLOTS - 1) * INTEL_BUFFER / FRAME_SIZE;
static const size_t tx_frames = (INTEL_TX_COUNT + INTEL_SLOTS - 1) * INTEL_BUFFER / FRAME_SIZE;
_Static_assert((INTEL_SLOTS - 1) * INTEL_BUFFER % FRAME_SIZE == 0, "whole frames");
_Static_assert(INTEL_JUMBO + NIC_HEADER_MAX <= INTEL_SLOTS * INTEL_BUFFER, "a frame fits into its buffers");

uint32_t intel_read(const struct intel_nic *n, uint32_t reg)
{
    return hw_read32(n->regs + reg);
}

void intel_write(const struct intel_nic *n, uint32_t reg, uint32_t value)
{
    hw_write32(n->regs + reg, value);
}

enum status intel_wait(const struct intel_nic *n, uint32_t reg, uint32_t mask, uint32_t wanted, uint32_t us)
{
    for (uint32_t waited = 0;; waited += 10) {
        if ((intel_read(n, reg) & mask) == wanted)
            return OK;
        if (waited >= us)
            return ERR_TIMEOUT;
        time_delay_us(10);
    }
}

/// Memory the device reads and writes: below 4 GiB when there is some, for bridges that cannot do dual
/// address cycles.
static phys_t dma_alloc(size_t count)
{
    phys_t p = frames_alloc_dirty(count, FRAME_SIZE, BELOW_4_GIB);
    return p != FRAME_NONE ? p : frames_alloc_dirty(count, FRAME_SIZE, 0);
}

enum status intel_probe(struct pci_device *dev, const struct intel_model *model, struct intel_nic **out)
{
    char at[PCI_ADDRESS_TEXT];
    pci_address_text(dev->at, at);
    const struct pci_bar *bar = &dev->bars[0];
    if ((bar->kind != PCI_BAR_MEM32 && bar->kind != PCI_BAR_MEM64) || bar->size < REGISTERS_SIZE ||
        bar->base == 0) {
        log_error("nic", "%s %s: the firmware gave its registers (BAR 0) no address", model->name, at);
        return ERR_UNSUPPORTED;
    }
    phys_t self = frames_alloc(SELF_FRAMES, FRAME_SIZE, 0);
    if (self == FRAME_NONE)
        return ERR_NOMEM;
    struct intel_nic *n = phys_to_virt(self);
    n->dev = dev;
    n->model = model;
    n->nic.mtu = 1500;
    n->nic.places = INTEL_TX_COUNT - 1;
    n->nic.largest = model->largest;
    n->nic.name = n->name;
    size_t length = strlen(model->name);
    memcpy(n->name, model->name, length);
    n->name[length] = ' ';
    memcpy(n->name + length + 1, at, sizeof at);

    n->rings_phys = dma_alloc(RINGS_FRAMES);
    n->rx_buffers_phys = dma_alloc(rx_frames);
    n->tx_buffers_phys = dma_alloc(tx_frames);
    n->regs = mmio_map(bar->base, REGISTERS_SIZE);
    if (n->rings_phys == FRAME_NONE || n->rx_buffers_phys == FRAME_NONE || n->tx_buffers_phys == FRAME_NONE ||
        !n->regs) {
        log_error("nic", "%s: no memory for its rings", n->name);
        intel_free(n);
        return ERR_NOMEM;
    }
    n->rx = phys_to_virt(n->rings_phys);
    n->tx = (struct intel_tx_desc *)(void *)(n->rx + INTEL_RX_COUNT);
    n->rx_buffers = phys_to_virt(n->rx_buffers_phys);
    n->tx_buffers = phys_to_virt(n->tx_buffers_phys);
    *out = n;
    return OK;
}

void intel_free(struct intel_nic *n)
{
    if (n->rings_phys != FRAME_NONE)
        frames_free(n->rings_phys, RINGS_FRAMES);
    if (n->rx_buffers_phys != FRAME_NONE)
        frames_free(n->rx_buffers_phys, rx_frames);
    if (n->tx_buffers_phys != FRAME_NONE)
        frames_free(n->tx_buffers_phys, tx_frames);
    frames_free(virt_to_phys(n), SELF_FRAMES);
}

void intel_quiesce(const struct intel_nic *n)
{
    intel_write(n, INTEL_IMC, 0xffffffffu);
    bool busy =
        ((intel_read(n, INTEL_RCTL) & INTEL_RCTL_EN) | (intel_read(n, INTEL_TCTL) & INTEL_TCTL_EN)) != 0;
    intel_write(n, INTEL_RCTL, 0);
    intel_write(n, INTEL_TCTL, INTEL_TCTL_PSP);
    (void)intel_read(n, INTEL_STATUS);
    if (busy)
        time_delay_us(1000); // DMA that the firmware's driver left under way ends before the reset
}

enum status intel_reset_pcie(struct intel_nic *n)
{
    intel_quiesce(n);
    // No reset while the chip masters the bus (82574 5.2, 7.5.3.1; 82576 5.2.3.3): it would never come back.
    intel_write(n, INTEL_CTRL, intel_read(n, INTEL_CTRL) | INTEL_CTRL_GIO_MASTER_DISABLE);
    if (intel_wait(n, INTEL_STATUS, INTEL_STATUS_GIO_MASTER_ENABLE, 0, 80000) != OK)
        log_debug("nic", "%s: still masters the bus", n->name);
    intel_write(n, INTEL_CTRL, intel_read(n, INTEL_CTRL) | INTEL_CTRL_RST);
    time_delay_us(2);
    enum status s = intel_wait(n, INTEL_CTRL, INTEL_CTRL_RST, 0, 20000);
    if (s != OK)
        return s;
    if (intel_wait(n, INTEL_EECD, INTEL_EECD_AUTO_RD, INTEL_EECD_AUTO_RD, 25000) != OK)
        log_debug("nic", "%s: no automatic read of the EEPROM", n->name);
    intel_write(n, INTEL_IMC, 0xffffffffu);
    (void)intel_read(n, INTEL_ICR);
    return OK;
}

void intel_disable_aspm(const struct pci_device *dev)
{
    if (!dev->cap_pcie)
        return;
    uint16_t at = (uint16_t)(dev->cap_pcie + PCI_PCIE_LINK_CONTROL);
    pci_config_write(dev->at, at, 2, pci_config_read(dev->at, at, 2) & ~PCI_PCIE_ASPM_MASK);
}

static enum status eeprom_word(const struct intel_nic *n, const struct intel_eerd *eerd, uint32_t word,
                               uint16_t *value)
{
    intel_write(n, INTEL_EERD, INTEL_EERD_START | word << eerd->address_shift);
    enum status s = intel_wait(n, INTEL_EERD, eerd->done, eerd->done, 10000);
    if (s == OK)
        *value = (uint16_t)(intel_read(n, INTEL_EERD) >> INTEL_EERD_DATA_SHIFT);
    return s;
}

static bool is_station_address(const uint8_t mac[6])
{
    return !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) != 0;
}

static enum status mac_from_eeprom(const struct intel_nic *n, const struct intel_eerd *eerd, uint8_t mac[6])
{
    for (uint32_t i = 0; i < 3; i++) {
        uint16_t word = 0;
        enum status s = eeprom_word(n, eerd, i, &word);
        if (s != OK)
            return s;
        mac[2 * i] = (uint8_t)word;
        mac[2 * i + 1] = (uint8_t)(word >> 8);
    }
    return is_station_address(mac) ? OK : ERR_IO;
}

enum status intel_read_mac(struct intel_nic *n, const struct intel_eerd *eerd)
{
    uint8_t *mac = n->nic.mac;
    enum status s = eerd ? mac_from_eeprom(n, eerd, mac) : ERR_NOTFOUND;
    if (s == OK)
        return OK;
    uint32_t low = intel_read(n, INTEL_RAL0), high = intel_read(n, INTEL_RAH0);
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t)(i < 4 ? low >> 8 * i : high >> 8 * (i - 4));
    if (high & INTEL_RAH_AV && is_station_address(mac))
        return OK;
    log_error("nic", "%s: no station address: its EEPROM %s, RAL/RAH hold none", n->name,
              s == ERR_TIMEOUT    ? "does not answer"
              : s == ERR_NOTFOUND ? "is not asked"
                                  : "holds none");
    return ERR_IO;
}

static enum status phy(const struct intel_nic *n, uint32_t command, uint16_t *value)
{
    intel_write(n, INTEL_MDIC, command | INTEL_MDIC_PHY_1);
    enum status s = intel_wait(n, INTEL_MDIC, INTEL_MDIC_READY, INTEL_MDIC_READY, 2000);
    if (s != OK)
        return s;
    uint32_t mdic = intel_read(n, INTEL_MDIC);
    *value = (uint16_t)mdic;
    return mdic & INTEL_MDIC_ERROR ? ERR_IO : OK;
}

void intel_link_start(const struct intel_nic *n)
{
    uint32_t ctrl = intel_read(n, INTEL_CTRL);
    ctrl &= ~(INTEL_CTRL_LRST | INTEL_CTRL_ILOS | INTEL_CTRL_FRCSPD | INTEL_CTRL_FRCDPX | INTEL_CTRL_RFCE |
              INTEL_CTRL_TFCE | INTEL_CTRL_VME | INTEL_CTRL_PHY_RST | INTEL_CTRL_GIO_MASTER_DISABLE);
    intel_write(n, INTEL_CTRL, ctrl | INTEL_CTRL_SLU | INTEL_CTRL_ASDE);
}

void intel_wake_phy(const struct intel_nic *n)
{
    uint16_t bmcr = 0, ignored = 0;
    uint32_t at = PHY_BMCR << INTEL_MDIC_REG_SHIFT;
    if (phy(n, INTEL_MDIC_OP_READ | at, &bmcr) != OK) {
        log_warn("nic", "%s: its PHY does not answer", n->name);
        return;
    }
    if (bmcr & PHY_BMCR_ANENABLE && !(bmcr & (PHY_BMCR_PDOWN | PHY_BMCR_ISOLATE)))
        return;
    bmcr = (uint16_t)((bmcr & ~(PHY_BMCR_PDOWN | PHY_BMCR_ISOLATE)) | PHY_BMCR_ANENABLE | PHY_BMCR_ANRESTART);
    if (phy(n, INTEL_MDIC_OP_WRITE | at | bmcr, &ignored) != OK)
        log_warn("nic", "%s: its PHY cannot be woken", n->name);
}

void intel_start_phy(const struct intel_nic *n)
{
    uint16_t bmsr = 0, bmcr = PHY_BMCR_ANENABLE | PHY_BMCR_ANRESTART;
    enum status s = phy(n, INTEL_MDIC_OP_READ | PHY_BMSR << INTEL_MDIC_REG_SHIFT, &bmsr);
    if (s == OK && !(bmsr & PHY_BMSR_ANDONE))
        s = phy(n, INTEL_MDIC_OP_WRITE | PHY_BMCR << INTEL_MDIC_REG_SHIFT | bmcr, &bmsr);
    if (s != OK)
        log_warn("nic", "%s: its PHY does not answer", n->name);
}
