// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/e1000.c drivers/e1000e.c drivers/igb.c drivers/intel_nic.c drivers/intel_ring.c
// The real drivers against a mock controller: a register file that resets, masters memory through the rings
// as the manuals say, and can be told to misbehave. Every buffer is the build machine's memory, watched by
// the sanitizers.
#include "drivers/e1000.h"
#include "drivers/hw.h"
#include "drivers/intel_nic.h"
#include "drivers/pci_regs.h"
#include "rt/paging.h"
#include "tests/unit/host/host.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static uint32_t *reg(uint32_t offset)
{
    return &chip.regs[offset / 4];
}

static uint32_t RX(uint32_t offset)
{
    return (chip.advanced ? IGB_RX_BASE : INTEL_RX_BASE) + offset;
}
static uint32_t TX(uint32_t offset)
{
    return (chip.advanced ? IGB_TX_BASE : INTEL_TX_BASE) + offset;
}

volatile void *mmio_map(phys_t phys, size_t size)
{
    assert_int_equal(phys, REGS_PHYS);
    assert_true(size <= sizeof chip.regs);
    return chip.regs;
}

static void load_station_address(void)
{
    if (chip.address_not_loaded)
        return;
    *reg(INTEL_RAL0) = chip.eeprom[0] | (uint32_t)chip.eeprom[1] << 16;
    *reg(INTEL_RAH0) = chip.eeprom[2] | INTEL_RAH_AV;
}

static void chip_reset(void)
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
static void transmit(void)
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
static uint64_t advanced(uint64_t result)
{
    return (result & 0xffff) << 32 | (result & INTEL_RXD_ERRORS ? 1u << 31 : 0) |
           (result >> 40 & 0x60 ? 0x60000000u : 0) | (result & INTEL_RXD_EOP ? 2u : 0) |
           (result & INTEL_RXD_DD ? 1u : 0);
}

/// A frame arrives. False: no descriptor for it (the real one counts it in MPC).
static bool arrive_as(const void *bytes, size_t size, uint64_t result)
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
static bool arrive(const void *bytes, size_t size)
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

void pci_enable(struct pci_device *dev, bool bus_master)
{
    (void)dev;
    mastering = bus_master;
}

const char *pci_address_text(struct pci_address at, char text[PCI_ADDRESS_TEXT])
{
    (void)at;
    return strcpy(text, "0000:00:02.0");
}

// ---- What the tests start from

static struct pci_device dev;
static struct nic *nic;
static unsigned got_count;
static uint8_t got[9216];
static size_t got_size;

static void receive(void *ctx, const uint8_t *frame, size_t size)
{
    assert_ptr_equal(ctx, &got_count);
    got_count++;
    got_size = size;
    memcpy(got, frame, size); // ASan: the whole frame is readable
}

static int fresh(void **state)
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

static int e1000(void **state)
{
    fresh(state);
    assert_int_equal(e1000_start(&dev, &nic), OK);
    nic->receive = receive;
    nic->receive_ctx = &got_count;
    return 0;
}

static int e1000e(void **state)
{
    fresh(state);
    chip.eerd_done = 1u << 1;
    chip.eerd_shift = 2;
    assert_int_equal(e1000e_start(&dev, &nic), OK);
    nic->receive = receive;
    nic->receive_ctx = &got_count;
    return 0;
}

static int igb(void **state)
{
    fresh(state);
    chip.advanced = chip.eeprom_dead = true; // it is not asked
    *reg(IGB_EITR0) = 7;
    assert_int_equal(igb_start(&dev, &nic), OK);
    nic->receive = receive;
    nic->receive_ctx = &got_count;
    return 0;
}

static int done(void **state)
{
    (void)state;
    if (nic)
        intel_free(intel_of(nic));
    assert_int_equal(host_frames_in_use(), 0);
    return 0;
}

static enum status send(const void *bytes, size_t size)
{
    struct nic_piece piece = {bytes, size};
    return nic->ops->send(nic, &piece, 1);
}

