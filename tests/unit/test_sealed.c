// SPDX-License-Identifier: BSD-2-Clause
// LINK: net/wire.c net/link.c net/link_handshake.c net/link_reliable.c net/link_records.c @keys
// LINK: tests/unit/net/sim.c tests/unit/net/pair.c
//
// Links with keys against who listens, repeats, changes and invents frames, and against peers that have wrong
// keys. Fixed seeds, simulated clock.
#include "rt/time.h"
#include "tests/unit/host/host.h"
#include "tests/unit/net/pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// cmocka needs the four above
#include <cmocka.h>

// --- a listener ---

#define HEARD_MAX 20000u
static struct heard {
    uint32_t from, to;
    size_t size;
    uint8_t bytes[LINK_FRAME_BYTES];
} * heard;
static unsigned heard_count;

static void listen(uint32_t from, uint32_t to, const void *frame, size_t size)
{
    if (heard_count == HEARD_MAX)
        return;
    struct heard *h = &heard[heard_count++];
    h->from = from;
    h->to = to;
    h->size = size;
    memcpy(h->bytes, frame, size);
}

/// As pair_begin, with somebody listening from the first HELLO on.
static void begin_heard(uint64_t seed)
{
    if (heard == NULL)
        heard = calloc(HEARD_MAX, sizeof *heard);
    heard_count = 0;
    memset(&t, 0, sizeof t);
    t.batch = 4;
    sim_start(seed);
    sim_tap = listen;
    pair_boot_remote();
    pair_boot_host();
}

static const struct wire_frame *header(const struct heard *h)
{
    return (const struct wire_frame *)h->bytes;
}

static const struct heard *last(uint32_t from, unsigned type)
{
    for (unsigned i = heard_count; i-- > 0;)
        if (heard[i].from == from && header(&heard[i])->type == (type | WIRE_SEALED))
            return &heard[i];
    fail_msg("no frame of type %u was heard", type);
    return NULL;
}

static void say(unsigned to, uint32_t from, const void *bytes, size_t size)
{
    uint8_t *exact = malloc(size);
    memcpy(exact, bytes, size);
    sim_on(to);
    link_input(&sim_nodes[to].carrier, from, exact, size);
    free(exact);
}

static struct link_node_stats stats(unsigned n)
{
    sim_on(n);
    return link_node_stats();
}

static void write_one(void)
{
    struct wire_access a = {.size = 4};
    struct wire_record r = {.type = REC_MWR, .function = 1};
    uint32_t number = t.writes_sent++;
    a.size = (uint16_t)pair_payload_size(number);
    uint8_t data[256] = {0};
    memcpy(data, &number, 4);
    sim_on(HOST);
    assert_int_equal(link_send(t.host, &r, &a, sizeof a, data, a.size), OK);
    link_flush(t.host);
}

// --- what is on the wire ---

static void test_nothing_readable_and_no_nonce_twice(void **state)
{
    (void)state;
    begin_heard(1);
    sim_faults = (struct sim_faults){.loss = 100, .duplicate = 50, .reorder = 200, .nic_full = 100};
    t.limit = 2000;
    sim_run(20000 * MS, MS, pair_traffic);
    pair_all_arrived();
    assert_true(heard_count > 500);
    static const uint8_t zeroes[16];
    for (unsigned i = 0; i < heard_count; i++) {
        const struct heard *h = &heard[i];
        assert_true((header(h)->type & WIRE_SEALED) != 0);
        for (size_t at = sizeof(struct wire_frame) + 8; at + 16 <= h->size; at++) {
            assert_memory_not_equal(h->bytes + at, zeroes, 16); // the writes of this traffic are full of them
            assert_memory_not_equal(h->bytes + at, "host1\0\0\0", 8);
        }
        // The same frame may be on the wire twice (the network repeats it); another one with its counter not.
        for (unsigned j = 0; j < i; j += 1 + heard_count / 500)
            if (heard[j].from == h->from && header(&heard[j])->epoch == header(h)->epoch &&
                memcmp(heard[j].bytes + sizeof(struct wire_frame), h->bytes + sizeof(struct wire_frame), 8) ==
                    0)
                assert_true(heard[j].size == h->size && memcmp(heard[j].bytes, h->bytes, h->size) == 0);
    }
    sim_stop();
}

