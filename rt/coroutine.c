// SPDX-License-Identifier: BSD-2-Clause
#include "rt/coroutine.h"
#include <stddef.h>
#include <stdint.h>

/// Leaves the present stack, its pointer in *save, and goes on where the other one was left. What lies there,
/// from the pointer up: r15, r14, r13, r12, rbx, rbp, address.
__attribute__((naked)) static void switch_stack(void **save, void *to)
{
    (void)save, (void)to;
    __asm__("push %rbp\n\t"
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
            "ret");
}

static _Noreturn __attribute__((used)) void run(struct coroutine *c)
{
    for (;;) {
        c->body(c->arg);
        coroutine_leave(c);
    }
}

/// Where a new one goes on: RBX is the coroutine, RBP is 0, the end of every backtrace.
__attribute__((naked)) static void begin(void)
{
    __asm__("mov %%rbx, %%rdi\n\t"
            "call %P0\n\t"
            "ud2"
            :
            : "i"(run));
}

void coroutine_init(struct coroutine *c, void *top, void (*body)(void *arg), void *arg)
{
    *c = (struct coroutine){.body = body, .arg = arg};
    uint64_t *frame = (uint64_t *)top - 9;
    for (unsigned i = 0; i < 9; i++)
        frame[i] = 0;
    frame[4] = (uint64_t)(uintptr_t)c;     // rbx
    frame[6] = (uint64_t)(uintptr_t)begin; // above it 16 bytes: aligned before the call
    c->stack = frame;
}

void coroutine_enter(struct coroutine *c)
{
    switch_stack(&c->caller, c->stack);
}

void coroutine_leave(struct coroutine *c)
{
    switch_stack(&c->stack, c->caller);
}
