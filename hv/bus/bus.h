// SPDX-License-Identifier: BSD-2-Clause
// The bus extension, host side: remote functions as they appear on a guest's PCI bus. Knows the link and the guest's io_space and
// PCI host; must not know VMX. Functions that wait for the network take and release the net lock themselves.
#pragma once
#include "hv/platform/io_space.h"
#include "hv/platform/pci_host.h"
#include "rt/boot_info.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct bus_guest; // a guest as the bus knows it

/// A read with no completion after this gives all-ones (link loss ends earlier, with the link's grace period).
#define BUS_COMPLETION_TIMEOUT_MS 3000u

/// Starts the association table: listens for announcements. Call once after net_start.
void bus_start(const char *host_node);
/// Tells the table which functions a guest wants (`device =` lines); from then on they are claimed as they announce themselves.
/// io and pci must outlive the guest. ERR_BUSY: a function is another guest's. `guest_name` is kept.
MUST_CHECK enum status bus_guest_add(const char *guest_name, const struct boot_device *devices, unsigned count,
                                     struct io_space *io, struct guest_pci *pci, struct bus_guest **guest);
/// True when all its functions are attached (a guest may start).
bool bus_guest_ready(const struct bus_guest *guest);
/// Guest is reset or gone: functions are reset, BARs forgotten, kept attached (reset) or released (gone).
void bus_guest_reset(struct bus_guest *guest);
void bus_guest_remove(struct bus_guest *guest);
/// Called while a guest's access waits for the network, about every poll: the console stays alive. May be NULL.
void bus_set_wait_hook(void (*hook)(void));

/// Prints the association table / the transaction counters on the console (log_info lines).
void bus_print_devices(void);
void bus_print_counters(void);
