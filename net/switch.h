// SPDX-License-Identifier: BSD-2-Clause
// The virtual switch: guests' virtual NICs, this machine's own stack (lwIP) and the wire share one NIC.
// Frames of links never come here: net/stack.c takes them first. Every port's address is configured and
// pinned, so nothing is learnt and nothing can be unlearnt by a flood of made-up addresses: a frame for an
// address that is no port's goes to the wire, and from the wire only what is for a port (or for all) is
// taken. Must not know guests, or what a virtual NIC looks like. Net lock held for every call (net/stack.h).
// Invariants: a guest's frame leaves with the address of its port or not at all, and names no IPv4 address as
// its own that a link needs; a port can neither give this machine an address nor fill its ARP table; no port
// ever sends or receives a frame of a link; a link's frame always finds room in the NIC's ring, and few
// guests' before it; where links lose frames, guests send less.
#pragma once
#include "rt/nic.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SWITCH_PORTS_MAX 32u
#define SWITCH_FRAME_MAX 1518u // 1500 bytes, a header, and one VLAN tag
#define SWITCH_QUEUE     128u  // frames that wait for one port
// While this many frames wait in the NIC's ring, guests' frames do not join them: a link's frame that comes
// then waits for no more. At 1 Gb/s 32 full ones take 0.4 ms, and keep the wire busy that long.
#define SWITCH_AHEAD   32u
#define SWITCH_RESERVE 16u // places of the ring that guests' frames leave free, however small it is

struct switch_port;

struct switch_config {
    const char *name; // kept: "guest a, NIC 0"
    uint8_t mac[6];   // unicast
    uint64_t rate;    // bytes a second that it may send; 0: no limit
    /// A frame has come for a port that had none waiting. From any CPU.
    void (*attention)(void *ctx);
    void *ctx;
};

struct switch_stats {
    uint64_t sent, sent_bytes, received, received_bytes;
    uint64_t spoofed;   // with a source address (or an ARP sender) that is not the port's
    uint64_t forbidden; // frames of links, and of protocols between switches
    uint64_t malformed; // too short or too long
    uint64_t dropped;   // came while its queue was full
    uint64_t held;      // it had to try again: over its rate, or the wire was busy
};

/// The NIC, and the address of this machine's own stack. Once. The NIC is asked to take all frames when the
/// first port comes.
void switch_start(struct nic *nic, const uint8_t mac[6]);
/// ERR_BUSY: the address is in use here; ERR_INVAL: not a unicast address; ERR_NOMEM.
MUST_CHECK enum status switch_add(const struct switch_config *config, struct switch_port **port);
void switch_remove(struct switch_port *port);
/// A frame from a port, without FCS. OK: sent, or dropped for good (and counted). ERR_BUSY: later. The bytes
/// are free on return.
MUST_CHECK enum status switch_send(struct switch_port *port, const struct nic_piece *pieces, unsigned count);
/// The oldest frame that waits for a port; NULL: none. Valid until switch_drop.
const uint8_t *switch_first(const struct switch_port *port, size_t *size);
void switch_drop(struct switch_port *port);
struct switch_stats switch_stats(const struct switch_port *port);
/// A frame of a link was lost on the wire. If guests' frames were there, too, all ports together send half as
/// much from now on (once in 20 ms, not less than 1.5 MB/s), and more again as time goes by: so guests that
/// send more than the LAN or a remote takes do not make the links lose their frames.
void switch_give_way(void);
/// What that is at present, bytes a second; 0: no limit.
uint64_t switch_wire_rate(void);
/// The n-th port, NULL behind the last; its name (for the console).
const struct switch_port *switch_get(unsigned n);
const char *switch_name(const struct switch_port *port);

// --- for net/stack.c ---

/// A frame from the wire that is no link's: ports get their copies. True: the stack is to have it, too.
bool switch_from_wire(const uint8_t *frame, size_t size);
/// A frame from this machine's stack. True: it is to be sent on the wire (as well).
bool switch_from_stack(const struct nic_piece *pieces, unsigned count);
/// Which IPv4 addresses (network order) no port may say it has: this machine's, and those that links go to.
/// Else one guest could call away the frames of others' links, here and at remotes.
void switch_protect(bool (*in_use)(uint32_t address));
/// Where frames from ports for this machine's own stack go. Not what a DHCP server says, and of ARP a few a
/// second: its table is small, and links are begun with what it holds.
void switch_to_stack(void (*input)(const uint8_t *frame, size_t size));
