// SPDX-License-Identifier: BSD-2-Clause
// lwIP as this project uses it: ARP, IPv4, ICMP echo, UDP and DHCP, one interface, no threads, no sockets, no
// heap but its own. It owns addresses and routes. Frames of links do not go through it once their peer is
// resolved (net/udp.c).
#pragma once

#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0 // one caller at a time: the net lock
#define LWIP_NETCONN         0
#define LWIP_SOCKET          0
#define LWIP_TIMERS          1

#define LWIP_IPV4           1
#define LWIP_IPV6           0
#define LWIP_ARP            1
#define LWIP_ICMP           1
#define LWIP_RAW            0
#define LWIP_UDP            1
#define LWIP_TCP            0
#define LWIP_DHCP           1
#define LWIP_AUTOIP         0
#define LWIP_IGMP           0
#define LWIP_DNS            0
#define IP_FORWARD          0
#define IP_REASSEMBLY       0 // frames of links fit the MTU; nobody fills memory with fragments
#define IP_FRAG             0
#define LWIP_BROADCAST_PING 0

#define LWIP_SINGLE_NETIF          1
#define LWIP_NETIF_HOSTNAME        1 // told to the DHCP server
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_NETIF_LINK_CALLBACK   0

#define ARP_TABLE_SIZE      16
#define ARP_QUEUEING        1
#define ARP_QUEUE_LEN       4
#define ETHARP_TRUST_IP_MAC 0

#define MEM_LIBC_MALLOC          0
#define MEM_ALIGNMENT            8
#define MEM_SIZE                 (32 * 1024)
#define MEMP_NUM_PBUF            16
#define MEMP_NUM_UDP_PCB         4
#define MEMP_NUM_ARP_QUEUE       8
#define PBUF_POOL_SIZE           16
#define PBUF_POOL_BUFSIZE        1600
#define LWIP_SUPPORT_CUSTOM_PBUF 0

#define LWIP_STATS            1 // of memory only: `memory` on the host's console shows that nothing leaks
#define MEM_STATS             1
#define MEMP_STATS            1
#define SYS_STATS             0
#define LINK_STATS            0
#define ETHARP_STATS          0
#define IP_STATS              0
#define ICMP_STATS            0
#define UDP_STATS             0
#define LWIP_CHECKSUM_ON_COPY 0

// Found by arch/cc.h and net/stack.c.
#include "net/checksum.h"
#define LWIP_CHKSUM(data, len) checksum_fold(checksum_add(0, (data), (size_t)(len)))
