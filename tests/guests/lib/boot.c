// SPDX-License-Identifier: BSD-2-Clause
// From the Multiboot state to guest_main() and to the end (Multiboot Specification 0.6.96, 3.3 "Boot
// information format").
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"
#include "tests/guests/lib/text.h"

#define MULTIBOOT_MAGIC 0x2badb002u
#define INFO_MEMORY     0x01u
#define INFO_CMDLINE    0x04u
#define INFO_MODULES    0x08u

struct multiboot_info {
    uint32_t flags, mem_lower, mem_upper, boot_device;
    uint32_t cmdline, mods_count, mods_addr;
};
struct multiboot_module {
    uint32_t start, end, args, reserved;
};

unsigned module_count;
const char *command_line = "";
uint32_t memory_upper_kib;
static struct guest_module modules[8];

void guest_start(uint32_t magic, const struct multiboot_info *info); // from start.S

const struct guest_module *module_at(unsigned index)
{
    return index < module_count ? &modules[index] : NULL;
}

/// The start of what follows `name=` on the command line, or NULL.
static const char *option_find(const char *name)
{
    for (const char *at = command_line; *at != '\0';) {
        const char *n = name;
        const char *c = at;
        while (*n != '\0' && *c == *n) {
            n++;
            c++;
        }
        if (*n == '\0' && *c == '=')
            return c + 1;
        while (*at != '\0' && *at != ' ')
            at++;
        while (*at == ' ')
            at++;
    }
    return NULL;
}

bool option_given(const char *name)
{
    return option_find(name) != NULL;
}

uint32_t option_number(const char *name, uint32_t otherwise)
{
    const char *at = option_find(name);
    if (at == NULL)
        return otherwise;
    uint32_t base = 10, n = 0;
    if (at[0] == '0' && at[1] == 'x') {
        base = 16;
        at += 2;
    }
    for (; *at != '\0' && *at != ' '; at++) {
        uint32_t digit = *at >= 'a' ? (uint32_t)(*at - 'a') + 10 : (uint32_t)(*at - '0');
        if (digit >= base)
            return otherwise;
        n = n * base + digit;
    }
    return n;
}

bool option_lists(const char *name, const char *item)
{
    const char *at = option_find(name);
    while (at != NULL && *at != '\0' && *at != ' ') {
        const char *i = item;
        while (*i != '\0' && *at == *i) {
            i++;
            at++;
        }
        if (*i == '\0' && (*at == '\0' || *at == ' ' || *at == ','))
            return true;
        while (*at != '\0' && *at != ' ' && *at != ',')
            at++;
        if (*at == ',')
            at++;
    }
    return false;
}

_Noreturn void shutdown(int code)
{
    out16(0x604, 0x2000);
    for (const char *s = "Shutdown"; *s != '\0'; s++)
        out8(0x8900, (uint8_t)*s);
    out8(0xf4, (uint8_t)code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/// Loaders put the kernel's path first (GRUB, QEMU) or leave it out.
static const char *without_path(const char *line)
{
    const char *end = line;
    while (*end != '\0' && *end != ' ')
        end++;
    if (end - line > 4 && same_bytes(end - 4, ".elf", 4)) {
        while (*end == ' ')
            end++;
        return end;
    }
    return line;
}

void guest_start(uint32_t magic, const struct multiboot_info *info)
{
    console_start();
    fault_start();
    if (magic != MULTIBOOT_MAGIC) {
        print("guest: not started by a Multiboot loader (EAX = 0x%08x)\n", magic);
        shutdown(1);
    }
    if ((info->flags & INFO_MEMORY) != 0)
        memory_upper_kib = info->mem_upper;
    if ((info->flags & INFO_CMDLINE) != 0 && info->cmdline != 0)
        command_line = without_path((const char *)info->cmdline);
    if ((info->flags & INFO_MODULES) != 0) {
        const struct multiboot_module *m = (const struct multiboot_module *)info->mods_addr;
        for (; module_count < info->mods_count && module_count < 8; module_count++, m++)
            modules[module_count] =
                (struct guest_module){m->start, m->end, m->args != 0 ? (const char *)m->args : ""};
    }
    shutdown(guest_main());
}
