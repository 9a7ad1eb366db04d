// SPDX-License-Identifier: BSD-2-Clause
// A mock controller of the e1000 family: a register file that resets, masters memory through the rings as the
// manuals say, and can be told to misbehave. Every buffer is the build machine's memory, watched by the
// sanitizers. Included once in a test.
#pragma once
#include "drivers/e1000.h"
#include "drivers/hw.h"
#include "drivers/intel_nic.h"
#include "drivers/pci_regs.h"
#include "rt/paging.h"
#include "tests/unit/nic_fixture.h"

// ---- The mock controller

#define REGS_PHYS 0xfebc0000u

static struct {
    uint32_t regs[0x20000 / 4];
    uint16_t eeprom[3];
    bool eeprom_dead, address_not_loaded, reset_hangs, masters_for_ever, stuck;
    uint32_t eerd_done;
    unsigned eerd_shift;
    uint16_t bmcr;
    bool advanced;  // an 82576
    bool fresh_phy; // it has not negotiated
    unsigned doorbells, tail_writes, resets, phy_writes, rctl_writes;
    // what went out
    uint8_t sent[512][9216];
    size_t sent_size[512];
    unsigned sent_count;
    uint64_t payload;
    size_t sending; // bytes of a frame in several buffers so far
} chip;

static inline uint32_t *reg(uint32_t offset)
{
    return &chip.regs[offset / 4];
}

static inline uint32_t RX(uint32_t offset)
{
    return (chip.advanced ? IGB_RX_BASE : INTEL_RX_BASE) + offset;
}
static inline uint32_t TX(uint32_t offset)
{
    return (chip.advanced ? IGB_TX_BASE : INTEL_TX_BASE) + offset;
}

volatile void *mmio_map(phys_t phys, size_t size)
{
    assert_int_equal(phys, REGS_PHYS);
    assert_true(size <= sizeof chip.regs);
    return chip.regs;
}

static inline void load_station_address(void)
{
    if (chip.address_not_loaded)
        return;
    *reg(INTEL_RAL0) = chip.eeprom[0] | (uint32_t)chip.eeprom[1] << 16;
    *reg(INTEL_RAH0) = chip.eeprom[2] | INTEL_RAH_AV;
}

static inline void chip_reset(void)
{
    assert_false(*reg(INTEL_RCTL) & INTEL_RCTL_EN); // never while frames arrive
    memset(chip.regs, 0, sizeof chip.regs);
    chip.resets++;
    *reg(INTEL_EECD) = INTEL_EECD_AUTO_RD;
    *reg(TX(INTEL_DH)) = 99; // an emulator whose reset forgets this
    *reg(RX(INTEL_DH)) = 99;
    load_station_address();
}

/// Sends everything between TDH and TDT, as the device's DMA does.
static inline void transmit(void)
{
    if (!(*reg(INTEL_TCTL) & INTEL_TCTL_EN) || chip.stuck)
        return;
    assert_true(!chip.advanced || *reg(TX(INTEL_DCTL)) & IGB_DCTL_ENABLE);
    uint32_t count = *reg(TX(INTEL_DLEN)) / 16;
    assert_true(count % 8 == 0 && count > 0);
    struct intel_tx_desc *ring = (void *)(*reg(TX(INTEL_DBAL)) | (uint64_t)*reg(TX(INTEL_DBAH)) << 32);
    while (*reg(TX(INTEL_DH)) != *reg(TX(INTEL_DT))) {
        struct intel_tx_desc *d = &ring[*reg(TX(INTEL_DH))];
        assert_int_equal(d->control & INTEL_TXD_DD, 0); // never handed over twice
        assert_int_equal(d->control & (INTEL_TXD_IFCS | INTEL_TXD_RS), INTEL_TXD_IFCS | INTEL_TXD_RS);
        size_t size = d->control & 0xffff;
        unsigned slot = chip.sent_count % 512;
        if (chip.advanced) {
            assert_int_equal(d->control >> 20 & 0x23f,
                             0x223 | (d->control >> 20 & 0x10)); // DEXT, DTYP, IFCS, EOP
            if (chip.sending == 0)
                chip.payload = d->control >> 46;
            else
                assert_int_equal(d->control >> 46, 0);
        }
        assert_true(size <= 2048);
        assert_true(chip.sending + size <= sizeof chip.sent[slot]);
        memcpy(chip.sent[slot] + chip.sending, (void *)d->address, size);
        chip.sending += size;
        if (d->control & INTEL_TXD_EOP) {
            assert_true(!chip.advanced || chip.payload == chip.sending);
            chip.sent_size[slot] = chip.sending;
            chip.sent_count++;
            chip.sending = 0;
        } else {
            assert_int_equal(size, 2048);
        }
        d->control = chip.advanced ? INTEL_TXD_DD : d->control | INTEL_TXD_DD;
        if (chip.advanced)
            d->address = 0x0123456789abcdef; // the write-back may be over it
        *reg(TX(INTEL_DH)) = (*reg(TX(INTEL_DH)) + 1) % count;
    }
}

