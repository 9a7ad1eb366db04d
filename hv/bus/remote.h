// SPDX-License-Identifier: BSD-2-Clause
// What the files of hv/bus share: remotes, their functions, transactions in flight. Inside hv/bus (and its
// tests) only. Everything here is used with the net lock held, except where it says otherwise. All of it
// lives in fixed tables for ever: an entry that is free again may still be looked at by a CPU that was
// waiting, so tags are never reused with the same generation.
#pragma once
#include "hv/bus/bus.h"
#include "hv/bus/config_view.h"
#include "hv/bus/mirror.h"
#include "hv/platform/root_port.h"
#include "net/discovery.h"
#include "net/limit.h"
#include "net/link.h"
#include "rt/boot_info.h"
#include <stdatomic.h>

#define REMOTES_MAX    16u
#define PORTS_SPARE    4u // slots of a guest that no `device =` line names
#define PORTS_MAX      (BOOT_DEVICES_MAX + PORTS_SPARE)
#define REMOTE_FNS_MAX (BOOT_GUESTS_MAX * PORTS_MAX)
#define TAGS           128u // outstanding on one link; power of two
#define SLOT_NONE      ~0u

#define REMOTE_OFFENCES_MAX                                                                                  \
    64u // records that no remote sends which keeps to the protocol: then its link is cut off

#define INTX_GSI_FIRST 16u // the guest's I/O APIC pins for INTx of its bus (hv/platform/dsdt.asl)
#define INTX_GSIS      4u

#define REMOTE_FN_FORMAT "%s/%04x:%02x:%02x.%x"
#define REMOTE_FN_ARGS(f)                                                                                    \
    (f)->remote->node, (f)->at.segment, (f)->at.bus, (f)->at.devfn >> 3, (f)->at.devfn & 7
#define REMOTE_DEVICE_ARGS(d)                                                                                \
    (d)->node, (d)->at.segment, (d)->at.bus, (d)->at.devfn >> 3, (d)->at.devfn & 7 // struct boot_device

enum assoc_state {
    ASSOC_FREE,
    ASSOC_WANTED,    // a guest wants it; its remote has not said that it lends it
    ASSOC_ANNOUNCED, // its remote lends it; next is ATTACH
    ASSOC_ATTACHING, // ATTACH sent, or its configuration space is being read
    ASSOC_ATTACHED,
    ASSOC_REFUSED, // by the remote: see `refused_by`
    ASSOC_LOST,    // was attached; link down or function gone
    ASSOC_STATES
};

struct remote;
struct remote_fn;
struct bus_guest;

/// A root port of a guest, and whose slot it is.
struct bus_port {
    struct root_port port; // only on the guest's CPU
    struct bus_guest *guest;
    struct remote_fn *fn; // NULL: spare. Set by any CPU, taken back by the guest's
};

struct remote_bar {
    struct remote_fn *fn;
    uint8_t index;
    uint64_t home;   // where it was placed before the guest started; 0: not placed
    uint64_t mapped; // where its range in io_space starts
    bool is_mapped, is_io;
};

/// How the host learns a function's configuration space: header first, then along the capability list.
struct snapshot {
    uint8_t raw[CONFIG_VIEW_SIZE];
    struct config_capability caps[CONFIG_CAPS_MAX];
    unsigned cap_count, pending;
    uint8_t next; // capability whose first doubleword is asked for, 0: none
    bool failed;
};

struct msix_entry { // PCI 3.0, 6.8.2, figure 6-11
    uint32_t address, address_high, data, control;
};

/// What the guest programmed, what the remote was told of it, and what came. Bit n: message n.
struct fn_interrupts {
    uint8_t cap_msi, msi_size, cap_msix; // offsets in the view; 0: the guest does not see it
    uint8_t table_bar, pba_bar;
    uint16_t entries;                       // of the MSI-X table, as the guest is told: at most MESSAGES_MAX
    uint32_t table_at, pba_at, table_bytes; // in their BARs; bytes: of the function's own table
    struct msix_entry table[MESSAGES_MAX];
    enum wire_interrupt_mode told;
    uint64_t wanted; // told
    uint64_t pending;
    bool line, eoi_due;
    bool refusal_told; // that the remote does not enable what the guest wants
};

