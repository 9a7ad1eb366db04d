// SPDX-License-Identifier: BSD-2-Clause
// Included first in every file of the two ELFs (Makefile): with -ffreestanding the compiler takes memcpy for
// a function like any other, and calls it to move four bytes. Under its own name it knows what it does, and
// rt/memory.c is called for what is long only.
#pragma once
#ifndef __ASSEMBLER__
#define _DEFAULT_SOURCE // before the first of newlib: rt/log.c needs it
#include <string.h>
#define memcpy(...)  __builtin_memcpy(__VA_ARGS__)
#define memmove(...) __builtin_memmove(__VA_ARGS__)
#define memset(...)  __builtin_memset(__VA_ARGS__)
#define memcmp(...)  __builtin_memcmp(__VA_ARGS__)
#endif
