// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: net/discovery.c
//
// Announcements there and back: lists of every length over frames of several sizes, with parts lost,
// repeated, mixed with those of other lists and other nodes.
#include "net/discovery_node.h"
#include "net/link_node.h"
#include "rt/time.h"
#include "tests/unit/host/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

#define MS        1000000ull
#define EVERYBODY 0xffffffffu

static struct {
    uint8_t bytes[64][LINK_FRAME_BYTES];
    size_t size[64];
    uint32_t to[64];
    unsigned count;
    size_t frame_max;
} wire;

static void path_open(void *ctx, struct carrier_path *path)
{
    (void)ctx;
    (void)path;
}
static enum status frame_send(void *ctx, struct carrier_path *path, const void *frame, size_t size)
{
    (void)ctx;
    assert_true(size <= wire.frame_max && wire.count < 64);
    memcpy(wire.bytes[wire.count], frame, size);
    wire.size[wire.count] = size;
    wire.to[wire.count++] = path->peer;
    return OK;
}
static size_t frame_max(void *ctx)
{
    (void)ctx;
    return wire.frame_max;
}
static const struct carrier carrier = {
    .name = "test", .open = path_open, .send = frame_send, .frame_max = frame_max};
static struct link_node *node;
static struct wire_function functions[DISCOVERY_FUNCTIONS_MAX];
static struct {
    unsigned count;
    struct announcement last;
    struct wire_function functions[DISCOVERY_FUNCTIONS_MAX];
} heard;

static void on_heard(void *ctx, const struct announcement *a)
{
    assert_ptr_equal(ctx, &heard);
    heard.count++;
    heard.last = *a;
    memcpy(heard.functions, a->functions, a->function_count * sizeof *a->functions);
}

static int setup(void **state)
{
    (void)state;
    memset(&wire, 0, sizeof wire);
    memset(&heard, 0, sizeof heard);
    wire.frame_max = LINK_FRAME_BYTES;
    host_time_set_ns(1000 * MS);
    node = calloc(1, sizeof *node);
    link_start(node, "disk1", 77, 1, &carrier);
    discovery_start(&carrier, EVERYBODY);
    for (unsigned i = 0; i < DISCOVERY_FUNCTIONS_MAX; i++)
        functions[i] = (struct wire_function){.at = {.devfn = (uint8_t)(i << 3)},
                                              .vendor = 0x8086,
                                              .device = (uint16_t)i,
                                              .bars = {{.size = 4096, .kind = 2}}};
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    free(node);
    return 0;
}

static void say(const struct announcement *a)
{
    wire.count = 0;
    discovery_announce(a, 0);
    discovery_poll(time_ns(), true);
}

static void test_every_length(void **state)
{
    (void)state;
    static const size_t sizes[] = {WIRE_FRAME_MIN, 1000, LINK_FRAME_BYTES};
    discovery_listen(on_heard, &heard);
    for (unsigned s = 0; s < 3; s++)
        for (unsigned n = 0; n <= DISCOVERY_FUNCTIONS_MAX; n++) {
            wire.frame_max = sizes[s];
            heard.count = 0;
            struct announcement a = {.node = "disk1", .function_count = (uint16_t)n, .functions = functions};
            functions[0].flags ^= WIRE_FN_BUSY; // so that it is a new list
            say(&a);
            for (unsigned i = 0; i < wire.count; i++) {
                assert_int_equal(heard.count, 0);
                discovery_input(5, wire.bytes[i], wire.size[i]);
            }
            assert_int_equal(heard.count, 1);
            assert_int_equal(heard.last.function_count, n);
            assert_int_equal(heard.last.boot_id, 77);
            assert_int_equal(heard.last.peer, 5);
            assert_string_equal(heard.last.node, "disk1");
            assert_memory_equal(heard.functions, functions, n * sizeof functions[0]);
        }
    assert_int_equal(discovery_stats().malformed, 0);
}

