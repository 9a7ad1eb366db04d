// SPDX-License-Identifier: BSD-2-Clause
// Holds Bochs's clock to the world's: emulated time never passes faster than real time. For tests in which a
// time of the host machine is compared with something outside it (how long a cable was pulled).
//
// Bochs's own `clock: sync=slowdown` lets a machine that idles run up to one second ahead of real time at
// full speed, half as fast again while it has time to make up, and begins anew whenever the machine was slow
// for a moment: one second of the world can be nearly three of the machine's.
//
// A shared object that the dynamic loader loads before the emulator (LD_PRELOAD). That timer asks for the
// time of day once in an emulated millisecond; here it waits then until the world is as far. Time that the
// machine was too slow to use is never made up. Must be used with sync=slowdown.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
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

static void hold(void)
{
    static int64_t offset; // the world's clock less the machine's, when the machine was last behind
    static bool started;
    void *entry = dlsym(RTLD_DEFAULT, "_ZN14bx_pc_system_c9time_usecEv");
    void *system = dlsym(RTLD_DEFAULT, "bx_pc_system");
    emulated_time *machine_us;
    if (entry == NULL || system == NULL || getpid() != gettid())
        return; // another program, or another thread of it
    memcpy(&machine_us, &entry, sizeof machine_us);

    int64_t behind = (int64_t)world_us() - (int64_t)machine_us(system) - offset;
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

/// Stands before the C library's.
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    hold();
    return (int)syscall(SYS_gettimeofday, now, zone);
}
