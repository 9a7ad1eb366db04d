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
#define INTEL_NAME_MAX 32

struct intel_nic {
    struct nic nic; // first: a `struct nic *` of ours is a `struct intel_nic *`
    volatile uint8_t *regs;

    // sending
    struct intel_tx_desc *tx;
    uint8_t *tx_buffers;
    uint32_t tx_tail; // next descriptor to fill
    bool up;          // carrier, as last seen
    bool irq_on;

    // receiving
    struct intel_rx_desc *rx;
    uint8_t *rx_buffers;
    phys_t rx_buffers_phys;
    uint32_t rx_head; // next descriptor the device will have filled
    bool polling;
    bool rx_in_frame;  // a frame that did not fit in one buffer is being dropped
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
/// `model` is the driver's name. ERR_UNSUPPORTED: no usable BAR 0; ERR_NOMEM.
MUST_CHECK enum status intel_probe(struct pci_device *dev, const char *model, struct intel_nic **out);
/// Gives everything back but the mapping; the device must be quiet (intel_quiesce).
void intel_free(struct intel_nic *n);
/// Stops interrupts, receiver and transmitter and waits for frames under way.
void intel_quiesce(const struct intel_nic *n);
/// How a controller's EERD register is laid out (8254x 13.4.4; 82574 10.2.2.4).
struct intel_eerd {
    uint32_t done;
    unsigned address_shift;
};
/// The station address: RAL0/RAH0 as loaded from the EEPROM, else its words 0..2. ERR_IO: neither holds a
/// unicast address.
MUST_CHECK enum status intel_read_mac(struct intel_nic *n, const struct intel_eerd *eerd);
/// Rings and filters; after this frames flow as soon as the link is up.
void intel_start(struct intel_nic *n);
/// Lets the MAC follow the PHY. Does not wait for the link.
void intel_link_start(const struct intel_nic *n);
/// Wakes a PHY that was left powered down or not negotiating. A PHY that negotiates, or has done so, is left
/// alone: starting again costs seconds of link.
void intel_wake_phy(const struct intel_nic *n);

/// Interrupt handler of all of them (rt/irq.h); ctx is the struct nic. Masks the device: nic->ops->irq_enable
/// arms it again.
void intel_interrupt(void *ctx, uint8_t vector);
/// Makes the device interrupt now, as a trial of the route.
void intel_provoke(struct nic *nic);
