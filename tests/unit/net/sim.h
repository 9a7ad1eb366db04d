// SPDX-License-Identifier: BSD-2-Clause
// A simulated network for tests: nodes with addresses, a carrier that loses, repeats, delays, reorders and
// damages frames, the fake clock of tests/unit/host. Everything comes from one seed: a failing run repeats.
#pragma once
#include "net/link_node.h"

#define SIM_NODES 4

struct sim_faults { // in 1/1000 of frames
    unsigned loss, duplicate, reorder, damage, nic_full;
    unsigned flip; // one bit of it, and no checksum notices: only for sealed links
};

/// The second carrier of every node that is booted from now on, which links prefer.
enum sim_second {
    SIM_NONE,
    SIM_GOOD,
    SIM_CUT,     // nothing arrives by it
    SIM_ONE_WAY, // only what node 0 sends
    SIM_UNKNOWN, // for a while, node 0 does not know where to send by it
};
extern enum sim_second sim_second;

struct sim_node {
    uint32_t address; // a test may change it: the node moves
    bool cable;       // pulled when false: nothing in, nothing out
    struct carrier carrier, second;
    unsigned unknown;             // SIM_UNKNOWN: frames that it still does not know where to send
    struct link_node *link;       // heap: ASan guards it
    size_t frame_max, frame_most; // frame_most 0: as frame_max
    uint8_t *frames;
    uint64_t frames_out; // handed to the wire
    struct node_keys keys;
};

extern struct sim_node sim_nodes[SIM_NODES];
extern struct sim_faults sim_faults;
extern uint64_t sim_delay_ns;
extern bool sim_sealed;     // nodes that boot from now on have keys
extern unsigned sim_no_aes; // the node whose CPU has no AES; SIM_NODES: all have what this machine's has
/// Who listens: called for every frame on the wire, as it was sent. NULL: nobody.
extern void (*sim_tap)(uint32_t from, uint32_t to, const void *frame, size_t size);
/// Nodes that boot from now on take frames of so many bytes; 0: of LINK_FRAME_BYTES.
extern size_t sim_jumbo;
/// Larger frames than this, that node n sends, are lost on their way. 0: all pass.
extern size_t sim_passes[SIM_NODES];
extern unsigned sim_drop; // the how-many-th frame sent from now on is lost, once; 0: none

/// The keys of host1, host2, disk1 and disk2.
void sim_keys(struct node_keys *keys, const char *own);
void sim_start(uint64_t seed);
void sim_stop(void);
uint64_t sim_random(void);
/// Starts (or starts again, with a new boot id: everything forgotten) node n. Its address is n + 1.
void sim_boot(unsigned n, const char *name);
/// Acts on node n from now on.
void sim_on(unsigned n);
/// Runs the network for this long. `each` (may be NULL) is called at least every `step` nanoseconds.
void sim_run(uint64_t ns, uint64_t step, void (*each)(void));
/// Frames on their way.
unsigned sim_in_flight(void);
