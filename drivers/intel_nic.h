// SPDX-License-Identifier: BSD-2-Clause
// What the drivers of Intel's e1000 family share: rings, sending, polling, link state. A driver resets its
// controller, fills in `struct intel_nic` and calls intel_start; from then on everything is here.
#pragma once
#include "drivers/intel_regs.h"
#include "drivers/pci.h"
#include "rt/frames.h"
#include "rt/nic.h"

#define INTEL_RX_COUNT 256u // descriptors; powers of two, multiples of 8 (RDLEN and TDLEN count 128 bytes)
#define INTEL_TX_COUNT 128u
#define INTEL_BUFFER   2048u // bytes of one buffer = RCTL.BSIZE
#define INTEL_SLOTS    5u    // buffers of one frame, at most
#define INTEL_JUMBO    9000u // largest payload, where jumbo frames are used
#define INTEL_NAME_MAX 32

/// What differs between the families.
struct intel_model {
    const char *name;
    uint16_t rx_base, tx_base; // registers of queue 0
    uint16_t largest;          // payload
    bool advanced;             // descriptors: advanced, not legacy
};

struct intel_nic {
    struct nic nic; // first: a `struct nic *` of ours is a `struct intel_nic *`
    volatile uint8_t *regs;
    const struct intel_model *model;

    bool advanced; // the model's

    // sending
    volatile uint8_t *tdt; // the doorbell
    uint64_t tx_command;   // in every transmit descriptor
    size_t tx_short;       // bytes of the largest frame that takes one buffer
    struct intel_tx_desc *tx;
    uint8_t *tx_buffers;
    uint32_t tx_tail; // next descriptor to fill
    bool up;          // carrier, as last seen

    // receiving
    volatile uint8_t *rdt;
    struct intel_rx_desc *rx;
    uint8_t *rx_buffers;
    phys_t rx_buffers_phys;
    uint32_t rx_head;  // next descriptor the device will have filled
    uint32_t rx_start; // where the frame began that it belongs to; from here on the device has no descriptors
    uint32_t rx_size;  // bytes of that frame so far
    bool rx_bad;       // that frame is dropped at its end
    bool polling;
    uint64_t wake_ns;  // when the PHY is looked at if there is no link by then; UINT64_MAX: done
    uint64_t check_ns; // when link state and error counters are read next

    struct pci_device *dev;
    phys_t rings_phys;
    phys_t tx_buffers_phys;
    char name[INTEL_NAME_MAX];
};

static inline struct intel_nic *intel_of(struct nic *nic)
{
    return (struct intel_nic *)nic;
}

uint32_t intel_read(const struct intel_nic *n, uint32_t reg);
void intel_write(const struct intel_nic *n, uint32_t reg, uint32_t value);
/// Waits until (reg & mask) == wanted, at most `us` microseconds. ERR_TIMEOUT: it never was.
MUST_CHECK enum status intel_wait(const struct intel_nic *n, uint32_t reg, uint32_t mask, uint32_t wanted,
                                  uint32_t us);

/// Maps BAR 0 and takes memory for rings and buffers; the result is owned by the caller until intel_start.
/// ERR_UNSUPPORTED: no usable BAR 0; ERR_NOMEM.
MUST_CHECK enum status intel_probe(struct pci_device *dev, const struct intel_model *model,
                                   struct intel_nic **out);
/// Gives everything back but the mapping; the device must be quiet (intel_quiesce).
void intel_free(struct intel_nic *n);
/// No link state in which frames get lost (ASPM L0s, L1) on the PCIe link to the chip.
void intel_disable_aspm(const struct pci_device *dev);
/// Stops interrupts, receiver and transmitter and waits for frames under way.
void intel_quiesce(const struct intel_nic *n);
/// How a controller's EERD register is laid out (8254x 13.4.4; 82574 10.2.2.4).
struct intel_eerd {
    uint32_t done;
    unsigned address_shift;
};
/// The station address: the EEPROM's words 0..2, else RAL0/RAH0 as loaded from it; eerd NULL: only these.
/// ERR_IO: neither holds a unicast address.
MUST_CHECK enum status intel_read_mac(struct intel_nic *n, const struct intel_eerd *eerd);
/// CTRL.RST as the controllers on PCIe want it, without bus mastering under way; masks and clears interrupts.
/// ERR_TIMEOUT: it does not end.
MUST_CHECK enum status intel_reset_pcie(struct intel_nic *n);
/// Rings and filters; after this frames flow as soon as the link is up.
void intel_start(struct intel_nic *n);
/// Lets the MAC follow the PHY. Does not wait for the link.
void intel_link_start(const struct intel_nic *n);
/// Wakes a PHY that was left powered down or not negotiating. A PHY that negotiates, or has done so, is left
/// alone: starting again costs seconds of link.
void intel_wake_phy(const struct intel_nic *n);

/// Makes a PHY that has not negotiated begin.
void intel_start_phy(const struct intel_nic *n);

/// Interrupt handler of all of them (rt/irq.h); ctx is the struct nic. Masks the device: nic->ops->irq_enable
/// arms it again.
void intel_interrupt(void *ctx, uint8_t vector);
/// Makes the device interrupt now, as a trial of the route.
void intel_provoke(struct nic *nic);
