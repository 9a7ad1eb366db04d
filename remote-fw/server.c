// SPDX-License-Identifier: BSD-2-Clause
// The remote's side of links (remote-fw/server.h).
#include "remote-fw/server.h"
#include "remote-fw/interrupts.h"
#include "remote-fw/lending.h"
#include "remote-fw/reset.h"
#include "rt/log.h"
#include "rt/time.h"
#include <string.h>

#define IP_FORMAT   "%u.%u.%u.%u"
#define IP_ARGS(ip) (ip) & 0xffu, (ip) >> 8 & 0xffu, (ip) >> 16 & 0xffu, (ip) >> 24

static struct {
    struct functions *functions;
    struct server_host hosts[SERVER_HOSTS_MAX];
    struct announcement announcement;
    struct wire_function announced[DISCOVERY_FUNCTIONS_MAX];
    uint32_t unicast_to;
    bool changed; // what is announced
    bool busy;    // something was sent or done since the last poll
} server;

struct functions *server_functions(void)
{
    return server.functions;
}

const struct server_host *server_host_at(unsigned index)
{
    return index < SERVER_HOSTS_MAX && server.hosts[index].link ? &server.hosts[index] : NULL;
}

const char *server_owner(const struct function *f)
{
    return f->owner ? ((const struct server_host *)f->owner)->node : "";
}

static struct server_host *owner_of(const struct function *f)
{
    return (struct server_host *)(uintptr_t)f->owner;
}

// --- completions ---

/// `after`: executed at this function, so behind its next round.
static void complete_after(struct server_host *host, uint16_t handle, uint16_t tag, enum wire_status status,
                           const void *data, size_t size, struct function *after)
{
    struct wire_record rec = {
        .type = size ? REC_CPLD : REC_CPL, .status = (uint8_t)status, .function = handle, .tag = tag};
    if (host->close_why)
        return;
    server.busy = host->unflushed = true;
    uint64_t round = after ? mastering_want(after) : 0;
    if (host->completions.count == COMPLETIONS_MAX) { // a burst of reads: do now what the poll would
        mastering_poll(time_ns());
        completions_send(&host->completions, host->link);
    }
    if (completions_add(&host->completions, host->link, &rec, data, size, after, round) != OK)
        host->close_why = "more requests outstanding than this remote keeps completions for";
}

static void complete(struct server_host *host, uint16_t handle, uint16_t tag, enum wire_status status,
                     const void *data, size_t size)
{
    complete_after(host, handle, tag, status, data, size, NULL);
}

/// Gives credits back when there are as many. When the link is full they wait for the next poll.
static void return_credits(struct server_host *host, struct function *f, uint32_t batch)
{
    if (f->credits_used < batch)
        return;
    struct wire_credit credit = {.count = (uint16_t)(f->credits_used < 0xffff ? f->credits_used : 0xffff)};
    struct wire_record rec = {.type = REC_CREDIT, .function = f->handle};
    server.busy = host->unflushed = true;
    if (link_send(host->link, &rec, &credit, sizeof credit, NULL, 0) == OK)
        f->credits_used -= credit.count;
}

// --- claims ---

static void complete_attach(struct server_host *host, struct function *f, uint16_t tag)
{
    struct wire_attached a = {.handle = f->handle, .credits = FUNCTION_CREDITS, .info = f->info};
    host->attaches++;
    if (function_may_say(f))
        log_info("lend", PCI_FORMAT " attached by host \"%s\" (" IP_FORMAT ") as handle %u",
                 PCI_ARGS(f->info.at), host->node, IP_ARGS(host->peer), f->handle);
    complete(host, f->handle, tag, CPL_SC, &a, sizeof a);
}

static void release(struct function *f, const char *why)
{
    if (function_may_say(f))
        log_info("lend", PCI_FORMAT " released by host \"%s\": %s", PCI_ARGS(f->info.at), server_owner(f),
                 why);
    mastering_end(f);
    interrupts_off(f);
    functions_release(server.functions, f);
    server.changed = true;
    if (f->state != FUNCTION_RESETTING)
        reset_begin(f, time_ns());
}

/// ATTACH is refused. Said on the console, but a host that asks for ever does not fill it: after the first
/// 16 times only the 32nd, the 64th...
static void refuse(struct server_host *host, uint16_t tag, struct wire_pci_address at,
                   enum wire_status status, const char *why, const char *who)
{
    uint64_t n = ++host->refused;
    if (n <= 16 || (n & (n - 1)) == 0)
        log_warn("lend", PCI_FORMAT " asked for by host \"%s\": %s%s%s%s", PCI_ARGS(at), host->node, why,
                 who[0] ? " \"" : "", who, who[0] ? "\"" : "");
    complete(host, 0, tag, status, who[0] ? who : NULL, strlen(who));
}

