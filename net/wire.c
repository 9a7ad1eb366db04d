// SPDX-License-Identifier: BSD-2-Clause
// Is a frame, is a record what docs/protocol.md allows? Nothing behind this file looks at a byte that was not
// checked here. Must not know links, carriers or what a record does. Pure functions: no state, no counters
// (the receiver counts).
#include "net/wire.h"

#include <string.h>

const char *wire_fault_name(enum wire_fault fault)
{
    static const char *const names[WIRE_FAULTS] = {
        [WIRE_FINE] = "fine",
        [WIRE_BAD_SIZE] = "frame size",
        [WIRE_BAD_MAGIC] = "magic",
        [WIRE_BAD_VERSION] = "version",
        [WIRE_BAD_TYPE] = "frame type",
        [WIRE_BAD_HEADER] = "frame header",
        [WIRE_BAD_BODY] = "frame body",
        [WIRE_BAD_RECORD] = "record type",
        [WIRE_BAD_LENGTH] = "record length",
        [WIRE_BAD_FIELD] = "record field",
        [WIRE_UNSEALED] = "seal",
    };
    return (unsigned)fault < WIRE_FAULTS ? names[fault] : "?";
}

// --- text ---

bool wire_text_valid(const char *text, size_t size)
{
    size_t n = 0;
    while (n < size && text[n] >= 0x20 && text[n] < 0x7f)
        n++;
    if (n == size)
        return false;
    for (; n < size; n++)
        if (text[n] != 0)
            return false;
    return true;
}

bool wire_name_valid(const char name[WIRE_NAME_MAX])
{
    if (name[0] == 0 || !wire_text_valid(name, WIRE_NAME_MAX))
        return false;
    for (size_t i = 0; name[i] != 0; i++)
        if (name[i] == ' ' || name[i] == '/')
            return false;
    return true;
}

void wire_text_set(char *to, size_t size, const char *text)
{
    size_t n = 0;
    for (; n + 1 < size && text[n] != 0; n++)
        to[n] = text[n];
    memset(to + n, 0, size - n);
}

// --- frames ---

static bool hello_valid(const struct wire_hello *b)
{
    return b->version_min != 0 && b->version_min <= b->version_max && b->frame_max >= WIRE_FRAME_MIN &&
           b->frame_max <= WIRE_FRAME_MAX && wire_name_valid(b->node) && wire_name_valid(b->to);
}

static bool hello_ack_valid(const struct wire_hello_ack *b)
{
    if (b->status >= HELLO_STATUS_COUNT || b->reserved != 0 || !wire_name_valid(b->node) ||
        !wire_text_valid(b->why, sizeof b->why))
        return false;
    if (b->status != HELLO_OK)
        return true;
    return b->frame_max >= WIRE_FRAME_MIN && b->frame_max <= WIRE_FRAME_MAX;
}

static bool zero(const uint8_t *bytes, size_t size);

static bool probe_valid(const uint8_t *body, size_t size)
{
    const struct wire_probe *p = (const struct wire_probe *)body;
    return size >= sizeof *p && size <= WIRE_FRAME_MAX - sizeof(struct wire_frame) && p->kind >= PROBE_ASK &&
           p->kind <= PROBE_DONE && zero(body + 1, size - 1) && (p->kind != PROBE_DONE || size == sizeof *p);
}

static bool bye_valid(const struct wire_bye *b)
{
    return b->reason < BYE_REASON_COUNT && b->reserved[0] == 0 && b->reserved[1] == 0 &&
           b->reserved[2] == 0 && wire_text_valid(b->why, sizeof b->why);
}

static bool bar_valid(const struct wire_bar *b)
{
    uint8_t kind = b->kind & 0x7f;
    if (kind > 3 || b->reserved[0] != 0 || b->reserved[1] != 0 || b->reserved[2] != 0)
        return false;
    if (kind == 0)
        return b->kind == 0 && b->size == 0;
    if ((b->size & (b->size - 1)) != 0 || b->size < (kind == 1 ? 4 : 16)) // PCI 3.0, 6.2.5.1
        return false;
    return kind == 1 ? b->size <= 0x10000 && b->kind == 1 : kind == 2 ? b->size <= 0x80000000u : true;
}

#define FUNCTION_FLAGS (WIRE_FN_BUSY | WIRE_FN_FLR | WIRE_FN_MSI | WIRE_FN_DMA)

