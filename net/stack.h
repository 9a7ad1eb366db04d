// SPDX-License-Identifier: BSD-2-Clause
// The network of one machine: NIC -> lwIP (ARP, DHCP, IPv4, UDP) -> links and discovery. One lock, one poll
// function. Must not know guests or PCI.
#pragma once
#include "rt/boot_info.h"
#include "rt/nic.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct net_config {
    char node[32];
    bool dhcp;
    uint8_t address[4], prefix, gateway[4];
    enum boot_carrier carrier;
    uint16_t frame; // largest frame of a link, bytes; 0: what the NIC takes
    uint32_t seed;  // something that differs between starts (TSC): epochs, boot ids, DHCP transaction ids
};

/// What the [node] section of farbus.ini says. `tsc`: RDTSC now; with the loader's readings it makes the
/// seed.
struct net_config net_config_of(const struct boot_info *info, uint64_t tsc);
/// Starts lwIP on the NIC. Does not wait for an address. Call once.
MUST_CHECK enum status net_start(struct nic *nic, const struct net_config *config);
/// True once there is an address (static: at once; DHCP: when leased).
bool net_ready(void);
/// This machine's address, network order; 0 before net_ready().
uint32_t net_address(void);

/// The NIC, NULL before net_start(): for those who look at it, not to send.
struct nic *net_nic(void);

/// Everything in net/ is used with this lock held; callbacks run with it held, too. Not recursive.
void net_lock(void);
void net_unlock(void);
/// Takes frames off the NIC, runs what they cause, and everything whose time has come. Lock held.
/// Cheap when nothing waits. Returns the number of frames taken. Inside a callback of net/ it does nothing
/// and returns 0.
unsigned net_poll(void);
/// The next frame interrupts CPU 0, once; returns the number of frames that came, and were taken, before it
/// was so. No effect when the NIC cannot (nic->irq_vector is 0), or when interrupts would take more than a
/// fifth of that CPU, or 50,000 came in a second: then frames are seen when somebody polls. A few
/// instructions when it is so already.
unsigned net_interrupt(void);
/// Nanoseconds until net_poll has something to do by itself (for an idle CPU).
uint64_t net_next_ns(void);

struct net_stats {
    uint64_t to_links, to_lwip; // received frames, by who got them
    uint64_t l2;                // of to_links: by the l2 carrier
    uint64_t damaged;           // ours, but truncated, fragmented, or with a wrong or no checksum
    uint64_t unwanted;          // for links, by a carrier that farbus.ini rules out
    uint64_t foreign;           // by l2, not to us or not from our LAN
    uint64_t dropped;           // lwIP had no buffer
};
struct net_stats net_stats(void);

/// lwIP's memory, in use now, and at most so far: buffers, datagram ends and timers from its pools, and bytes
/// of its heap; zeroes on a machine without a network. Nothing is allocated elsewhere in net/ after the
/// start.
struct net_memory {
    uint32_t pooled, pooled_max, heap, heap_max;
};
struct net_memory net_memory(void);
