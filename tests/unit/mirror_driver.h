// SPDX-License-Identifier: BSD-2-Clause
// The driver of tests/unit/mirror_world.h: random work of a guest, and after each step what must hold.
#pragma once
#include "tests/unit/mirror_device.h"

// --- the host around hv/bus ---

void net_lock(void)
{
    require(!w.locked, "net lock taken twice");
    w.locked = true;
}

void net_unlock(void)
{
    require(w.locked, "net lock given back twice");
    w.locked = false;
}

unsigned net_poll(void)
{
    require(w.locked, "net_poll without lock");
    return world_step();
}

__attribute__((weak)) void trace(enum trace_event event, uint32_t arg)
{
    (void)event, (void)arg;
}

/// Another CPU of the host polls while the guest runs.
static inline void others(unsigned steps)
{
    net_lock();
    while (steps--)
        (void)world_step();
    net_unlock();
    heed();
}

/// Some guests have little room for what waits for them.
static inline void squeeze(void)
{
    for (unsigned i = 0; i < assoc_count(); i++) {
        struct mirror *m = assoc_get(i)->mirror;
        if (m && world_seed % 4 == 3)
            m->pending_room = 1500;
    }
}

static inline bool is_complete(unsigned tag);

static inline void on_message(void *ctx, const struct interrupt_message *m)
{
    (void)ctx;
    w.interrupts++;
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        const struct command *c = &w.commands[tag];
        if (c->used && !c->aborted && c->seq % VECTORS + 0x30 == m->vector)
            require(is_complete(tag), "an interrupt before the completion it announces");
    }
}

static inline void on_line(void *ctx, unsigned gsi, bool high)
{
    (void)ctx, (void)gsi, (void)high;
}

static inline void config_write(unsigned offset, unsigned size, uint32_t value)
{
    io_space_port_write(&w.io, 0xcf8, 4, 0x80000000u | 2u << 11 | (offset & 0xfc));
    io_space_port_write(&w.io, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

static inline uint32_t config_read(unsigned offset, unsigned size)
{
    io_space_port_write(&w.io, 0xcf8, 4, 0x80000000u | 2u << 11 | (offset & 0xfc));
    return io_space_port_read(&w.io, (uint16_t)(0xcfc + (offset & 3)), size);
}

// --- the driver ---

static inline bool is_complete(unsigned tag)
{
    uint32_t done[2];
    memcpy(done, w.memory[RING] + tag * ENTRY + COMPLETE, sizeof(done));
    struct command *c = &w.commands[tag];
    if (!c->used || c->aborted || done[1] != c->seq)
        return false;
    require(done[0] == ~done[1], "half a completion");
    return true;
}

/// The completion is there: so must be the data. Gives the buffers back to the guest.
static inline void check_completion(unsigned tag)
{
    struct command *c = &w.commands[tag];
    for (unsigned i = 0; i < c->count; i++) {
        struct buffer *b = &c->buf[i];
        if (memcmp(w.memory[b->page] + b->offset, b->expected, b->size) != 0) {
            for (unsigned k = 0; k < b->size; k++) {
                if (w.memory[b->page][b->offset + k] != b->expected[k]) {
                    fprintf(stderr, "tag %u buffer %u page %u offset %u access %u iova %llx: %02x not %02x\n",
                            tag, i, b->page, b->offset + k, b->access, (unsigned long long)b->iova,
                            w.memory[b->page][b->offset + k], b->expected[k]);
                    break;
                }
            }
            require(false, "a completion without its data");
        }
        memcpy(w.model[b->page] + b->offset, b->expected, b->size);
        memset(w.owner[b->page] + b->offset, 0, b->size);
    }
}

static inline void unmap_buffers(struct command *c)
{
    for (unsigned i = 0; i < c->count && !w.all_mapped; i++) {
        table_remove(c->buf[i].iova);
        if (below(8)) {
            invalidate(c->buf[i].iova, 1);
        } else {
            const struct iommu_scope all = {.kind = IOMMU_SCOPE_DOMAIN, .domain = DOMAIN};
            bus_guest_mappings(w.guest, &all);
            heed();
        }
        w.unmapped++;
    }
}

static inline void poll_completions(void)
{
    guest_runs();
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        if (!is_complete(tag))
            continue;
        check_completion(tag);
        unmap_buffers(&w.commands[tag]);
        w.commands[tag].used = false;
        w.completed++;
    }
}

/// Whatever the device does to it from now on must not be seen.
static inline void abort_command(unsigned tag)
{
    struct command *c = &w.commands[tag];
    c->aborted = true;
    unmap_buffers(c);
    for (unsigned i = 0; i < c->count; i++) {
        struct buffer *b = &c->buf[i];
        memcpy(w.model[b->page] + b->offset, w.memory[b->page] + b->offset, b->size);
        memset(w.owner[b->page] + b->offset, 0, b->size);
    }
    c->used = false;
    w.aborts++;
}

/// The device still works for a command that was aborted: there it writes whatever is mapped.
static inline bool haunted(uint64_t iova)
{
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        const struct job *j = &dev.jobs[tag];
        for (unsigned i = 0; i < j->d.count && j->active && !live(j); i++) {
            if (j->d.buf[i].iova / PAGE * PAGE == iova)
                return true;
        }
    }
    return false;
}