static void test_what_was_heard(void **state)
{
    (void)state;
    struct announcement got;
    uint64_t when;
    discovery_listen(on_heard, &heard);
    assert_false(discovery_heard(0, &got, &when));
    wire.frame_max = WIRE_FRAME_MIN;
    struct announcement a = {.node = "disk1", .function_count = 30, .functions = functions};
    say(&a);
    discovery_input(5, wire.bytes[0], wire.size[0]);
    assert_true(discovery_heard(0, &got, &when));
    assert_int_equal(got.function_count, 0); // some are missing
    host_time_advance_ns(7 * MS);
    for (unsigned i = 1; i < wire.count; i++)
        discovery_input(6, wire.bytes[i], wire.size[i]);
    a.node[4] = '2';
    say(&a);
    for (unsigned i = 0; i < wire.count; i++)
        discovery_input(9, wire.bytes[i], wire.size[i]);
    assert_true(discovery_heard(0, &got, &when));
    assert_string_equal(got.node, "disk1");
    assert_int_equal(got.peer, 6); // where it was last
    assert_int_equal(when, 1007 * MS);
    assert_int_equal(got.function_count, 30);
    assert_memory_equal(got.functions, functions, 30 * sizeof functions[0]);
    assert_true(discovery_heard(1, &got, &when));
    assert_string_equal(got.node, "disk2");
    assert_false(discovery_heard(2, &got, &when));
}

static void test_parts_in_any_order(void **state)
{
    (void)state;
    discovery_listen(on_heard, &heard);
    wire.frame_max = WIRE_FRAME_MIN;
    struct announcement a = {.node = "disk1", .function_count = 30, .functions = functions};
    say(&a);
    assert_int_equal(wire.count, 6);
    for (unsigned i = 6; i-- > 0;)
        discovery_input(5, wire.bytes[i], wire.size[i]);
    assert_int_equal(heard.count, 1);
    assert_memory_equal(heard.functions, functions, 30 * sizeof functions[0]);
    // the next round is reported with its last part; a lost part does not matter, all of it is known
    for (unsigned i = 1; i < 6; i++)
        discovery_input(5, wire.bytes[i], wire.size[i]);
    assert_int_equal(heard.count, 2);
}

static void test_lists_never_mix(void **state)
{
    (void)state;
    discovery_listen(on_heard, &heard);
    wire.frame_max = WIRE_FRAME_MIN;
    struct announcement a = {.node = "disk1", .function_count = 10, .functions = functions};
    say(&a);
    assert_int_equal(wire.count, 2);
    discovery_input(5, wire.bytes[0], wire.size[0]);
    functions[9].flags = WIRE_FN_BUSY; // the list changes between the parts
    say(&a);
    discovery_input(5, wire.bytes[1], wire.size[1]);
    assert_int_equal(heard.count, 0);
    discovery_input(5, wire.bytes[0], wire.size[0]);
    assert_int_equal(heard.count, 1);
    assert_memory_equal(heard.functions, functions, 10 * sizeof functions[0]);
    // same list, restarted remote
    ((struct wire_announce *)(wire.bytes[0] + sizeof(struct wire_frame)))->boot_id = 78;
    discovery_input(5, wire.bytes[0], wire.size[0]);
    discovery_input(5, wire.bytes[1], wire.size[1]);
    assert_int_equal(heard.count, 1);
}

static void test_many_remotes(void **state)
{
    (void)state;
    discovery_listen(on_heard, &heard);
    wire.frame_max = WIRE_FRAME_MIN;
    for (unsigned round = 0; round < 3; round++)
        for (unsigned n = 0; n < 40; n++) { // more than are kept: those heard longest ago are forgotten
            struct announcement a = {.node = "disk", .function_count = 1, .functions = functions};
            a.node[4] = (char)('0' + n);
            say(&a);
            heard.count = 0;
            host_time_advance_ns(MS);
            discovery_input(100 + n, wire.bytes[0], wire.size[0]);
            assert_int_equal(heard.count, 1);
            assert_string_equal(heard.last.node, a.node[4] == 0 ? "disk" : a.node);
            assert_int_equal(heard.last.peer, 100 + n);
        }
}

