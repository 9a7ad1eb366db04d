// SPDX-License-Identifier: BSD-2-Clause
// A PCIe root port of the guest with one hot-plug slot (PCIe Base 4.0, 6.7 and 7.5): what is behind it comes
// and goes by the standard events that the guest's own PCI code handles. Must not know where the card really
// is, links or locks. By whoever runs the guest, one CPU at a time. Invariant: configuration cycles reach the
// card, and its BARs may be decoded, only while the link is up: a card is in the slot, has power, is not held
// in reset, and has come out of the last one.
#pragma once
#include "hv/platform/pci_host.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

#define ROOT_PORT_CONFIG 0x108u // bytes of configuration space that are not 0

struct root_port;

struct root_port_ops {
    /// Windows, Command or the link changed: what is decoded behind the port has to be looked at again.
    void (*forwarding)(void *ctx);
    /// The card is switched off or held in reset: it loses all it was told. Until root_port_ready the link
    /// stays down.
    void (*card_reset)(void *ctx);
    /// A hot-plug event's MSI: a write of `data` to `address`.
    void (*message)(void *ctx, uint64_t address, uint32_t data);
    /// Its INTx (INTA of the port's device) changed: port->line.
    void (*line)(void *ctx);
    void *ctx;
};

struct root_port {
    struct guest_pci_bus bus; // what is behind it; `up` is the link
    struct root_port_ops ops;
    uint8_t devfn; // on bus 0
    uint8_t slot;  // physical slot number, as the guest shows it
    bool present, ready;
    bool line;   // INTx
    bool wanted; // an enabled event is there
    uint8_t image[ROOT_PORT_CONFIG];
};

/// What firmware programs: bus number and windows; a window of size 0 is closed. Memory and prefetchable:
/// multiples of 1 MiB, I/O: of 4 KiB.
struct root_port_setup {
    uint8_t bus;
    uint32_t memory, memory_size;
    uint64_t prefetchable, prefetchable_size;
    uint16_t io, io_size;
};

/// Adds the port and the bus behind it to `pci`; slot empty, power-on state. devfn: function 0 of a device.
/// ERR_BUSY, ERR_NOMEM: as guest_pci_add. *ops is copied.
MUST_CHECK enum status root_port_init(struct root_port *p, struct guest_pci *pci, uint8_t devfn, uint8_t slot,
                                      const struct root_port_ops *ops);
/// Power-on state; slot empty. Tells nobody.
void root_port_reset(struct root_port *p);
/// After root_port_reset: as firmware leaves it, with this card in the slot (NULL: none) and no event
/// pending. Tells nobody.
void root_port_setup(struct root_port *p, const struct root_port_setup *setup,
                     const struct guest_pci_function *card);
/// A card comes into the (empty) slot; it must be as after reset. When the slot's power is off the attention
/// button is pressed, too, as whoever inserts a card does (6.7.1.5).
void root_port_insert(struct root_port *p, const struct guest_pci_function *card);
/// It is gone, whatever the guest was doing with it.
void root_port_remove(struct root_port *p);
/// Has the card come out of its reset?
void root_port_ready(struct root_port *p, bool ready);
/// The attention button: please power the slot off (or on).
void root_port_press(struct root_port *p);
/// Does the guest listen to the slot's events (Hot-Plug Interrupt Enable)?
bool root_port_managed(const struct root_port *p);
/// Has the guest the slot's power on?
bool root_port_powered(const struct root_port *p);
/// Is an access to all of [base, base + size) passed on to the card?
bool root_port_passes_memory(const struct root_port *p, uint64_t base, uint64_t size);
bool root_port_passes_io(const struct root_port *p, uint64_t base, uint64_t size);
