// SPDX-License-Identifier: BSD-2-Clause
// The table from interrupt vector to handler. Knows no interrupt controller: drivers/apic tells how EOI is
// sent. Invariant: a handler pointer is published after its context, and never taken back.
#include "rt/irq.h"
#include "rt/spinlock.h"
#include <stddef.h>

#define VECTOR_FIRST    0x30u
#define VECTOR_LAST     0xefu
#define VECTOR_SPURIOUS 0xffu // wants no EOI (SDM vol. 3, 10.9)

static struct {
    irq_handler *_Atomic handler;
    void *ctx;
} table[256];
static struct spinlock lock;
static void (*send_eoi)(void);

enum status irq_alloc(irq_handler *handler, void *ctx, uint8_t *vector)
{
    enum status s = ERR_NOMEM;
    if (!handler)
        return ERR_INVAL;
    spin_lock(&lock);
    for (unsigned v = VECTOR_FIRST; v <= VECTOR_LAST; v++) {
        if (atomic_load_explicit(&table[v].handler, memory_order_relaxed))
            continue;
        table[v].ctx = ctx;
        atomic_store_explicit(&table[v].handler, handler, memory_order_release);
        *vector = (uint8_t)v;
        s = OK;
        break;
    }
    spin_unlock(&lock);
    return s;
}

void irq_dispatch(uint8_t vector)
{
    if (vector == VECTOR_SPURIOUS)
        return;
    irq_handler *handler = atomic_load_explicit(&table[vector].handler, memory_order_acquire);
    if (handler)
        handler(table[vector].ctx, vector);
    if (send_eoi)
        send_eoi();
}

void irq_set_eoi(void (*eoi)(void))
{
    send_eoi = eoi;
}
