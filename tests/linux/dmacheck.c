// SPDX-License-Identifier: BSD-2-Clause
// Runs in a Linux guest (static, nothing of ours in it): writes and reads a block device past the page cache,
// many requests at a time, and checks every byte of the data and of the memory beside it. Also built for the
// build machine, where it verifies a drive's image after the machines are gone.
//
// clang-format off
//   dmacheck write|read DEVICE KEY=NUMBER...
//     start, bytes   the part of the device
//     bs             bytes of a request, a multiple of 512
//     qd, threads    requests in flight of each thread; each thread has a processor and a part of its own
//     align          buffers begin at multiples of this in their page
//     random         1: in a scattered order
//     ops            requests of each thread, at most (0: all of the part)
//     seconds        again and again for so long (0: once)
//     seed, base     the pattern is chosen by the seed and the place behind base
//     direct         0: through the page cache
//     fresh          0: buffers are not overwritten before they are read into
// clang-format on
//
// What two runs wrote with one seed is the same, whatever their block sizes. Buffers lie in larger areas;
// while requests are in flight the program goes on writing the bytes beside them, and the device must not
// undo that. One line of results: "dmacheck: read start=.. bytes=.. ... ops=.. errors=.. wrong=.. beside=..
// usec=.. slowest=.." (the longest request, microseconds). Exit code 0 when nothing was amiss.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096u
#define QD_MAX 256u
#define BESIDE 64u // bytes on each side of a buffer that the program writes while the device works

static struct {
    uint64_t start, bytes, bs, qd, threads, align, seed, random, ops, direct, seconds, base, fresh;
} opt = {.bytes = 1 << 20, .bs = 4096, .qd = 1, .threads = 1, .align = PAGE, .direct = 1, .fresh = 1};

static bool writing;
static const char *device;

struct slot {
    struct iocb cb;
    uint8_t *buffer;
    uint8_t mark; // what the bytes beside the buffer hold
    uint64_t begun;
};

struct worker {
    pthread_t thread;
    unsigned number;
    uint64_t start, blocks;
    uint64_t ops, errors, wrong, beside, slowest;
};

