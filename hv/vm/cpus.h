// SPDX-License-Identifier: BSD-2-Clause
// A guest whose vCPUs run on several CPUs at once: its lock, and how CPUs call each other out of it.
// Everything of a guest (devices, bus, memory map, vCPUs) belongs to the CPU that holds its lock. The
// scheduler takes it for a turn; it is given away only while a vCPU is inside the guest, and only of guests
// that are spread (the others' is never contended). Invariant: no VM entry without the lock in hand just
// before, so whoever holds it and has seen that no vCPU is inside (guest_still) has the guest's memory to
// himself.
#pragma once
#include "hv/vm/guest.h"

/// Takes and gives back a guest's lock. Not recursive; net_lock() may be taken inside, not around. CPU 0
/// keeps the house while it waits; when that takes long, other guests run (sched_pause).
void guest_lock(struct guest *g);
void guest_unlock(struct guest *g);
/// Does this CPU hold it?
bool guest_locked(const struct guest *g);

/// Makes other CPUs' vCPUs of this guest leave it, until the lock is given back. While this CPU holds the
/// lock, or another one that does not give it back meanwhile. True: one was inside. Costs one load when the
/// guest is not spread.
bool guest_still(struct guest *g);
/// True: no other CPU is in the middle of a slice of this guest. False: they have been told to end theirs,
/// and begin no new one while guest_wants_out(). Lock held.
bool guest_alone(struct guest *g);
/// "CPU 1", or "CPUs 1 2 3 0" of one that is spread: where its vCPUs run. Returns `text`.
const char *guest_where(const struct guest *g, char *text, size_t size);
/// Somebody has asked for what needs the whole guest: stop, reset, start, pause.
bool guest_wants_out(const struct guest *g);