static void pattern(uint8_t *to, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(seed * 31 + i * 7);
}

// ---- Start

static void starts_a_chip_the_firmware_left_running(void **state)
{
    (void)state;
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    assert_memory_equal(nic->mac, mac, 6);
    assert_int_equal(chip.resets, 1);
    assert_true(mastering);
    assert_true(nic->ops->link_up(nic));
    assert_int_equal(nic->mtu, 1500);
    assert_int_equal(nic->places, INTEL_TX_COUNT - 1);
    assert_true(nic->ops->room(nic, nic->places));
    assert_false(nic->ops->room(nic, nic->places + 1u));
    assert_int_equal(nic->irq_vector, 0);
    assert_non_null(strstr(nic->name, " 0000:00:02.0"));
    assert_int_equal(*reg(INTEL_IMS), 0);
    assert_int_equal(*reg(TX(INTEL_DH)), 0);
    assert_int_equal(*reg(RX(INTEL_DH)), 0);
    assert_int_equal(*reg(RX(INTEL_DT)), INTEL_RX_COUNT - 1);
    assert_int_equal(chip.rctl_writes, 1); // QEMU's 82540EM sulks for a second after each
    uint32_t rctl = *reg(INTEL_RCTL);
    assert_int_equal(rctl & 0x18, 0); // not promiscuous
    assert_true(rctl & INTEL_RCTL_BAM);
    assert_true(*reg(INTEL_CTRL) & INTEL_CTRL_SLU);
    assert_int_equal(chip.phy_writes, 0); // a negotiating PHY is left alone
    assert_int_equal(*reg(INTEL_RAL0), 0x12005452);
    assert_int_equal(*reg(INTEL_RAH0), 0x80005634);
}

static void e1000e_switches_aspm_off(void **state)
{
    (void)state;
    assert_int_equal(link_control, 0x40);
    assert_true(*reg(INTEL_CTRL_EXT) & INTEL_CTRL_EXT_DRV_LOAD);
}

static void igb_starts_its_phy_if_that_did_not(void **state)
{
    (void)state;
    chip.advanced = chip.fresh_phy = true;
    assert_int_equal(igb_start(&dev, &nic), OK);
    assert_int_equal(chip.phy_writes, 1);
    assert_int_equal(chip.bmcr, PHY_BMCR_ANENABLE | PHY_BMCR_ANRESTART);
    assert_int_equal(*reg(IGB_EITR0), 0);
    assert_int_equal(link_control, 0x40);
    assert_true(*reg(INTEL_CTRL_EXT) & INTEL_CTRL_EXT_DRV_LOAD);
}

static void station_address_from_the_eeprom_or_the_registers(void **state)
{
    (void)state;
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    for (unsigned i = 0; i < 4; i++) {
        chip.eerd_done = i & 1 ? 1u << 1 : 1u << 4;
        chip.eerd_shift = i & 1 ? 2 : 8;
        chip.address_not_loaded = i < 2; // as Bochs's reset leaves it
        chip.eeprom_dead = i >= 2;
        assert_int_equal(i & 1 ? e1000e_start(&dev, &nic) : e1000_start(&dev, &nic), OK);
        assert_memory_equal(nic->mac, mac, 6);
        assert_int_equal(*reg(INTEL_RAL0), 0x12005452);
        assert_int_equal(*reg(INTEL_RAH0), 0x80005634);
        intel_free(intel_of(nic));
        nic = NULL;
        *reg(INTEL_RCTL) = 0;
    }
}