static uint64_t word(uint64_t offset)
{
    uint64_t x = ((offset - opt.base) / 8 + (opt.seed << 40) + 1) * 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

static void fill(uint8_t *p, uint64_t offset)
{
    for (uint64_t i = 0; i < opt.bs; i += 8) {
        uint64_t w = word(offset + i);
        memcpy(p + i, &w, 8);
    }
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void complain(const char *what, uint64_t offset, uint64_t at, uint64_t is, uint64_t wanted)
{
    static unsigned said;
    if (__atomic_fetch_add(&said, 1, __ATOMIC_RELAXED) < 20)
        printf("dmacheck: %s: block at %" PRIu64 " byte %" PRIu64 ": is %#" PRIx64 ", should be %#" PRIx64
               "\n",
               what, offset, at, is, wanted);
}

static void scribble(struct slot *s)
{
    s->mark++;
    memset(s->buffer - BESIDE, s->mark, BESIDE);
    memset(s->buffer + opt.bs, s->mark, BESIDE);
}

static void check_beside(struct worker *w, const struct slot *s, uint64_t offset)
{
    bool good = true;
    for (unsigned i = 0; i < BESIDE; i++) {
        const uint8_t before = s->buffer[(int)i - (int)BESIDE], behind = s->buffer[opt.bs + i];
        if (good && before != s->mark)
            complain("beside", offset, (uint64_t)i - BESIDE, before, s->mark);
        if (good && behind != s->mark)
            complain("beside", offset, opt.bs + i, behind, s->mark);
        good = good && before == s->mark && behind == s->mark;
    }
    w->beside += !good;
}

static void check_data(struct worker *w, const struct slot *s, uint64_t offset)
{
    for (uint64_t i = 0; i < opt.bs; i += 8) {
        uint64_t is;
        memcpy(&is, s->buffer + i, 8);
        if (is != word(offset + i)) {
            complain(writing ? "the buffer changed" : "wrong data", offset, i, is, word(offset + i));
            w->wrong++;
            return;
        }
    }
}

// The n-th block of a part: in order, or scattered (a step that has no divisor in common with the number of
// blocks).
static uint64_t place(const struct worker *w, uint64_t n)
{
    uint64_t step = 1;
    if (opt.random && w->blocks > 2) {
        step = w->blocks * 5 / 8 | 1;
        for (;; step += 2) {
            uint64_t a = w->blocks, b = step % w->blocks;
            while (b) {
                const uint64_t r = a % b;
                a = b;
                b = r;
            }
            if (a == 1)
                break;
        }
    }
    return w->start + n % w->blocks * step % w->blocks * opt.bs;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(w->number % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus);

    const int fd = open(device, (writing ? O_RDWR : O_RDONLY) | (opt.direct ? O_DIRECT : 0));
    aio_context_t context = 0;
    if (fd < 0 || syscall(SYS_io_setup, opt.qd, &context)) {
        printf("dmacheck: %s: %s\n", device, strerror(errno));
        w->errors++;
        return NULL;
    }
    const uint64_t room = (opt.bs + 4 * PAGE) / PAGE * PAGE;
    uint8_t *memory =
        mmap(NULL, room * opt.qd, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    struct slot *slots = calloc(opt.qd, sizeof(*slots));
    struct iocb **list = calloc(opt.qd, sizeof(struct iocb *));
    struct io_event *events = calloc(opt.qd, sizeof(*events));
    if (memory == MAP_FAILED || !slots || !list || !events) {
        printf("dmacheck: no memory\n");
        w->errors++;
        return NULL;
    }

    const uint64_t total = opt.seconds                      ? UINT64_MAX
                           : opt.ops && opt.ops < w->blocks ? opt.ops
                                                            : w->blocks,
                   until = opt.seconds ? now_us() + opt.seconds * 1000000 : UINT64_MAX;
    uint64_t begun = 0, flying = 0;
    for (uint64_t i = 0; i < opt.qd; i++)
        slots[i].buffer = memory + room * i + PAGE + i * opt.align % PAGE;
    struct slot *ready[QD_MAX];
    uint64_t count = opt.qd;
    for (uint64_t i = 0; i < opt.qd; i++)
        ready[i] = &slots[i];
    for (;;) {
        uint64_t batch = 0;
        while (count && begun < total && now_us() < until) {
            struct slot *s = ready[--count];
            const uint64_t offset = place(w, begun++);
            if (writing)
                fill(s->buffer, offset);
            else if (opt.fresh)
                memset(s->buffer, 0x55, opt.bs);
            scribble(s);
            s->begun = now_us();
            s->cb = (struct iocb){.aio_lio_opcode = writing ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                                  .aio_fildes = (uint32_t)fd,
                                  .aio_data = (uintptr_t)s,
                                  .aio_buf = (uintptr_t)s->buffer,
                                  .aio_nbytes = opt.bs,
                                  .aio_offset = (int64_t)offset};
            list[batch++] = &s->cb;
        }
        for (uint64_t done = 0; done < batch;) {
            const long taken = syscall(SYS_io_submit, context, batch - done, list + done);
            if (taken <= 0) {
                printf("dmacheck: submit: %s\n", strerror(errno));
                w->errors++;
                return NULL;
            }
            done += (uint64_t)taken;
        }
        flying += batch;
        if (!flying)
            break;
        for (uint64_t i = 0; i < batch; i++)
            scribble((struct slot *)(uintptr_t)list[i]->aio_data);
        const long got = syscall(SYS_io_getevents, context, 1, opt.qd, events, NULL);
        if (got < 0 && errno != EINTR) {
            printf("dmacheck: getevents: %s\n", strerror(errno));
            w->errors++;
            return NULL;
        }
        for (long i = 0; i < got; i++) {
            struct slot *s = (struct slot *)(uintptr_t)events[i].data;
            const uint64_t offset = (uint64_t)s->cb.aio_offset;
            w->ops++;
            const uint64_t took = now_us() - s->begun;
            w->slowest = took > w->slowest ? took : w->slowest;
            if (events[i].res != (int64_t)opt.bs) {
                if (w->errors++ < 5)
                    printf("dmacheck: block at %" PRIu64 ": %s\n", offset,
                           events[i].res < 0 ? strerror((int)-events[i].res) : "short");
            } else {
                check_data(w, s, offset);
            }
            check_beside(w, s, offset);
            ready[count++] = s;
            flying--;
        }
    }
    if (writing && fsync(fd)) {
        printf("dmacheck: fsync: %s\n", strerror(errno));
        w->errors++;
    }
    close(fd);
    return NULL;
}

static bool option(const char *text)
{
    static const struct {
        const char *name;
        uint64_t *value;
    } names[] = {{"start", &opt.start},   {"bytes", &opt.bytes},     {"bs", &opt.bs},
                 {"qd", &opt.qd},         {"threads", &opt.threads}, {"align", &opt.align},
                 {"seed", &opt.seed},     {"ops", &opt.ops},         {"random", &opt.random},
                 {"direct", &opt.direct}, {"seconds", &opt.seconds}, {"base", &opt.base},
                 {"fresh", &opt.fresh}};
    const char *equals = strchr(text, '=');
    for (size_t i = 0; equals && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i].name) == (size_t)(equals - text) &&
            !strncmp(names[i].name, text, (size_t)(equals - text))) {
            char *end;
            *names[i].value = strtoull(equals + 1, &end, 0);
            return end != equals + 1 && !*end;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    bool good = argc >= 3 && (!strcmp(argv[1], "write") || !strcmp(argv[1], "read"));
    for (int i = 3; good && i < argc; i++)
        good = option(argv[i]);
    const uint64_t blocks = opt.bs && opt.threads ? opt.bytes / opt.bs / opt.threads : 0;
    if (!good || !blocks || !opt.qd || !opt.align || opt.bs % 512 || opt.qd > QD_MAX) {
        fprintf(stderr, "usage: dmacheck write|read DEVICE [start= bytes= bs= qd= threads= align= seed= "
                        "random= ops= direct= seconds= base= fresh=]\n");
        return 2;
    }
    writing = !strcmp(argv[1], "write");
    device = argv[2];

    struct worker *workers = calloc(opt.threads, sizeof(*workers)), sum = {0};
    const uint64_t begin = now_us();
    for (unsigned i = 0; i < opt.threads; i++) {
        workers[i] = (struct worker){.number = i, .start = opt.start + i * blocks * opt.bs, .blocks = blocks};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
            return 2;
    }
    for (unsigned i = 0; i < opt.threads; i++) {
        pthread_join(workers[i].thread, NULL);
        sum.ops += workers[i].ops;
        sum.errors += workers[i].errors;
        sum.wrong += workers[i].wrong;
        sum.beside += workers[i].beside;
        sum.slowest = workers[i].slowest > sum.slowest ? workers[i].slowest : sum.slowest;
    }
    printf("dmacheck: %s start=%" PRIu64 " bytes=%" PRIu64 " bs=%" PRIu64 " qd=%" PRIu64 " threads=%" PRIu64
           " seed=%" PRIu64 " ops=%" PRIu64 " errors=%" PRIu64 " wrong=%" PRIu64 " beside=%" PRIu64
           " usec=%" PRIu64 " slowest=%" PRIu64 "\n",
           argv[1], opt.start, opt.bytes, opt.bs, opt.qd, opt.threads, opt.seed, sum.ops, sum.errors,
           sum.wrong, sum.beside, now_us() - begin, sum.slowest);
    return sum.errors || sum.wrong || sum.beside;
}
