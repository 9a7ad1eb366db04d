// SPDX-License-Identifier: BSD-2-Clause
// selftest.elf: a role that does what it is told on its console, to try the runtime out on a whole machine:
// what works says so in a line, what must end in a panic ends in one. tests/system/test_rt.py types the
// commands and reads the answers.
#include "drivers/apic.h"
#include "drivers/machine.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/paging_internal.h"
#include "rt/panic.h"
#include "rt/role.h"
#include "rt/shell.h"
#include "rt/start.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "rt/x86.h"
#include "tests/rt/iommu.h"
#include "tests/rt/seal.h"
#include <stdlib.h>
#include <string.h>

#define say(...) log_info("selftest", __VA_ARGS__)

static volatile bool ticked;
static _Atomic uint32_t visits;

static void run_paging(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    struct paging_audit a = paging_audit();
    uint64_t top = (uint64_t)(uintptr_t)cpu_self()->stack_top, bottom = top;
    while (paging_readable(bottom - 1, 1))
        bottom -= FRAME_SIZE;
    say("paging W+X %llu, stack %llu KiB, guard above %d, identity map %d", (unsigned long long)a.both,
        (unsigned long long)((top - bottom) >> 10), !paging_readable(top, 1), paging_readable(0x100000, 1));
}

static void visit(void *arg)
{
    struct cpu *me = cpu_self();
    if (arg == me && sgdt().base == me->gdt_base && str() == SEL_TSS && me->stack_top &&
        apic_id() == me->apic_id)
        visits++;
}

static void run_cpus(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    visits = 0;
    for (unsigned round = 0; round < 100; round++) {
        for (uint32_t i = 1; i < cpu_count(); i++)
            if (cpu_run(i, visit, cpu_get(i)) != OK)
                say("CPU %u is not idle", i);
        for (uint32_t i = 1; i < cpu_count(); i++)
            while (!cpu_idle(i))
                cpu_pause();
    }
    say("cpus %u, visits %u", cpu_count(), visits);
}

static void tick(void *ctx, uint8_t vector)
{
    (void)ctx;
    (void)vector;
    ticked = true;
}

static void run_timer(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    static uint8_t vector;
    if (vector == 0 && irq_alloc(tick, NULL, &vector) != OK)
        return;
    uint64_t start = time_ns();
    ticked = false;
    apic_timer(vector, 2000000);
    while (!ticked && time_ns() - start < 2000000000ull)
        wait_interrupt();
    say("timer %s", ticked && time_ns() - start >= 2000000 ? "came" : "did not come in time");
}

static void run_heap(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    uint64_t before = frames_stats().free;
    uint8_t *p = malloc(1 << 20);
    bool good = p != NULL;
    if (p)
        memset(p, 0x5a, 1 << 20);
    uint8_t *q = realloc(p, 3 << 20);
    good = good && q && q[(1 << 20) - 1] == 0x5a;
    free(q);
    say("heap %s, %s", good ? "good" : "bad", malloc(1 << 30) ? "without end" : "with an end");
    say("frames taken %s", frames_stats().free < before ? "yes" : "no");
}

static void run_fixup(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    uint64_t v;
    bool pat = rdmsr_safe(IA32_PAT, &v) && v == PAGING_PAT && wrmsr_safe(IA32_PAT, v);
    bool nobody = rdmsr_safe(0x123456, &v) || wrmsr_safe(0x123456, 0);
    say("fixup: PAT %d, MSR 0x123456 %d", pat, nobody);
}

static void run_nmi(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    __asm__ volatile("int $2");
    say("after NMI");
}

static void run_panic(int argc, char *argv[])
{
    trace(TRACE_GUEST_STOP, 7);
    panic("told to: %s", argc > 1 ? argv[1] : "nothing");
}

static void run_write_text(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    *(volatile uint8_t *)(uintptr_t)run_write_text = 0xc3;
    say("text is writable");
}

static void run_write_alias(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    *(volatile uint8_t *)phys_to_virt(virt_to_phys((const void *)(uintptr_t)run_write_alias)) = 0xc3;
    say("text is writable in the direct map");
}

static void run_execute_data(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    static uint8_t code[16] = {0xc3}; // RET
    void (*f)(void) = (void (*)(void))(uintptr_t)code;
    f();
    say("data is executable");
}

static __attribute__((noinline)) uint64_t deeper(volatile uint64_t *up)
{
    volatile uint64_t here[64] = {up[0] + 1};
    return here[0] == 0 ? 0 : deeper(here) + here[0]; // the stack ends long before 2^64
}

static void run_overflow(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    volatile uint64_t zero[1] = {0};
    say("depth %llu", (unsigned long long)deeper(zero));
}

static void panic_in_write(void *dev, const char *bytes, size_t n)
{
    (void)dev;
    if (n > 20 && memchr(bytes, '#', n))
        panic("a console that panics");
}

static void run_nested(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    static const struct console_sink bad = {.name = "bad", .write = panic_in_write};
    console_add_sink(&bad);
    panic("the first of two");
}

static void panic_there(void *arg)
{
    panic("on another CPU: %s", (const char *)arg);
}

static void run_elsewhere(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    if (cpu_run(1, panic_there, "yes") != OK)
        say("there is no other CPU");
    for (;;)
        say("CPU 0 still runs"); // until it is stopped
}

static void run_release(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    uint64_t before = frames_stats().free;
    start_release_loader_memory();
    say("loader memory %s", frames_stats().free > before ? "released" : "kept");
}

static void run_flood(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < 2000; i++) // more than the UART's queue holds
        say("flood %u of 2000, and some words to make the line longer", i);
    say("flood ends");
}

static void run_off(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    say("off now");
    machine_power_off();
}

static void run_reset(int argc, char *argv[])
{
    (void)argc;
    (void)argv;
    say("reset now");
    machine_reset();
}

static const struct shell_command commands[] = {
    {"paging", "what the page tables say", run_paging},
    {"cpus", "100 visits to every other CPU", run_cpus},
    {"timer", "one interrupt of the local APIC's timer", run_timer},
    {"heap", "malloc, realloc, and its end", run_heap},
    {"fixup", "MSR accesses that may fault", run_fixup},
    {"nmi", "an NMI nobody expects", run_nmi},
    {"release", "give loader memory back", run_release},
    {"flood", "more log lines than any queue holds", run_flood},
    {"panic", "[word]", run_panic},
    {"write-text", "must fault", run_write_text},
    {"write-alias", "must fault", run_write_alias},
    {"execute-data", "must fault", run_execute_data},
    {"overflow", "the stack", run_overflow},
    {"nested", "a panic inside a panic", run_nested},
    {"elsewhere", "a panic on another CPU", run_elsewhere},
    {"iommu", "what edu reaches through VT-d", run_iommu},
    {"seal", "what sealed frames and handshakes cost", run_seal},
    {"messages", "which interrupts edu can send through VT-d", run_messages},
    {"off", "", run_off},
    {"reset", "", run_reset},
};

_Noreturn void role_main(const struct boot_info *info)
{
    enum status s = machine_start(info, "selftest");
    if (s != OK)
        panic("machine_start: %s", status_name(s));
    shell_start("selftest> ", commands, sizeof commands / sizeof commands[0]);
    say("ready");
    for (;;)
        if (!shell_poll())
            wait_interrupt(); // the UART's
}
