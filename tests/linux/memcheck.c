// SPDX-License-Identifier: BSD-2-Clause
// memcheck MIB: takes so many MiB of memory, writes into each page whose page it is, and reads all of it
// again: a page that is not there, or is there twice, shows. One line, "memcheck: pages=N wrong=N".
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096u

int main(int argc, char *argv[])
{
    size_t pages = argc == 2 ? strtoull(argv[1], NULL, 10) * (1u << 20) / PAGE : 0, wrong = 0;
    uint8_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("memcheck");
        return 1;
    }
    for (uint64_t i = 0; i < pages; i++)
        *(volatile uint64_t *)(memory + i * PAGE + i % (PAGE / 8) * 8) = ~i;
    for (uint64_t i = 0; i < pages; i++)
        wrong += *(volatile uint64_t *)(memory + i * PAGE + i % (PAGE / 8) * 8) != ~i;
    printf("memcheck: pages=%zu wrong=%zu\n", pages, wrong);
    return wrong != 0;
}