/// AES-GCM when both have it; ChaCha20-Poly1305 when one has not.
static void test_ciphers(void **state)
{
    (void)state;
    for (unsigned without = HOST; without <= SIM_NODES;
         without += without < REMOTE ? 1 : SIM_NODES - REMOTE) {
        sim_no_aes = without;
        pair_begin(60 + without);
        sim_faults = (struct sim_faults){.flip = 50, .loss = 50};
        t.limit = 500;
        sim_run(10000 * MS, MS, pair_traffic);
        pair_all_arrived();
        assert_int_equal(t.host->seal.send.aes, without == SIM_NODES && crypto_has_aes());
        assert_int_equal(t.remote->seal.send.aes, t.host->seal.send.aes);
        sim_stop();
    }
    sim_no_aes = SIM_NODES;
}

/// One bit of every byte of every kind of frame: counted, and nothing else happens.
static void test_every_byte_counts(void **state)
{
    (void)state;
    begin_heard(2);
    sim_run(20 * MS, MS, NULL);
    write_one();
    sim_run(20 * MS, MS, NULL);
    sim_nodes[HOST].cable = false; // the last word is heard by us, not by the remote
    sim_on(HOST);
    struct seal before = t.remote->seal;
    write_one();
    struct wire_frame plain = {WIRE_MAGIC, WIRE_VERSION, WIRE_ACK, sizeof plain, t.host->epoch, 0, 0, 0};
    struct {
        struct wire_frame frame;
        struct wire_bye body;
    } __attribute__((packed))
    bye = {{WIRE_MAGIC, WIRE_VERSION, WIRE_BYE, sizeof bye, t.host->epoch, 0, 0, 0}, {.reason = BYE_CLOSED}};
    struct {
        struct wire_frame frame;
        struct wire_record rec;
    } __attribute__((packed))
    data = {{WIRE_MAGIC, WIRE_VERSION, WIRE_DATA, sizeof data, t.host->epoch, 2, 0, 0},
            {.type = REC_RESET, .length = sizeof data.rec, .function = 1, .tag = 9}};
    const struct {
        const void *bytes;
        size_t size;
    } frames[] = {{&plain, sizeof plain}, {&bye, sizeof bye}, {&data, sizeof data}};
    uint32_t delivered = t.remote->rcv_nxt;
    for (unsigned k = 0; k < 3; k++) {
        uint8_t sealed[200 + CRYPTO_SLACK];
        size_t size = seal_frame(&t.host->seal, frames[k].bytes, frames[k].size, sealed);
        assert_int_equal(size, frames[k].size + WIRE_SEAL_BYTES);
        for (size_t i = 0; i < size; i++) {
            struct link_node_stats s = stats(REMOTE);
            uint64_t bad = s.forged + s.replayed + s.strangers;
            for (unsigned f = 1; f < WIRE_FAULTS; f++)
                bad += s.malformed[f];
            sealed[i] ^= (uint8_t)(1u << i % 8);
            say(REMOTE, HOST + 1, sealed, size);
            sealed[i] ^= (uint8_t)(1u << i % 8);
            s = stats(REMOTE);
            uint64_t now = s.forged + s.replayed + s.strangers;
            for (unsigned f = 1; f < WIRE_FAULTS; f++)
                now += s.malformed[f];
            assert_int_equal(now, bad + 1);
        }
        for (size_t cut = 0; cut < size; cut++)
            say(REMOTE, HOST + 1, sealed, cut);
        assert_int_equal(t.remote->rcv_nxt, delivered);
        assert_int_equal(t.remote_downs, 0);
        assert_int_equal(t.remote->seal.newest, before.newest);
    }
    sim_stop();
}