/// What an 82576 writes where the others write `result`.
static inline uint64_t advanced(uint64_t result)
{
    return (result & 0xffff) << 32 | (result & INTEL_RXD_ERRORS ? 1u << 31 : 0) |
           (result >> 40 & 0x60 ? 0x60000000u : 0) | (result & INTEL_RXD_EOP ? 2u : 0) |
           (result & INTEL_RXD_DD ? 1u : 0);
}

/// A frame arrives. False: no descriptor for it (the real one counts it in MPC).
static inline bool arrive_as(const void *bytes, size_t size, uint64_t result)
{
    uint32_t count = *reg(RX(INTEL_DLEN)) / 16, head = *reg(RX(INTEL_DH));
    if (!(*reg(INTEL_RCTL) & INTEL_RCTL_EN) || head == *reg(RX(INTEL_DT))) {
        ++*reg(INTEL_MPC);
        return false;
    }
    struct intel_rx_desc *ring = (void *)(*reg(RX(INTEL_DBAL)) | (uint64_t)*reg(RX(INTEL_DBAH)) << 32);
    assert_int_equal(ring[head].result, 0);
    if (chip.advanced) {
        assert_int_equal(*reg(RX(IGB_SRRCTL)), 2 | 1u << 25);
        assert_true(*reg(RX(INTEL_DCTL)) & IGB_DCTL_ENABLE);
        result = advanced(result);
    }
    memcpy((void *)ring[head].address, bytes, size);
    ring[head].result = result;
    ring[head].address = 0xdeadbeef; // a device may write this half as well
    *reg(RX(INTEL_DH)) = (head + 1) % count;
    return true;
}

/// In as many buffers as it takes.
static inline bool arrive(const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    assert_true(size <= 1518 || *reg(INTEL_RCTL) & INTEL_RCTL_LPE);
    assert_true(size <= 1518 || !chip.advanced || size + 4 <= *reg(IGB_RLPML));
    for (; size > 2048; from += 2048, size -= 2048)
        if (!arrive_as(from, 2048, 2048 | INTEL_RXD_DD))
            return false;
    return arrive_as(from, size, size | INTEL_RXD_DD | INTEL_RXD_EOP);
}

uint32_t hw_read32(const volatile void *at)
{
    uint32_t offset = (uint32_t)((const volatile uint8_t *)at - (const volatile uint8_t *)chip.regs);
    uint32_t value = *reg(offset);
    if (offset == INTEL_ICR || offset == INTEL_MPC || offset == INTEL_CRCERRS)
        *reg(offset) = 0;
    return value;
}

void hw_write32(volatile void *at, uint32_t value)
{
    uint32_t offset = (uint32_t)((volatile uint8_t *)at - (volatile uint8_t *)chip.regs);
    if (offset == INTEL_CTRL && (value & INTEL_CTRL_RST)) {
        chip_reset();
        *reg(INTEL_CTRL) = chip.reset_hangs ? INTEL_CTRL_RST : 0;
        return;
    }
    if (offset == INTEL_EERD && (value & INTEL_EERD_START)) {
        uint32_t word = value >> chip.eerd_shift;
        *reg(offset) = chip.eeprom_dead || word > 2 ? 0 : (uint32_t)chip.eeprom[word] << 16 | chip.eerd_done;
        return;
    }
    if (offset == INTEL_IMS || offset == INTEL_IMC) {
        *reg(INTEL_IMS) = offset == INTEL_IMS ? *reg(INTEL_IMS) | value : *reg(INTEL_IMS) & ~value;
        return;
    }
    if (offset == INTEL_ICS) {
        *reg(INTEL_ICR) |= value;
        return;
    }
    if (offset == INTEL_MDIC) {
        uint32_t which = value >> INTEL_MDIC_REG_SHIFT & 31;
        if (value & INTEL_MDIC_OP_WRITE) {
            assert_int_equal(which, PHY_BMCR);
            chip.phy_writes++;
            chip.bmcr = (uint16_t)value;
        }
        assert_true(value & INTEL_MDIC_PHY_1);
        uint16_t answer = which == PHY_BMSR ? (chip.fresh_phy ? 0 : PHY_BMSR_ANDONE) : chip.bmcr;
        *reg(offset) = (value & 0xffff0000u) | answer | INTEL_MDIC_READY;
        return;
    }
    *reg(offset) = value;
    if (offset == INTEL_CTRL && (value & INTEL_CTRL_GIO_MASTER_DISABLE) && !chip.masters_for_ever)
        *reg(INTEL_STATUS) &= ~INTEL_STATUS_GIO_MASTER_ENABLE;
    if (offset == INTEL_CTRL && (value & INTEL_CTRL_SLU) && chip.bmcr == PHY_BMCR_ANENABLE)
        *reg(INTEL_STATUS) |= INTEL_STATUS_LU | INTEL_STATUS_FD | 2u << INTEL_STATUS_SPEED_SHIFT;
    if (offset == INTEL_RCTL)
        chip.rctl_writes += (value & INTEL_RCTL_EN) != 0;
    if (offset == RX(INTEL_DT))
        chip.tail_writes++;
    if (offset == TX(INTEL_DT)) {
        chip.doorbells++;
        transmit();
    }
}

