// SPDX-License-Identifier: BSD-2-Clause
// Interrupts of lent functions: programs MSI and MSI-X of the real function with vectors of this machine,
// looks at Interrupt Status for INTx, and says what came. Must not know links or owners. Reaches a function
// through its ops only. Invariant: a message that was sent is told at least once after it was sent, and never
// to who came later; without DMA, bus mastering is on exactly while messages are.
#pragma once
#include "remote-fw/function.h"

#define INTERRUPT_SLOTS 128u    // messages that can be enabled at a time, all functions together
#define INTX_SLEEP_NS   250000u // and this often by a CPU that is else idle
#define INTX_LOOK_NS    50000u  // Interrupt Status is looked at this often

/// What a function writes to interrupt this machine.
struct interrupt_message {
    uint32_t address, data;
};

/// Where vectors come from: asked when a slot comes to a function that did not have it last; what others
/// sent for it is void from then on. The vector's handler calls interrupts_raise(slot).
typedef enum status interrupt_vector_fn(unsigned slot, const struct function *f,
                                        struct interrupt_message *message);

void interrupts_start(interrupt_vector_fn *vector);
/// So many functions may have messages: each of them gets one, however many others ask for.
void interrupts_share(unsigned functions);
/// REC_INTERRUPTS: body and size as received. The answer's status; other than CPL_SC: all are off.
enum wire_status interrupts_set(struct function *f, const void *body, size_t size);
/// Nothing of the function is enabled or pending any more. Before its owner changes, or it is reset.
void interrupts_off(struct function *f);
/// Message `slot` came. From interrupt handlers.
void interrupts_raise(unsigned slot);

/// The guest served INTx: look again.
void interrupts_eoi(struct function *f);
/// INTx is wanted: looks at Interrupt Status, now and then. A change is noted, like a message.
void interrupts_intx_note(struct function *f, uint64_t now_ns);
/// Is there a change to tell? Then `*asserted` is it, and interrupts_intx_told called when it was told.
bool interrupts_intx(struct function *f, bool *asserted);
void interrupts_intx_told(struct function *f, bool asserted);
/// Messages that came are noted: of functions with DMA, behind their next round, else now, they can be taken.
void interrupts_note(void);
/// Takes a message that was noted, from slot *slot on (begin with 0; may be INTERRUPT_SLOTS afterwards).
/// False: none.
bool interrupts_take(unsigned *slot, struct function **f, uint16_t *entry);
/// It could not be told now: it stays.
void interrupts_keep(unsigned slot);
