// SPDX-License-Identifier: BSD-2-Clause
#include "remote-fw/load.h"
#include "rt/log.h"
#include "rt/x86.h"

static uint64_t worked, worked_then, then;

void load_worked(uint64_t ticks)
{
    worked += ticks;
}

void load_command(int argc, char *argv[])
{
    (void)argc, (void)argv;
    uint64_t now = rdtsc(), all = now - then, work = worked - worked_then;
    if (then)
        log_info("load", "%llu.%llu %%, %llu of %llu ticks since it was asked last",
                 (unsigned long long)(work * 100 / all), (unsigned long long)(work * 1000 / all % 10),
                 (unsigned long long)work, (unsigned long long)all);
    else
        log_info("load", "counting from now on: ask again");
    then = now;
    worked_then = worked;
}
