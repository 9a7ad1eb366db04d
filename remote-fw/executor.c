// SPDX-License-Identifier: BSD-2-Clause
// The completer (remote-fw/executor.h). Completion statuses: PCIe Base 4.0, 2.2.9 and 2.3.1.
#include "remote-fw/executor.h"
#include "drivers/pci_regs.h"
#include "rt/log.h"
#include <string.h>

const char *refusal_name(enum refusal r)
{
    static const char *const names[REFUSAL_COUNT] = {
        [REFUSED_TYPE] = "unknown request",
        [REFUSED_HANDLE] = "not this host's function",
        [REFUSED_LENGTH] = "record length",
        [REFUSED_SIZE] = "access size",
        [REFUSED_BAR] = "no such BAR",
        [REFUSED_RANGE] = "out of bounds",
        [REFUSED_RESETTING] = "function in reset",
        [REFUSED_MSIX] = "MSI-X table",
        [REFUSED_UNREACHED] = "no MMIO window left",
        [REFUSED_PROTECTED] = "protected configuration",
        [REFUSED_BUS_MASTER] = "bus mastering",
    };
    return (unsigned)r < REFUSAL_COUNT ? names[r] : "?";
}

/// What a request type is.
enum space { SPACE_NONE, SPACE_CONFIG, SPACE_IO, SPACE_MEMORY };
static const struct request {
    enum space space;
    bool write, posted;
    uint16_t max;  // bytes of one access
    uint8_t width; // widest natural access
} requests[REC_MWR + 1] = {
    [REC_CFG_RD] = {SPACE_CONFIG, false, false, 4, 4},
    [REC_CFG_WR] = {SPACE_CONFIG, true, false, 4, 4},
    [REC_IO_RD] = {SPACE_IO, false, false, 4, 4},
    [REC_IO_WR] = {SPACE_IO, true, false, 4, 4},
    [REC_MRD] = {SPACE_MEMORY, false, false, WIRE_ACCESS_MAX, 8},
    [REC_MWR] = {SPACE_MEMORY, true, true, WIRE_ACCESS_MAX, 8},
};

/// One request on its way through the checks.
struct job {
    struct functions *table;
    struct function *f;
    const struct request *request;
    struct wire_access access;
    uint64_t offset;
    const uint8_t *data; // of writes
};

static void count_refusal(struct job *j, enum refusal why)
{
    j->table->counters.refused[why]++;
    if (j->f)
        j->f->counters.refused[why]++;
}

static void refuse(struct job *j, enum refusal why, enum wire_status status, struct completion *out)
{
    count_refusal(j, why);
    out->status = status;
    out->size = 0;
}

/// Widest naturally aligned access at `offset` with `left` bytes to go.
static unsigned natural_width(uint64_t offset, unsigned left, unsigned widest)
{
    unsigned width = widest;
    while (offset & (width - 1) || width > left)
        width >>= 1;
    return width;
}

static bool bar_fits(const struct job *j, enum refusal *why)
{
    const struct wire_bar *bar = &j->f->info.bars[j->access.bar];
    uint8_t kind = bar->kind & 0x7f;
    bool io = kind == 1;
    *why = REFUSED_BAR;
    if (kind == 0 || io != (j->request->space == SPACE_IO))
        return false;
    *why = REFUSED_RANGE;
    return j->offset < bar->size && j->access.size <= bar->size - j->offset;
}

static bool touches_msix_table(const struct job *j)
{
    const struct function *f = j->f;
    return f->msix_size && j->request->space == SPACE_MEMORY && j->access.bar == f->msix_bar &&
           j->offset < f->msix_offset + f->msix_size && j->offset + j->access.size > f->msix_offset;
}

/// The checks that need no device. True: go on.
static bool admitted(struct job *j, struct completion *out)
{
    const struct request *q = j->request;
    const struct wire_access *a = &j->access;
    enum refusal why;

    if (a->size == 0 || a->size > q->max || (q->width == 4 && a->size == 3)) {
        refuse(j, REFUSED_SIZE, CPL_UR, out);
        return false;
    }
    if (q->space == SPACE_CONFIG) {
        if (a->bar != 0) {
            refuse(j, REFUSED_BAR, CPL_UR, out);
            return false;
        }
        if (j->offset >= CONFIG_SPACE_SIZE || a->size > CONFIG_SPACE_SIZE - j->offset) {
            refuse(j, REFUSED_RANGE, CPL_UR, out);
            return false;
        }
    } else {
        if (a->bar > 5) {
            refuse(j, REFUSED_BAR, CPL_UR, out);
            return false;
        }
        if (!bar_fits(j, &why)) {
            refuse(j, why, CPL_UR, out);
            return false;
        }
    }
    if (j->f->state != FUNCTION_LENT) {
        refuse(j, REFUSED_RESETTING, q->space == SPACE_CONFIG ? CPL_CRS : CPL_UR, out);
        return false;
    }
    if (touches_msix_table(j)) {
        refuse(j, REFUSED_MSIX, CPL_UR, out);
        return false;
    }
    return true;
}

static uint32_t ones(unsigned size)
{
    return size == 4 ? 0xffffffffu : (1u << (8 * size)) - 1;
}

static uint32_t config_read(const struct job *j, uint16_t offset, unsigned width)
{
    const struct function *f = j->f;
    return f->ops->config_read(f->device, offset, width) & config_masks(&f->config, offset, width).read;
}

