// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: net/discovery.c
//
// Any bytes as announcements, one after the other: two bytes of length (bit 15: repair magic, length and the
// size of the body), then the frame. What is reported must be a list that could have been announced.
#include "net/discovery_node.h"
#include "net/link_node.h"
#include "tests/unit/host/host.h"

#include <stdlib.h>
#include <string.h>

static struct link_node *node;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void path_open(void *ctx, struct carrier_path *path)
{
    (void)ctx;
    (void)path;
}
static enum status frame_send(void *ctx, struct carrier_path *path, const void *frame, size_t size)
{
    (void)ctx;
    (void)path;
    (void)frame;
    (void)size;
    abort(); // a listener says nothing
}
static size_t frame_max(void *ctx)
{
    (void)ctx;
    return 1472;
}
static const struct carrier carrier = {
    .name = "fuzz", .open = path_open, .send = frame_send, .frame_max = frame_max};

static void on_heard(void *ctx, const struct announcement *a)
{
    (void)ctx;
    require(wire_name_valid(a->node) && a->boot_id != 0 && a->function_count <= DISCOVERY_FUNCTIONS_MAX);
    for (unsigned i = 0; i < a->function_count; i++)
        require(wire_function_valid(&a->functions[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (node == NULL) {
        node = calloc(1, sizeof *node);
        link_start(node, "host1", 7, 42, &carrier);
    }
    host_time_set_ns(1000000000);
    discovery_start(&carrier, 0xffffffff);
    discovery_listen(on_heard, NULL);
    for (size_t at = 0; size - at >= 2;) {
        size_t n = (size_t)(data[at] | (data[at + 1] & 0x7f) << 8) % 1600;
        bool repair = data[at + 1] & 0x80;
        at += 2;
        if (n > size - at)
            n = size - at;
        uint8_t *copy = malloc(n != 0 ? n : 1);
        memcpy(copy, data + at, n);
        at += n;
        if (repair && n >= sizeof(struct wire_frame) + sizeof(struct wire_announce)) {
            struct wire_frame f = {
                .magic = WIRE_MAGIC, .version = WIRE_VERSION, .type = WIRE_ANNOUNCE, .length = (uint16_t)n};
            struct wire_announce a;
            memcpy(copy, &f, sizeof f);
            memcpy(&a, copy + sizeof f, sizeof a);
            a.count = (uint16_t)((n - sizeof f - sizeof a) / sizeof(struct wire_function));
            a.reserved = 0;
            memcpy(copy + sizeof f, &a, sizeof a);
        }
        host_time_advance_ns(1000000);
        discovery_input(1, copy, n);
        free(copy);
    }
    return 0;
}