static void no_station_address_is_an_error(void **state)
{
    (void)state;
    chip.address_not_loaded = chip.eeprom_dead = true;
    assert_int_equal(e1000_start(&dev, &nic), ERR_IO);
    assert_non_null(strstr(host_log_last(), "EEPROM does not answer"));
    chip.eeprom_dead = false;
    chip.eeprom[0] |= 1; // multicast
    assert_int_equal(e1000_start(&dev, &nic), ERR_IO);
    assert_non_null(strstr(host_log_last(), "EEPROM holds none"));
    memset(chip.eeprom, 0, sizeof chip.eeprom);
    assert_int_equal(e1000e_start(&dev, &nic), ERR_IO);
    chip.advanced = true;
    assert_int_equal(igb_start(&dev, &nic), ERR_IO);
    assert_non_null(strstr(host_log_last(), "EEPROM is not asked"));
    assert_null(nic);
}

static void a_reset_that_does_not_end_is_an_error(void **state)
{
    (void)state;
    chip.reset_hangs = true;
    assert_int_equal(e1000_start(&dev, &nic), ERR_TIMEOUT);
    chip.masters_for_ever = true; // only noted: the reset is tried
    assert_int_equal(e1000e_start(&dev, &nic), ERR_TIMEOUT);
    assert_int_equal(igb_start(&dev, &nic), ERR_TIMEOUT);
}

static void no_registers_or_no_memory_is_an_error(void **state)
{
    (void)state;
    dev.bars[0].base = 0;
    assert_int_equal(e1000_start(&dev, &nic), ERR_UNSUPPORTED);
    dev.bars[0] = (struct pci_bar){.kind = PCI_BAR_MEM32, .base = REGS_PHYS, .size = 0x1000};
    assert_int_equal(e1000_start(&dev, &nic), ERR_UNSUPPORTED);
    dev.bars[0] = (struct pci_bar){.kind = PCI_BAR_IO, .base = 0xc000, .size = 0x20000};
    assert_int_equal(e1000e_start(&dev, &nic), ERR_UNSUPPORTED);
}

static void a_sleeping_phy_is_woken_when_the_link_does_not_come(void **state)
{
    (void)state;
    chip.bmcr = PHY_BMCR_PDOWN | PHY_BMCR_ANENABLE | 0x0140;
    assert_int_equal(e1000_start(&dev, &nic), OK);
    for (unsigned i = 0; i < 49; i++) {
        host_time_advance_ns(100000000);
        nic->ops->poll(nic, 1);
        assert_int_equal(chip.phy_writes, 0); // it may still be negotiating
    }
    host_time_advance_ns(200000000);
    assert_false(nic->ops->link_up(nic));
    assert_int_equal(chip.phy_writes, 1);
    assert_int_equal(chip.bmcr, PHY_BMCR_ANENABLE | PHY_BMCR_ANRESTART | 0x0140);
    host_time_advance_ns(100000000);
    assert_false(nic->ops->link_up(nic));
    assert_int_equal(chip.phy_writes, 1); // once
}

static void a_negotiating_phy_without_a_cable_is_left_alone(void **state)
{
    (void)state;
    *reg(INTEL_STATUS) &= ~INTEL_STATUS_LU;
    for (unsigned i = 0; i < 100; i++) {
        host_time_advance_ns(100000000);
        nic->ops->poll(nic, 1);
    }
    assert_int_equal(chip.phy_writes, 0);
}

// ---- Sending

static void pieces_are_joined(void **state)
{
    (void)state;
    uint8_t frame[1514], *pieces[4];
    // Every size of piece from 0 up, each in a block of its own so that ASan sees a byte too many.
    for (size_t first = 0; first < 40; first++) {
        size_t sizes[4] = {first, 14, 3 * first, 1 + first};
        struct nic_piece p[4];
        size_t size = 0;
        for (unsigned i = 0; i < 4; i++) {
            pieces[i] = malloc(sizes[i] ? sizes[i] : 1);
            pattern(pieces[i], sizes[i], i + (unsigned)first);
            memcpy(frame + size, pieces[i], sizes[i]);
            p[i] = (struct nic_piece){pieces[i], sizes[i]};
            size += sizes[i];
        }
        unsigned before = chip.doorbells;
        assert_int_equal(nic->ops->send(nic, p, 4), OK);
        assert_int_equal(chip.doorbells, before + 1);
        unsigned last = chip.sent_count - 1;
        assert_int_equal(chip.sent_size[last], size < 60 ? 60 : size);
        assert_memory_equal(chip.sent[last], frame, size);
        for (unsigned i = 0; i < 4; i++)
            free(pieces[i]);
    }
    assert_int_equal(nic->stats.tx_frames, 40);
}

