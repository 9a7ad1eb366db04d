// SPDX-License-Identifier: BSD-2-Clause
// Any bytes as physical memory with ACPI tables in it. Checksums are put right, else nothing would pass them.
// Each mapping is a copy of its exact size, so that a read beyond it shows.
// LINK: drivers/acpi.c
#include "drivers/acpi.h"
#include <stdlib.h>
#include <string.h>

#define RSDP_SIZE  36u
#define COPIES_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *memory;
static size_t memory_size;
static void *copies[COPIES_MAX];
static unsigned copy_count;

static void mend(uint8_t *bytes, size_t n, size_t where)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + bytes[i]);
    bytes[where] = (uint8_t)(bytes[where] - sum);
}

static const void *map(void *ctx, uint64_t phys, size_t size)
{
    (void)ctx;
    if (phys >= memory_size || size > memory_size - phys || copy_count == COPIES_MAX)
        return NULL;
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, memory + phys, size);
    if (size >= RSDP_SIZE && phys != 1)
        mend(copy, size, 9);
    copies[copy_count++] = copy;
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct acpi_info info;
    uint8_t a, b;
    (void)acpi_find_s5(data, size, &a, &b);
    if (size < RSDP_SIZE)
        return 0;
    // Address 0 means "no table": everything lies one byte up.
    memory_size = size + 1;
    memory = malloc(memory_size);
    memory[0] = 0;
    memcpy(memory + 1, data, size);
    memcpy(memory + 1, "RSD PTR ", 8);
    mend(memory + 1, 20, 8);
    mend(memory + 1, RSDP_SIZE, 32);
    if (acpi_read(1, map, NULL, &info) == OK &&
        (info.cpu_count > ACPI_CPUS_MAX || info.ioapic_count > ACPI_IOAPICS_MAX ||
         info.override_count > ACPI_OVERRIDES_MAX || info.segment_count > ACPI_SEGMENTS_MAX))
        abort();
    while (copy_count > 0)
        free(copies[--copy_count]);
    free(memory);
    return 0;
}