bool wire_function_valid(const struct wire_function *f)
{
    if (f->vendor == 0xffff || f->pin > 4 || (f->flags & ~FUNCTION_FLAGS) != 0 || f->reserved != 0)
        return false;
    for (unsigned i = 0; i < 6; i++) {
        if (!bar_valid(&f->bars[i]))
            return false;
        if ((f->bars[i].kind & 0x7f) == 3 &&
            (i == 5 || f->bars[i + 1].size != 0)) // its upper half needs the next one
            return false;
    }
    return true;
}

static bool announce_valid(const uint8_t *body, size_t size)
{
    if (size < sizeof(struct wire_announce))
        return false;
    const struct wire_announce *a = (const struct wire_announce *)body;
    if (!wire_name_valid(a->node) || a->boot_id == 0 || a->parts == 0 || a->part >= a->parts ||
        a->reserved != 0 || (size_t)a->first + a->count > a->total || (a->count == 0 && a->total != 0) ||
        size != sizeof *a + (size_t)a->count * sizeof(struct wire_function))
        return false;
    const struct wire_function *f = (const struct wire_function *)(body + sizeof *a);
    for (unsigned i = 0; i < a->count; i++)
        if (!wire_function_valid(&f[i]))
            return false;
    return true;
}

static bool type_known(unsigned type)
{
    return type >= WIRE_ANNOUNCE && type <= WIRE_PROBE;
}

enum wire_fault wire_check_frame(const void *bytes, size_t size)
{
    const struct wire_frame *f = bytes;
    if (size < sizeof *f)
        return WIRE_BAD_SIZE;
    if (f->magic != WIRE_MAGIC)
        return WIRE_BAD_MAGIC;
    if (f->version != WIRE_VERSION)
        return WIRE_BAD_VERSION;
    if (f->length != size)
        return WIRE_BAD_SIZE;
    if ((f->type & WIRE_SEALED) != 0 && type_known(f->type & ~WIRE_SEALED))
        return WIRE_UNSEALED;

    const uint8_t *body = (const uint8_t *)bytes + sizeof *f;
    size_t body_size = size - sizeof *f;
    if (f->type == WIRE_DATA)
        return f->epoch == 0                            ? WIRE_BAD_HEADER
               : body_size < sizeof(struct wire_record) ? WIRE_BAD_SIZE
                                                        : WIRE_FINE;
    if (f->type == WIRE_ACK)
        return f->epoch == 0 || f->sequence != 0 ? WIRE_BAD_HEADER
               : body_size != 0                  ? WIRE_BAD_SIZE
                                                 : WIRE_FINE;

    if (!type_known(f->type))
        return WIRE_BAD_TYPE;
    if ((f->epoch == 0) != (f->type == WIRE_ANNOUNCE) || f->sequence != 0 || f->ack != 0 || f->sack != 0)
        return WIRE_BAD_HEADER;
    bool fine = false;
    switch (f->type) {
    case WIRE_ANNOUNCE:
        fine = announce_valid(body, body_size);
        break;
    case WIRE_HELLO:
        fine = body_size == sizeof(struct wire_hello) && hello_valid((const struct wire_hello *)body);
        break;
    case WIRE_HELLO_ACK:
        fine = body_size == sizeof(struct wire_hello_ack) &&
               hello_ack_valid((const struct wire_hello_ack *)body);
        break;
    case WIRE_BYE:
        fine = body_size == sizeof(struct wire_bye) && bye_valid((const struct wire_bye *)body);
        break;
    case WIRE_PROBE:
        fine = probe_valid(body, body_size);
        break;
    }
    return fine ? WIRE_FINE : WIRE_BAD_BODY;
}

