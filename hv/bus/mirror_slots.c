// SPDX-License-Identifier: BSD-2-Clause
// Slots and twins (hv/bus/mirror.h): which slot of a remote mirrors which page of the guest. A slot that is
// no longer mapped keeps its page and twin, so that mapping the page again costs only what changed; the one
// unused for longest is taken when another page needs a slot, or its twin when another slot needs one. Must
// not know records. Invariant: frames in use for one guest never exceed its limit, whatever remotes grant and
// guests map.
#include "hv/bus/remote.h"
#include "rt/paging.h"
#include <string.h>

_Static_assert(SLOTS_PER_FRAME * sizeof(struct slot) <= FRAME_SIZE, "slots of one frame");

const uint8_t mirror_zeroes[WIRE_DMA_PAGE] __attribute__((aligned(64)));

// --- frames ---

static void *take_frames(struct guest_dma *dma, size_t count, bool zeroed)
{
    if (dma->frames_used + count > dma->frames_limit)
        return NULL;
    phys_t p = zeroed ? frames_alloc(count, FRAME_SIZE, 0) : frames_alloc_dirty(count, FRAME_SIZE, 0);
    if (p == FRAME_NONE)
        return NULL;
    dma->frames_used += count;
    return phys_to_virt(p);
}

static void give_frames(struct guest_dma *dma, void *frames, size_t count)
{
    if (!frames)
        return;
    frames_free(virt_to_phys(frames), count);
    dma->frames_used -= count;
}

#define BUCKET_FRAMES  (MIRROR_BUCKETS * sizeof(struct slot *) / FRAME_SIZE)
#define PENDING_FRAMES (MIRROR_PENDING / FRAME_SIZE)

enum status mirror_guest_create(struct guest_dma *dma)
{
    dma->by_gpa = take_frames(dma, BUCKET_FRAMES, true);
    dma->by_iova = take_frames(dma, BUCKET_FRAMES, true);
    if (dma->by_gpa && dma->by_iova)
        return OK;
    mirror_guest_destroy(dma);
    return ERR_NOMEM;
}

/// Twins that nobody has go back to the machine.
static void give_spares(struct guest_dma *dma)
{
    while (dma->spare) {
        uint8_t *frame = dma->spare;
        memcpy(&dma->spare, frame, sizeof(dma->spare));
        give_frames(dma, frame, 1);
    }
}

void mirror_guest_destroy(struct guest_dma *dma)
{
    give_frames(dma, dma->by_gpa, BUCKET_FRAMES);
    give_frames(dma, dma->by_iova, BUCKET_FRAMES);
    dma->by_gpa = dma->by_iova = NULL;
}

static struct guest_dma *dma_of(const struct mirror *m)
{
    return &m->fn->guest->dma;
}

// --- lists and hashes ---

static void list_init(struct slot_list *list)
{
    list->head.next = list->head.prev = &list->head;
}

static void list_remove(struct slot *s)
{
    s->prev->next = s->next;
    s->next->prev = s->prev;
}

static void list_add(struct slot_list *list, struct slot *s, bool last)
{
    struct slot *after = last ? list->head.prev : &list->head;
    s->prev = after;
    s->next = after->next;
    after->next->prev = s;
    after->next = s;
}

static struct slot **gpa_bucket(const struct guest_dma *dma, uint64_t gpa)
{
    uint64_t h = (gpa / WIRE_DMA_PAGE) * 0x9e3779b97f4a7c15u;
    return &dma->by_gpa[h >> 52 & (MIRROR_BUCKETS - 1)];
}

static struct slot **iova_bucket(const struct mirror *m, uint64_t iova)
{
    uint64_t h = (iova / WIRE_DMA_PAGE + (uint64_t)m->fn->at.devfn * 0x10001u) * 0x9e3779b97f4a7c15u;
    return &dma_of(m)->by_iova[h >> 52 & (MIRROR_BUCKETS - 1)];
}

static void leave_gpa(struct slot *s)
{
    if (s->gpa == SLOT_BLANK)
        return;
    struct slot **at = gpa_bucket(dma_of(s->owner), s->gpa);
    while (*at != s)
        at = &(*at)->next_gpa;
    *at = s->next_gpa;
    s->gpa = SLOT_BLANK;
    s->page = NULL;
}

struct slot *mirror_mapped_at(const struct mirror *m, uint64_t iova)
{
    for (struct slot *s = *iova_bucket(m, iova); s; s = s->next_iova) {
        if (s->iova == iova && s->owner == m)
            return s;
    }
    return NULL;
}

// --- twins ---

static void give_twin(struct slot *s)
{
    struct guest_dma *dma = dma_of(s->owner);
    if (s->twin && s->twin != mirror_zeroes) {
        memcpy(s->twin, &dma->spare, sizeof(dma->spare));
        dma->spare = s->twin;
        bus_counts.dma_twins--;
    }
    s->twin = NULL;
}

void mirror_drop_twin(struct slot *s)
{
    give_twin(s);
    if (s->access)
        return;
    leave_gpa(s); // nothing is known of it: the first to be taken
    list_remove(s);
    list_add(&s->owner->idle, s, true);
}

/// Takes the twin of a slot of this guest that is not in use; one of `m` if it has any.
static bool free_a_twin(struct mirror *m)
{
    for (unsigned i = 0; i <= assoc_count(); i++) {
        struct mirror *of = i == 0 ? m : assoc_get(i - 1)->mirror;
        if (!of || of->fn->guest != m->fn->guest)
            continue;
        for (struct slot *s = of->idle.head.prev; s != &of->idle.head; s = s->prev) {
            if (!s->twin || s->twin == mirror_zeroes)
                continue;
            mirror_drop_twin(s);
            return true;
        }
    }
    return false;
}