static void short_frames_are_padded_with_zeroes(void **state)
{
    (void)state;
    uint8_t secret[1514], zeroes[60] = {0}, arp[42];
    memset(secret, 0xaa, sizeof secret);
    for (unsigned i = 0; i < INTEL_TX_COUNT; i++)
        assert_int_equal(send(secret, sizeof secret), OK);
    pattern(arp, sizeof arp, 1);
    assert_int_equal(send(arp, sizeof arp), OK);
    unsigned last = chip.sent_count - 1;
    assert_int_equal(chip.sent_size[last], 60);
    assert_memory_equal(chip.sent[last], arp, sizeof arp);
    assert_memory_equal(chip.sent[last] + 42, zeroes, 18);
}

static void lengths_that_are_no_frame_are_refused(void **state)
{
    (void)state;
    static uint8_t frame[9019];
    size_t most = nic_largest(nic) + NIC_HEADER_MAX;
    assert_int_equal(send(frame, most), OK);
    assert_int_equal(send(frame, most + 1), ERR_RANGE);
    assert_int_equal(send(frame, 13), ERR_RANGE);
    assert_int_equal(send(frame, SIZE_MAX), ERR_RANGE);
    struct nic_piece wraps[2] = {{frame, 100}, {frame, SIZE_MAX - 50}};
    assert_int_equal(nic->ops->send(nic, wraps, 2), ERR_RANGE);
    assert_int_equal(nic->ops->send(nic, NULL, 0), ERR_RANGE);
    assert_int_equal(chip.doorbells, 1 + 1); // the one of the start, the one frame
    assert_int_equal(nic->stats.tx_frames, 1);
}

static void a_full_ring_is_busy_and_recovers(void **state)
{
    (void)state;
    uint8_t frame[100];
    chip.stuck = true;
    unsigned sent = 0;
    for (;; sent++) {
        pattern(frame, sizeof frame, sent);
        if (send(frame, sizeof frame) != OK)
            break;
    }
    assert_int_equal(sent, INTEL_TX_COUNT - 1);
    assert_int_equal(send(frame, sizeof frame), ERR_BUSY);
    assert_int_equal(nic->stats.tx_busy, 2);
    chip.stuck = false;
    transmit();
    // Several times around the ring, every frame in order and whole.
    for (; sent < 1000; sent++) {
        pattern(frame, sizeof frame, sent);
        assert_int_equal(send(frame, sizeof frame), OK);
    }
    assert_int_equal(chip.sent_count, 1000);
    for (unsigned i = 1000 - 512; i < 1000; i++) {
        pattern(frame, sizeof frame, i);
        assert_memory_equal(chip.sent[i % 512], frame, sizeof frame);
    }
    assert_int_equal(nic->stats.tx_frames, 1000);
    assert_int_equal(nic->stats.tx_bytes, 100000);
}

// ---- Receiving

static void frames_arrive_in_order_around_the_ring(void **state)
{
    (void)state;
    uint8_t frame[1514];
    unsigned seed = 0;
    for (unsigned round = 0; round < 100; round++) {
        unsigned burst = 1 + round % 37;
        for (unsigned i = 0; i < burst; i++) {
            pattern(frame, sizeof frame, seed + i);
            assert_true(arrive(frame, 60 + (seed + i) % 1455));
        }
        for (unsigned i = 0; i < burst; i++, seed++) {
            unsigned before = chip.tail_writes;
            assert_int_equal(nic->ops->poll(nic, 1), 1);
            assert_int_equal(chip.tail_writes, before + 1);
            pattern(frame, sizeof frame, seed);
            assert_int_equal(got_size, 60 + seed % 1455);
            assert_memory_equal(got, frame, got_size);
        }
        assert_int_equal(nic->ops->poll(nic, 1), 0);
    }
    assert_true(seed > 3 * INTEL_RX_COUNT);
    assert_int_equal(nic->stats.rx_frames, seed);
    assert_int_equal(nic->stats.rx_errors, 0);
}

