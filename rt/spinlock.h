// SPDX-License-Identifier: BSD-2-Clause
// A ticket lock. Interrupts are off in all code that takes one, so it does not touch RFLAGS.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
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

/// The same; calls `meanwhile` until it is this CPU's turn, with how often it has called it already. Returns
/// how often it did.
static inline unsigned spin_lock_while(struct spinlock *l, void (*meanwhile)(unsigned before))
{
    uint32_t ticket = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
    unsigned n = 0;
    for (; atomic_load_explicit(&l->serving, memory_order_acquire) != ticket; n++)
        meanwhile(n);
    return n;
}

/// Does anybody wait for it? A hint, for who holds it.
static inline bool spin_wanted(const struct spinlock *l)
{
    return atomic_load_explicit(&l->next, memory_order_relaxed) -
               atomic_load_explicit(&l->serving, memory_order_relaxed) >
           1;
}

static inline void spin_unlock(struct spinlock *l)
{
    uint32_t now = atomic_load_explicit(&l->serving, memory_order_relaxed);
    atomic_store_explicit(&l->serving, now + 1, memory_order_release);
}
