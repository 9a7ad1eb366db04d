// SPDX-License-Identifier: BSD-2-Clause
#include "hv/platform/msix.h"
#include <string.h>

#define CAP_ID   0x11u
#define ENABLE   0x8000u
#define MASK_ALL 0x4000u
#define MASKED   1u // Vector Control

enum { ADDRESS, ADDRESS_HIGH, DATA, CONTROL };

void guest_msix_reset(struct guest_msix *m, unsigned vectors)
{
    m->vectors = vectors;
    m->control = (uint16_t)(vectors - 1);
    m->pending = 0;
    memset(m->table, 0, sizeof m->table);
    for (unsigned i = 0; i < vectors; i++)
        m->table[i][CONTROL] = MASKED;
}

void guest_msix_capability(const struct guest_msix *m, uint8_t to[MSIX_CAPABILITY], uint8_t next,
                           unsigned bar, uint32_t table, uint32_t pending)
{
    uint32_t where[2] = {table | bar, pending | bar};
    to[0] = CAP_ID;
    to[1] = next;
    to[2] = (uint8_t)m->control;
    to[3] = (uint8_t)(m->control >> 8);
    memcpy(to + 4, where, sizeof where);
}

static void send_pending(struct guest_msix *m)
{
    for (unsigned i = 0; i < m->vectors; i++) {
        if (m->pending >> i & 1)
            guest_msix_raise(m, i);
    }
}

void guest_msix_control(struct guest_msix *m, uint16_t value)
{
    m->control = (uint16_t)((m->control & ~(ENABLE | MASK_ALL)) | (value & (ENABLE | MASK_ALL)));
    send_pending(m);
}

uint64_t guest_msix_read(const struct guest_msix *m, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    if ((size != 4 && size != 8) || offset % size || offset >= m->vectors * MSIX_ENTRY)
        return 0;
    memcpy(&value, (const uint8_t *)m->table + offset, size);
    return value;
}

void guest_msix_write(struct guest_msix *m, uint64_t offset, unsigned size, uint64_t value)
{
    if ((size != 4 && size != 8) || offset % size || offset >= m->vectors * MSIX_ENTRY)
        return;
    memcpy((uint8_t *)m->table + offset, &value, size);
    unsigned vector = (unsigned)(offset / MSIX_ENTRY);
    m->table[vector][CONTROL] &= MASKED;
    if (m->pending >> vector & 1)
        guest_msix_raise(m, vector);
}

void guest_msix_raise(struct guest_msix *m, unsigned vector)
{
    if (vector >= m->vectors || !(m->control & ENABLE))
        return;
    const uint32_t *entry = m->table[vector];
    if (m->control & MASK_ALL || entry[CONTROL] & MASKED) {
        m->pending |= 1ull << vector;
        return;
    }
    m->pending &= ~(1ull << vector);
    m->message(m->ctx, (uint64_t)entry[ADDRESS_HIGH] << 32 | entry[ADDRESS], entry[DATA]);
}