enum wire_fault wire_check_sealed(const void *bytes, size_t size)
{
    static const struct {
        uint16_t min, max;
    } sizes[] = {
        [WIRE_ANNOUNCE] = {sizeof(struct wire_announce) + WIRE_SEAL_BYTES, WIRE_FRAME_MAX},
        [WIRE_HELLO] = {sizeof(struct wire_hello) + WIRE_NOISE_1_BYTES + WIRE_MAC_BYTES,
                        sizeof(struct wire_hello) + WIRE_NOISE_1_BYTES + WIRE_MAC_BYTES},
        [WIRE_HELLO_ACK] = {sizeof(struct wire_hello_ack) + WIRE_NOISE_2_BYTES + WIRE_MAC_BYTES,
                            sizeof(struct wire_hello_ack) + WIRE_NOISE_2_BYTES + WIRE_MAC_BYTES},
        [WIRE_DATA] = {sizeof(struct wire_record) + WIRE_SEAL_BYTES, WIRE_FRAME_MAX},
        [WIRE_ACK] = {WIRE_SEAL_BYTES, WIRE_SEAL_BYTES},
        [WIRE_BYE] = {sizeof(struct wire_bye) + WIRE_SEAL_BYTES, sizeof(struct wire_bye) + WIRE_SEAL_BYTES},
        [WIRE_PROBE] = {sizeof(struct wire_probe) + WIRE_SEAL_BYTES,
                        WIRE_FRAME_MAX - sizeof(struct wire_frame)},
    };
    const struct wire_frame *f = bytes;
    if (size < sizeof *f)
        return WIRE_BAD_SIZE;
    if (f->magic != WIRE_MAGIC)
        return WIRE_BAD_MAGIC;
    if (f->version != WIRE_VERSION)
        return WIRE_BAD_VERSION;
    if (f->length != size)
        return WIRE_BAD_SIZE;
    unsigned type = f->type & ~WIRE_SEALED;
    if (!type_known(type))
        return WIRE_BAD_TYPE;
    if ((f->type & WIRE_SEALED) == 0)
        return WIRE_UNSEALED;
    if (size - sizeof *f < sizes[type].min || size - sizeof *f > sizes[type].max)
        return WIRE_BAD_SIZE;
    if ((f->epoch == 0) != (type == WIRE_ANNOUNCE))
        return WIRE_BAD_HEADER;
    if (type != WIRE_DATA && (f->sequence != 0 || (type != WIRE_ACK && (f->ack != 0 || f->sack != 0))))
        return WIRE_BAD_HEADER;
    return WIRE_FINE;
}

// --- records ---

enum {
    TO_REMOTE = WIRE_TO_REMOTE,
    TO_HOST = WIRE_TO_HOST,
    FN = 1,       // needs a function handle
    CPL = 2,      // has a status
    ACCESS = 4,   // body is struct wire_access
    WRITE = 8,    // and its data follow
    SMALL = 0x10, // configuration and I/O: 1, 2 or 4 bytes
    CONFIG = 0x20,
};

/// What each record type must look like. A row of zeroes: no such record.
static const struct rule {
    uint8_t direction, flags;
    uint16_t min, max; // bytes behind the record header
} rules[] = {
    [REC_CFG_RD] = {TO_REMOTE, FN | ACCESS | SMALL | CONFIG, 12, 12},
    [REC_CFG_WR] = {TO_REMOTE, FN | ACCESS | SMALL | CONFIG | WRITE, 13, 16},
    [REC_IO_RD] = {TO_REMOTE, FN | ACCESS | SMALL, 12, 12},
    [REC_IO_WR] = {TO_REMOTE, FN | ACCESS | SMALL | WRITE, 13, 16},
    [REC_MRD] = {TO_REMOTE, FN | ACCESS, 12, 12},
    [REC_MWR] = {TO_REMOTE, FN | ACCESS | WRITE, 13, 12 + WIRE_ACCESS_MAX},
    [REC_CPL] = {TO_HOST, CPL, 0, 0},
    [REC_CPLD] = {TO_HOST, CPL, 1, WIRE_ACCESS_MAX},
    [REC_ATTACH] = {TO_REMOTE, 0, sizeof(struct wire_attach), sizeof(struct wire_attach)},
    [REC_DETACH] = {TO_REMOTE, FN, 0, 0},
    [REC_RESET] = {TO_REMOTE, FN, 0, 0},
    [REC_INTERRUPTS] = {TO_REMOTE, FN, sizeof(struct wire_interrupts),
                        sizeof(struct wire_interrupts) + WIRE_MSIX_MAX / 8},
    [REC_INTX] = {TO_HOST, FN, sizeof(struct wire_intx), sizeof(struct wire_intx)},
    [REC_MSI] = {TO_HOST, FN, sizeof(struct wire_msi), sizeof(struct wire_msi)},
    [REC_GONE] = {TO_HOST, FN, 0, 0},
    [REC_ERROR] = {TO_HOST, FN, sizeof(struct wire_error), sizeof(struct wire_error)},
    [REC_CREDIT] = {TO_REMOTE | TO_HOST, FN, sizeof(struct wire_credit), sizeof(struct wire_credit)},
    [REC_EOI] = {TO_REMOTE, FN, 0, 0},
    [REC_DMA_START] = {TO_REMOTE, FN, 0, 0},
    [REC_DMA_MAP] = {TO_REMOTE, FN, sizeof(struct wire_dma_map), sizeof(struct wire_dma_map)},
    [REC_DMA_UNMAP] = {TO_REMOTE, FN, sizeof(struct wire_dma_unmap), sizeof(struct wire_dma_unmap)},
    [REC_DMA_DATA] = {TO_REMOTE | TO_HOST, FN, sizeof(struct wire_dma_data),
                      WIRE_FRAME_MAX - sizeof(struct wire_frame) - sizeof(struct wire_record)},
    [REC_DMA_SPOILED] = {TO_HOST, FN, sizeof(struct wire_dma_spoiled), sizeof(struct wire_dma_spoiled)},
    [REC_DMA_FAULT] = {TO_HOST, FN, sizeof(struct wire_dma_fault), sizeof(struct wire_dma_fault)},
};

