// SPDX-License-Identifier: BSD-2-Clause
// Runs in a Linux guest and on other machines of a LAN (static, nothing of ours in it): moves data over TCP,
// both ways at once, and checks every byte of it where it arrives; floods a LAN with raw frames.
//
// clang-format off
//   lancheck serve PORT [TIMES]               answers connections, one after the other (0: for ever)
//   lancheck talk ADDRESS PORT KEY=NUMBER...
//     up, down     bytes that go there and come back, at the same time
//     seed         chooses the pattern
//   lancheck flood INTERFACE MAC KEY=NUMBER...
//     size         bytes of a frame without FCS
//     frames       how many (0: no end), seconds (0: no end)
// clang-format on
//
// A byte of the pattern depends on the seed and its place, so nothing can be lost, doubled or moved unseen.
// One line of results: "lancheck: talk up=.. down=.. wrong=.. far_wrong=.. usec=.." (wrong: bytes that came
// here and were not right, or did not come; far_wrong: those the other end says of itself). Exit code 0 when
// nothing was amiss.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK     65536u
#define ETHERTYPE 0x88b6u // IEEE 802, local experimental 2

static struct {
    uint64_t up, down, seed, size, frames, seconds;
} opt = {.up = 1 << 20, .down = 1 << 20, .seed = 1, .size = 1514};

/// What the client says first.
struct order {
    uint64_t up, down, seed;
};

struct stream {
    int socket;
    uint64_t bytes, seed, wrong;
};

