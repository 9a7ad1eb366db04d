// SPDX-License-Identifier: BSD-2-Clause
// drivers/vtd.h: queued invalidation (6.5.2; registers 11.4.15 to 11.4.17), one descriptor at a time, each
// followed by one that tells when it is done. Must not know what is invalidated. Invariant: the queue is
// empty between two calls. The unit snoops the queue and what it writes, whatever ECAP.C says of tables.
#include "drivers/hw.h"
#include "drivers/vtd_internal.h"
#include "rt/paging.h"
#include "rt/time.h"

#define REG_FSTS     0x34u
#define REG_IQT      0x88u
#define REG_IQA      0x90u
#define FSTS_REFUSED 0x70u       // IQE, ICE, ITE
#define QUEUE_BYTES  FRAME_SIZE  // IQA.QS 0: 256 descriptors of 16 bytes
#define WAIT_STATUS  (1ull << 5) // SW: write the doubleword in the upper half of the lower word
#define WAIT_DONE    (1ull << 32)

static void put(const struct vtd_unit *u, uint32_t reg, uint64_t value)
{
    hw_write32(u->regs + reg, (uint32_t)value);
    hw_write32(u->regs + reg + 4, (uint32_t)(value >> 32));
}

enum status vtd_queue_start(struct vtd_unit *u)
{
    u->queue = vtd_new_table();
    u->done = vtd_new_table();
    if (!u->queue || !u->done)
        return ERR_NOMEM;
    u->tail = 0;
    put(u, REG_IQT, 0);
    put(u, REG_IQA, virt_to_phys((const void *)u->queue));
    return vtd_command(u, GCMD_QIE, true, true);
}

static void append(struct vtd_unit *u, uint64_t low, uint64_t high)
{
    u->queue[u->tail / sizeof *u->queue] = (struct vtd_entry){low, high};
    u->tail = (u->tail + sizeof *u->queue) % QUEUE_BYTES;
}

enum status vtd_queue_do(struct vtd_unit *u, uint64_t low, uint64_t high)
{
    *u->done = 0;
    append(u, low, high);
    append(u, VTD_QUEUE_WAIT | WAIT_STATUS | WAIT_DONE, virt_to_phys((const void *)u->done));
    hw_write32(u->regs + REG_IQT, u->tail);
    for (unsigned us = 0; us < VTD_WAIT_US; us++) {
        if (*u->done)
            return OK;
        time_delay_us(1);
    }
    return hw_read32(u->regs + REG_FSTS) & FSTS_REFUSED ? ERR_IO : ERR_TIMEOUT;
}
