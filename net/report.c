// SPDX-License-Identifier: BSD-2-Clause
// The network's counters in words (net/report.h). Must not know which end it is at.
#include "net/report.h"
#include "net/discovery.h"
#include "net/stack.h"
#include "rt/log.h"

#define ROOM "counters"

typedef unsigned long long ull; // what %llu takes

const char *link_state_name(enum link_state state)
{
    static const char *const names[] = {[LINK_CLOSED] = "closed",
                                        [LINK_CONNECTING] = "connecting",
                                        [LINK_UP] = "up",
                                        [LINK_FROZEN] = "frozen"};
    return names[state];
}

void link_report(const struct link *link, const char *peer)
{
    struct link_stats s = link_stats(link);
    log_info("links",
             "%s %s: frames sent %llu received %llu, bytes sent %llu received %llu, records sent %llu "
             "received %llu",
             peer, link_state_name(link_state(link)), (ull)s.frames_sent, (ull)s.frames_received,
             (ull)s.bytes_sent, (ull)s.bytes_received, (ull)s.records_sent, (ull)s.records_received);
    log_info("links",
             "%s retransmitted %llu duplicates %llu out of order %llu malformed %llu stale %llu acks %llu "
             "stalls %llu RTT %llu us RTO %llu us, by %s",
             peer, (ull)s.retransmitted, (ull)s.duplicates, (ull)s.out_of_order, (ull)s.malformed,
             (ull)s.stale_epoch, (ull)s.acks_sent, (ull)s.window_stalls, (ull)(s.srtt_ns / 1000),
             (ull)(s.rto_ns / 1000), link_carrier(link));
}

void net_print_counters(void)
{
    struct net_stats s = net_stats();
    struct link_node_stats n = link_node_stats();
    struct discovery_stats d = discovery_stats();
    for (unsigned i = WIRE_FINE + 1; i < WIRE_FAULTS; i++)
        log_info(ROOM, "malformed, %s: %llu", wire_fault_name(i), (ull)n.malformed[i]);
    log_info(ROOM, "damaged datagrams: %llu", (ull)s.damaged);
    log_info(ROOM,
             "frames for links: %llu, of them by l2: %llu; not to us: %llu, by a carrier not wanted: %llu",
             (ull)s.to_links, (ull)s.l2, (ull)s.foreign, (ull)s.unwanted);
    log_info(ROOM, "frames that lwIP had no buffer for: %llu", (ull)s.dropped);
    log_info(ROOM, "frames of no session: %llu, sessions opened: %llu, refused: %llu, ended: %llu",
             (ull)n.strangers, (ull)n.opened, (ull)n.refused, (ull)n.downs);
    log_info(ROOM,
             "forged frames: %llu, replayed: %llu, handshakes of unknown keys: %llu, over the limit: %llu",
             (ull)n.forged, (ull)n.replayed, (ull)n.unknown, (ull)n.limited);
    log_info(ROOM, "announcements: received %llu malformed %llu, sent %llu", (ull)d.received,
             (ull)d.malformed, (ull)d.sent);
}
