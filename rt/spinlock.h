// SPDX-License-Identifier: BSD-2-Clause
// A ticket lock. Interrupts are off in all code that takes one, so it does not touch RFLAGS.
#pragma once
#include <stdatomic.h>
#include <stdint.h>

struct spinlock {
    _Atomic uint32_t next, serving;
};

static inline void spin_lock(struct spinlock *l)
{
    uint32_t ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
    while (atomic_load_explicit(&l->serving, memory_order_acquire) != ticket)
        __builtin_ia32_pause();
}

/// The same; calls `meanwhile` again and again until it is this CPU's turn.
static inline void spin_lock_while(struct spinlock *l, void (*meanwhile)(void))
{
    uint32_t ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
    while (atomic_load_explicit(&l->serving, memory_order_acquire) != ticket)
        meanwhile();
}

static inline void spin_unlock(struct spinlock *l)
{
    uint32_t now = atomic_load_explicit(&l->serving, memory_order_relaxed);
    atomic_store_explicit(&l->serving, now + 1, memory_order_release);
}