static void one_poll_one_tail_write_within_the_budget(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    unsigned arrived = 0;
    while (arrive(frame, sizeof frame))
        arrived++;
    assert_int_equal(arrived, INTEL_RX_COUNT - 1);
    chip.tail_writes = 0;
    assert_int_equal(nic->ops->poll(nic, 0), 0);
    assert_int_equal(chip.tail_writes, 0);
    assert_int_equal(nic->ops->poll(nic, 10), 10);
    assert_int_equal(chip.tail_writes, 1);
    assert_int_equal(nic->ops->poll(nic, 1000), arrived - 10);
    assert_int_equal(chip.tail_writes, 2);
    assert_int_equal(nic->ops->poll(nic, 1000), 0);
    assert_int_equal(chip.tail_writes, 2);
    host_time_advance_ns(20000000);
    nic->ops->poll(nic, 1);
    assert_int_equal(nic->stats.rx_errors, 1); // the frame that found no descriptor
    for (unsigned i = 0; i < 1000; i++) {      // the ring goes on
        assert_true(arrive(frame, sizeof frame));
        assert_int_equal(nic->ops->poll(nic, 4), 1);
    }
}

static void lengths_from_the_device_are_not_trusted(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    static const uint32_t lengths[] = {0,      1,    13,  2049,
                                       0xffff, 1519, 2048}; // the last two if they are not jumbo
    unsigned bad = nic_largest(nic) == 1500 ? 7 : 5;
    for (unsigned i = 0; i < bad; i++)
        assert_true(arrive_as(frame, sizeof frame, lengths[i] | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(got_count, 0);
    assert_int_equal(nic->stats.rx_errors, bad);
    assert_true(arrive_as(frame, sizeof frame, 14u | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_true(arrive_as(frame, sizeof frame, 1518u | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_int_equal(nic->ops->poll(nic, 100), 2);
    assert_int_equal(got_size, 1518);
}

static void damaged_frames_are_counted(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    static const uint64_t errors[] = {INTEL_RXD_CE, INTEL_RXD_SE, INTEL_RXD_SEQ, INTEL_RXD_CXE,
                                      INTEL_RXD_RXE};
    for (unsigned i = 0; i < 5; i++)
        assert_true(arrive_as(frame, sizeof frame, 64u | INTEL_RXD_DD | INTEL_RXD_EOP | errors[i]));
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(nic->stats.rx_errors, 5);
    // a wrong IP or TCP checksum is no business of the NIC's
    assert_true(arrive_as(frame, sizeof frame, 64u | INTEL_RXD_DD | INTEL_RXD_EOP | 0x60ull << 40));
    assert_int_equal(nic->ops->poll(nic, 100), 1);
}

static void jumbo_frames_pass_around_the_rings(void **state)
{
    (void)state;
    static uint8_t frame[9014];
    assert_int_equal(nic->mtu, 1500);
    assert_int_equal(nic_largest(nic), 9000);
    for (unsigned i = 0; i < 2000; i++) {
        size_t size = i % 3 == 0 ? sizeof frame : 60 + i * 37 % (sizeof frame - 60);
        pattern(frame, sizeof frame, i);
        assert_int_equal(send(frame, size), OK);
        assert_int_equal(chip.sent_count, i + 1);
        assert_int_equal(chip.sent_size[i % 512], size);
        assert_memory_equal(chip.sent[i % 512], frame, size);
        got_size = 0;
        assert_true(arrive(frame, size));
        if (i % 2) { // its buffers are found filled one at a time
            unsigned frames = 0;
            for (unsigned k = 0; k < (size + 2047) / 2048; k++)
                frames += nic->ops->poll(nic, 1);
            assert_int_equal(frames, 1);
        } else {
            assert_int_equal(nic->ops->poll(nic, 8), 1);
        }
        assert_int_equal(got_size, size);
        assert_memory_equal(got, frame, size);
        assert_int_equal(nic->ops->poll(nic, 8), 0);
    }
    assert_int_equal(nic->stats.rx_errors, 0);
}

static void a_ring_without_room_for_a_jumbo_frame_is_busy(void **state)
{
    (void)state;
    static uint8_t frame[9014];
    unsigned sent = 0;
    chip.stuck = true;
    while (send(frame, sizeof frame) == OK)
        sent++;
    assert_int_equal(sent, (INTEL_TX_COUNT - 1) / 5);
    assert_int_equal(send(frame, 2049), OK); // there are two left
    assert_int_equal(send(frame, 60), ERR_BUSY);
    chip.stuck = false;
    transmit();
    assert_int_equal(chip.sent_count, sent + 1);
    assert_int_equal(send(frame, sizeof frame), OK);
}

static void jumbo_frames_that_cannot_be_are_dropped(void **state)
{
    (void)state;
    static uint8_t frame[2048];
    for (unsigned i = 0; i < 300; i++) { // one that does not end, and is longer than the ring
        assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
        assert_int_equal(nic->ops->poll(nic, 8), 0);
    }
    assert_true(arrive(frame, 64));
    assert_int_equal(nic->ops->poll(nic, 8), 0); // its end
    assert_int_equal(nic->stats.rx_errors, 1);
    assert_true(arrive_as(frame, 2048, 100u | INTEL_RXD_DD)); // goes on, though its buffer is not full
    assert_true(arrive(frame, 64));
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD)); // 9019 bytes
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
    assert_true(arrive_as(frame, 2048, 2048u | INTEL_RXD_DD));
    assert_true(arrive(frame, 827));
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(nic->stats.rx_errors, 3);
    assert_true(arrive(frame, 64));
    assert_int_equal(nic->ops->poll(nic, 100), 1);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(arrive(frame, sizeof frame));
        assert_int_equal(nic->ops->poll(nic, 4), 1);
    }
}

static void frames_of_several_buffers_are_dropped_once(void **state)
{
    (void)state;
    uint8_t frame[2048] = {0};
    assert_true(arrive_as(frame, sizeof frame, 2048u | INTEL_RXD_DD));
    assert_true(arrive_as(frame, sizeof frame, 2048u | INTEL_RXD_DD));
    assert_int_equal(nic->ops->poll(nic, 2), 0); // the end of it is not there yet
    assert_true(arrive_as(frame, 64, 64u | INTEL_RXD_DD | INTEL_RXD_EOP));
    assert_true(arrive(frame, 64));
    assert_int_equal(nic->ops->poll(nic, 100), 1);
    assert_int_equal(nic->stats.rx_errors, 1);
}

static void polls_again(void *ctx, const uint8_t *frame, size_t size)
{
    receive(ctx, frame, size);
    assert_int_equal(nic->ops->poll(nic, 100), 0);
    assert_int_equal(send(frame, size), OK); // answering from there is usual
}

static void receive_may_send_but_not_receive(void **state)
{
    (void)state;
    uint8_t frame[64];
    nic->receive = polls_again;
    for (unsigned i = 0; i < 3; i++) {
        pattern(frame, sizeof frame, i);
        assert_true(arrive(frame, sizeof frame));
    }
    assert_int_equal(nic->ops->poll(nic, 100), 3);
    assert_int_equal(got_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        pattern(frame, sizeof frame, i);
        assert_memory_equal(chip.sent[i], frame, sizeof frame);
    }
}

// ---- Link and interrupts

static void a_trial_interrupt_is_sent(void **state)
{
    (void)state;
    intel_provoke(nic);
    assert_true(*reg(INTEL_ICR) & *reg(INTEL_IMS));
    intel_interrupt(nic, 0x31);
    assert_int_equal(*reg(INTEL_ICR) | *reg(INTEL_IMS), 0);
}

static void carrier_lost_and_found(void **state)
{
    (void)state;
    uint8_t frame[64] = {0};
    *reg(INTEL_STATUS) &= ~INTEL_STATUS_LU;
    assert_int_equal(send(frame, sizeof frame), OK); // not noticed yet
    host_time_advance_ns(20000000);
    nic->ops->poll(nic, 1);
    assert_non_null(strstr(host_log_last(), "link down"));
    assert_int_equal(send(frame, sizeof frame), ERR_LINK_DOWN);
    assert_false(nic->ops->link_up(nic));
    *reg(INTEL_STATUS) |= INTEL_STATUS_LU;
    host_time_advance_ns(20000000);
    assert_true(nic->ops->link_up(nic));
    assert_non_null(strstr(host_log_last(), "link up, 1000 Mb/s, full duplex"));
    assert_int_equal(send(frame, sizeof frame), OK);
}

static void interrupts_are_one_shot(void **state)
{
    (void)state;
    nic->ops->irq_enable(nic, true);
    assert_int_equal(*reg(INTEL_IMS), 0); // not routed
    nic->irq_vector = 0x31;
    *reg(INTEL_ICR) = INTEL_INT_RXT0;
    nic->ops->irq_enable(nic, true);
    assert_true(*reg(INTEL_IMS) & INTEL_INT_RXT0);
    assert_int_equal(*reg(INTEL_ICR), INTEL_INT_RXT0); // what came before is not forgotten
    intel_interrupt(nic, 0x31);
    assert_int_equal(*reg(INTEL_IMS), 0);
    assert_int_equal(*reg(INTEL_ICR), 0);
    nic->ops->irq_enable(nic, true);
    assert_true(*reg(INTEL_IMS) & INTEL_INT_RXT0);
    nic->ops->irq_enable(nic, false);
    assert_int_equal(*reg(INTEL_IMS), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(starts_a_chip_the_firmware_left_running),
        cmocka_unit_test_setup_teardown(igb_starts_its_phy_if_that_did_not, fresh, done),
        cmocka_unit_test_setup_teardown(e1000e_switches_aspm_off, e1000e, done),
        cmocka_unit_test_setup_teardown(station_address_from_the_eeprom_or_the_registers, fresh, done),
        cmocka_unit_test_setup_teardown(no_station_address_is_an_error, fresh, done),
        cmocka_unit_test_setup_teardown(a_reset_that_does_not_end_is_an_error, fresh, done),
        cmocka_unit_test_setup_teardown(no_registers_or_no_memory_is_an_error, fresh, done),
        cmocka_unit_test_setup_teardown(a_sleeping_phy_is_woken_when_the_link_does_not_come, fresh, done),
        ALL(a_negotiating_phy_without_a_cable_is_left_alone),
        ALL(pieces_are_joined),
        ALL(short_frames_are_padded_with_zeroes),
        ALL(lengths_that_are_no_frame_are_refused),
        ALL(a_full_ring_is_busy_and_recovers),
        ALL(frames_arrive_in_order_around_the_ring),
        ALL(one_poll_one_tail_write_within_the_budget),
        ALL(lengths_from_the_device_are_not_trusted),
        ALL(damaged_frames_are_counted),
        cmocka_unit_test_setup_teardown(frames_of_several_buffers_are_dropped_once, e1000, done),
        JUMBO(jumbo_frames_pass_around_the_rings),
        JUMBO(a_ring_without_room_for_a_jumbo_frame_is_busy),
        JUMBO(jumbo_frames_that_cannot_be_are_dropped),
        ALL(receive_may_send_but_not_receive),
        ALL(carrier_lost_and_found),
        ALL(a_trial_interrupt_is_sent),
        ALL(interrupts_are_one_shot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
