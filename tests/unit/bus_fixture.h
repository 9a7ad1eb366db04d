// SPDX-License-Identifier: BSD-2-Clause
// One guest with remote functions disk1/0000:00:01.0 and 02.0 before a fake remote, for tests of hv/bus.
#pragma once
#include "tests/unit/fake_remote.h"

#define PEER    0x0200000au
#define BOOT_ID 77u
#define SLOT(n) ((uint8_t)((n) << 3))

static struct fixture {
    struct io_space io;
    struct guest_pci pci;
    struct bus_guest *guest;
    struct boot_device devices[2];
} fx;

static enum boot_bus fixture_layout = BOOT_BUS_FLAT;

static inline uint32_t config_address(uint8_t devfn, unsigned offset)
{
    return 0x80000000u | (uint32_t)devfn << 8 | (offset & 0xfc);
}

/// As a guest does it: through 0xCF8 and 0xCFC.
static inline uint32_t cfg_read(uint8_t devfn, unsigned offset, unsigned size)
{
    io_space_port_write(&fx.io, 0xcf8, 4, config_address(devfn, offset));
    uint32_t value = io_space_port_read(&fx.io, (uint16_t)(0xcfc + (offset & 3)), size);
    return size == 4 ? value : value & ((1u << size * 8) - 1);
}

static inline void cfg_write(uint8_t devfn, unsigned offset, unsigned size, uint32_t value)
{
    io_space_port_write(&fx.io, 0xcf8, 4, config_address(devfn, offset));
    io_space_port_write(&fx.io, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

static inline struct remote_fn *fn_of(unsigned i)
{
    for (unsigned k = 0; k < assoc_count(); k++) {
        struct remote_fn *fn = assoc_get(k);
        if (fn->state != ASSOC_FREE && fn->at.devfn == fx.devices[i].at.devfn)
            return fn;
    }
    return NULL;
}

/// Nothing but the tables: no guest, no remote.
static inline void fixture_clear(void)
{
    memset(&fx, 0, sizeof(fx));
    memset(&fake, 0, sizeof(fake));
    memset(&bus_counts, 0, sizeof(bus_counts));
    host_time_set_ns(1000000000);
    fake_device(0, SLOT(1));
    fake_device(1, SLOT(2));
    for (unsigned i = 0; i < 2; i++) {
        wire_text_set(fx.devices[i].node, sizeof(fx.devices[i].node), "disk1");
        fx.devices[i].at.devfn = SLOT(i + 1);
        fx.devices[i].ini_line = 10 + i;
    }
    fake_require(guest_pci_init(&fx.pci, &fx.io) == OK, "guest_pci_init");
    fake_wait(fake_hook);
    bus_start("host1");
}

static inline void fixture_guest(void)
{
    fake_require(bus_guest_add("g", fixture_layout, fx.devices, 2, &fx.io, &fx.pci, &fx.guest) == OK,
                 "bus_guest_add");
}

/// Guest started, both functions attached.
static inline void fixture_attached(void)
{
    fixture_clear();
    fixture_guest();
    fake_announce(PEER, BOOT_ID, 2);
    fake_up();
    fake_settle();
    fake_require(bus_guest_ready(fx.guest), "attached");
    bus_guest_start(fx.guest);
    fake_forget_counts();
    memset(&bus_counts, 0, sizeof(bus_counts));
}

static inline void fixture_end(void)
{
    if (fx.guest)
        bus_guest_remove(fx.guest);
    fx.guest = NULL;
    fake_require(!fake.locked, "net lock left taken");
    fake_require(fake.malformed == 0, "the host made a malformed record");
}
