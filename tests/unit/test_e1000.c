// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/e1000.c drivers/e1000e.c drivers/igb.c drivers/intel_nic.c drivers/intel_ring.c
// The drivers of the e1000 family against a mock controller (fake_intel.h): how they start, what they do
// about the cable and interrupts. (Frames: test_intel_ring.c.)
#include "tests/unit/fake_intel.h"

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
        ALL(carrier_lost_and_found),
        ALL(a_trial_interrupt_is_sent),
        ALL(interrupts_are_one_shot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
