// SPDX-License-Identifier: BSD-2-Clause
// The bus extension, host side: remote functions as they appear on a guest's PCI bus. Knows the link and the
// guest's io_space and PCI host; must not know VMX. Every function here takes and releases the net lock
// itself: call without it. "Who runs the guest", "the guest's CPU": whoever holds the lock of that guest
// (hv/vm/cpus.h), another CPU each time, and one at a time; where no vCPU may be inside the guest, it says
// so. A remote function answers its guest only while it is attached; before and after, every access reads
// all-ones at once.
#pragma once
#include "hv/platform/io_space.h"
#include "hv/platform/ioapic.h"
#include "hv/platform/pci_host.h"
#include "rt/boot_info.h"
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

struct bus_guest; // a guest as the bus knows it

/// A read with no completion after this gives all-ones (link loss ends earlier, with the link's grace
/// period).
#define BUS_COMPLETION_TIMEOUT_MS 3000u

/// Starts the association table: listens for announcements. Call once after net_start.
void bus_start(const char *host_node);
/// Tells the table which functions a guest wants (`device =` lines); from then on they are claimed as they
/// announce themselves. io and pci must outlive the guest. ERR_BUSY: a function is another guest's.
/// `guest_name` and `devices` are kept.
/// layout: behind root ports, or on bus 0.
MUST_CHECK enum status bus_guest_add(const char *guest_name, enum boot_bus layout,
                                     const struct boot_device *devices, unsigned count, struct io_space *io,
                                     struct guest_pci *pci, struct bus_guest **guest);
/// True when all its functions are attached (a guest may start).
bool bus_guest_ready(const struct bus_guest *guest);
/// Right before the guest's first instruction, by whoever runs it: functions that are attached get their BARs
/// decoded, as firmware leaves them. Behind a port, one that comes later is a card that is put into its slot;
/// on bus 0 it is placed, but decoded only when the guest turns it on.
void bus_guest_start(struct bus_guest *guest);
/// Guest is reset or gone: functions are reset, BARs forgotten, kept attached (reset) or released (gone). By
/// whoever runs the guest, while it does not run. Reset waits for the remote; decoding is as after
/// bus_guest_start.
void bus_guest_reset(struct bus_guest *guest);
void bus_guest_remove(struct bus_guest *guest);
/// The guest has stopped: its functions, those of the console's attach too, are given back, and reset by
/// their remotes; guests that wait for them have them, then whoever asks. By whoever runs the guest. Does not
/// wait.
void bus_guest_stop(struct bus_guest *guest);
/// A stopped guest is to start again: asks for its `device =` lines and what the console gave it, as
/// bus_guest_add does; those that are another guest's now it has when that one gives them back. By whoever
/// runs the guest; bus_guest_start comes when bus_guest_ready, or its patience is over.
void bus_guest_claim(struct bus_guest *guest);
/// A sentence for each function that the guest has to start without.
void bus_guest_tell_missing(const struct bus_guest *guest);
/// In place of bus_guest_collect, by whoever runs the guest, while it waits or is stopped: functions that
/// were taken from it leave.
void bus_guest_rest(struct bus_guest *guest);
/// Gives a guest one more function, as a card that is put into a spare slot when it is there, now and
/// whenever the guest starts again; from any CPU. ERR_BUSY: a guest has it; ERR_NOMEM: no spare slot;
/// ERR_UNSUPPORTED: the guest has no slots (`bus = flat`); ERR_DENIED: it is stopped.
MUST_CHECK enum status bus_guest_attach(struct bus_guest *guest, const struct boot_device *device);
/// Takes it away: the guest is asked by the slot's attention button and has 20 s to switch the slot off, then
/// the card is pulled. Or it waits for it no longer. One of its `device =` lines it has again when it starts
/// again, or by attach. From any CPU. ERR_INVAL: it neither has it nor waits; ERR_UNSUPPORTED: as above.
MUST_CHECK enum status bus_guest_detach(struct bus_guest *guest, const struct boot_device *device);
/// How interrupts of a guest's functions reach it. message and line are called by bus_guest_collect and
/// bus_guest_eoi, and in the guest's own accesses; attention, from any CPU with the net lock held, says that
/// there is something to collect.
struct bus_interrupts {
    void (*message)(void *ctx, const struct interrupt_message *message);
    void (*line)(void *ctx, unsigned gsi, bool high);
    void (*attention)(void *ctx);
    void *ctx;
};
void bus_guest_interrupts(struct bus_guest *guest, const struct bus_interrupts *interrupts);
/// By whoever runs the guest, before its next instruction: delivers what is due. Costs one load when nothing
/// is.
void bus_guest_collect(struct bus_guest *guest);
/// The guest ended the level-triggered interrupt of that I/O APIC pin. By whoever runs it.
void bus_guest_eoi(struct bus_guest *guest, unsigned gsi);

struct guest_iommu;

