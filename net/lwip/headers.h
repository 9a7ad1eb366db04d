// SPDX-License-Identifier: BSD-2-Clause
// lwIP's headers for net/: one of its error names is also one of ours (rt/status.h). This is the only way to
// include them.
#pragma once
#define ERR_TIMEOUT LWIP_ERR_TIMEOUT
#include "lwip/dhcp.h"
#include "lwip/err.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"
#undef ERR_TIMEOUT
