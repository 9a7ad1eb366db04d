// SPDX-License-Identifier: BSD-2-Clause
#include "rt/coroutine.h"
#include <stddef.h>
#include <stdint.h>

/// Leaves the present stack, its pointer in *save, and goes on where the other one was left. What lies there,
/// from the pointer up: r15, r14, r13, r12, rbx, rbp, address.
void coroutine_switch(void **save, void *to);
/// Where a new one goes on: RBX is the coroutine, RBP is 0, the end of every backtrace.
void coroutine_begin(void);

__asm__(".pushsection .text.coroutine_switch, \"ax\", @progbits\n"
        ".type coroutine_switch, @function\n"
        "coroutine_switch:\n\t"
        "push %rbp\n\t"
        "push %rbx\n\t"
        "push %r12\n\t"
        "push %r13\n\t"
        "push %r14\n\t"
        "push %r15\n\t"
        "mov %rsp, (%rdi)\n\t"
        "mov %rsi, %rsp\n\t"
        "pop %r15\n\t"
        "pop %r14\n\t"
        "pop %r13\n\t"
        "pop %r12\n\t"
        "pop %rbx\n\t"
        "pop %rbp\n\t"
        "ret\n"
        ".size coroutine_switch, . - coroutine_switch\n"
        ".type coroutine_begin, @function\n"
        "coroutine_begin:\n\t"
        "mov %rbx, %rdi\n\t"
        "call coroutine_run\n\t"
        "ud2\n"
        ".size coroutine_begin, . - coroutine_begin\n"
        ".popsection");

_Noreturn void coroutine_run(struct coroutine *c); // for coroutine_begin only
_Noreturn __attribute__((used)) void coroutine_run(struct coroutine *c)
{
    for (;;) {
        c->body(c->arg);
        coroutine_leave(c);
    }
}

void coroutine_init(struct coroutine *c, void *top, void (*body)(void *arg), void *arg)
{
    *c = (struct coroutine){.body = body, .arg = arg};
    uint64_t *frame = (uint64_t *)top - 9;
    for (unsigned i = 0; i < 9; i++)
        frame[i] = 0;
    frame[4] = (uint64_t)(uintptr_t)c;               // rbx
    frame[6] = (uint64_t)(uintptr_t)coroutine_begin; // above it 16 bytes: aligned before the call
    c->stack = frame;
}

void coroutine_enter(struct coroutine *c)
{
    coroutine_switch(&c->caller, c->stack);
}

void coroutine_leave(struct coroutine *c)
{
    coroutine_switch(&c->stack, c->caller);
}