static void attach(struct server_host *host, const struct wire_record *rec, const void *body, size_t size)
{
    struct wire_attach wanted;
    if (size != sizeof wanted) {
        server.functions->counters.refused[REFUSED_LENGTH]++;
        complete(host, 0, rec->tag, CPL_UR, NULL, 0);
        return;
    }
    memcpy(&wanted, body, sizeof wanted);
    struct function *f = functions_at(server.functions, wanted.at);
    if (!f) {
        refuse(host, rec->tag, wanted.at, CPL_NOT_LENT, "not lent here", "");
        return;
    }
    if (!lending_allows(f->terms, host->node)) {
        refuse(host, rec->tag, wanted.at, CPL_DENIED, "its 'lend' line names other hosts", "");
        return;
    }
    if (functions_claim(server.functions, f, host) != OK) {
        refuse(host, rec->tag, wanted.at, CPL_OWNED, "lent to", server_owner(f));
        return;
    }
    server.changed = true;
    if (f->state == FUNCTION_FREE && f->clean) { // reset when it was released: nobody could touch it since
        f->clean = false;
        f->state = FUNCTION_LENT;
        reset_enable(f);
        complete_attach(host, f, rec->tag);
        return;
    }
    f->pending_type = REC_ATTACH;
    f->pending_tag = rec->tag;
    if (f->state != FUNCTION_RESETTING)
        reset_begin(f, time_ns());
}

static void begin_dma(struct server_host *host, const struct wire_record *rec, struct function *f)
{
    uint32_t slots = 0;
    enum wire_status status = f->state == FUNCTION_LENT ? mastering_begin(f, &slots) : CPL_CRS;
    struct wire_dma_started started = {.slots = slots};
    complete(host, rec->function, rec->tag, status, &started, status == CPL_SC ? sizeof started : 0);
}

static void control(struct server_host *host, const struct wire_record *rec, const void *body, size_t size)
{
    struct function *f = functions_of(server.functions, host, rec->function);
    if (!f) {
        server.functions->counters.refused[REFUSED_HANDLE]++;
        complete(host, rec->function, rec->tag, CPL_UR, NULL, 0);
        return;
    }
    if (rec->type == REC_INTERRUPTS) {
        complete(host, rec->function, rec->tag,
                 f->state == FUNCTION_RESETTING ? CPL_CRS : interrupts_set(f, body, size), NULL, 0);
        return;
    }
    if (rec->type == REC_DMA_START) {
        begin_dma(host, rec, f);
        return;
    }
    if (rec->type == REC_RESET) {
        if (f->state == FUNCTION_RESETTING) {
            complete(host, rec->function, rec->tag, CPL_CRS, NULL, 0);
            return;
        }
        f->pending_type = REC_RESET;
        f->pending_tag = rec->tag;
        mastering_end(f);
        interrupts_off(f);
        reset_begin(f, time_ns());
        return;
    }
    if (f->pending_type)
        complete(host, rec->function, f->pending_tag, CPL_CA, NULL, 0);
    release(f, "detached");
    complete(host, rec->function, rec->tag, CPL_SC, NULL, 0);
}

static void release_all(struct server_host *host, const char *why)
{
    for (unsigned i = 0; i < server.functions->count; i++)
        if (server.functions->all[i].owner == host)
            release(&server.functions->all[i], why);
}

// --- resets ---

static void reset_ended(struct function *f, enum status s)
{
    struct server_host *host = owner_of(f);
    uint8_t type = f->pending_type;
    f->pending_type = 0;
    server.busy = true;
    if (s == OK) {
        f->clean = !host;
        f->state = host ? FUNCTION_LENT : FUNCTION_FREE;
        if (type == REC_ATTACH)
            complete_attach(host, f, f->pending_tag);
        else if (type == REC_RESET)
            complete(host, f->handle, f->pending_tag, CPL_SC, NULL, 0);
        return;
    }
    log_error("lend",
              PCI_FORMAT " did not come back from its reset (%s): power-cycle this machine if it stays away",
              PCI_ARGS(f->info.at), reset_method_name(f->reset.method));
    f->clean = false;
    f->state = FUNCTION_FREE;
    if (!host)
        return;
    complete(host, f->handle, f->pending_tag, CPL_CA, NULL, 0);
    if (type == REC_RESET) {
        struct wire_record gone = {.type = REC_GONE, .function = f->handle};
        if (link_send(host->link, &gone, NULL, 0, NULL, 0) != OK)
            log_debug("lend", PCI_FORMAT ": host \"%s\" not told that it is gone: its accesses will say so",
                      PCI_ARGS(f->info.at), host->node);
    }
    functions_release(server.functions, f);
    server.changed = true;
}

