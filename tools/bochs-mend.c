// SPDX-License-Identifier: BSD-2-Clause
// Mends three things in Debian's Bochs 3.1: 64-bit signed division, whose compiled long_idiv() drops the low
// half of the dividend; reception from a vde switch, which loses every frame when a variable that nobody
// initialized happens to be negative; and, with several CPUs, the guest's RIP after a VM exit that comes
// right behind an exception of the guest's.
//
// A shared object that the dynamic loader loads before the emulator (--preload). An emulator that is right
// already is left alone. What it computes is checked from inside by tools/bench-check; that a guest which
// faults a lot lives on a host of two CPUs, by tests/system/test_smp_host.py.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

typedef __int128 int128; // Bochs's Bit128s has the same layout: low half, then high half

typedef void divide(int128 *quotient, int64_t *remainder, const int128 *dividend, int64_t divisor);

static void correct(int128 *quotient, int64_t *remainder, const int128 *dividend, int64_t divisor)
{
    int128 n = *dividend;
    *quotient = n / divisor;
    *remainder = (int64_t)(n % divisor);
}

static int divides_correctly(divide *function)
{
    static const struct {
        int64_t high;
        uint64_t low;
        int64_t divisor;
    } known[] = {{0, 1000000007, 13},
                 {-1, (uint64_t)-1000000007, 13},
                 {3, 0x123456789abcdef0, -0x7654321},
                 {-5, 42, 0x1000000000}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        int128 n = (int128)(((unsigned __int128)(uint64_t)known[i].high << 64) | known[i].low), q = 0, want_q;
        int64_t r = 0, want_r;
        function(&q, &r, &n, known[i].divisor);
        correct(&want_q, &want_r, &n, known[i].divisor);
        if (q != want_q || r != want_r)
            return 0;
    }
    return 1;
}

/// The constructor asks the program's own function for divisions whose results are known, and only when an
/// answer is wrong overwrites its entry with a jump to the version above.
static void mend_division(void)
{
    void *entry = dlsym(RTLD_DEFAULT, "_Z9long_idivP7Bit128sPlPKS_l");
    divide *function;
    memcpy(&function, &entry, sizeof function);
    if (entry == NULL || divides_correctly(function))
        return;

    // mov rax, imm64; jmp rax
    uint8_t code[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
    divide *to = correct;
    memcpy(code + 2, &to, sizeof to);

    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)entry & ~(page - 1),
              last = ((uintptr_t)entry + sizeof code - 1) & ~(page - 1);
    size_t length = last - first + page;
    if (mprotect((void *)first, length, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
        perror("bochs-mend: mprotect");
        exit(1);
    }
    memcpy(entry, code, sizeof code);
    mprotect((void *)first, length, PROT_READ | PROT_EXEC);
}

/// Stands before the C library's. Bochs's vde module (iodev/network/eth_vde.cc, rx_timer) passes the length
/// of its address buffer, a sockaddr_un, uninitialized: what the stack holds there. As a negative number the
/// kernel answers EINVAL, after it has taken the frame out of the socket. A length that no address can have
/// is made the buffer's.
ssize_t recvfrom(int fd, void *restrict bytes, size_t size, int flags, struct sockaddr *restrict from,
                 socklen_t *restrict from_size)
{
    if (from_size != NULL && *from_size > sizeof(struct sockaddr_storage))
        *from_size = sizeof(struct sockaddr_un);
    return syscall(SYS_recvfrom, fd, bytes, size, flags, from, from_size);
}

// With one CPU, Bochs (cpu/cpu.cc, cpu_loop) takes RIP for the instruction's start, prev_rip, when it comes
// back out of an exception by longjmp. With several (main.cc, bx_begin_simulation) it forgets to, and a VM
// exit for an event from outside that comes next, before one more instruction, saves prev_rip: the guest
// returns to the instruction that faulted, on its handler's stack. Where the three members lie is read off
// cpu_loop's own code; both they and the CPUs are there long before the first exception.
struct members {
    uint32_t rip, speculative_rsp, prev_rip;
};
static struct members members; // all zero: not found, nothing is mended
static uint8_t **const *cpus;  // bx_cpu_array
static const uint8_t *cpu_count;
static const void *simulation; // the jmp_buf of all CPUs
static void (*real_longjmp)(struct __jmp_buf_tag *, int);
static void (*real_longjmp_chk)(struct __jmp_buf_tag *, int);

/// mov rip(%rdx), %rax; movb $0, speculative_rsp(%rdx); mov %rax, prev_rip(%rdx), behind the call of setjmp.
static void find_members(const uint8_t *code)
{
    for (const uint8_t *at = code; at && at < code + 256; at++) {
        if (memcmp(at, "\x48\x8b\x82", 3) != 0 || memcmp(at + 7, "\xc6\x82", 2) != 0 || at[13] != 0 ||
            memcmp(at + 14, "\x48\x89\x82", 3) != 0)
            continue;
        memcpy(&members.rip, at + 3, 4);
        memcpy(&members.speculative_rsp, at + 9, 4);
        memcpy(&members.prev_rip, at + 17, 4);
        return;
    }
}

static void commit_rip(const void *where)
{
    if (where != simulation || !members.rip || *cpu_count < 2)
        return;
    // Each of them is between two instructions: the others wait for their turn.
    for (unsigned i = 0; i < *cpu_count; i++) {
        uint8_t *cpu = (*cpus)[i];
        memcpy(cpu + members.prev_rip, cpu + members.rip, 8);
        cpu[members.speculative_rsp] = 0;
    }
}

_Noreturn void longjmp(struct __jmp_buf_tag where[1], int value)
{
    commit_rip(where);
    real_longjmp(where, value);
    __builtin_unreachable();
}

_Noreturn void __longjmp_chk(struct __jmp_buf_tag where[1], int value);
_Noreturn void __longjmp_chk(struct __jmp_buf_tag where[1], int value)
{
    commit_rip(where);
    real_longjmp_chk(where, value);
    __builtin_unreachable();
}

__attribute__((constructor)) static void mend(void)
{
    *(void **)&real_longjmp = dlsym(RTLD_NEXT, "longjmp");
    *(void **)&real_longjmp_chk = dlsym(RTLD_NEXT, "__longjmp_chk");
    cpus = dlsym(RTLD_DEFAULT, "bx_cpu_array");
    cpu_count = dlsym(RTLD_DEFAULT, "bx_cpu_count");
    simulation = dlsym(RTLD_DEFAULT, "_ZN8BX_CPU_C11jmp_buf_envE");
    if (cpus && cpu_count && simulation)
        find_members(dlsym(RTLD_DEFAULT, "_ZN8BX_CPU_C8cpu_loopEv"));
    mend_division();
}