/// Sets what the table lets through. False: nothing of it.
static bool config_write(const struct job *j, uint16_t offset, unsigned width, uint32_t value)
{
    struct function *f = j->f;
    struct config_masks m = config_masks(&f->config, offset, width);
    if (f->dma.on && offset <= PCI_COMMAND && offset + width > PCI_COMMAND) {
        unsigned shift = 8u * (unsigned)(PCI_COMMAND - offset);
        m.write |= PCI_COMMAND_MASTER << shift;
        f->dma.master = value >> shift & PCI_COMMAND_MASTER;
    }
    if (!(m.write | m.w1c))
        return false;
    if ((m.write | m.w1c) != ones(width)) {
        uint32_t kept = f->ops->config_read(f->device, offset, width) & ~m.write & ~m.w1c;
        // Bits kept that are themselves write-1-to-clear must not be written back as 1. Those are the rest of
        // Status and Device Status, where everything that clears is in w1c, and PMCSR, which is not written
        // at all.
        value = kept | (value & (m.write | m.w1c));
    }
    f->ops->config_write(f->device, offset, width, value);
    return true;
}

static void check_bus_master(struct job *j)
{
    if (j->f->dma.on || j->request->space != SPACE_CONFIG || !j->request->write || j->offset > PCI_COMMAND ||
        j->offset + j->access.size <= PCI_COMMAND)
        return;
    if (!(j->data[PCI_COMMAND - j->offset] & PCI_COMMAND_MASTER))
        return;
    count_refusal(j, REFUSED_BUS_MASTER);
    if (j->f->bus_master_told)
        return;
    j->f->bus_master_told = true;
    log_warn("lend",
             PCI_FORMAT ": bus mastering refused: %s; the function would write into this machine's memory",
             PCI_ARGS(j->f->info.at),
             j->f->info.flags & WIRE_FN_DMA ? "its host did not ask for DMA first"
                                            : "no IOMMU of this machine confines it");
}

static uint64_t load(const uint8_t *from, unsigned width)
{
    uint64_t value = 0;
    memcpy(&value, from, width);
    return value;
}

/// One natural access. False: it ended in `out`.
static bool step(struct job *j, uint64_t offset, unsigned width, const uint8_t *from, uint8_t *to, bool *done)
{
    const struct function *f = j->f;
    const struct request *q = j->request;
    uint64_t value = q->write ? load(from, width) : 0;
    switch (q->space) {
    case SPACE_CONFIG:
        if (q->write) {
            *done |= config_write(j, (uint16_t)offset, width, (uint32_t)value);
            return true;
        }
        value = config_read(j, (uint16_t)offset, width);
        break;
    case SPACE_IO:
        if (q->write)
            f->ops->io_write(f->device, j->access.bar, offset, width, (uint32_t)value);
        else
            value = f->ops->io_read(f->device, j->access.bar, offset, width);
        break;
    case SPACE_MEMORY:
        if (q->write) {
            if (f->ops->memory_write(f->device, j->access.bar, offset, width, value) != OK)
                return false;
        } else if (f->ops->memory_read(f->device, j->access.bar, offset, width, &value) != OK) {
            return false;
        }
        break;
    case SPACE_NONE:
        return false;
    }
    *done = true;
    if (!q->write)
        memcpy(to, &value, width);
    return true;
}

static void perform(struct job *j, uint8_t type, struct completion *out)
{
    const struct request *q = j->request;
    unsigned size = j->access.size;
    bool done = false;

    check_bus_master(j);
    for (unsigned at = 0; at < size;) {
        unsigned width = natural_width(j->offset + at, size - at, q->width);
        if (!step(j, j->offset + at, width, q->write ? j->data + at : NULL, out->data + at, &done)) {
            refuse(j, REFUSED_UNREACHED, CPL_CA, out);
            return;
        }
        at += width;
    }
    if (!done)
        count_refusal(j, REFUSED_PROTECTED); // ends well all the same: writing a read-only register does
    struct executor_counters *counters[] = {&j->table->counters, &j->f->counters};
    for (unsigned i = 0; i < 2; i++) {
        counters[i]->executed[type]++;
        *(q->write ? &counters[i]->bytes_written : &counters[i]->bytes_read) += size;
    }
    out->status = CPL_SC;
    out->size = q->write ? 0 : (uint16_t)size;
}

/// Events and completions have no completion; every other unknown type is a request somebody waits for.
static bool unknown_is_posted(uint8_t type)
{
    return (type >= 0x10 && type < 0x20) || type >= 0x30;
}

struct function *executor_run(struct functions *functions, const void *from, const struct wire_record *rec,
                              const void *body, size_t size, struct completion *out)
{
    struct job j = {.table = functions};
    out->wanted = true;
    out->status = CPL_UR;
    out->size = 0;

    if (rec->type > REC_MWR || requests[rec->type].space == SPACE_NONE) {
        out->wanted = !unknown_is_posted(rec->type);
        refuse(&j, REFUSED_TYPE, CPL_UR, out);
        return NULL;
    }
    j.request = &requests[rec->type];
    out->wanted = !j.request->posted;
    j.f = functions_of(functions, from, rec->function);
    if (!j.f) {
        refuse(&j, REFUSED_HANDLE, CPL_UR, out);
        return NULL;
    }
    if (j.request->posted && ++j.f->credits_used > FUNCTION_CREDITS)
        j.f->credit_overruns++;

    if (size < sizeof j.access) {
        refuse(&j, REFUSED_LENGTH, CPL_UR, out);
        return j.f;
    }
    memcpy(&j.access, body, sizeof j.access);
    j.data = (const uint8_t *)body + sizeof j.access;
    j.offset = (uint64_t)j.access.offset_high << 32 | j.access.offset;
    if (size - sizeof j.access != (j.request->write ? j.access.size : 0u)) {
        refuse(&j, REFUSED_LENGTH, CPL_UR, out);
        return j.f;
    }
    if (admitted(&j, out))
        perform(&j, rec->type, out);
    return j.f;
}