static void poll_resets(uint64_t now)
{
    for (unsigned i = 0; i < server.functions->count; i++) {
        struct function *f = &server.functions->all[i];
        if (f->state != FUNCTION_RESETTING)
            continue;
        enum status s = reset_poll(f, now, f->owner != NULL);
        if (s != ERR_BUSY)
            reset_ended(f, s);
    }
}

// --- interrupts and DMA ---

static enum status send_event(struct function *f, uint8_t type, const void *body, size_t size,
                              const void *data, size_t data_size)
{
    struct server_host *host = owner_of(f);
    struct wire_record rec = {.type = type, .function = f->handle};
    if (!host || !host->link || host->close_why)
        return ERR_LINK_DOWN;
    enum status s = link_send(host->link, &rec, body, size, data, data_size);
    if (s != ERR_BUSY)
        server.busy = host->unflushed = true;
    return s;
}

static size_t event_room(struct function *f)
{
    struct server_host *host = owner_of(f);
    return host && host->link ? link_room(host->link) : 0;
}

static size_t event_room_max(struct function *f)
{
    struct server_host *host = owner_of(f);
    return host && host->link ? link_room_max(host->link) : 0;
}

const struct mastering_link server_mastering_link = {
    .send = send_event, .room = event_room, .room_max = event_room_max};

/// False: not now. Completions that wait were earlier.
static bool tell(struct function *f, uint8_t type, const void *body, size_t size)
{
    struct server_host *host = owner_of(f);
    if (!host || host->completions.count || send_event(f, type, body, size, NULL, 0) != OK)
        return false;
    f->interrupts.told++;
    return true;
}

/// What came is noted, before the rounds.
static void note_interrupts(uint64_t now)
{
    interrupts_note();
    for (unsigned i = 0; i < server.functions->count; i++) {
        struct function *f = &server.functions->all[i];
        if (f->interrupts.mode == INTERRUPTS_INTX)
            interrupts_intx_note(f, now);
    }
}

/// What was noted is told, behind the rounds.
static void tell_interrupts(void)
{
    struct function *f;
    uint16_t entry;
    for (unsigned slot = 0; interrupts_take(&slot, &f, &entry); slot++) {
        struct wire_msi msi = {.vector = entry};
        if (!tell(f, REC_MSI, &msi, sizeof msi))
            interrupts_keep(slot);
    }
    for (unsigned i = 0; i < server.functions->count; i++) {
        bool asserted;
        f = &server.functions->all[i];
        if (f->interrupts.mode != INTERRUPTS_INTX || !interrupts_intx(f, &asserted))
            continue;
        struct wire_intx intx = {.pin = f->info.pin, .asserted = asserted};
        if (tell(f, REC_INTX, &intx, sizeof intx))
            interrupts_intx_told(f, asserted);
    }
}

uint64_t server_looks_ns(uint64_t most)
{
    for (unsigned i = 0; i < server.functions->count; i++) {
        if (server.functions->all[i].interrupts.mode == INTERRUPTS_INTX && most > INTX_SLEEP_NS)
            most = INTX_SLEEP_NS;
    }
    return mastering_next_ns(time_ns(), most);
}

// --- link events ---

static enum status accept_host(void *arg, const char *node, uint32_t peer, void **ctx, const char **why)
{
    (void)arg;
    for (unsigned i = 0; i < SERVER_HOSTS_MAX; i++) {
        struct server_host *host = &server.hosts[i];
        if (host->node[0])
            continue;
        memset(host, 0, sizeof *host);
        strncpy(host->node, node, sizeof host->node - 1);
        host->peer = peer;
        *ctx = host;
        return OK;
    }
    *why = "this remote serves as many hosts as it can";
    return ERR_NOMEM;
}

static void on_up(void *ctx, struct link *link)
{
    struct server_host *host = ctx;
    release_all(host, "new session");
    host->link = link;
    host->completions.count = 0;
    host->close_why = NULL;
}

