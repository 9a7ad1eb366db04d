// SPDX-License-Identifier: BSD-2-Clause
// Intel 82574L: its reset and what its datasheet (317694) and specification update (321260) ask for on top of
// the 8254x. The rest is drivers/intel_nic.h.
#include "drivers/e1000.h"
#include "drivers/intel_nic.h"
#include "drivers/pci_regs.h"
#include "rt/log.h"
#include "rt/time.h"

static const struct intel_eerd eerd = {.done = 1u << 1, .address_shift = 2};

/// Errata (specification update, "ASPM"): the link to the chip must not enter L0s or L1, or frames get lost.
static void disable_aspm(const struct pci_device *dev)
{
    if (!dev->cap_pcie)
        return;
    uint16_t at = (uint16_t)(dev->cap_pcie + PCI_PCIE_LINK_CONTROL);
    pci_config_write(dev->at, at, 2, pci_config_read(dev->at, at, 2) & ~PCI_PCIE_ASPM_MASK);
}

/// Values the datasheet asks for although reset leaves others (as Linux's e1000e sets them), and who drives
/// (10.2.2.5).
static void set_required_bits(const struct intel_nic *n)
{
    static const struct {
        uint32_t reg, clear, set;
    } rows[] = {
        {INTEL_CTRL, 1u << 29, 0},
        {INTEL_CTRL_EXT, 1u << 23, 1u << 22 | INTEL_CTRL_EXT_DRV_LOAD},
        {INTEL_TXDCTL, 0, INTEL_TXDCTL_COUNT_DESC},
        {INTEL_TARC0, 0xfu << 27, 1u << 26},
        {INTEL_GCR, 0, 1u << 22}, // L1 without L0s on the receiving side
        {INTEL_GCR2, 0, 1u << 0}, // erratum: completions get lost and transmission hangs
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        intel_write(n, rows[i].reg, (intel_read(n, rows[i].reg) & ~rows[i].clear) | rows[i].set);
}

static enum status reset(struct intel_nic *n)
{
    intel_quiesce(n);
    // No reset while the chip masters the bus (datasheet 5.2, 7.5.3.1): it would never come back.
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

    set_required_bits(n);
    return OK;
}

enum status e1000e_start(struct pci_device *dev, struct nic **nic)
{
    struct intel_nic *n = NULL;
    enum status s = intel_probe(dev, "e1000e", &n);
    if (s != OK)
        return s;
    pci_enable(dev, true);
    disable_aspm(dev);
    s = reset(n);
    if (s != OK)
        log_error("nic", "%s: its reset does not end", n->name);
    else
        s = intel_read_mac(n, &eerd);
    if (s != OK) {
        intel_free(n);
        return s;
    }
    intel_link_start(n);
    intel_start(n);
    *nic = &n->nic;
    return OK;
}