// ---- Its place on the bus

static uint32_t link_control;

uint32_t pci_config_read(struct pci_address at, uint16_t offset, unsigned size)
{
    (void)at;
    assert_int_equal(offset, 0xe0 + PCI_PCIE_LINK_CONTROL);
    assert_int_equal(size, 2);
    return link_control;
}

void pci_config_write(struct pci_address at, uint16_t offset, unsigned size, uint32_t value)
{
    (void)pci_config_read(at, offset, size);
    link_control = value;
}

static bool mastering;

void pci_enable(struct pci_device *device, bool bus_master)
{
    (void)device;
    mastering = bus_master;
}

const char *pci_address_text(struct pci_address at, char text[PCI_ADDRESS_TEXT])
{
    (void)at;
    return strcpy(text, "0000:00:02.0");
}

// ---- What the tests start from

static inline int fresh(void **state)
{
    (void)state;
    memset(&chip, 0, sizeof chip);
    chip.eeprom[0] = 0x5452;
    chip.eeprom[1] = 0x1200;
    chip.eeprom[2] = 0x5634;
    chip.eerd_done = 1u << 4;
    chip.eerd_shift = 8;
    chip.bmcr = PHY_BMCR_ANENABLE;
    *reg(INTEL_STATUS) = INTEL_STATUS_GIO_MASTER_ENABLE;
    *reg(INTEL_RCTL) = INTEL_RCTL_EN; // the firmware's driver still runs
    *reg(INTEL_TCTL) = INTEL_TCTL_EN;
    *reg(INTEL_IMS) = 0xff;
    load_station_address();
    dev = (struct pci_device){.vendor = 0x8086, .cap_pcie = 0xe0};
    dev.bars[0] = (struct pci_bar){.kind = PCI_BAR_MEM32, .base = REGS_PHYS, .size = 0x20000};
    link_control = 0x43;
    mastering = false;
    got_count = 0;
    nic = NULL;
    return 0;
}

static inline int e1000(void **state)
{
    fresh(state);
    assert_int_equal(e1000_start(&dev, &nic), OK);
    listen();
    return 0;
}

static inline int e1000e(void **state)
{
    fresh(state);
    chip.eerd_done = 1u << 1;
    chip.eerd_shift = 2;
    assert_int_equal(e1000e_start(&dev, &nic), OK);
    listen();
    return 0;
}

static inline int igb(void **state)
{
    fresh(state);
    chip.advanced = chip.eeprom_dead = true; // it is not asked
    *reg(IGB_EITR0) = 7;
    assert_int_equal(igb_start(&dev, &nic), OK);
    listen();
    return 0;
}

static inline int done(void **state)
{
    (void)state;
    if (nic)
        intel_free(intel_of(nic));
    assert_int_equal(host_frames_in_use(), 0);
    return 0;
}

#define ALL(test)                                                                                            \
    {#test " (e1000)", test, e1000, done, NULL}, {#test " (e1000e)", test, e1000e, done, NULL},              \
    {                                                                                                        \
#test " (igb)", test, igb, done, NULL                                                                \
    }

#define JUMBO(test)                                                                                          \
    {#test " (e1000e)", test, e1000e, done, NULL},                                                           \
    {                                                                                                        \
#test " (igb)", test, igb, done, NULL                                                                \
    }