static void test_interval_and_change(void **state)
{
    (void)state;
    struct announcement a = {.node = "disk1", .function_count = 2, .functions = functions};
    discovery_announce(&a, 42);
    discovery_poll(time_ns(), false); // no address yet
    assert_int_equal(wire.count, 0);
    discovery_poll(time_ns(), true);
    assert_int_equal(wire.count, 2);
    assert_int_equal(wire.to[0], EVERYBODY);
    assert_int_equal(wire.to[1], 42);
    discovery_poll(time_ns() + (DISCOVERY_INTERVAL_MS - 1) * MS, true);
    assert_int_equal(wire.count, 2);
    assert_int_equal(discovery_next(), time_ns() + DISCOVERY_INTERVAL_MS * MS);
    discovery_poll(time_ns() + DISCOVERY_INTERVAL_MS * MS, true);
    assert_int_equal(wire.count, 4);
    discovery_announce(&a, 0); // at once, and no unicast any more
    discovery_poll(time_ns() + DISCOVERY_INTERVAL_MS * MS, true);
    assert_int_equal(wire.count, 5);
    assert_int_equal(discovery_stats().sent, 5);
}

static void test_malformed(void **state)
{
    (void)state;
    discovery_listen(on_heard, &heard);
    struct announcement a = {.node = "disk1", .function_count = 3, .functions = functions};
    say(&a);
    for (size_t n = 0; n < wire.size[0]; n++) {
        uint8_t *cut = malloc(n != 0 ? n : 1);
        memcpy(cut, wire.bytes[0], n);
        discovery_input(5, cut, n);
        free(cut);
    }
    assert_int_equal(discovery_stats().malformed, wire.size[0]);
    struct wire_announce *w = (struct wire_announce *)(wire.bytes[0] + sizeof(struct wire_frame));
    w->total = DISCOVERY_FUNCTIONS_MAX + 1; // possible in the format, more than this host takes
    discovery_input(5, wire.bytes[0], wire.size[0]);
    assert_int_equal(discovery_stats().malformed, wire.size[0] + 1);
    assert_int_equal(heard.count, 0);
    assert_int_equal(link_node_stats().malformed[WIRE_BAD_SIZE], wire.size[0]);
    assert_int_equal(link_node_stats().malformed[WIRE_BAD_BODY], 1);
}

static struct node_keys keys;

/// As setup, with the keys of a network of which `disk1` is the only node that speaks.
static int setup_keys(void **state)
{
    static const uint8_t private_key[CRYPTO_KEY] = {1}, psk[CRYPTO_KEY] = {2};
    setup(state);
    keys_set(&keys, private_key, psk);
    link_use_keys(&keys);
    discovery_listen(on_heard, &heard);
    return 0;
}

static void test_sealed(void **state)
{
    (void)state;
    static const size_t sizes[] = {WIRE_FRAME_MIN, LINK_FRAME_BYTES};
    for (unsigned s = 0; s < 2; s++)
        for (unsigned n = 0; n <= DISCOVERY_FUNCTIONS_MAX; n += 3) {
            wire.frame_max = sizes[s];
            heard.count = 0;
            struct announcement a = {.node = "disk1", .function_count = (uint16_t)n, .functions = functions};
            functions[0].flags ^= WIRE_FN_BUSY;
            say(&a);
            for (unsigned i = wire.count; i-- > 0;) { // parts in any order
                host_time_advance_ns(DISCOVERY_INTERVAL_MS * MS);
                assert_int_equal(heard.count, 0);
                discovery_input(5, wire.bytes[i], wire.size[i]);
            }
            assert_int_equal(heard.count, 1);
            assert_int_equal(heard.last.function_count, n);
            assert_memory_equal(heard.functions, functions, n * sizeof functions[0]);
            for (unsigned i = 0; i < wire.count; i++) // and again: a recording
                discovery_input(6, wire.bytes[i], wire.size[i]);
            assert_int_equal(heard.count, 1);
        }
    assert_int_equal(discovery_stats().malformed, 0);
    assert_int_equal(link_node_stats().replayed, discovery_stats().received);
    assert_int_equal(link_node_stats().forged, 0);
}

