// SPDX-License-Identifier: BSD-2-Clause
// The console's `capture` (net/capture.h): takes the buffer from the frame allocator, and prints the file in
// base64 (RFC 4648) between two marks; tools/farbus-capture makes a file of it again.
#include "net/capture.h"
#include "rt/frames.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/shell.h"
#include <stdlib.h>
#include <string.h>

#define ROOM        "capture"
#define DEFAULT_MIB 1u
#define LINE        57u // bytes, 76 characters
#define MIB         (1u << 20)

static phys_t buffer = FRAME_NONE;
static size_t buffer_frames;
static size_t shown; // bytes of the file that are printed

static void start(int argc, char *argv[], struct nic *nic, uint64_t unix_seconds)
{
    unsigned long mib = DEFAULT_MIB;
    bool all = false;
    for (int i = 2; i < argc; i++) {
        char *end;
        if (strcmp(argv[i], "all") == 0) {
            all = true;
            continue;
        }
        mib = strtoul(argv[i], &end, 10);
        if (*end || mib < 1 || mib > CAPTURE_MAX / MIB) {
            log_error(ROOM, "'%s' is neither 'all' nor 1 to %u MiB", argv[i], CAPTURE_MAX / MIB);
            return;
        }
    }
    if (capture_state().running) {
        log_error(ROOM, "one is running; 'capture stop' ends it");
        return;
    }
    shell_background(NULL);
    if (buffer != FRAME_NONE)
        frames_free(buffer, buffer_frames);
    buffer_frames = mib * MIB / FRAME_SIZE;
    buffer = frames_alloc_dirty(buffer_frames, FRAME_SIZE, 0);
    if (buffer == FRAME_NONE) {
        log_error(ROOM, "there are no %lu MiB of memory in one piece; try fewer", mib);
        return;
    }
    enum status s = capture_start(nic, phys_to_virt(buffer), buffer_frames * FRAME_SIZE, !all, unix_seconds);
    if (s != OK)
        log_error(ROOM, "not started: %s", status_name(s));
    else
        log_info(ROOM, "%s are kept, up to %lu MiB", all ? "all frames" : "frames of links", mib);
}

/// One line of the file.
static bool show_line(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *file = capture_file();
    size_t left = capture_state().used - shown, n = left < LINE ? left : LINE;
    char text[LINE / 3 * 4 + 2];
    size_t at = 0;
    for (size_t i = 0; i < n; i += 3) {
        const uint8_t *p = file + shown + i;
        uint32_t bits =
            (uint32_t)p[0] << 16 | (i + 1 < n ? (uint32_t)p[1] << 8 : 0) | (i + 2 < n ? p[2] : 0u);
        for (unsigned d = 0; d < 4; d++)
            text[at++] = d <= n - i ? digits[bits >> (18 - 6 * d) & 63] : '=';
    }
    text[at++] = '\r';
    text[at++] = '\n';
    console_write(text, at);
    shown += n;
    if (shown < capture_state().used)
        return true;
    console_write("-----END PCAPNG-----\r\n", 22);
    return false;
}

static void show(void)
{
    if (!capture_file()) {
        log_error(ROOM, "there is none; 'capture start' begins one");
        return;
    }
    capture_stop(); // what is printed is not to grow
    shown = 0;
    console_write("-----BEGIN PCAPNG-----\r\n", 24);
    shell_background(show_line);
}

void capture_command(int argc, char *argv[], struct nic *nic, uint64_t unix_seconds)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!nic) {
        log_error(ROOM, "there is no network");
        return;
    }
    if (strcmp(what, "start") == 0) {
        start(argc, argv, nic, unix_seconds);
        return;
    }
    if (strcmp(what, "show") == 0) {
        show();
        return;
    }
    if (strcmp(what, "stop") == 0)
        capture_stop();
    else if (*what) {
        log_error(ROOM, "usage: capture [start [MiB] [all] | stop | show]");
        return;
    }
    struct capture_state s = capture_state();
    log_info(ROOM, "%s: %llu frames, %zu of %zu bytes%s", s.running ? "running" : "stopped",
             (unsigned long long)s.frames, s.used, s.size, s.missed ? "" : ", nothing missed");
    if (s.missed)
        log_warn(ROOM, "%llu frames came when the buffer was full; 'capture start MiB' takes a larger one",
                 (unsigned long long)s.missed);
}