static bool access_valid(const struct rule *rule, const struct wire_access *a, size_t size)
{
    if (a->bar > 5 || a->reserved != 0 || a->size == 0 || a->size > WIRE_ACCESS_MAX)
        return false;
    if (size != sizeof *a + ((rule->flags & WRITE) != 0 ? a->size : 0u))
        return false;
    if ((rule->flags & SMALL) != 0) {
        uint64_t end = (uint64_t)a->offset + a->size;
        if (a->size == 3 || a->size > 4 || a->offset_high != 0)
            return false;
        if ((rule->flags & CONFIG) != 0)
            return a->bar == 0 && end <= 4096;
        return end <= 0x10000;
    }
    uint64_t offset = (uint64_t)a->offset_high << 32 | a->offset;
    return offset + a->size >= offset;
}

static bool completion_valid(const struct wire_record *rec)
{
    switch (rec->status) {
    case CPL_SC:
    case CPL_OWNED:
        return true;
    case CPL_UR:
    case CPL_CRS:
    case CPL_CA:
    case CPL_NOT_LENT:
    case CPL_DENIED:
        return rec->type == REC_CPL;
    default:
        return false;
    }
}

static bool interrupts_valid(const struct wire_interrupts *w, size_t size)
{
    static const uint16_t most[] = {[INTERRUPTS_OFF] = 0,
                                    [INTERRUPTS_INTX] = 0,
                                    [INTERRUPTS_MSI] = WIRE_MSI_MAX,
                                    [INTERRUPTS_MSIX] = WIRE_MSIX_MAX};
    if (w->mode > INTERRUPTS_MSIX || w->reserved != 0 || w->count > most[w->mode] ||
        (w->count == 0) != (most[w->mode] == 0) || size != sizeof *w + (w->count + 7u) / 8)
        return false;
    const uint8_t *bits = (const uint8_t *)(w + 1);
    return w->count % 8 == 0 || bits[w->count / 8] >> w->count % 8 == 0;
}

static bool event_valid(const struct wire_record *rec)
{
    const uint8_t *b = (const uint8_t *)(rec + 1);
    switch (rec->type) {
    case REC_INTX:
        return b[0] >= 1 && b[0] <= 4 && b[1] <= 1 && b[2] == 0 && b[3] == 0;
    case REC_MSI:
        return b[1] < 8 && b[2] == 0 && b[3] == 0; // MSI-X has at most 2,048 vectors (PCI 3.0, 6.8.2)
    case REC_ERROR:
        return b[0] <= 2 && b[1] == 0 && b[2] == 0 && b[3] == 0;
    case REC_CREDIT:
        return (b[0] | b[1]) != 0 && b[2] == 0 && b[3] == 0;
    default:
        return true;
    }
}

static bool zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static bool map_valid(const struct wire_dma_map *m)
{
    return m->iova % WIRE_DMA_PAGE == 0 && m->iova < WIRE_DMA_IOVA_END &&
           (m->iova < WIRE_DMA_MSI_BEGIN || m->iova >= WIRE_DMA_MSI_END) && m->slot < WIRE_DMA_SLOTS_MAX &&
           m->access != 0 && (m->access & ~(WIRE_DMA_READ | WIRE_DMA_WRITE)) == 0 &&
           zero(m->reserved, sizeof m->reserved);
}

