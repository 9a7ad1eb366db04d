// SPDX-License-Identifier: BSD-2-Clause
// Mends two things in Debian's Bochs 3.1: 64-bit signed division, whose compiled long_idiv() drops the low
// half of the dividend, and reception from a vde switch, which loses every frame when a variable that nobody
// initialized happens to be negative.
//
// A shared object that the dynamic loader loads before the emulator (--preload). Its constructor finds the
// function among the program's exported symbols, asks it for a division whose result is known, and only when
// the answer is wrong overwrites its entry with a jump to the version below. An emulator that divides
// correctly is left alone, and one without the symbol is too: what it computes is checked from inside by
// tools/bench-check.
#define _GNU_SOURCE
#include <dlfcn.h>
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

__attribute__((constructor)) static void mend(void)
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
        perror("bochs-idiv: mprotect");
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
