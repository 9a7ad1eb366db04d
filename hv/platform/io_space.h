// SPDX-License-Identifier: BSD-2-Clause
// What answers a guest's port and MMIO accesses: ranges of platform devices and of remote functions. One per
// guest. Must not know VMX. Port lookup is one table read; MMIO lookup a binary search. An access that nobody
// owns reads all-ones, is ignored when written, and is counted. Ranges change only by what the guest itself
// does (it moves a BAR): whoever runs several vCPUs of one guest at once holds one lock of that guest around
// every call here. Nothing that arrives from the network changes an io_space.
#pragma once
#include "rt/status.h"
#include <stddef.h>
#include <stdint.h>

/// Ports [first, first + count). size = 1, 2, 4. Unused high bits of a read's result are ignored.
struct port_range {
    const char *name;
    uint16_t first;
    uint16_t count;
    /// An access that starts inside may reach this many ports past the end: CONFIG_ADDRESS is four bytes wide
    /// at 0xCF8 while the byte at 0xCF9 is another register. Normally 0.
    uint16_t overhang;
    uint32_t (*read)(void *dev, uint16_t port, unsigned size);
    void (*write)(void *dev, uint16_t port, unsigned size, uint32_t value);
    void *dev;
};

/// Guest-physical [base, base + size). Access size = 1, 2, 4, 8, any alignment, never crosses the end; offset
/// is from base.
struct mmio_range {
    const char *name;
    uint64_t base, size;
    uint64_t (*read)(void *dev, uint64_t offset, unsigned size);
    void (*write)(void *dev, uint64_t offset, unsigned size, uint64_t value);
    void *dev;
};

#define IO_PORT_RANGES_MAX 64
#define IO_MMIO_RANGES_MAX 64

struct io_space {
    uint8_t port_owner[65536]; // index into ports + 1; 0: nobody
    struct port_range ports[IO_PORT_RANGES_MAX];
    struct mmio_range mmio[IO_MMIO_RANGES_MAX]; // sorted by base
    unsigned port_count, mmio_count;
    unsigned mmio_last; // index of the range that was accessed last
    uint64_t unowned_port_reads, unowned_port_writes, unowned_mmio_reads, unowned_mmio_writes;
};

/// Copies *range. ERR_BUSY: overlaps one that is there; ERR_NOMEM: table full; ERR_INVAL: empty or wraps.
MUST_CHECK enum status io_space_add_ports(struct io_space *io, const struct port_range *range);
MUST_CHECK enum status io_space_add_mmio(struct io_space *io, const struct mmio_range *range);
/// Removes the range that starts there; no effect when there is none.
void io_space_remove_ports(struct io_space *io, uint16_t first);
void io_space_remove_mmio(struct io_space *io, uint64_t base);

uint32_t io_space_port_read(struct io_space *io, uint16_t port, unsigned size);
void io_space_port_write(struct io_space *io, uint16_t port, unsigned size, uint32_t value);
/// NULL: nobody. Valid until a range is added or removed.
const struct mmio_range *io_space_find_mmio(const struct io_space *io, uint64_t gpa);
/// Any size 1..8 bytes, any alignment; split at range ends.
uint64_t io_space_mmio_read(struct io_space *io, uint64_t gpa, unsigned size);
void io_space_mmio_write(struct io_space *io, uint64_t gpa, unsigned size, uint64_t value);