static uint8_t *twin_frame(struct mirror *m)
{
    struct guest_dma *dma = dma_of(m);
    if (!dma->spare) {
        uint8_t *fresh = take_frames(dma, 1, false);
        if (fresh) {
            bus_counts.dma_twins++;
            return fresh;
        }
        if (!free_a_twin(m))
            return NULL;
    }
    uint8_t *frame = dma->spare;
    memcpy(&dma->spare, frame, sizeof(dma->spare));
    bus_counts.dma_twins++;
    return frame;
}

bool mirror_twin(struct slot *s)
{
    if (s->twin && s->twin != mirror_zeroes)
        return true;
    uint8_t *frame = twin_frame(s->owner);
    if (!frame)
        return false;
    memset(frame, 0, WIRE_DMA_PAGE);
    s->twin = frame;
    return true;
}

// --- slots ---

struct mirror *mirror_create(struct remote_fn *fn)
{
    struct guest_dma *dma = &fn->guest->dma;
    struct mirror *m = take_frames(dma, MIRROR_FRAMES, true);
    if (!m)
        return NULL;
    m->fn = fn;
    list_init(&m->readable);
    list_init(&m->writeonly);
    list_init(&m->idle);
    m->pending = take_frames(dma, PENDING_FRAMES, false);
    m->pending_room = MIRROR_PENDING;
    if (m->pending)
        return m;
    give_frames(dma, m, MIRROR_FRAMES);
    return NULL;
}

void mirror_destroy(struct mirror *m)
{
    struct guest_dma *dma = dma_of(m);
    mirror_blank(m);
    for (uint32_t i = 0; i < m->frames; i++)
        give_frames(dma, m->chunks[i], 1);
    give_frames(dma, m->pending, PENDING_FRAMES);
    give_frames(dma, m, MIRROR_FRAMES);
    give_spares(dma); // what this function had is not kept for others: a stopped guest keeps no twin
}

/// A page of slots. The twins of other functions may have taken all that the guest may have: then one goes.
static void *chunk_frame(struct mirror *m)
{
    void *frame = twin_frame(m);
    if (frame)
        bus_counts.dma_twins--;
    return frame;
}

/// Slot number `used`, for the first time in this session.
static struct slot *new_slot(struct mirror *m)
{
    if (m->used >= m->limit)
        return NULL;
    uint32_t chunk = m->used / (uint32_t)SLOTS_PER_FRAME;
    if (chunk == m->frames) {
        m->chunks[chunk] = chunk_frame(m);
        if (!m->chunks[chunk])
            return NULL;
        m->frames++;
    }
    struct slot *s = mirror_slot(m, m->used);
    *s = (struct slot){.owner = m, .gpa = SLOT_BLANK, .index = m->used, .cleared = m->generation};
    m->used++;
    list_add(&m->idle, s, true);
    return s;
}

/// One that mirrors nothing, or the one unused for longest.
static struct slot *victim(struct mirror *m)
{
    struct slot *last = m->idle.head.prev;
    if (last != &m->idle.head && last->gpa == SLOT_BLANK)
        return last;
    struct slot *s = new_slot(m);
    if (s || last == &m->idle.head)
        return s;
    mirror_drop_twin(last);
    return last;
}

struct slot *mirror_take(struct mirror *m, uint64_t gpa, uint8_t *page)
{
    struct slot **bucket = gpa_bucket(dma_of(m), gpa);
    for (struct slot *s = *bucket; s; s = s->next_gpa) {
        if (s->gpa == gpa && s->owner == m && !s->access) {
            bus_counts.dma_cache_hits++;
            return s;
        }
    }
    struct slot *s = victim(m);
    if (!s)
        return NULL;
    s->gpa = gpa;
    s->page = page;
    s->watched = s->dirty = false;
    s->next_gpa = *bucket;
    *bucket = s;
    return s;
}

void mirror_attach(struct slot *s, uint64_t iova, uint8_t access)
{
    struct mirror *m = s->owner;
    struct slot **bucket = iova_bucket(m, iova);
    list_remove(s);
    list_add(access & WIRE_DMA_READ ? &m->readable : &m->writeonly, s, false);
    s->iova = iova;
    s->access = access;
    s->next_iova = *bucket;
    *bucket = s;
    m->mapped++;
    bus_counts.dma_mapped++;
}

void mirror_detach(struct slot *s)
{
    struct mirror *m = s->owner;
    struct slot **at = iova_bucket(m, s->iova);
    while (*at != s)
        at = &(*at)->next_iova;
    *at = s->next_iova;
    s->access = 0;
    list_remove(s);
    m->mapped--;
    bus_counts.dma_mapped--;
    if (s->spoiled)
        give_twin(s);
    s->spoiled = false;
    if (!s->twin)
        leave_gpa(s);
    list_add(&m->idle, s, !s->twin);
}

void mirror_blank(struct mirror *m)
{
    for (uint32_t i = 0; i < m->used; i++) {
        struct slot *s = mirror_slot(m, i);
        if (s->access)
            mirror_detach(s);
        give_twin(s);
        leave_gpa(s);
    }
    m->used = 0;
    list_init(&m->idle);
}

void mirror_touched(struct guest_dma *dma, uint64_t gpa, const struct slot *but)
{
    for (struct slot *s = *gpa_bucket(dma, gpa); s; s = s->next_gpa) {
        if (s->gpa == gpa && s != but)
            s->dirty = true;
    }
}