struct remote_fn {
    enum assoc_state state;
    struct remote *remote;
    struct bus_guest *guest;
    struct boot_pci_address at;
    struct bus_port *port;  // it is behind this one; NULL: on bus 0 (`bus = flat`)
    uint8_t devfn;          // there
    bool inserted;          // behind a port: its guest was told that it is there, and it has not gone since
    bool resetting;         // RESET is under way: accesses wait for it
    bool denied;            // its remote lends it to others: not asked for again in this epoch
    bool leaving;           // it is being detached
    bool asked_to_leave;    // the guest was asked to let it go
    uint64_t leaving_since; // ns
    uint16_t handle;
    uint16_t credits, credits_granted;
    bool stalled; // a posted write found no credit in time: drop at once until some comes
    bool known;   // attached at least once: info and view are valid
    bool placed;
    bool bus_master_told;
    char refused_by[WIRE_NAME_MAX]; // node that has it, or empty: the remote does not lend it
    const char *told;               // reason of the last refusal that was logged: said once
    uint64_t attach_since;          // ns
    struct wire_function info;
    struct config_view view;
    struct snapshot snapshot;
    struct {
        uint16_t offset, value;
        bool set;
    } restore[4];
    struct remote_bar bars[6];
    struct fn_interrupts irq;
    struct mirror *mirror; // NULL: no DMA so far
};

struct transaction;
/// A completion that nobody waits for came (rec NULL: it never will). body: what follows the header.
typedef void transaction_done(struct remote_fn *fn, uint16_t arg, const struct wire_record *rec,
                              const void *body, size_t size);

struct transaction {
    bool busy, done;
    void *who; // waits for it, and is to be called; NULL: it looks for itself
    uint16_t tag;
    uint16_t function; // handle the completion must name
    uint16_t want;     // bytes of data expected
    uint8_t type;      // enum wire_record_type
    uint8_t status;    // when done
    bool answered;     // when done: by the remote
    uint64_t value;
    transaction_done *then; // NULL: a CPU waits
    struct remote_fn *fn;
    uint16_t arg;
    bool orphan; // an ATTACH that nobody wants any more: what it brings is given back (`fn` is not valid)
    struct boot_pci_address at; // of an orphan
    uint64_t since;             // ns, of an orphan
};

struct remote {
    bool used;
    char node[WIRE_NAME_MAX];
    uint32_t peer, boot_id;
    uint32_t impostor; // boot id of another remote of that name; 0: never heard of one
    bool impostor_told, no_link_told;
    struct link *link;   // NULL: not heard of yet
    uint64_t idle_since; // ns; 0: a guest needs it
    struct limit said;   // sentences that it can cause as often as it likes
    struct remote_fn *attaching;
    struct transaction tags[TAGS];
    uint16_t next_tag;
    uint32_t
        given_up; // requests of this epoch that nobody waits for any more: each may still be completed, once
    uint32_t offences;                          // in this epoch
    uint64_t owed[(WIRE_HANDLE_MAX + 64) / 64]; // handles that are to be detached: bits
};

struct bus_guest {
    bool used;
    bool claims; // false: it is stopped, and has no functions
    const char *name;
    unsigned device_count; // `device =` lines
    struct boot_device
        wishes[PORTS_MAX]; // by slot: its lines, then what the console gave it; node empty: none
    uint32_t away;         // lines that the console took from it: bits
    struct io_space *io;
    struct guest_pci *pci;
    uint64_t next_mmio, next_mmio64;
    uint32_t next_io;
    enum boot_bus layout;
    struct bus_port ports[PORTS_MAX];
    _Atomic bool ports_due; // something came, went, or is to be asked to go
    unsigned port_count;
    struct bus_interrupts interrupts;
    _Atomic bool attention; // something is to be collected
    uint8_t lines;          // INTx as the I/O APIC was told; only on the guest's CPU
    struct guest_dma dma;
};

// --- transact.c ---

extern struct bus_counters bus_counts;

/// One access of a guest to a function: waits where PCIe waits. Net lock NOT held. size = 1..8. Reads that
/// cannot be completed give all-ones; posted writes (REC_MWR) return when queued.
uint64_t transact_read(struct remote_fn *fn, enum wire_record_type type, unsigned bar, uint64_t offset,
                       unsigned size);
void transact_write(struct remote_fn *fn, enum wire_record_type type, unsigned bar, uint64_t offset,
                    unsigned size, uint64_t value);
/// REC_RESET, waits. Net lock NOT held. False: not done (in time).
bool transact_reset(struct remote_fn *fn);
/// A control record without a body; waits for room only. Net lock NOT held. `then` hears how it ended. False:
/// not sent.
bool transact_begin(struct remote_fn *fn, enum wire_record_type type, transaction_done *then);
/// Any other control record, waits. Net lock NOT held. False: not done.
bool transact_control(struct remote_fn *fn, enum wire_record_type type, const void *body, size_t size);
/// Sends and returns; `then` (not NULL) hears how it ended. body as for link_send. False: could not be queued
/// now.
bool transact_async(struct remote_fn *fn, enum wire_record_type type, const void *body, size_t body_size,
                    const void *data, size_t data_size, transaction_done *then, uint16_t arg);