static void on_record(void *ctx, struct link *link, const struct wire_record *rec, const void *body,
                      size_t size)
{
    struct server_host *host = ctx;
    struct completion out;
    (void)link;
    server.busy = true;
    switch (rec->type) {
    case REC_ATTACH:
        attach(host, rec, body, size);
        return;
    case REC_DETACH:
    case REC_RESET:
    case REC_INTERRUPTS:
    case REC_DMA_START:
        control(host, rec, body, size);
        return;
    case REC_DMA_MAP:
    case REC_DMA_UNMAP:
    case REC_DMA_DATA: {
        struct function *master = functions_of(server.functions, host, rec->function);
        if (master)
            mastering_input(master, rec->type, body, size);
        else
            server.functions->counters.refused[REFUSED_HANDLE]++;
        return;
    }
    case REC_EOI: {
        struct function *ended = functions_of(server.functions, host, rec->function);
        if (ended)
            interrupts_eoi(ended);
        else
            server.functions->counters.refused[REFUSED_HANDLE]++;
        return;
    }
    default:
        break;
    }
    struct function *f = executor_run(server.functions, host, rec, body, size, &out);
    if (out.wanted)
        complete_after(host, rec->function, rec->tag, out.status, out.data, out.size, f);
    if (f) {
        mastering_touched(f, time_ns());
        return_credits(host, f, FUNCTION_CREDITS_BATCH);
    }
}

/// Frozen, or back again: it keeps its functions; the link itself says so on the log.
static void on_change(void *ctx, struct link *link)
{
    (void)ctx;
    (void)link;
}

static void forget(struct server_host *host, const char *why)
{
    release_all(host, why);
    host->link = NULL;
    host->node[0] = 0;
    host->completions.count = 0;
}

static void on_down(void *ctx, struct link *link, const char *why)
{
    (void)link;
    if (((struct server_host *)ctx)->node[0])
        forget(ctx, why);
}

static const struct link_events events = {
    .up = on_up,
    .record = on_record,
    .frozen = on_change,
    .resumed = on_change,
    .down = on_down,
};

// --- announcements ---

static void announce(void)
{
    for (unsigned i = 0; i < server.functions->count; i++)
        server.announced[i] = server.functions->all[i].info;
    server.announcement.function_count = (uint16_t)server.functions->count;
    server.announcement.functions = server.announced;
    server.changed = false;
    discovery_announce(&server.announcement, server.unicast_to);
}

void server_start(struct functions *functions, const char *node, uint32_t unicast_to)
{
    memset(&server, 0, sizeof server);
    server.functions = functions;
    server.unicast_to = unicast_to;
    strncpy(server.announcement.node, node, sizeof server.announcement.node - 1);
    for (unsigned i = 0; i < functions->count; i++)
        reset_begin(&functions->all[i], time_ns()); // the firmware may have left its DMA running
    link_listen(&events, accept_host, NULL);
    announce();
}

bool server_poll(void)
{
    uint64_t now = time_ns();
    poll_resets(now);
    note_interrupts(now);
    if (mastering_poll(now))
        server.busy = true;
    for (unsigned i = 0; i < SERVER_HOSTS_MAX; i++) {
        struct server_host *host = &server.hosts[i];
        if (host->link && completions_send(&host->completions, host->link))
            server.busy = host->unflushed = true;
    }
    tell_interrupts();
    for (unsigned i = 0; i < server.functions->count; i++) {
        struct function *f = &server.functions->all[i];
        if (!f->owner)
            continue;
        // smaller batches when something leaves anyway: the end of a round, not its middle
        bool leaves = owner_of(f)->unflushed && f->interrupts.round != ROUND_RUNS;
        return_credits(owner_of(f), f, FUNCTION_CREDITS_BATCH / (leaves ? 2 : 1));
    }
    for (unsigned i = 0; i < SERVER_HOSTS_MAX; i++) {
        struct server_host *host = &server.hosts[i];
        if (!host->link)
            continue;
        if (host->close_why) {
            struct link *link = host->link;
            log_error("lend", "host \"%s\" is dropped: %s", host->node, host->close_why);
            const char *why = host->close_why;
            forget(host, why);
            link_close(link, why);
        } else if (host->unflushed) {
            host->unflushed = false;
            link_flush(host->link);
        }
    }
    if (server.changed)
        announce();
    bool busy = server.busy;
    server.busy = false;
    return busy;
}

void server_stop(const char *why)
{
    for (unsigned i = 0; i < SERVER_HOSTS_MAX; i++) {
        struct link *link = server.hosts[i].link;
        if (!link)
            continue;
        forget(&server.hosts[i], why);
        link_close(link, why);
    }
}