static inline bool pick_buffer(struct buffer *b, unsigned tag)
{
    static const uint64_t bases[] = {0x1000, 0xffe00000, 0x7ffff00000, 0x40000000, 0xfee00000 - 8 * PAGE};
    b->page = 1 + below(PAGES - 1);
    b->offset = below(3) ? below(PAGE) : 0;
    unsigned room = PAGE - b->offset;
    b->size = below(4) ? 1 + below(room) : room;
    if (below(3) == 0)
        b->size = 1 + below(room < 40 ? room : 40);
    for (unsigned k = 0; k < b->size; k++) {
        if (w.owner[b->page][b->offset + k])
            return false;
    }
    b->access = (uint8_t)(1 + below(3));
    b->iova = bases[below(5)] + (uint64_t)below(8) * PAGE;
    if (w.all_mapped)
        b->iova = GPA(b->page);
    else if (table_has(b->iova) || haunted(b->iova))
        return false;
    memset(w.owner[b->page] + b->offset, (int)tag + 1, b->size);
    return true;
}

static inline void submit(unsigned tag)
{
    struct command *c = &w.commands[tag];
    if (c->used || dev.jobs[tag].active)
        return;
    *c = (struct command){.used = true, .seq = ++w.seq};
    unsigned mapped = 0;
    for (unsigned i = 0; i < 128; i++)
        mapped += w.tables[i].used;
    for (unsigned tries = 0; tries < 8 && c->count < BUFS && mapped + c->count < DEVICE_SLOTS - 2; tries++) {
        if (!pick_buffer(&c->buf[c->count], tag))
            continue;
        struct buffer *b = &c->buf[c->count++];
        bool written_after = below(2) && b->access & WIRE_DMA_READ; // the driver fills it when it is mapped
        for (unsigned pass = 0; pass < 2; pass++) {
            if ((pass == 1) == written_after && below(4)) {
                for (unsigned k = 0; k < b->size; k++)
                    guest_store(b->page, b->offset + k, below(4) ? (uint8_t)world_random() : 0);
            }
            if (pass == 0 && !w.all_mapped) {
                table_add(b->iova, b->page, b->access);
                invalidate(b->iova, 1);
            }
        }
        memcpy(b->expected, w.memory[b->page] + b->offset, b->size);
    }
    if (c->count == 0) {
        c->used = false;
        return;
    }
    struct descriptor d = {.seq = c->seq, .count = c->count};
    for (unsigned i = 0; i < c->count; i++) {
        d.buf[i].iova = c->buf[i].iova + c->buf[i].offset;
        d.buf[i].size = c->buf[i].size;
        d.buf[i].access = c->buf[i].access;
    }
    for (unsigned k = 0; k < sizeof(d); k++)
        guest_store(RING, tag * ENTRY + k, ((const uint8_t *)&d)[k]);
    guest_runs();
    io_space_mmio_write(&w.io, w.bar + 0x100, 4, tag + c->seq * TAGS_MAX);
    heed();
}

static inline void scribble(void)
{
    guest_runs();
    unsigned p = below(PAGES), n = 1 + below(below(4) ? 8 : 300);
    for (unsigned at = below(PAGE); n-- && at < PAGE; at++) {
        bool note = p != RING || at % ENTRY >= NOTE; // descriptors are written by submit alone
        if (note && w.owner[p][at] == 0)
            guest_store(p, at, (uint8_t)world_random());
    }
}

/// A register says that a command is done: then the guest finds it in memory.
static inline void ask(unsigned tag)
{
    guest_runs();
    squeeze();
    uint32_t seq = w.commands[tag].seq;
    bool waits = w.commands[tag].used;
    uint64_t value = io_space_mmio_read(&w.io, w.bar + tag * 4, 4);
    heed();
    if (waits && value == seq)
        require(is_complete(tag), "a register tells of a completion that is not in memory");
}

static inline void collect(void)
{
    guest_runs();
    bus_guest_collect(w.guest);
    poll_completions();
}