/// The other way to say it: a network that turns bits. Everything arrives, nothing wrong does.
static void test_network_that_turns_bits(void **state)
{
    (void)state;
    for (uint64_t seed = 3; seed < 8; seed++) {
        pair_begin(seed);
        sim_faults = (struct sim_faults){.flip = 150, .loss = 20, .reorder = 50, .duplicate = 50};
        t.limit = 1500;
        sim_run(30000 * MS, MS, pair_traffic);
        pair_all_arrived();
        assert_true(stats(REMOTE).forged > 20);
        sim_stop();
    }
}

// --- what was said before ---

/// All that was ever on the wire is said again, to both, while the session lives and after it.
static void test_replay(void **state)
{
    (void)state;
    begin_heard(9);
    t.limit = 300;
    sim_run(500 * MS, MS, pair_traffic);
    pair_all_arrived();
    sim_tap = NULL;
    struct pair_state seen = t;
    struct link_node_stats before = stats(REMOTE);
    for (unsigned i = 0; i < heard_count; i++)
        say(heard[i].to - 1, heard[i].from, heard[i].bytes, heard[i].size);
    assert_int_equal(t.executed, seen.executed);
    assert_int_equal(t.writes_seen, seen.writes_seen);
    assert_int_equal(t.answered, seen.answered);
    assert_int_equal(t.ups, 1);
    assert_int_equal(t.remote_ups, 1);
    assert_true(stats(REMOTE).replayed - before.replayed > 50);
    assert_true(stats(HOST).replayed > 50);
    t.limit += 100; // and it works as before
    sim_run(300 * MS, MS, pair_traffic);
    pair_all_arrived();

    // After the host has begun anew, and after the remote has restarted: the old HELLO opens nothing.
    for (unsigned round = 0; round < 2; round++) {
        if (round == 0) {
            pair_boot_host();
            sim_run(300 * MS, MS, NULL);
            assert_int_equal(link_state(t.host), LINK_UP);
        } else {
            pair_boot_remote();
            sim_nodes[HOST].cable = false;
        }
        unsigned ups = t.remote_ups, downs = t.remote_downs;
        uint64_t frames = sim_nodes[REMOTE].frames_out;
        for (unsigned i = 0; i < heard_count; i++)
            if (heard[i].to == REMOTE + 1)
                say(REMOTE, heard[i].from, heard[i].bytes, heard[i].size);
        assert_int_equal(t.remote_ups, ups);
        assert_int_equal(t.remote_downs, downs);
        assert_true(sim_nodes[REMOTE].frames_out <=
                    frames + 1); // an answer to HELLO that its maker cannot use
        assert_true(stats(REMOTE).strangers + stats(REMOTE).forged > 50);
        if (round == 0)
            assert_int_equal(link_state(t.host), LINK_UP);
    }
    sim_stop();
}

