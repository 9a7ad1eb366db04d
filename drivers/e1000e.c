// SPDX-License-Identifier: BSD-2-Clause
// Intel 82574L: its reset and what its datasheet (317694) and specification update (321260) ask for on top of
// the 8254x. The rest is drivers/intel_nic.h.
#include "drivers/e1000.h"
#include "drivers/intel_nic.h"
#include "rt/log.h"

static const struct intel_model model = {
    .name = "e1000e", .rx_base = INTEL_RX_BASE, .tx_base = INTEL_TX_BASE, .largest = INTEL_JUMBO};
static const struct intel_eerd eerd = {.done = 1u << 1, .address_shift = 2};

/// Values the datasheet asks for although reset leaves others (as Linux's e1000e sets them), and who drives
/// (10.2.2.5).
static void set_required_bits(const struct intel_nic *n)
{
    static const struct {
        uint32_t reg, clear, set;
    } rows[] = {
        {INTEL_CTRL, 1u << 29, 0},
        {INTEL_CTRL_EXT, 1u << 23, 1u << 22 | INTEL_CTRL_EXT_DRV_LOAD},
        {INTEL_TX_BASE + INTEL_DCTL, 0, INTEL_TXDCTL_COUNT_DESC},
        {INTEL_TARC0, 0xfu << 27, 1u << 26},
        {INTEL_GCR, 0, 1u << 22}, // L1 without L0s on the receiving side
        {INTEL_GCR2, 0, 1u << 0}, // erratum: completions get lost and transmission hangs
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        intel_write(n, rows[i].reg, (intel_read(n, rows[i].reg) & ~rows[i].clear) | rows[i].set);
}

enum status e1000e_start(struct pci_device *dev, struct nic **nic)
{
    struct intel_nic *n = NULL;
    enum status s = intel_probe(dev, &model, &n);
    if (s != OK)
        return s;
    pci_enable(dev, true);
    intel_disable_aspm(dev); // errata (specification update, "ASPM")
    s = intel_reset_pcie(n);
    if (s == OK) {
        set_required_bits(n);
        s = intel_read_mac(n, &eerd);
    } else {
        log_error("nic", "%s: its reset does not end", n->name);
    }
    if (s != OK) {
        intel_free(n);
        return s;
    }
    intel_link_start(n);
    intel_start(n);
    *nic = &n->nic;
    return OK;
}
