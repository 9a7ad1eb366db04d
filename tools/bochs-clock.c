// SPDX-License-Identifier: BSD-2-Clause
// Two things about Bochs's clock that a laboratory wants otherwise, for hosts that are on a LAN.
//
// Nobody waits for a machine that starts: until it has sent its first frame, the processor runs as fast as
// it can, whatever its clock says then. (`clock: sync=slowdown` would let firmware and loader take as long as
// on a real machine of so many `ips`.)
//
// With FARBUS_CLOCK=steady in the environment the clock is then held to the world's: emulated time never
// passes faster than real time. For tests in which a time of the host machine is compared with something
// outside it (how long a cable was pulled). Bochs's own `clock: sync=slowdown` lets a machine that idles run
// up to one second ahead of real time at full speed, half as fast again while it has time to make up, and
// begins anew whenever the machine was slow for a moment: one second of the world can be nearly three of the
// machine's.
//
// A shared object that the dynamic loader loads before the emulator (LD_PRELOAD). That timer asks for the
// time of day once in an emulated millisecond; here it is told a time that it need not wait for, or waits
// until the world is as far. Time that the machine was too slow to use is never made up. Must be used with
// sync=slowdown.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

// So much may the machine be ahead, and so much is it after a wait: what a wait takes too long costs nothing.
#define AHEAD_US 3000
#define LEFT_US  1000

typedef uint64_t emulated_time(void *system); // bx_pc_system_c::time_usec()

static uint64_t world_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/// The machine's own time, in microseconds since power-on. False: this is another program, or another thread
/// of it.
static bool machine_us(int64_t *us)
{
    void *entry = dlsym(RTLD_DEFAULT, "_ZN14bx_pc_system_c9time_usecEv");
    void *system = dlsym(RTLD_DEFAULT, "bx_pc_system");
    emulated_time *time_usec;
    if (entry == NULL || system == NULL || getpid() != gettid())
        return false;
    memcpy(&time_usec, &entry, sizeof time_usec);
    *us = (int64_t)time_usec(system);
    return true;
}

static void hold(int64_t machine)
{
    static int64_t offset; // the world's clock less the machine's, when the machine was last behind
    static bool started;
    int64_t behind = (int64_t)world_us() - machine - offset;
    if (!started || behind > 0) {
        offset += behind;
        started = true;
    } else if (behind < -AHEAD_US) {
        int64_t us = -behind - LEFT_US;
        struct timespec wait = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
        while (nanosleep(&wait, &wait) != 0 && errno == EINTR) {
        }
    }
}

static bool heard_of; // the machine has sent a frame

/// How much later than it is it must seem to be, so that a machine that starts is never ahead.
static int64_t lead(int64_t machine)
{
    static int64_t us, first;
    static bool started;
    int64_t ahead = machine - (int64_t)world_us();
    if (!started)
        first = ahead;
    started = true;
    if (!heard_of && ahead - first > us)
        us = ahead - first;
    return us;
}

/// Stands before the C library's.
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int64_t machine, later = 0;
    if (machine_us(&machine)) {
        const char *clock = getenv("FARBUS_CLOCK");
        later = lead(machine);
        if (heard_of && clock != NULL && strcmp(clock, "steady") == 0)
            hold(machine);
    }
    int result = (int)syscall(SYS_gettimeofday, now, zone);
    if (result == 0) {
        later += now->tv_usec;
        now->tv_sec += later / 1000000;
        now->tv_usec = later % 1000000;
    }
    return result;
}

/// Stands before the C library's: so Bochs gives a frame to vde.
ssize_t sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *to,
               socklen_t length)
{
    heard_of = true;
    return syscall(SYS_sendto, fd, buffer, size, flags, to, length);
}
