// SPDX-License-Identifier: BSD-2-Clause
// hv/platform/virtqueue.h. Layouts: virtio 1.2, 2.7.5 (descriptors), 2.7.6 (available ring), 2.7.8 (used
// ring).
#include "hv/platform/virtqueue.h"
#include <string.h>

#define NEXT         1u
#define WRITE        2u
#define INDIRECT     4u
#define NO_INTERRUPT 1u // flags of the available ring

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
_Static_assert(sizeof(struct descriptor) == 16, "virtio 1.2, 2.7.5");

void virtqueue_reset(struct virtqueue *q)
{
    *q = (struct virtqueue){.size = VIRTQUEUE_MAX, .vector = 0xffff};
}

static bool fetch(const struct virtqueue_memory *memory, uint64_t gpa, void *to, size_t size)
{
    uint64_t room;
    const uint8_t *from = memory->at(memory->ctx, gpa, &room);
    if (!from || room < size) // the areas are aligned: none of their fields crosses a page
        return false;
    memcpy(to, from, size);
    return true;
}

static bool store(const struct virtqueue_memory *memory, uint64_t gpa, const void *from, size_t size)
{
    uint64_t room;
    uint8_t *to = memory->at(memory->ctx, gpa, &room);
    if (!to || room < size)
        return false;
    memcpy(to, from, size);
    memory->written(memory->ctx, gpa, size);
    return true;
}

static bool add_piece(struct virtqueue_chain *chain, const struct virtqueue_memory *memory, uint64_t gpa,
                      uint64_t length, bool writable)
{
    if (length == 0 || (!writable && chain->writable))
        return length == 0; // readable behind writable: 2.7.4.2
    while (length) {
        uint64_t room;
        uint8_t *at = memory->at(memory->ctx, gpa, &room);
        if (!at || room == 0 || chain->count == VIRTQUEUE_PIECES)
            return false;
        uint32_t size = (uint32_t)(length < room ? length : room);
        uint32_t *sum = writable ? &chain->writable : &chain->readable;
        if (size > UINT32_MAX - *sum)
            return false;
        *sum += size;
        chain->pieces[chain->count++] = (struct virtqueue_piece){at, gpa, size, writable};
        gpa += size;
        length -= size;
    }
    return true;
}

/// Follows a chain in the table at `table` of `count` descriptors.
static bool follow(struct virtqueue_chain *chain, const struct virtqueue_memory *memory, uint64_t table,
                   uint32_t count, uint16_t index, bool may_be_indirect)
{
    for (uint32_t steps = 0; steps < count; steps++) { // more: it is a loop
        struct descriptor d;
        if (index >= count || !fetch(memory, table + index * sizeof d, &d, sizeof d))
            return false;
        if (d.flags & INDIRECT) {
            uint32_t entries = d.length / (uint32_t)sizeof d;
            return may_be_indirect && !(d.flags & NEXT) && d.length % sizeof d == 0 && entries > 0 &&
                   entries <= VIRTQUEUE_MAX && follow(chain, memory, d.address, entries, 0, false);
        }
        if (!add_piece(chain, memory, d.address, d.length, (d.flags & WRITE) != 0))
            return false;
        if (!(d.flags & NEXT))
            return true;
        index = d.next;
    }
    return false;
}

bool virtqueue_first(struct virtqueue *q, const struct virtqueue_memory *memory,
                     struct virtqueue_chain *chain)
{
    uint16_t available, head;
    if (!q->enabled || q->broken)
        return false;
    if (!fetch(memory, q->driver + 2, &available, sizeof available)) {
        q->broken = true;
        return false;
    }
    if (available == q->taken)
        return false;
    __atomic_thread_fence(__ATOMIC_ACQUIRE); // the index first, then what it speaks of
    chain->count = 0;
    chain->readable = chain->writable = 0;
    if ((uint16_t)(available - q->taken) > q->size ||
        !fetch(memory, q->driver + 4 + 2ull * (q->taken & (q->size - 1u)), &head, sizeof head) ||
        !follow(chain, memory, q->descriptors, q->size, head, true)) {
        q->broken = true;
        return false;
    }
    chain->head = head;
    return true;
}

void virtqueue_take(struct virtqueue *q)
{
    q->taken++;
}

void virtqueue_give(struct virtqueue *q, const struct virtqueue_memory *memory, uint16_t head,
                    uint32_t written)
{
    const uint32_t entry[2] = {head, written};
    if (!store(memory, q->device + 4 + 8ull * (q->given & (q->size - 1u)), entry, sizeof entry))
        q->broken = true;
    q->given++;
}

bool virtqueue_publish(struct virtqueue *q, const struct virtqueue_memory *memory)
{
    uint16_t flags = 0;
    if (q->given == q->published || q->broken)
        return false;
    __atomic_thread_fence(__ATOMIC_RELEASE); // entries before the index
    bool good = store(memory, q->device + 2, &q->given, sizeof q->given);
    // The index before the flags are read: the driver, on another CPU, clears NO_INTERRUPT, then looks at the
    // index (2.7.7.1). Else neither sees the other, and the interrupt is lost.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!good || !fetch(memory, q->driver, &flags, sizeof flags))
        q->broken = true;
    q->published = q->given;
    return !q->broken && !(flags & NO_INTERRUPT);
}

uint32_t virtqueue_write(const struct virtqueue_chain *chain, const struct virtqueue_memory *memory,
                         uint32_t offset, const void *from, uint32_t size)
{
    uint32_t done = 0;
    for (unsigned i = 0; i < chain->count && done < size; i++) {
        const struct virtqueue_piece *p = &chain->pieces[i];
        if (!p->writable)
            continue;
        if (offset >= p->size) {
            offset -= p->size;
            continue;
        }
        uint32_t room = p->size - offset, n = size - done < room ? size - done : room;
        memcpy(p->at + offset, (const uint8_t *)from + done, n);
        memory->written(memory->ctx, p->gpa + offset, n);
        done += n;
        offset = 0;
    }
    return done;
}

uint32_t virtqueue_read(const struct virtqueue_chain *chain, uint32_t offset, void *to, uint32_t size)
{
    uint32_t done = 0;
    for (unsigned i = 0; i < chain->count && done < size; i++) {
        const struct virtqueue_piece *p = &chain->pieces[i];
        if (p->writable)
            break;
        if (offset >= p->size) {
            offset -= p->size;
            continue;
        }
        uint32_t room = p->size - offset, n = size - done < room ? size - done : room;
        memcpy((uint8_t *)to + done, p->at + offset, n);
        done += n;
        offset = 0;
    }
    return done;
}