/// A guest's memory, for DMA. All by whoever runs the guest, except `page` and `still`.
struct bus_memory {
    /// The guest executes nothing from here on, until who runs it lets it go on. True: another of its CPUs
    /// was in the middle of it till now. From any CPU, while one that runs the guest is inside the bus. NULL:
    /// it has one CPU.
    bool (*still)(void *ctx);
    /// The 4 KiB page of RAM at gpa (page aligned); NULL: not RAM.
    void *(*page)(void *ctx, uint64_t gpa);
    /// From now on dirty() tells of this page alone (nested paging may have to split a large page). False: it
    /// cannot, compare always.
    bool (*watch)(void *ctx, uint64_t gpa);
    /// Was the page written by the guest (or by us for it) since the last call? Clears that; once any call
    /// said true, settle() must come before the guest's next instruction.
    bool (*dirty)(void *ctx, uint64_t gpa);
    void (*settle)(void *ctx);
    /// Where nested paging notes it, for a look that costs no call: dirty() says true exactly when one of the
    /// bits in *mask is set there. Good until the guest is reset. NULL: ask dirty(). May itself be NULL.
    const volatile uint64_t *(*note)(void *ctx, uint64_t gpa, uint64_t *mask);
    /// RAM as ranges, for `dma = mirror`: index from 0; false: no more.
    bool (*range)(void *ctx, unsigned index, uint64_t *gpa, uint64_t *size);
    void *ctx;
};
/// How DMA of a guest's functions reaches its memory. iommu: as the guest's own tables say; NULL (`dma =
/// mirror`): all of its memory, at the addresses it has. Once, right after bus_guest_add. *memory is copied.
void bus_guest_dma(struct bus_guest *guest, const struct bus_memory *memory, struct guest_iommu *iommu);
/// The guest changed mappings (hv/platform/iommu.h, guest_iommu_ops.changed). By whoever runs it.
struct iommu_scope;
void bus_guest_mappings(struct bus_guest *guest, const struct iommu_scope *scope);

/// How a CPU waits for a remote, and who calls it.
struct bus_waits {
    /// Who is about to wait, if it is to be called; NULL: it looks for itself. With the net lock.
    void *(*who)(void);
    /// Called while a guest's access waits, about every poll, without the net lock: the console stays alive;
    /// and, where `who` is not NULL, other guests run. Must not reset or remove the guest: note it and do it
    /// when the access has returned.
    void (*wait)(void *who);
    /// What it waits for may be there; NULL: what anybody waits for. With the net lock, from any CPU.
    void (*wake)(void *who);
};
/// NULL (also for a function): nothing is done. The structure is the caller's and stays.
void bus_set_waits(const struct bus_waits *waits);
/// Who has called net_poll() says so: `frames` came, so waits for room and credit may be over. With the net
/// lock.
void bus_polled(unsigned frames);

/// What happened on the bus since the start, all remotes together.
struct bus_counters {
    uint64_t
        requests[8];  // by enum wire_record_type REC_CFG_RD..REC_MWR, guests' accesses that went to a remote
    uint64_t control; // ATTACH, DETACH, RESET, and configuration reads of our own at attach
    uint64_t completions;  // that were waited for
    uint64_t unsupported;  // of these: UR, CA or a status we do not know
    uint64_t retried;      // CRS: asked again
    uint64_t timeouts;     // no completion in BUS_COMPLETION_TIMEOUT_MS
    uint64_t waited_ns;    // CPUs stood still for remotes: completions, credit, room; without what others ran
                           // meanwhile
    uint64_t link_lost;    // the link went down while it was waited for
    uint64_t all_ones;     // reads that were answered all-ones, for whatever reason
    uint64_t absent;       // accesses while the function was not attached
    uint64_t config_local; // configuration accesses answered here
    uint64_t posted_dropped; // posted writes that could not be queued
    uint64_t credit_stalls;  // posted writes that had to wait for credit
    uint64_t queue_stalls;   // requests that had to wait for room on the link
    uint64_t unexpected;     // records nobody asked for: dropped
    uint64_t malformed;      // completions of the wrong kind, size or function: dropped or taken as failed
    uint64_t interrupts;     // INTX (asserted) and MSI records, taken
    uint64_t interrupts_dropped; // interrupts that nobody wanted, or whose message is none
    uint64_t errors;             // REC_ERROR records
    // the mirror (docs/dma.md)
    uint64_t dma_maps, dma_unmaps;   // pages
    uint64_t dma_cache_hits;         // maps of a page that a slot still held
    uint64_t dma_pushed, dma_pulled; // bytes of content to remotes, of functions' writes from them
    uint64_t dma_stale;              // DATA of mappings that were over: dropped
    uint64_t dma_spoiled;            // slots whose content was lost that way
    uint64_t dma_faults;             // accesses that a remote's IOMMU stopped
    uint64_t dma_refused;            // pages that the guest mapped and the function does not see
    uint64_t dma_overruns;           // rounds too large to be kept until the guest could take them
    uint64_t dma_mapped, dma_twins;  // now: pages, frames
    uint64_t bar_conflicts;          // BARs that could not be decoded where the guest put them
};
struct bus_counters bus_counters(void);

/// This machine goes down: remotes are told, so that they have their functions back at once and not when the
/// lease is over.
void bus_end(const char *why);

/// Prints the association table / the transaction counters on the console (log_info lines).
void bus_print_devices(void);
void bus_print_counters(void);