/// Queues one record of the mirror, waiting for room until `until`. False: not queued, or the mirror's
/// session is over.
bool transact_post(struct remote_fn *fn, enum wire_record_type type, const void *body, size_t body_size,
                   const void *data, size_t data_size, uint64_t until);
/// Lets the network move, and other guests run, while this CPU waits: the lock is given away in between.
/// `t`: for its completion; NULL: for whatever may come.
void transact_wait(struct transaction *t);
/// The attached function of that handle; NULL: there is none.
struct remote_fn *transact_by_handle(const struct remote *remote, uint16_t handle);
/// A record from a remote. Anything unexpected is dropped and counted.
void transact_record(struct remote *remote, const struct wire_record *rec, const void *body, size_t size);
/// The epoch is over: whoever waits gets its answer now.
void transact_abort(struct remote *remote);
/// As transact_abort, for what is in flight for one function without a waiting CPU. What an ATTACH brings
/// afterwards is given back (attach_orphan).
void transact_forget(struct remote_fn *fn);
/// Is an ATTACH of this function, not older than this, still in flight that nobody wants any more?
bool transact_orphaned(const struct remote *remote, const struct boot_pci_address *at, uint64_t oldest_ns);
/// DETACH of a handle, whoever had it; nobody waits. False: could not be queued now.
bool transact_detach(struct remote *remote, uint16_t handle);

// --- attach.c ---

/// Attaches the next function of this remote that is due, if none is being attached.
void attach_next(struct remote *remote);
/// Gives up an attachment that takes too long.
void attach_check(struct remote *remote, uint64_t now_ns);
/// The remote is to have back what it gave for fn, if anything: now, or as soon as the link takes DETACH.
void attach_give_back(struct remote_fn *fn);
/// The answer to an ATTACH that nobody wants any more.
void attach_orphan(struct remote *remote, const struct wire_record *rec, size_t size);

// --- remote_fn.c ---

/// Puts fn on its guest's bus (absent until it is known), in that slot (from 0), if it has slots. ERR_NOMEM:
/// no room.
MUST_CHECK enum status remote_fn_plug(struct remote_fn *fn, unsigned slot);
void remote_fn_unplug(struct remote_fn *fn);
/// After the first attachment: gives every BAR an address. The guest's io_space is not touched.
void remote_fn_place(struct remote_fn *fn);
/// As firmware leaves it: BARs at home, decoding on. Called on the guest's side only (changes its io_space).
/// Lock not needed.
void remote_fn_power_on(struct remote_fn *fn);
/// The function's requester ID as its guest knows it (PCIe Base 4.0, 2.2.6.2): bus << 8 | device << 3 |
/// function. It changes when the guest renumbers its buses. From any CPU.
uint16_t remote_fn_source(const struct remote_fn *fn);
/// The one place where a reset begins (RESET is about to be sent) and ends (RESET was done, or the function
/// was just attached: it is as after power-on, and the remote knows nothing of what it was told before).
/// Whoever keeps state about the function at the remote forgets it at the first and begins anew at the
/// second. Lock held; nothing here waits.
void remote_fn_reset_begins(struct remote_fn *fn);
void remote_fn_reset_done(struct remote_fn *fn);

/// Its guest asked for a reset (FLR, hot reset, power): registers are as after power-on at once, accesses
/// wait until the remote has done it. On the guest's CPU, lock NOT held.
void remote_fn_reset(struct remote_fn *fn);
/// Brings the guest's io_space in line with BARs, Command and the port. On the guest's CPU; lock held.
void remote_fn_decode(struct remote_fn *fn);
/// As a card in a slot.
struct guest_pci_function remote_fn_card(struct remote_fn *fn);
/// Does it answer its guest? Lock held.
static inline bool remote_fn_answers(const struct remote_fn *fn)
{
    return fn->state == ASSOC_ATTACHED && (!fn->port || fn->inserted);
}

// --- ports.c ---

