// SPDX-License-Identifier: BSD-2-Clause
// Ranges of ports and of guest-physical memory, and the dispatch of one access to its owner.
// Invariant: port_owner[p] is 0 or one more than the slot of a live range that contains p; mmio[] is sorted
// and disjoint.
#include "hv/platform/io_space.h"
#include <stdbool.h>

static uint64_t ones(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

enum status io_space_add_ports(struct io_space *io, const struct port_range *range)
{
    uint32_t end = (uint32_t)range->first + range->count;
    if (range->count == 0 || end > 0x10000 || !range->read || !range->write)
        return ERR_INVAL;
    for (uint32_t port = range->first; port < end; port++) {
        if (io->port_owner[port])
            return ERR_BUSY;
    }
    for (unsigned slot = 0; slot < IO_PORT_RANGES_MAX; slot++) {
        if (io->ports[slot].count)
            continue;
        io->ports[slot] = *range;
        for (uint32_t port = range->first; port < end; port++)
            io->port_owner[port] = (uint8_t)(slot + 1);
        io->port_count++;
        return OK;
    }
    return ERR_NOMEM;
}

void io_space_remove_ports(struct io_space *io, uint16_t first)
{
    uint8_t owner = io->port_owner[first];
    if (!owner)
        return;
    struct port_range *range = &io->ports[owner - 1];
    if (range->first != first)
        return;
    for (uint32_t i = 0; i < range->count; i++)
        io->port_owner[first + i] = 0;
    *range = (struct port_range){0};
    io->port_count--;
}

/// The range an access of `size` belongs to as a whole, or NULL.
static struct port_range *port_find(struct io_space *io, uint16_t port, unsigned size)
{
    uint8_t owner = io->port_owner[port];
    if (!owner)
        return NULL;
    struct port_range *range = &io->ports[owner - 1];
    return port + size <= (uint32_t)range->first + range->count + range->overhang ? range : NULL;
}

/// As an ISA bus does it: a wide access that no device takes whole goes out as bytes. Ports wrap at 64 Ki.
static __attribute__((noinline)) uint32_t port_read_bytes(struct io_space *io, uint16_t port, unsigned size)
{
    uint32_t value = 0;
    bool owned = false;
    for (unsigned i = 0; i < size; i++) {
        uint16_t at = (uint16_t)(port + i);
        struct port_range *range = port_find(io, at, 1);
        uint32_t byte = range ? range->read(range->dev, at, 1) & 0xffu : 0xffu;
        owned |= range != NULL;
        value |= byte << (i * 8);
    }
    if (!owned)
        io->unowned_port_reads++;
    return value;
}

static __attribute__((noinline)) void port_write_bytes(struct io_space *io, uint16_t port, unsigned size,
                                                       uint32_t value)
{
    bool owned = false;
    for (unsigned i = 0; i < size; i++) {
        uint16_t at = (uint16_t)(port + i);
        struct port_range *range = port_find(io, at, 1);
        if (range)
            range->write(range->dev, at, 1, value >> (i * 8) & 0xffu);
        owned |= range != NULL;
    }
    if (!owned)
        io->unowned_port_writes++;
}

uint32_t io_space_port_read(struct io_space *io, uint16_t port, unsigned size)
{
    struct port_range *range = port_find(io, port, size);
    if (__builtin_expect(range != NULL, 1))
        return range->read(range->dev, port, size);
    return port_read_bytes(io, port, size);
}

void io_space_port_write(struct io_space *io, uint16_t port, unsigned size, uint32_t value)
{
    struct port_range *range = port_find(io, port, size);
    if (__builtin_expect(range != NULL, 1))
        range->write(range->dev, port, size, value);
    else
        port_write_bytes(io, port, size, value);
}

/// Index of the first range that ends above gpa.
static unsigned mmio_lower(const struct io_space *io, uint64_t gpa)
{
    unsigned low = 0, high = io->mmio_count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        const struct mmio_range *r = &io->mmio[mid];
        if (r->base + (r->size - 1) < gpa)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

enum status io_space_add_mmio(struct io_space *io, const struct mmio_range *range)
{
    if (range->size == 0 || range->base + (range->size - 1) < range->base || !range->read || !range->write)
        return ERR_INVAL;
    unsigned at = mmio_lower(io, range->base);
    if (at < io->mmio_count && io->mmio[at].base <= range->base + (range->size - 1))
        return ERR_BUSY;
    if (io->mmio_count == IO_MMIO_RANGES_MAX)
        return ERR_NOMEM;
    for (unsigned i = io->mmio_count; i > at; i--)
        io->mmio[i] = io->mmio[i - 1];
    io->mmio[at] = *range;
    io->mmio_count++;
    return OK;
}

void io_space_remove_mmio(struct io_space *io, uint64_t base)
{
    unsigned at = mmio_lower(io, base);
    if (at == io->mmio_count || io->mmio[at].base != base)
        return;
    io->mmio_count--;
    for (unsigned i = at; i < io->mmio_count; i++)
        io->mmio[i] = io->mmio[i + 1];
}

const struct mmio_range *io_space_find_mmio(const struct io_space *io, uint64_t gpa)
{
    unsigned at = mmio_lower(io, gpa);
    return at < io->mmio_count && io->mmio[at].base <= gpa ? &io->mmio[at] : NULL;
}

/// As io_space_find_mmio; who was accessed last is most often accessed next.
static const struct mmio_range *mmio_find(struct io_space *io, uint64_t gpa)
{
    const struct mmio_range *last = &io->mmio[io->mmio_last];
    if (io->mmio_last < io->mmio_count && gpa - last->base < last->size)
        return last;
    unsigned at = mmio_lower(io, gpa);
    io->mmio_last = at;
    return at < io->mmio_count && io->mmio[at].base <= gpa ? &io->mmio[at] : NULL;
}

/// Largest width a device is asked for at once: whole if it fits the range and is 1, 2, 4 or 8, else a piece
/// of it.
static unsigned mmio_piece(const struct mmio_range *range, uint64_t gpa, unsigned size)
{
    uint64_t left = range->size - (gpa - range->base);
    unsigned piece = 8;
    while (piece > size || piece > left)
        piece /= 2;
    return piece;
}

/// Does one device take the access as it is? Nearly always.
static bool is_whole(const struct mmio_range *range, uint64_t gpa, unsigned size)
{
    return range && !(size & (size - 1)) && size <= range->size - (gpa - range->base);
}

uint64_t io_space_mmio_read(struct io_space *io, uint64_t gpa, unsigned size)
{
    const struct mmio_range *whole = mmio_find(io, gpa);
    if (__builtin_expect(is_whole(whole, gpa, size), 1))
        return whole->read(whole->dev, gpa - whole->base, size) & ones(size);
    uint64_t value = 0;
    bool owned = false;
    for (unsigned done = 0; done < size;) {
        const struct mmio_range *range = mmio_find(io, gpa + done);
        unsigned piece = range ? mmio_piece(range, gpa + done, size - done) : 1;
        uint64_t part = range ? range->read(range->dev, gpa + done - range->base, piece) : 0xff;
        owned |= range != NULL;
        value |= (part & ones(piece)) << (done * 8);
        done += piece;
    }
    if (!owned)
        io->unowned_mmio_reads++;
    return value;
}

void io_space_mmio_write(struct io_space *io, uint64_t gpa, unsigned size, uint64_t value)
{
    const struct mmio_range *whole = mmio_find(io, gpa);
    if (__builtin_expect(is_whole(whole, gpa, size), 1)) {
        whole->write(whole->dev, gpa - whole->base, size, value & ones(size));
        return;
    }
    bool owned = false;
    for (unsigned done = 0; done < size;) {
        const struct mmio_range *range = mmio_find(io, gpa + done);
        unsigned piece = range ? mmio_piece(range, gpa + done, size - done) : 1;
        if (range)
            range->write(range->dev, gpa + done - range->base, piece, value >> (done * 8) & ones(piece));
        owned |= range != NULL;
        done += piece;
    }
    if (!owned)
        io->unowned_mmio_writes++;
}
