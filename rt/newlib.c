// SPDX-License-Identifier: BSD-2-Clause
// What newlib wants from below: a heap that grows, a lock around malloc, and the system calls its stdio is
// linked against. There are no files: writes go to the console, everything else says so. Nothing on a hot
// path may come here.
#include "rt/cpu.h"
#include "rt/log.h"
#include "rt/paging_internal.h"
#include "rt/panic.h"
#include "rt/x86.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

struct _reent;

#define HEAP_STEP 65536u
#define HEAP_MAX  (32u << 20)

static uint8_t *heap_start, *heap_end, *heap_break;
static _Atomic uint32_t malloc_holder; // CPU index + 1
static unsigned malloc_depth;

void *_sbrk(ptrdiff_t increment);
void __malloc_lock(struct _reent *r);
void __malloc_unlock(struct _reent *r);
int _write(int fd, const char *bytes, size_t n);
int _read(int fd, char *bytes, size_t n);
int _close(int fd);
int _fstat(int fd, struct stat *st);
int _isatty(int fd);
off_t _lseek(int fd, off_t offset, int whence);
int _kill(int pid, int signal);
int _getpid(void);
_Noreturn void _exit(int code);

/// Under newlib's malloc lock.
void *_sbrk(ptrdiff_t increment)
{
    if (increment < 0 ? -increment > heap_break - heap_start
                      : (size_t)increment > HEAP_MAX - (size_t)(heap_break - heap_start)) {
        errno = ENOMEM;
        return (void *)-1;
    }
    if (increment > heap_end - heap_break) {
        size_t more = ((size_t)(increment - (heap_end - heap_break)) + HEAP_STEP - 1) / HEAP_STEP * HEAP_STEP;
        uint8_t *start;
        if (paging_heap_grow(more, &start) != OK) {
            errno = ENOMEM;
            return (void *)-1;
        }
        if (!heap_start)
            heap_start = heap_end = heap_break = start;
        heap_end += more;
    }
    void *old = heap_break;
    heap_break += increment;
    return old;
}

/// newlib takes the lock again while it holds it (realloc calls malloc).
void __malloc_lock(struct _reent *r)
{
    (void)r;
    uint32_t me = cpu_self()->index + 1;
    if (atomic_load_explicit(&malloc_holder, memory_order_relaxed) != me) {
        uint32_t nobody = 0;
        while (!atomic_compare_exchange_weak_explicit(&malloc_holder, &nobody, me, memory_order_acquire,
                                                      memory_order_relaxed)) {
            nobody = 0;
            cpu_pause();
        }
    }
    malloc_depth++;
}

void __malloc_unlock(struct _reent *r)
{
    (void)r;
    if (--malloc_depth == 0)
        atomic_store_explicit(&malloc_holder, 0, memory_order_release);
}

int _write(int fd, const char *bytes, size_t n)
{
    (void)fd;
    console_write(bytes, n);
    return (int)n;
}

int _read(int fd, char *bytes, size_t n)
{
    (void)fd;
    (void)bytes;
    (void)n;
    return 0; // end of file
}

int _close(int fd)
{
    (void)fd;
    errno = EBADF;
    return -1;
}

int _fstat(int fd, struct stat *st)
{
    (void)fd;
    st->st_mode = S_IFCHR;
    return 0;
}

int _isatty(int fd)
{
    (void)fd;
    return 1;
}

off_t _lseek(int fd, off_t offset, int whence)
{
    (void)fd;
    (void)offset;
    (void)whence;
    return 0;
}

int _kill(int pid, int signal)
{
    (void)pid;
    panic("the C library raised signal %d", signal);
}

int _getpid(void)
{
    return 1;
}

_Noreturn void _exit(int code)
{
    panic("the C library called exit(%d)", code);
}