static bool unmap_valid(const struct wire_dma_unmap *u)
{
    return u->iova % WIRE_DMA_PAGE == 0 && u->iova < WIRE_DMA_IOVA_END && u->pages != 0 &&
           u->pages <= (WIRE_DMA_IOVA_END - u->iova) / WIRE_DMA_PAGE;
}

/// Runs: each whole, in the page, behind the one before it with a gap.
static bool data_valid(const struct wire_dma_data *d, size_t size, enum wire_direction direction)
{
    const uint8_t *at = (const uint8_t *)(d + 1);
    size_t left = size - sizeof *d;
    uint8_t allowed = direction == WIRE_TO_REMOTE ? WIRE_DMA_CLEAR : WIRE_DMA_MORE;
    if (d->slot >= WIRE_DMA_SLOTS_MAX || (d->flags & ~allowed) != 0 ||
        !zero(d->reserved, sizeof d->reserved) || (direction == WIRE_TO_REMOTE && d->generation != 0))
        return false;
    if (left == 0)
        return d->flags == (direction == WIRE_TO_REMOTE ? WIRE_DMA_CLEAR : 0);
    for (int end = -1; left != 0;) {
        struct wire_dma_run run;
        if (left < sizeof run)
            return false;
        memcpy(&run, at, sizeof run);
        if (run.size == 0 || run.offset <= end || run.offset + run.size > (int)WIRE_DMA_PAGE ||
            run.size > left - sizeof run)
            return false;
        end = run.offset + run.size;
        at += sizeof run + run.size;
        left -= sizeof run + run.size;
    }
    return true;
}

static bool dma_valid(const struct wire_record *rec, size_t size, enum wire_direction direction)
{
    const void *body = rec + 1;
    const struct wire_dma_spoiled *spoiled = body;
    const struct wire_dma_fault *fault = body;
    switch (rec->type) {
    case REC_DMA_MAP:
        return map_valid(body);
    case REC_DMA_UNMAP:
        return unmap_valid(body);
    case REC_DMA_DATA:
        return data_valid(body, size, direction);
    case REC_DMA_SPOILED:
        return spoiled->slot < WIRE_DMA_SLOTS_MAX;
    case REC_DMA_FAULT: // any address: nobody keeps a function from asking
        return fault->iova % WIRE_DMA_PAGE == 0 && fault->write <= 1 &&
               zero(fault->reserved, sizeof fault->reserved);
    default:
        return true;
    }
}

enum wire_fault wire_check_record(const struct wire_record *rec, enum wire_direction direction)
{
    if (rec->type >= sizeof rules / sizeof rules[0])
        return WIRE_BAD_RECORD;
    const struct rule *rule = &rules[rec->type];
    if ((rule->direction & direction) == 0)
        return WIRE_BAD_RECORD;
    size_t size = rec->length - sizeof *rec;
    if (rec->length < sizeof *rec || size < rule->min || size > rule->max)
        return WIRE_BAD_LENGTH;
    if ((rule->flags & CPL) != 0)
        return completion_valid(rec) ? WIRE_FINE : WIRE_BAD_FIELD;
    if (rec->status != 0 ||
        ((rule->flags & FN) != 0 ? rec->function - 1u >= WIRE_HANDLE_MAX : rec->function != 0))
        return WIRE_BAD_FIELD;
    if ((rule->flags & ACCESS) != 0)
        return access_valid(rule, (const struct wire_access *)(rec + 1), size) ? WIRE_FINE : WIRE_BAD_FIELD;
    if (rec->type == REC_INTERRUPTS)
        return interrupts_valid((const struct wire_interrupts *)(rec + 1), size) ? WIRE_FINE : WIRE_BAD_FIELD;
    if (rec->type >= REC_DMA_START)
        return dma_valid(rec, size, direction) ? WIRE_FINE : WIRE_BAD_FIELD;
    return event_valid(rec) ? WIRE_FINE : WIRE_BAD_FIELD;
}

enum wire_fault wire_check_records(const void *bytes, size_t size, enum wire_direction direction)
{
    const uint8_t *at = bytes, *end = at + size;
    do {
        const struct wire_record *rec = (const struct wire_record *)at;
        size_t left = (size_t)(end - at);
        if (left < sizeof *rec || rec->length < sizeof *rec || rec->length > left)
            return WIRE_BAD_LENGTH;
        enum wire_fault fault = wire_check_record(rec, direction);
        if (fault != WIRE_FINE)
            return fault;
        at += rec->length;
    } while (at < end);
    return WIRE_FINE;
}