static void test_sealed_every_byte_counts(void **state)
{
    (void)state;
    struct announcement a = {.node = "disk1", .function_count = 2, .functions = functions};
    say(&a);
    for (size_t i = 0; i < wire.size[0]; i++) {
        host_time_advance_ns(10 * MS);
        wire.bytes[0][i] ^= (uint8_t)(1u << i % 8);
        discovery_input(5, wire.bytes[0], wire.size[0]);
        wire.bytes[0][i] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < wire.size[0]; n++)
        discovery_input(5, wire.bytes[0], n);
    assert_int_equal(heard.count, 0);
    assert_int_equal(discovery_stats().received, 0);
    assert_int_equal(link_node_stats().forged + discovery_stats().malformed, 2 * wire.size[0]);
    discovery_input(5, wire.bytes[0], wire.size[0]);
    assert_int_equal(heard.count, 1);
}

/// Announcements of a remote that has restarted since, announcements without keys, and with others.
static void test_sealed_old_and_wrong(void **state)
{
    (void)state;
    struct announcement a = {.node = "disk1", .function_count = 1, .functions = functions};
    say(&a);
    uint8_t old[LINK_FRAME_BYTES];
    size_t size = wire.size[0];
    memcpy(old, wire.bytes[0], size);
    discovery_input(5, old, size);
    host_time_advance_ns(10000 * MS);
    link_set_boot_id(78); // it restarts
    say(&a);
    discovery_input(5, wire.bytes[0], wire.size[0]);
    assert_int_equal(heard.count, 2);
    assert_int_equal(heard.last.boot_id, 78);
    host_time_advance_ns(DISCOVERY_INTERVAL_MS * MS);
    discovery_input(6, old, size); // who recorded the first life
    assert_int_equal(heard.count, 2);
    assert_int_equal(link_node_stats().replayed, 1);
    assert_string_equal(host_log_last(),
                        "discovery: disk1 announces itself from 6.0.0.0, too: a recording, or a second "
                        "machine of that name; ignored");
    unsigned lines = host_log_count();
    for (unsigned i = 0; i < 50; i++) // not for ever
        discovery_input(6, old, size);
    assert_in_range(host_log_count() - lines, 1, 3);
    assert_int_equal(link_node_stats().replayed, 51);
    host_time_advance_ns(60000 * MS);
    say(&a);
    discovery_input(5, wire.bytes[0], wire.size[0]);
    assert_int_equal(heard.count, 3);

    link_use_keys(NULL);
    say(&a);
    link_use_keys(&keys);
    discovery_input(6, wire.bytes[0], wire.size[0]);
    assert_int_equal(link_node_stats().malformed[WIRE_UNSEALED], 1);
    assert_string_equal(host_log_last(),
                        "discovery: 6.0.0.0 announces something, but not with our network's psk: ignored");
    keys.announce_mac[0] ^= 1;
    say(&a);
    keys.announce_mac[0] ^= 1;
    discovery_input(6, wire.bytes[0], wire.size[0]);
    assert_int_equal(link_node_stats().forged, 1);
    assert_int_equal(heard.count, 3);

    uint64_t before = link_node_stats().forged; // a flood: so many are looked at, and no more
    for (unsigned i = 0; i < 5000; i++) {
        host_time_advance_ns(MS / 10);
        discovery_input(i, wire.bytes[0], wire.size[0]);
    }
    assert_in_range(link_node_stats().forged - before, 250, 360);
    assert_int_equal(link_node_stats().forged - before + link_node_stats().limited, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_heard, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists_never_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_remotes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interval_and_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sealed, setup_keys, teardown),
        cmocka_unit_test_setup_teardown(test_sealed_every_byte_counts, setup_keys, teardown),
        cmocka_unit_test_setup_teardown(test_sealed_old_and_wrong, setup_keys, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
