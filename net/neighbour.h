// SPDX-License-Identifier: BSD-2-Clause
// Which Ethernet address a frame for an IPv4 address goes to. lwIP's ARP table answers; carriers ask. Must
// not know frames.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// Our own address and netmask, network order; address 0: none yet.
void neighbour_own(uint32_t address, uint32_t netmask);
uint32_t neighbour_address(void);

/// Is this address on our own LAN, and a machine's? (Not the broadcast address.)
bool neighbour_on_link(uint32_t address);
/// A broadcast to our LAN, limited or directed?
bool neighbour_broadcast(uint32_t address);
/// Who gets the Ethernet frame: the address itself, or the gateway when it is not on our LAN (RFC 1122,
/// 3.3.1). 0: nobody can.
uint32_t neighbour_hop(uint32_t address);
/// The Ethernet address of a hop. False: not known now.
bool neighbour_find(uint32_t hop, uint8_t mac[6]);
/// Asks for it (an ARP request). False: could not.
bool neighbour_ask(uint32_t hop);