/// All work ends, and both sides must have the same.
static inline void quiesce(void)
{
    world_doing = "coming to rest";
    for (unsigned i = 0; i < 3000; i++) {
        bool busy = false;
        others(4);
        collect();
        if (i % 4 == 0)
            ask(i / 4 % TAGS_MAX);
        for (unsigned tag = 0; tag < TAGS_MAX; tag++)
            busy |= w.commands[tag].used || dev.jobs[tag].active;
        if (!busy && i > 20)
            break;
        require(i < 2999, "it never comes to rest");
    }
    for (unsigned i = 0; i < 8; i++)
        ask(i);
    for (unsigned p = 0; p < PAGES; p++)
        check_page(p);
    unsigned mapped = 0;
    for (unsigned i = 0; i < 128; i++)
        mapped += w.tables[i].used;
    for (unsigned i = 0; i < 128; i++) {
        if (!dev.seen[i].used)
            continue;
        mapped--;
        for (unsigned t = 0; t < 128; t++) {
            if (w.tables[t].used && w.tables[t].iova == dev.seen[i].iova &&
                dev.seen[i].access & WIRE_DMA_READ)
                require(memcmp(dev.seen[i].page, w.memory[page_of(w.tables[t].gpa)], PAGE) == 0,
                        "at rest the two sides differ");
        }
        if (w.all_mapped)
            require(memcmp(dev.seen[i].page, w.memory[page_of(dev.seen[i].iova)], PAGE) == 0,
                    "at rest the two sides differ");
    }
    require(w.all_mapped || mapped == 0, "the device does not see what the guest's tables say");
}

static inline void one_operation(void)
{
    unsigned tag = below(TAGS_MAX), what = below(100);
    if (what < 25) {
        world_doing = "submitting";
        submit(tag);
    } else if (what < 45) {
        world_doing = "writing beside buffers";
        scribble();
    } else if (what < 65) {
        world_doing = "while others poll";
        others(1 + below(6));
        poll_completions();
    } else if (what < 80) {
        world_doing = "collecting";
        collect();
    } else if (what < 92) {
        world_doing = "reading a register";
        ask(tag);
        poll_completions();
    } else if (what < 96 && w.commands[tag].used && !w.all_mapped) {
        world_doing = "aborting";
        abort_command(tag);
    } else {
        poll_completions();
    }
    check_page(below(PAGES));
    if (world_op % 32 == 0) {
        for (unsigned p = 0; p < PAGES; p++)
            check_page(p);
    }
}

/// The device is gone, or was reset, and with it all that was under way.
static inline void commands_lost(void)
{
    for (unsigned tag = 0; tag < TAGS_MAX; tag++) {
        if (w.commands[tag].used)
            abort_command(tag);
    }
}

/// Did the device go since its driver started? It may be back already.
static inline bool device_lost(void)
{
    return !bus_guest_ready(w.guest) || assoc_get(0)->handle != w.handle;
}

/// As a driver does when its device is there (again).
static inline void driver_starts(void)
{
    w.handle = assoc_get(0)->handle;
    w.bar = config_read(0x10, 4) & ~0xfull;
    config_write(4, 2, 0x6);
    for (unsigned i = 0; i < VECTORS; i++) {
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16, 4, 0xfee00000);
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16 + 4, 4, 0);
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16 + 8, 4, 0x30 + i);
        io_space_mmio_write(&w.io, w.bar + 0x1000 + i * 16 + 12, 4, 0);
    }
    config_write(0x42, 2, 0x8000);
}

static inline void world_begin(uint64_t seed, bool all_mapped)
{
    memset(&w, 0, sizeof(w));
    memset(&dev, 0, sizeof(dev));
    memset(&bus_counts, 0, sizeof(bus_counts));
    world_seed = world_random_state = seed;
    world_op = 0;
    world_doing = "starting";
    w.all_mapped = all_mapped;
    ring_at = all_mapped ? GPA(RING) : 0xfffff000ull;
    for (unsigned p = 1; p < PAGES; p++) {
        for (unsigned at = 0; at < PAGE && p % 3; at++)
            guest_store(p, at, (uint8_t)world_random());
    }
    for (unsigned tag = 0; tag < TAGS_MAX; tag++)
        memset(w.owner[RING] + tag * ENTRY + COMPLETE, 0xff, 8); // always the device's
    if (!all_mapped)
        table_add(ring_at, RING, WIRE_DMA_READ | WIRE_DMA_WRITE);
    wire_text_set(w.device.node, sizeof(w.device.node), "disk1");
    w.device.at.devfn = 4u << 3;
    require(guest_pci_init(&w.pci, &w.io) == OK, "guest_pci_init");
    bus_start("host1");
    require(bus_guest_add("g", BOOT_BUS_FLAT, &w.device, 1, &w.io, &w.pci, &w.guest) == OK, "bus_guest_add");
    const struct bus_memory memory = {.page = mem_page,
                                      .watch = mem_watch,
                                      .dirty = mem_dirty,
                                      .settle = mem_settle,
                                      .note = mem_note,
                                      .range = mem_range};
    static int unit;
    bus_guest_dma(w.guest, &memory, all_mapped ? NULL : (struct guest_iommu *)(void *)&unit);
    const struct bus_interrupts interrupts = {on_message, on_line, NULL, NULL};
    bus_guest_interrupts(w.guest, &interrupts);
}

static inline void world_end(void)
{
    bus_guest_remove(w.guest);
    device_forget();
    require(dev.pages == 0, "the device's machine lost pages");
    require(host_frames_in_use() == 0, "the host lost frames");
}