/// The guest's root ports: one for each of `devices`, and spare ones.
MUST_CHECK enum status ports_build(struct bus_guest *guest, unsigned devices);
/// The port of that slot (from 0); NULL: there is none, or a function has it. Lock held.
struct bus_port *ports_spare(struct bus_guest *guest, unsigned slot);
/// As firmware leaves them before the guest's first instruction; functions that are attached are in their
/// slots. On the guest's CPU; lock held.
void ports_start(struct bus_guest *guest);
/// Something about a slot of this guest has changed: ports_collect will find it. Lock held.
void ports_attention(struct bus_guest *guest);
/// What came and went since the last look becomes hot-plug events. On the guest's CPU, lock NOT held.
void ports_collect(struct bus_guest *guest);
/// INTx of its ports, as bits from INTX_GSI_FIRST.
uint8_t ports_lines(const struct bus_guest *guest);

// --- interrupts.c ---

/// A write of `data` to `address` by something on the guest's bus: an interrupt message, or nothing. On the
/// guest's CPU.
void interrupts_send(const struct bus_guest *guest, uint64_t address, uint32_t data);
/// Drives the guest's INTx lines. On the guest's CPU; lock held.
void interrupts_drive(struct bus_guest *guest);

/// After the view was built: where its MSI and MSI-X are.
void interrupts_learn(struct remote_fn *fn);
/// Just attached again: nothing is enabled there. Tells the remote what the guest wants; does not wait.
void interrupts_attached(struct remote_fn *fn);
/// The remote's side is gone, or was reset: nothing is pending or enabled any more.
void interrupts_lost(struct remote_fn *fn);
/// As after power-on: the guest's own settings are forgotten, too.
void interrupts_reset(struct remote_fn *fn);
/// Does a write of these bytes of configuration space concern interrupts? Then interrupts_sync.
bool interrupts_configured(const struct remote_fn *fn, uint16_t offset, unsigned size);
/// Tells the remote what is wanted now, if that is news (or `always`), and waits. Net lock NOT held.
void interrupts_sync(struct remote_fn *fn, bool always);
/// Is a part of these bytes of a BAR the MSI-X table or the pending bits? They are answered here.
bool interrupts_owns(const struct remote_fn *fn, unsigned bar, uint64_t offset, unsigned size);
/// Net lock NOT held.
uint64_t interrupts_read(struct remote_fn *fn, unsigned bar, uint64_t offset, unsigned size);
void interrupts_write(struct remote_fn *fn, unsigned bar, uint64_t offset, unsigned size, uint64_t value);
/// Something is to be collected by the guest's CPU.
void bus_attention(struct bus_guest *guest);
/// Delivers what is due; on the guest's CPU.
void interrupts_collect(struct bus_guest *guest);
/// REC_INTX or REC_MSI of an attached function.
void interrupts_record(struct remote_fn *fn, const struct wire_record *rec, const void *body, size_t size);

// --- assoc.c ---

struct remote_fn *assoc_get(unsigned index); // NULL past the end; may be ASSOC_FREE
/// One past the last that was ever taken: what is done for each function costs what there is, not what there
/// could be.
unsigned assoc_count(void);
const char *assoc_state_name(enum assoc_state state);
/// A function's state changed for good or bad: says so on the console.
void assoc_set(struct remote_fn *fn, enum assoc_state state, const char *why);
/// The function, if it is a guest's. Lock held, as for all of these.
struct remote_fn *assoc_find(const struct boot_device *device);
/// It is to be this guest's: nobody has it. slot: as for remote_fn_plug. ERR_NOMEM: no room.
MUST_CHECK enum status assoc_want(struct bus_guest *guest, const struct boot_device *device, unsigned slot);
/// No guest's any more: off the bus, and given back to its remote. On the CPU of its guest (or that of a
/// guest that does not run).
void assoc_release(struct remote_fn *fn);
/// What is known of that node; NULL: no guest that runs needs it.
const struct remote *assoc_remote(const char *node);
/// Remotes of which no guest has or waits for anything are forgotten: at once, or when they had time to be
/// needed again.
void assoc_prune(bool at_once);
#define GUEST_PLACE_MAX 32u
/// Where its guest finds it: "01:00.0 (slot 1)" or "00:02.0".
const char *assoc_place(const struct remote_fn *fn, char text[GUEST_PLACE_MAX]);

// --- guests.c ---

/// The n-th guest that wishes this function, and whether it waits for it (or has it); if not, it asks for it
/// when it starts. NULL: no more. Lock held, as for all of these.
const char *guests_wishing(const struct boot_device *device, unsigned n, bool *waits);
/// Wishes by number, below GUESTS_WISHES, each once; NULL: there is none of this number.
#define GUESTS_WISHES (BOOT_GUESTS_MAX * PORTS_MAX)
const struct boot_device *guests_wish(unsigned n);
/// Functions that no guest has go to those that wait for them. starting: on its CPU, and it executes nothing
/// yet; or NULL.
void guests_serve(const struct bus_guest *starting);
