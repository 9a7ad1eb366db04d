// SPDX-License-Identifier: BSD-2-Clause
// LINK: hv/vm/multiboot.c
// Any bytes as a guest kernel: refused or loaded, never a write outside the guest's RAM.
#include "hv/vm/multiboot.h"
#include <stdlib.h>
#include <string.h>

#define RAM (4u << 20)

static enum status check_write(void *ctx, uint64_t gpa, const void *from, uint64_t size)
{
    if (gpa > RAM || size > RAM - gpa)
        abort();
    memcpy((uint8_t *)ctx + gpa, from, size);
    return OK;
}

static enum status check_fill(void *ctx, uint64_t gpa, uint8_t byte, uint64_t size)
{
    if (gpa > RAM || size > RAM - gpa)
        abort();
    memset((uint8_t *)ctx + gpa, byte, size);
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t ram[RAM];
    const struct image_module module = {data, size / 2, "m"};
    const struct multiboot_image image = {
        .kernel = data, .kernel_size = size, .cmdline = "c", .modules = &module, .module_count = 1};
    const struct image_target target = {.write = check_write, .fill = check_fill, .ctx = ram, .low_end = RAM};
    struct multiboot_entry entry;
    const char *why;
    if (multiboot_load(&image, &target, &entry, &why) == OK && entry.ebx >= RAM)
        abort();
    return 0;
}