static void test_window(void **state)
{
    (void)state;
    static const uint8_t key[CRYPTO_KEY] = {1};
    struct seal from, to;
    seal_start(&from, key, key, false);
    seal_start(&to, key, key, false);
    enum { COUNT = SEAL_WINDOW * 3, SIZE = sizeof(struct wire_frame) + WIRE_SEAL_BYTES };
    static uint8_t frames[COUNT][SIZE + CRYPTO_SLACK];
    struct wire_frame ack = {WIRE_MAGIC, WIRE_VERSION, WIRE_ACK, sizeof ack, 7, 0, 0, 0},
                      out[1 + (SIZE + CRYPTO_SLACK) / sizeof(struct wire_frame)];
    for (unsigned i = 0; i < COUNT; i++) {
        ack.ack = i;
        assert_int_equal(seal_frame(&from, &ack, sizeof ack, frames[i]), SIZE);
    }
    assert_int_equal(seal_open(&to, frames[5], SIZE, out), OK); // early
    assert_int_equal(out->ack, 5);
    assert_int_equal(out->type, WIRE_ACK);
    assert_int_equal(seal_open(&to, frames[5], SIZE, out), ERR_BUSY);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(seal_open(&to, frames[i], SIZE, out), OK); // late, but in the window
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(seal_open(&to, frames[i], SIZE, out), ERR_BUSY);
    unsigned top = SEAL_WINDOW + 100;
    assert_int_equal(seal_open(&to, frames[top], SIZE, out), OK);
    assert_int_equal(seal_open(&to, frames[top - SEAL_WINDOW], SIZE, out),
                     ERR_BUSY); // not seen, but too old
    assert_int_equal(seal_open(&to, frames[top - SEAL_WINDOW + 1], SIZE, out), OK);
    assert_int_equal(seal_open(&to, frames[top - SEAL_WINDOW + 1], SIZE, out), ERR_BUSY);
    assert_int_equal(seal_open(&to, frames[COUNT - 1], SIZE, out), OK); // the whole window at once
    assert_int_equal(seal_open(&to, frames[COUNT - 2], SIZE, out), OK);
    frames[COUNT - 3][sizeof ack + 9] ^= 1;
    assert_int_equal(seal_open(&to, frames[COUNT - 3], SIZE, out), ERR_DENIED);
    frames[COUNT - 3][sizeof ack + 9] ^= 1;
    assert_int_equal(seal_open(&to, frames[COUNT - 3], SIZE, out), OK); // a forgery has not used it up
    assert_int_equal(to.forged, 1);
}

// --- keys that age ---

/// Both directions pass the end of a key's life in the middle of traffic over a bad network.
static void test_rekey(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 24; seed++) {
        pair_begin(seed);
        sim_run(20 * MS, MS, NULL);
        uint8_t first[CRYPTO_KEY];
        memcpy(first, t.host->seal.send_key, sizeof first);
        struct link *ends[2] = {t.host, t.remote};
        for (unsigned i = 0; i < 2; i++) {
            ends[i]->seal.next = (1u << SEAL_REKEY_SHIFT) - 100;
            ends[1 - i]->seal.newest = (1u << SEAL_REKEY_SHIFT) - 100;
        }
        sim_faults = (struct sim_faults){.loss = 50, .duplicate = 50, .reorder = 300};
        t.limit = 1500;
        sim_run(20000 * MS, MS, pair_traffic);
        pair_all_arrived();
        assert_int_equal(t.host->seal.generation, 1);
        assert_int_equal(t.remote->seal.generation, 1);
        assert_memory_not_equal(first, t.host->seal.send_key, sizeof first);
        assert_memory_equal(t.remote->seal.receive_key, t.host->seal.send_key, sizeof first);
        assert_memory_equal(&t.remote->seal.receive, &t.host->seal.send, sizeof t.host->seal.send);
        assert_memory_not_equal(&t.remote->seal.receive, &t.remote->seal.previous, sizeof t.host->seal.send);
        assert_int_equal(stats(HOST).forged + stats(REMOTE).forged, 0);
        sim_stop();
    }
}

static void test_counters_end(void **state)
{
    (void)state;
    pair_begin(25);
    sim_run(20 * MS, MS, NULL);
    uint32_t epoch = t.host->epoch;
    t.host->seal.next = SEAL_END - 2;
    t.remote->seal.newest = SEAL_END - 2;
    t.remote->seal.generation = (SEAL_END - 2) >> SEAL_REKEY_SHIFT;
    write_one();
    write_one();
    sim_run(1 * MS, MS, NULL);
    assert_int_equal(t.writes_seen, 2);
    struct wire_frame ack = {WIRE_MAGIC, WIRE_VERSION, WIRE_ACK, sizeof ack, epoch, 0, 0, 0};
    uint8_t out[100 + CRYPTO_SLACK];
    assert_int_equal(seal_frame(&t.host->seal, &ack, sizeof ack, out), 0);
    sim_run(1500 * MS, MS, NULL);
    assert_int_equal(t.downs, 1);
    assert_string_equal(t.why, "its keys are used up");
    assert_int_equal(link_state(t.host), LINK_UP);
    assert_int_not_equal(t.host->epoch, epoch);
    assert_true(t.host->seal.next < 100);
    sim_stop();
}

