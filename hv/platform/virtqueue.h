// SPDX-License-Identifier: BSD-2-Clause
// A split virtqueue, device side (virtio 1.2, 2.7), with indirect descriptors. Everything in it is bytes from
// a stranger: addresses outside RAM, loops and lengths that overflow break the queue (until it is reset), and
// nothing else. Must not know devices. By whoever runs the guest, one CPU at a time.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIRTQUEUE_MAX    256u // entries
#define VIRTQUEUE_PIECES 64u  // of one chain

/// The guest's memory.
struct virtqueue_memory {
    /// NULL: not RAM; else *contiguous bytes may be used.
    void *(*at)(void *ctx, uint64_t gpa, uint64_t *contiguous);
    /// Was written to.
    void (*written)(void *ctx, uint64_t gpa, uint64_t size);
    void *ctx;
};

struct virtqueue {
    uint16_t size; // power of two
    uint16_t vector;
    bool enabled, broken;
    uint64_t descriptors, driver, device; // where the three areas are
    uint16_t taken, given;                // free-running indices
    uint16_t published;                   // `given` as the guest was told
};

struct virtqueue_piece {
    uint8_t *at;
    uint64_t gpa;
    uint32_t size;
    bool writable; // by the device
};
/// A chain of descriptors: readable pieces first.
struct virtqueue_chain {
    uint16_t head;
    unsigned count;
    uint32_t readable, writable; // bytes
    struct virtqueue_piece pieces[VIRTQUEUE_PIECES];
};

void virtqueue_reset(struct virtqueue *q);
/// The oldest chain that was not taken yet. False: there is none (or the queue is broken).
bool virtqueue_first(struct virtqueue *q, const struct virtqueue_memory *memory,
                     struct virtqueue_chain *chain);
/// It is taken.
void virtqueue_take(struct virtqueue *q);
/// Gives a chain back with `written` bytes in it; seen by the guest after virtqueue_publish.
void virtqueue_give(struct virtqueue *q, const struct virtqueue_memory *memory, uint16_t head,
                    uint32_t written);
/// Shows what was given back. True: the guest wants an interrupt for it.
bool virtqueue_publish(struct virtqueue *q, const struct virtqueue_memory *memory);
/// Copies into the writable pieces from byte `offset` of them on; returns how many bytes fitted.
uint32_t virtqueue_write(const struct virtqueue_chain *chain, const struct virtqueue_memory *memory,
                         uint32_t offset, const void *from, uint32_t size);
/// Copies out of the readable pieces; returns how many bytes there were.
uint32_t virtqueue_read(const struct virtqueue_chain *chain, uint32_t offset, void *to, uint32_t size);
