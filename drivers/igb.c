// SPDX-License-Identifier: BSD-2-Clause
// Intel 82576 and its kin (I350, I210): queue 0 with advanced descriptors, one MSI for all causes. Source:
// datasheet 320961, 4.5 (start), 7.1, 7.2, 7.3. The rest is drivers/intel_nic.h. These controllers load the
// station address into RAL0/RAH0 themselves; without MSI-X their interrupt causes are the older ones'
// (7.3.1).
#include "drivers/e1000.h"
#include "drivers/intel_nic.h"
#include "rt/log.h"

static const struct intel_model model = {
    .name = "igb", .rx_base = IGB_RX_BASE, .tx_base = IGB_TX_BASE, .largest = INTEL_JUMBO, .advanced = true};

enum status igb_start(struct pci_device *dev, struct nic **nic)
{
    struct intel_nic *n = NULL;
    enum status s = intel_probe(dev, &model, &n);
    if (s != OK)
        return s;
    pci_enable(dev, true);
    intel_disable_aspm(dev);
    s = intel_reset_pcie(n);
    if (s == OK)
        s = intel_read_mac(n, NULL);
    else
        log_error("nic", "%s: its reset does not end", n->name);
    if (s != OK) {
        intel_free(n);
        return s;
    }
    intel_write(n, INTEL_CTRL_EXT, intel_read(n, INTEL_CTRL_EXT) | INTEL_CTRL_EXT_DRV_LOAD);
    intel_link_start(n);
    intel_start_phy(n); // QEMU's does nothing by itself after a reset
    intel_start(n);
    *nic = &n->nic;
    return OK;
}
