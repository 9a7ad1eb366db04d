// SPDX-License-Identifier: BSD-2-Clause
// A piece of work on a stack of its own, which can be left in the middle and gone on with later. Knows no
// CPU: whoever enters one does so on the CPU that it belongs to. Only the callee-saved registers of the
// System V ABI (AMD64 psABI 1.0, 3.2.1) change hands: code of ours has no others that outlive a call.
#pragma once

struct coroutine {
    void *stack;  // its stack pointer while it is left
    void *caller; // that of who entered it
    void (*body)(void *arg);
    void *arg;
};

/// The stack ends at `top`, aligned to 16, and is the caller's; nothing runs yet.
void coroutine_init(struct coroutine *c, void *top, void (*body)(void *arg), void *arg);
/// Goes on where it was left; comes back when it is left again. body(arg) begins anew with the next call
/// after its end, which is a leave, too.
void coroutine_enter(struct coroutine *c);
/// From inside it: back to who entered it.
void coroutine_leave(struct coroutine *c);
