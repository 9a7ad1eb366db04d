// SPDX-License-Identifier: BSD-2-Clause
// See neighbour.h.
#include "net/neighbour.h"
#include "net/lwip/headers.h"

#define LIMITED_BROADCAST 0xffffffffu
#define NO_LAN            0xffffffffu // a netmask

static uint32_t own, netmask;

void neighbour_own(uint32_t address, uint32_t mask)
{
    own = address;
    netmask = mask;
}

uint32_t neighbour_address(void)
{
    return own;
}

bool neighbour_broadcast(uint32_t address)
{
    return address == LIMITED_BROADCAST || (netmask != NO_LAN && address == (own | ~netmask));
}

bool neighbour_on_link(uint32_t address)
{
    return own != 0 && (address & netmask) == (own & netmask) && !neighbour_broadcast(address);
}

uint32_t neighbour_hop(uint32_t address)
{
    return (address & netmask) == (own & netmask) ? address : ip4_addr_get_u32(netif_ip4_gw(netif_default));
}

bool neighbour_find(uint32_t hop, uint8_t mac[6])
{
    ip4_addr_t ip;
    struct eth_addr *found;
    const ip4_addr_t *unused;
    ip4_addr_set_u32(&ip, hop);
    if (etharp_find_addr(netif_default, &ip, &found, &unused) < 0)
        return false;
    memcpy(mac, found->addr, 6);
    return true;
}

bool neighbour_ask(uint32_t hop)
{
    ip4_addr_t ip;
    ip4_addr_set_u32(&ip, hop);
    return etharp_request(netif_default, &ip) == ERR_OK;
}