// --- wrong keys ---

static void change_key(unsigned n, const char *name, bool psk, const char *peer)
{
    struct node_keys *k = &sim_nodes[n].keys;
    struct node_keys right = *k;
    uint8_t own[CRYPTO_KEY], shared[CRYPTO_KEY], public_key[CRYPTO_KEY];
    memcpy(own, k->private_key, sizeof own);
    memcpy(shared, k->psk, sizeof shared);
    if (psk)
        shared[7] ^= 0x10;
    if (name != NULL)
        crypto_hash(own, name, strlen(name), NULL, 0);
    keys_set(k, own, shared);
    for (unsigned i = 0; i < right.peer_count; i++) {
        memcpy(public_key, right.peers[i].public_key, sizeof public_key);
        if (peer != NULL && strcmp(peer, right.peers[i].name) == 0)
            crypto_hash(public_key, "somebody else", 13, NULL, 0);
        assert_int_equal(keys_add_peer(k, right.peers[i].name, public_key), OK);
    }
}

static void test_wrong_keys(void **state)
{
    (void)state;
    static const struct {
        const char *own, *peer; // the host's
        bool psk;
        const char *sentence; // the remote's
    } cases[] = {
        {NULL, NULL, true,
         "link: 1.0.0.0 is refused: its HELLO is not made with our public key and our network's psk"},
        {NULL, "disk1", false,
         "link: 1.0.0.0 is refused: its HELLO is not made with our public key and our network's psk"},
        {"eve", NULL, false,
         "link: 1.0.0.0 is refused: it has our network's psk, but no [peer] section here has its public key"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(&t, 0, sizeof t);
        sim_start(30 + i);
        pair_boot_remote();
        sim_boot(HOST, "host1");
        change_key(HOST, cases[i].own, cases[i].psk, cases[i].peer);
        sim_on(HOST);
        assert_int_equal(link_connect(REMOTE + 1, "disk1", &pair_host_events, &t, &t.host), OK);
        sim_run(1000 * MS, MS, NULL);
        assert_string_equal(host_log_last(), cases[i].sentence);
        assert_int_equal(sim_nodes[REMOTE].frames_out, 0); // nothing is answered
        struct link_node_stats s = stats(REMOTE);
        assert_int_equal(s.forged + s.unknown, s.hellos);
        assert_true(s.hellos >= 4);
        assert_int_equal(s.unknown != 0, cases[i].own != NULL);
        unsigned lines = host_log_count();
        sim_run(10000 * MS, MS, NULL);
        assert_true(host_log_count() - lines <= 6); // said, but not all the time
        assert_int_equal(t.ups + t.remote_ups, 0);
        assert_int_equal(link_state(t.host), LINK_CONNECTING);
        sim_stop();
    }
}

static void test_host_hears_why(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    sim_start(35); // it says another name than the one that its key has
    pair_boot_remote();
    sim_boot(HOST, "host2");
    sim_keys(&sim_nodes[HOST].keys, "host1");
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk1", &pair_host_events, &t, &t.host), OK);
    sim_run(50 * MS, MS, NULL);
    assert_string_equal(host_log_last(),
                        "link: disk1 (2.0.0.0) refuses the link: this key belongs to a host of another name");
    assert_int_equal(stats(HOST).refused, 1);
    assert_int_equal(stats(REMOTE).refused, 1);
    sim_stop();

    sim_start(36); // its user does not want this host
    t.refuse = true;
    pair_boot_remote();
    pair_boot_host();
    sim_run(3000 * MS, MS, NULL);
    assert_int_equal(t.remote_ups, 0);
    assert_string_equal(t.why, "refused");
    assert_in_range(stats(REMOTE).refused, 2, 4); // about once a second
    t.refuse = false;
    sim_run(1100 * MS, MS, NULL);
    assert_int_equal(t.remote_ups, 1);
    assert_int_equal(link_state(t.host), LINK_UP);
    sim_stop();

    sim_start(37); // nobody has told it the remote's key
    pair_boot_remote();
    sim_boot(HOST, "host1");
    sim_on(HOST);
    assert_int_equal(link_connect(REMOTE + 1, "disk9", &pair_host_events, &t, &t.host), OK);
    assert_string_equal(host_log_last(),
                        "link: no link to disk9: farbus.ini has no [peer] section with its public key");
    sim_run(5000 * MS, MS, NULL);
    assert_int_equal(sim_nodes[HOST].frames_out, 0);
    sim_stop();
}

/// Keys on one end only: neither takes what the other says.
static void test_keys_at_one_end(void **state)
{
    (void)state;
    for (unsigned with = 0; with < 2; with++) {
        memset(&t, 0, sizeof t);
        sim_start(40 + with);
        sim_sealed = with == REMOTE;
        pair_boot_remote();
        sim_sealed = with == HOST;
        pair_boot_host();
        sim_run(3000 * MS, MS, NULL);
        assert_int_equal(t.ups + t.remote_ups, 0);
        assert_true(stats(REMOTE).malformed[WIRE_UNSEALED] >= 4);
        assert_int_equal(sim_nodes[REMOTE].frames_out, 0);
        sim_stop();
        sim_sealed = true;
    }
}

static void test_keys_are_wiped(void **state)
{
    (void)state;
    static const struct seal no_seal;
    static const struct link_hello no_hello;
    pair_begin(45);
    sim_run(20 * MS, MS, NULL);
    assert_memory_equal(&t.host->hello, &no_hello, sizeof no_hello);
    assert_memory_not_equal(&t.host->seal, &no_seal, sizeof no_seal);
    struct link *h = t.host, *r = t.remote;
    for (unsigned i = 0; i < LINK_PENDING; i++)
        assert_memory_equal(&sim_nodes[REMOTE].link->sealing.pending[i].seal, &no_seal, sizeof no_seal);
    sim_on(HOST);
    link_close(h, "done");
    sim_run(20 * MS, MS, NULL);
    assert_int_equal(t.remote_downs, 1);
    assert_memory_equal(&h->seal, &no_seal, sizeof no_seal);
    assert_memory_equal(&r->seal, &no_seal, sizeof no_seal);
    sim_stop();

    // A HELLO whose answer the host never confirms: it is gone before.
    begin_heard(46);
    sim_run(20 * MS, MS, NULL);
    const struct heard hello = *last(HOST + 1, WIRE_HELLO);
    sim_stop();
    begin_heard(47);
    sim_nodes[HOST].cable = false;
    say(REMOTE, HOST + 1, hello.bytes, hello.size);
    const struct link_pending *p = sim_nodes[REMOTE].link->sealing.pending;
    assert_int_not_equal(p->epoch, 0);
    sim_run(2990 * MS, MS, NULL);
    assert_int_not_equal(p->epoch, 0);
    sim_run(20 * MS, MS, NULL);
    for (unsigned i = 0; i < LINK_PENDING; i++) {
        assert_int_equal(p[i].epoch, 0);
        assert_memory_equal(&p[i].seal, &no_seal, sizeof no_seal);
    }
    sim_stop();
}

// --- floods ---

/// A stranger without keys, a recorded HELLO, and an insider with the psk, as fast as they can: what is
/// computed is bounded, nothing is kept, and a host comes through once it is over.
static void test_floods(void **state)
{
    (void)state;
    begin_heard(50);
    sim_run(20 * MS, MS, NULL);
    struct heard hello = *last(HOST + 1, WIRE_HELLO);
    sim_tap = NULL;
    t.limit = 2000;

    uint64_t begin = time_ns();
    struct link_node_stats before = stats(REMOTE);
    uint8_t junk[LINK_HELLO_BYTES];
    for (unsigned i = 0; i < 20000; i++) { // a second of it, 20 a millisecond
        memcpy(junk, hello.bytes, sizeof junk);
        junk[sizeof(struct wire_frame) + i % 100] ^= (uint8_t)(i | 1);
        say(REMOTE, 1000 + i, junk, sizeof junk);
        if (i % 20 == 19) {
            sim_run(MS, MS, pair_traffic);
        }
    }
    struct link_node_stats s = stats(REMOTE);
    uint64_t ms = (time_ns() - begin) / MS;
    assert_in_range(s.forged - before.forged, 500, 100 + ms); // MACs computed
    assert_int_equal(s.forged - before.forged + s.limited - before.limited, 20000);
    sim_run(1000 * MS, MS, pair_traffic);
    pair_all_arrived(); // the session has not noticed
    assert_int_equal(t.frozen, 0);

    before = stats(REMOTE); // the same recorded HELLO from everywhere: its MAC is right
    uint64_t answers = sim_nodes[REMOTE].frames_out;
    begin = time_ns();
    for (unsigned i = 0; i < 5000; i++) {
        say(REMOTE, 5000 + i, hello.bytes, hello.size);
        if (i % 5 == 4)
            sim_run(MS, MS, NULL);
    }
    s = stats(REMOTE);
    ms = (time_ns() - begin) / MS;
    assert_in_range(s.replayed - before.replayed, 10, 17 + ms / 50); // handshakes computed
    assert_true(sim_nodes[REMOTE].frames_out - answers < 20 + ms / 50);
    assert_int_equal(t.remote_ups, 1);

    pair_boot_host(); // in the quiet after it
    sim_run(2000 * MS, MS, NULL);
    assert_int_equal(t.remote_ups, 2);
    assert_int_equal(link_state(t.host), LINK_UP);

    for (unsigned i = 0; i < 20000; i++) {
        if (i == 10000)
            pair_boot_host(); // and in the middle of one: the remote knows its address
        if (i % 2 == 0) {
            say(REMOTE, 9000 + i, hello.bytes, hello.size);
        } else {
            junk[40] = (uint8_t)i;
            say(REMOTE, 9000 + i, junk, sizeof junk);
        }
        if (i % 20 == 19)
            sim_run(MS, MS, NULL);
    }
    assert_int_equal(t.remote_ups, 3);
    assert_int_equal(link_state(t.host), LINK_UP);
    sim_stop();
}

/// HELLO_ACKs that are none do not keep a host from taking the right one.
static void test_forged_answers(void **state)
{
    (void)state;
    begin_heard(55);
    sim_run(20 * MS, MS, NULL);
    struct heard ack = *last(REMOTE + 1, WIRE_HELLO_ACK);
    sim_tap = NULL;
    pair_boot_remote();
    sim_nodes[REMOTE].cable = false;
    pair_boot_host();
    sim_run(100 * MS, MS, NULL);
    struct wire_frame *f = (struct wire_frame *)ack.bytes;
    f->epoch = t.host->epoch;
    uint64_t forged = stats(HOST).forged;
    for (unsigned i = 0; i < 50; i++) {
        ack.bytes[sizeof *f + i] ^= 1;
        say(HOST, REMOTE + 1, ack.bytes, ack.size);
    }
    // an insider makes the MAC right
    keys_mac(ack.bytes + ack.size - WIRE_MAC_BYTES, sim_nodes[HOST].keys.handshake_mac, ack.bytes,
             ack.size - WIRE_MAC_BYTES);
    say(HOST, REMOTE + 1, ack.bytes, ack.size);
    assert_int_equal(stats(HOST).forged, forged + 51);
    assert_int_equal(link_state(t.host), LINK_CONNECTING);
    sim_nodes[REMOTE].cable = true;
    sim_run(600 * MS, MS, NULL);
    assert_int_equal(link_state(t.host), LINK_UP);
    sim_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_readable_and_no_nonce_twice),
        cmocka_unit_test(test_ciphers),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_network_that_turns_bits),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_counters_end),
        cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_host_hears_why),
        cmocka_unit_test(test_keys_at_one_end),
        cmocka_unit_test(test_keys_are_wiped),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_forged_answers),
    };
    sim_sealed = true;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(heard);
    return failed;
}
