// SPDX-License-Identifier: BSD-2-Clause
// Split virtqueues (virtio 1.2, 2.7). One frame of memory for descriptors, one for both rings. x86 keeps
// stores in order and loads in order, so that only the compiler is held back, but for the one place where a
// load must not pass a store: the device's wish not to be notified (2.7.13.4.1), and its mirror, our wish not
// to be interrupted.
#include "drivers/hw.h"
#include "drivers/virtio_device.h"
#include "rt/memory.h"
#include "rt/paging.h"
#include <stddef.h>

#define QUEUE_FRAMES 2u
#define USED_OFFSET  1024u

_Static_assert(VIRTQ_MAX * sizeof(struct virtq_desc) <= FRAME_SIZE, "descriptors fit");
_Static_assert(sizeof(struct virtq_avail) + (VIRTQ_MAX + 1) * 2 <= USED_OFFSET, "the available ring fits");
_Static_assert(USED_OFFSET + sizeof(struct virtq_used) + VIRTQ_MAX * sizeof(struct virtq_used_elem) + 2 <=
                   FRAME_SIZE,
               "the used ring fits");

enum status virtq_alloc(struct virtq *q)
{
    *q = (struct virtq){.memory = frames_alloc(QUEUE_FRAMES, FRAME_SIZE, 0)};
    if (q->memory == FRAME_NONE)
        return ERR_NOMEM;
    uint8_t *bytes = phys_to_virt(q->memory);
    q->desc = (volatile struct virtq_desc *)(void *)bytes;
    q->avail = (volatile struct virtq_avail *)(void *)(bytes + FRAME_SIZE);
    q->used = (volatile struct virtq_used *)(void *)(bytes + FRAME_SIZE + USED_OFFSET);
    return OK;
}

void virtq_free(struct virtq *q)
{
    if (q->desc)
        frames_free(q->memory, QUEUE_FRAMES);
    *q = (struct virtq){0};
}

static void write64(const struct virtio_device *v, uint32_t at, uint64_t value)
{
    hw_write32(v->common + at, (uint32_t)value);
    hw_write32(v->common + at + 4, (uint32_t)(value >> 32));
}

enum status virtq_start(struct virtq *q, const struct virtio_device *v, uint16_t index, uint16_t size_max,
                        bool msix)
{
    hw_write16(v->common + VIRTIO_QUEUE_SELECT, index);
    uint16_t size = hw_read16(v->common + VIRTIO_QUEUE_SIZE);
    uint64_t doorbell = (uint64_t)hw_read16(v->common + VIRTIO_QUEUE_NOTIFY_OFF) * v->notify_factor;
    if (size == 0 || (size & (size - 1)) != 0 || doorbell > v->notify_size - 2)
        return ERR_UNSUPPORTED;
    size = size < size_max ? size : size_max;

    memory_fill(phys_to_virt(q->memory), 0, QUEUE_FRAMES * FRAME_SIZE);
    for (unsigned i = 0; i < VIRTQ_MAX; i++)
        q->with_device[i] = false;
    q->index = index;
    q->size = size;
    q->avail_idx = q->used_idx = 0;
    q->doorbell = v->notify + doorbell;
    q->avail->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;

    hw_write16(v->common + VIRTIO_QUEUE_SIZE, size);
    write64(v, VIRTIO_QUEUE_DESC, q->memory);
    write64(v, VIRTIO_QUEUE_DRIVER, q->memory + FRAME_SIZE);
    write64(v, VIRTIO_QUEUE_DEVICE, q->memory + FRAME_SIZE + USED_OFFSET);
    if (msix) {
        hw_write16(v->common + VIRTIO_QUEUE_MSIX_VECTOR, 0);
        if (hw_read16(v->common + VIRTIO_QUEUE_MSIX_VECTOR) != 0)
            return ERR_UNSUPPORTED;
    }
    hw_write16(v->common + VIRTIO_QUEUE_ENABLE, 1);
    return OK;
}

void virtq_give(struct virtq *q, uint16_t id)
{
    q->with_device[id] = true;
    q->avail->ring[q->avail_idx & (q->size - 1)] = id;
    q->avail_idx++;
}

void virtq_publish(struct virtq *q)
{
    __atomic_signal_fence(__ATOMIC_RELEASE);
    q->avail->idx = q->avail_idx;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(q->used->flags & VIRTQ_USED_F_NO_NOTIFY))
        hw_write16(q->doorbell, q->index);
}

enum status virtq_take(struct virtq *q, uint16_t *id, uint32_t *len)
{
    uint16_t ready = (uint16_t)(q->used->idx - q->used_idx);
    if (ready == 0)
        return ERR_NOTFOUND;
    if (ready > q->size)
        return ERR_PROTOCOL;
    __atomic_signal_fence(__ATOMIC_ACQUIRE);
    volatile struct virtq_used_elem *e = &q->used->ring[q->used_idx & (q->size - 1)];
    uint32_t which = e->id;
    *len = e->len;
    if (which >= q->size || !q->with_device[which])
        return ERR_PROTOCOL;
    q->with_device[which] = false;
    q->used_idx++;
    *id = (uint16_t)which;
    return OK;
}

void virtq_interrupts(struct virtq *q, bool on)
{
    q->avail->flags = (uint16_t)(on ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
