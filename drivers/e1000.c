// SPDX-License-Identifier: BSD-2-Clause
// Intel 82540EM: its reset. Source: 8254x SDM 317453-006, 14.3 and 14.4. The rest is drivers/intel_nic.h.
#include "drivers/e1000.h"
#include "drivers/intel_nic.h"
#include "rt/log.h"
#include "rt/time.h"

// The real one takes jumbo frames, but Bochs's, which is what this driver mostly runs on, cuts them.
static const struct intel_model model = {
    .name = "e1000", .rx_base = INTEL_RX_BASE, .tx_base = INTEL_TX_BASE, .largest = 1500};
static const struct intel_eerd eerd = {.done = 1u << 4, .address_shift = 8};

static enum status reset(struct intel_nic *n)
{
    intel_quiesce(n);
    intel_write(n, INTEL_CTRL, intel_read(n, INTEL_CTRL) | INTEL_CTRL_RST);
    time_delay_us(2); // before the first access, 13.4.1
    enum status s = intel_wait(n, INTEL_CTRL, INTEL_CTRL_RST, 0, 20000);
    if (s != OK)
        return s;
    intel_write(n, INTEL_IMC, 0xffffffffu);
    (void)intel_read(n, INTEL_ICR);
    return OK;
}

enum status e1000_start(struct pci_device *dev, struct nic **nic)
{
    struct intel_nic *n = NULL;
    enum status s = intel_probe(dev, &model, &n);
    if (s != OK)
        return s;
    pci_enable(dev, true);
    s = reset(n);
    if (s != OK)
        log_error("nic", "%s: its reset does not end", n->name);
    else
        s = intel_read_mac(n,
                           &eerd); // comes behind the EEPROM's automatic read, which nothing tells the end of
    if (s != OK) {
        intel_free(n);
        return s;
    }
    intel_link_start(n);
    intel_start(n);
    *nic = &n->nic;
    return OK;
}
