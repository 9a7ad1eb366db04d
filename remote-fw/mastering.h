// SPDX-License-Identifier: BSD-2-Clause
// Bus mastering of lent functions: from DMA_START until the function is reset or given back it sees the pages
// of its DMA engine (remote-fw/dma.h), and nothing else; when rounds are due, and what waits for them. Must
// not know links or owners, nor which IOMMU this machine has. Invariant: a function masters the bus only
// while it is in an address space of its own, or blocked; before that space goes, Bus Master Enable is 0.
#pragma once
#include "remote-fw/functions.h"

/// What keeps the functions of this machine apart (remote-fw/spaces.c, or a test).
struct mastering_machine {
    /// An empty address space, the function is in it. Anything else than OK: it cannot have one now.
    MUST_CHECK enum status (*open)(struct function *f, void **space);
    /// The function reaches no memory again.
    void (*close)(void *space);
    MUST_CHECK enum status (*map)(void *space, uint64_t iova, void *page, unsigned access);
    void (*unmap)(void *space, uint64_t iova, uint64_t pages);
    void *(*table_take)(size_t bytes);
    void (*table_give)(void *table, size_t bytes);
    void *(*page_take)(void);
    void (*page_give)(void *page);
    /// An access that was stopped. False: none.
    bool (*take_fault)(struct wire_pci_address *at, struct wire_dma_fault *fault);
    /// Interrupts that wait reach their handlers (interrupts_raise) before it returns.
    void (*breathe)(void);
};

/// To the owner of `f`: as link_send, and link_room, link_room_max.
struct mastering_link {
    MUST_CHECK enum status (*send)(struct function *f, uint8_t type, const void *body, size_t size,
                                   const void *data, size_t data_size);
    size_t (*room)(struct function *f);
    size_t (*room_max)(struct function *f);
};

#define MASTERING_SOON_NS  500000u  // rounds by time: this long after the function was at work
#define MASTERING_HEARD_NS 2000000u // while its interrupts are wanted
#define MASTERING_LATE_NS  8000000u // and at most so far apart
#define MASTERING_REST     4u       // and for so many times as long as the last one took
#define MASTERING_MESSAGE  0x20u    // reasons of faults from here on speak of messages (VT-d 7.1.3)
#define MASTERING_LOOK_NS  1000000u // faults are looked for this often
#define MASTERING_FAULTS   16u      // told of one function in
#define MASTERING_FAULT_NS 100000000u

/// Before the functions are announced. `pages`: of memory, for all functions together; functions with
/// WIRE_FN_DMA may master the bus. `machine` NULL: none may.
void mastering_start(struct functions *functions, const struct mastering_machine *machine,
                     const struct mastering_link *link, uint64_t pages);
/// DMA_START: begins (anew). The answer's status; CPL_SC: *slots granted.
enum wire_status mastering_begin(struct function *f, uint32_t *slots);
/// Bus Master Enable off, nothing is mapped, memory given back. Whatever waits for a round waits no more.
void mastering_end(struct function *f);
/// DMA_MAP, DMA_UNMAP, DMA_DATA of the owner.
void mastering_input(struct function *f, uint8_t type, const void *body, size_t size);
/// The guest was at the function: it may write memory soon.
void mastering_touched(struct function *f, uint64_t now_ns);

/// A round that begins after this call is wanted. Its number, for mastering_done; 0: none is needed.
uint64_t mastering_want(struct function *f);
static inline bool mastering_done(const struct function *f, uint64_t round)
{
    return !f->dma.on || f->dma.engine.done >= round;
}
/// Begins and goes on with rounds, of all functions in turn. True: call again at once.
bool mastering_poll(uint64_t now_ns);
/// How long until mastering_poll has something to do by itself, at most `most`.
uint64_t mastering_next_ns(uint64_t now_ns, uint64_t most);

struct mastering_memory {
    uint32_t slots, granted; // of all functions together
};
struct mastering_memory mastering_memory(void);
