// SPDX-License-Identifier: BSD-2-Clause
// The end of the machine, in words. Must work with any lock held, on any stack, with the other CPUs in any
// state; reads only memory that the page tables say is there. Invariant: one CPU prints. A second panic on it
// prints one line, a third nothing; other CPUs that panic stop silently.
#include "rt/panic.h"
#include "rt/cpu.h"
#include "rt/log.h"
#include "rt/log_internal.h"
#include "rt/paging_internal.h"
#include "rt/panic_internal.h"
#include "rt/symbols.h"
#include "rt/trace.h"
#include "rt/x86.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#define BACKTRACE_MAX 32
#define TRACE_LINES   8         // of each CPU
#define PF_FETCH      (1u << 4) // page-fault error code: instruction fetch (SDM vol. 3, figure 4-12)

static _Atomic uint32_t owner; // index of the panicking CPU + 1; 0: none
static unsigned depth;         // only the owner touches it
static void (*stop_others)(void);

extern void (*const __start_rt_panic_consoles[])(void);
extern void (*const __stop_rt_panic_consoles[])(void);

void panic_set_stop_others(void (*stop)(void))
{
    stop_others = stop;
}

bool panic_active(void)
{
    return atomic_load_explicit(&owner, memory_order_acquire) != 0;
}

_Noreturn void panic_stop_this_cpu(void)
{
    for (;;) {
        cli();
        hlt();
    }
}

/// Makes this CPU the one that speaks, or stops it.
static void take_over(void)
{
    uint32_t me = cpu_self()->index + 1, nobody = 0;
    cli();
    if (!atomic_compare_exchange_strong(&owner, &nobody, me) && nobody != me)
        panic_stop_this_cpu();
    log_set_level(LOG_INFO); // whatever it was
    depth++;
    if (depth > 2)
        panic_stop_this_cpu();
    if (depth == 1) {
        if (stop_others)
            stop_others();
        if (!console_has_sink())
            for (void (*const *f)(void) = __start_rt_panic_consoles; f < __stop_rt_panic_consoles; f++)
                (*f)();
    }
}

/// `after_call`: the address a call would have returned to, which may be the first byte of the next function.
static void print_address(unsigned n, uint64_t address, bool after_call)
{
    struct symbol symbol;
    if (symbols_lookup(address - after_call, &symbol))
        log_info("panic", "  #%-2u %016llx %s+0x%llx", n, (unsigned long long)address, symbol.name,
                 (unsigned long long)symbol.offset + after_call);
    else
        log_info("panic", "  #%-2u %016llx ?", n, (unsigned long long)address);
}

/// Follows the chain of saved RBP from number `n` on.
static void walk(unsigned n, uint64_t rbp)
{
    for (; n < BACKTRACE_MAX; n++) {
        if (rbp % 8 != 0 || !paging_readable(rbp, 16))
            break;
        const uint64_t *frame = (const uint64_t *)(uintptr_t)rbp;
        uint64_t next = frame[0], from = frame[1];
        if (from == 0)
            break;
        print_address(n, from, true);
        rbp = next; // an interrupt's stack may lie above or below the one it interrupted
    }
}

static void print_control_registers(void)
{
    log_info("panic", "CR0 %016llx CR2 %016llx CR3 %016llx CR4 %016llx", (unsigned long long)read_cr0(),
             (unsigned long long)read_cr2(), (unsigned long long)read_cr3(), (unsigned long long)read_cr4());
}

/// What each CPU did last, newest first.
static void print_trace(void)
{
    struct trace_record r;
    uint64_t now = rdtsc();
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++)
        for (uint32_t back = 0; back < TRACE_LINES && trace_get(cpu, back, &r); back++)
            log_info("panic", "trace: CPU %u: %s %u, %llu ticks ago", cpu, trace_name(r.event), r.arg,
                     (unsigned long long)(now - r.tsc));
}

_Noreturn void panic(const char *fmt, ...)
{
    va_list ap;
    take_over();
    va_start(ap, fmt);
    log_vline(LOG_ERROR, "panic", fmt, ap);
    va_end(ap);
    if (depth == 1) {
        uint64_t rbp = (uint64_t)(uintptr_t)__builtin_frame_address(0);
        log_info("panic", "on CPU %u, RBP %016llx", cpu_self()->index, (unsigned long long)rbp);
        print_control_registers();
        log_info("panic", "backtrace:");
        walk(0, rbp);
        print_trace();
    }
    panic_stop_this_cpu();
}

_Noreturn void panic_trap(const struct trap_frame *f)
{
    take_over();
    log_error("panic", "exception %llu (%s) on CPU %u, error code 0x%llx, RIP %016llx, CR2 %016llx",
              (unsigned long long)f->vector, trap_name(f->vector), cpu_self()->index,
              (unsigned long long)f->error_code, (unsigned long long)f->rip, (unsigned long long)read_cr2());
    if (depth == 1) {
        if (f->vector == EXC_DF || f->vector == EXC_PF) {
            uint64_t cr2 = read_cr2();
            if (paging_is_stack_guard(cr2))
                log_info("panic", "stack overflow: CR2 is in a guard page");
        }
        const struct {
            const char *name;
            uint64_t value;
        } regs[] = {
            {"RAX", f->rax}, {"RBX", f->rbx}, {"RCX", f->rcx}, {"RDX", f->rdx},
            {"RSI", f->rsi}, {"RDI", f->rdi}, {"RBP", f->rbp}, {"RSP", f->rsp},
            {"R8 ", f->r8},  {"R9 ", f->r9},  {"R10", f->r10}, {"R11", f->r11},
            {"R12", f->r12}, {"R13", f->r13}, {"R14", f->r14}, {"R15", f->r15},
        };
        for (unsigned i = 0; i < sizeof regs / sizeof regs[0]; i += 4)
            log_info("panic", "%s %016llx %s %016llx %s %016llx %s %016llx", regs[i].name,
                     (unsigned long long)regs[i].value, regs[i + 1].name,
                     (unsigned long long)regs[i + 1].value, regs[i + 2].name,
                     (unsigned long long)regs[i + 2].value, regs[i + 3].name,
                     (unsigned long long)regs[i + 3].value);
        log_info("panic", "CS %04llx SS %04llx RFLAGS %08llx", (unsigned long long)f->cs,
                 (unsigned long long)f->ss, (unsigned long long)f->rflags);
        print_control_registers();
        unsigned n = 0;
        log_info("panic", "backtrace:");
        print_address(n++, f->rip, false);
        // A jump to nowhere has made no frame yet: its caller is on top of the stack.
        if (f->vector == EXC_PF && (f->error_code & PF_FETCH) && paging_readable(f->rsp, 8))
            print_address(n++, *(const uint64_t *)(uintptr_t)f->rsp, true);
        walk(n, f->rbp);
        print_trace();
    }
    panic_stop_this_cpu();
}