static void die(const char *what)
{
    fprintf(stderr, "lancheck: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/// The finalizer of SplitMix64.
static uint64_t word(uint64_t seed, uint64_t index)
{
    uint64_t x = (seed << 40) + (index + 1) * 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/// `at` is a multiple of CHUNK.
static void pattern(uint64_t *to, uint64_t seed, uint64_t at)
{
    for (uint64_t i = 0; i < CHUNK / 8; i++)
        to[i] = word(seed, at / 8 + i);
}

static bool get(int s, void *to, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = recv(s, (char *)to + done, size - done, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static bool put(int s, const void *from, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = send(s, (const char *)from + done, size - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static void *send_all(void *ctx)
{
    struct stream *s = ctx;
    static _Thread_local uint64_t buffer[CHUNK / 8];
    for (uint64_t at = 0; at < s->bytes; at += CHUNK) {
        pattern(buffer, s->seed, at);
        if (!put(s->socket, buffer, s->bytes - at < CHUNK ? s->bytes - at : CHUNK))
            break; // the other end will miss it
    }
    return NULL;
}

static void take_all(struct stream *s)
{
    static uint64_t buffer[CHUNK / 8], wanted[CHUNK / 8];
    for (uint64_t at = 0; at < s->bytes; at += CHUNK) {
        size_t size = s->bytes - at < CHUNK ? s->bytes - at : CHUNK;
        if (!get(s->socket, buffer, size)) {
            s->wrong += s->bytes - at;
            return;
        }
        pattern(wanted, s->seed, at);
        if (memcmp(buffer, wanted, size) == 0)
            continue;
        for (size_t i = 0; i < size; i++)
            s->wrong += ((uint8_t *)buffer)[i] != ((uint8_t *)wanted)[i];
    }
}

/// Sends and takes at the same time, then the two tell each other what was wrong. False: they could not.
static bool exchange(struct stream *out, struct stream *in, uint64_t *far_wrong)
{
    pthread_t sender;
    if (pthread_create(&sender, NULL, send_all, out) != 0)
        die("thread");
    take_all(in);
    pthread_join(sender, NULL);
    return put(in->socket, &in->wrong, sizeof in->wrong) && get(in->socket, far_wrong, sizeof *far_wrong);
}

static int serve(uint16_t port, unsigned times)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, result = 0;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 8))
        die("listen");
    for (unsigned n = 0; times == 0 || n < times; n++) {
        int s = accept(listener, NULL, NULL);
        struct order order;
        if (s < 0)
            die("accept");
        if (get(s, &order, sizeof order)) {
            struct stream out = {s, order.down, order.seed + 1, 0}, in = {s, order.up, order.seed, 0};
            uint64_t far_wrong = 0;
            bool told = exchange(&out, &in, &far_wrong);
            printf("lancheck: serve up=%" PRIu64 " down=%" PRIu64 " wrong=%" PRIu64 " far_wrong=%" PRIu64
                   "%s\n",
                   order.up, order.down, in.wrong, far_wrong, told ? "" : " (the other end has gone)");
            fflush(stdout);
            if (!told || in.wrong || far_wrong)
                result = 1;
        }
        close(s);
    }
    return result;
}

static int talk(const char *address, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1 || connect(s, (struct sockaddr *)&to, sizeof to))
        die("connect");
    struct order order = {opt.up, opt.down, opt.seed};
    struct stream out = {s, opt.up, opt.seed, 0}, in = {s, opt.down, opt.seed + 1, 0};
    uint64_t far_wrong = 0, begun = now_us();
    bool told = put(s, &order, sizeof order) && exchange(&out, &in, &far_wrong);
    printf("lancheck: talk up=%" PRIu64 " down=%" PRIu64 " wrong=%" PRIu64 " far_wrong=%" PRIu64
           " usec=%" PRIu64 "%s\n",
           opt.up, opt.down, in.wrong, far_wrong, now_us() - begun, told ? "" : " (the other end has gone)");
    return !told || in.wrong || far_wrong;
}

static int flood(const char *interface, const char *mac)
{
    static uint8_t frame[2048];
    unsigned m[6];
    struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface), .sll_halen = 6};
    int s = socket(AF_PACKET, SOCK_RAW, 0);
    if (s < 0 || to.sll_ifindex == 0)
        die(interface);
    if (sscanf(mac, "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6 || opt.size < 60 ||
        opt.size > sizeof frame) {
        fprintf(stderr, "lancheck: %s is no address, or the size is none\n", mac);
        return 2;
    }
    char path[64 + IFNAMSIZ];
    snprintf(path, sizeof path, "/sys/class/net/%s/address", interface);
    FILE *f = fopen(path, "r");
    unsigned own[6];
    if (!f || fscanf(f, "%x:%x:%x:%x:%x:%x", own, own + 1, own + 2, own + 3, own + 4, own + 5) != 6)
        die(path);
    fclose(f);
    for (unsigned i = 0; i < 6; i++) {
        frame[i] = (uint8_t)m[i];
        frame[6 + i] = (uint8_t)own[i];
    }
    frame[12] = ETHERTYPE >> 8;
    frame[13] = ETHERTYPE & 0xff;
    uint64_t begun = now_us(), sent = 0;
    while ((opt.frames == 0 || sent < opt.frames) &&
           (opt.seconds == 0 || now_us() - begun < opt.seconds * 1000000u)) {
        memcpy(frame + 14, &sent, sizeof sent);
        if (sendto(s, frame, opt.size, 0, (struct sockaddr *)&to, sizeof to) == (ssize_t)opt.size)
            sent++;
        else if (errno != ENOBUFS)
            die("send");
    }
    printf("lancheck: flood frames=%" PRIu64 " size=%" PRIu64 " usec=%" PRIu64 "\n", sent, opt.size,
           now_us() - begun);
    return 0;
}

static void options(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint64_t *to;
    } known[] = {{"up", &opt.up},     {"down", &opt.down},     {"seed", &opt.seed},
                 {"size", &opt.size}, {"frames", &opt.frames}, {"seconds", &opt.seconds}};
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        uint64_t *to = NULL;
        for (size_t k = 0; value && k < sizeof known / sizeof known[0]; k++) {
            if (strncmp(argv[i], known[k].name, (size_t)(value - argv[i])) == 0 &&
                known[k].name[value - argv[i]] == 0)
                to = known[k].to;
        }
        if (!to) {
            fprintf(stderr, "lancheck: what is '%s'?\n", argv[i]);
            exit(2);
        }
        *to = strtoull(value + 1, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc >= 3 && strcmp(argv[1], "serve") == 0)
        return serve((uint16_t)atoi(argv[2]), argc > 3 ? (unsigned)atoi(argv[3]) : 0);
    if (argc >= 4 && strcmp(argv[1], "talk") == 0) {
        options(argc - 4, argv + 4);
        return talk(argv[2], (uint16_t)atoi(argv[3]));
    }
    if (argc >= 4 && strcmp(argv[1], "flood") == 0) {
        options(argc - 4, argv + 4);
        return flood(argv[2], argv[3]);
    }
    fprintf(stderr, "usage: lancheck serve|talk|flood ... (see its source)\n");
    return 2;
}
