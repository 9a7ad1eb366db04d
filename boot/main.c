// SPDX-License-Identifier: BSD-2-Clause
// The loader from the firmware's call to the jump into the ELF. What is allowed is decided elsewhere
// (config.c, elf.c, cpu_check.c, memmap.c); this is only the order of things: read what is asked for, refuse
// before anything heavy is loaded, load, leave. Invariant: until boot services are left every failure prints
// one sentence, gives all memory back and returns to the firmware.
#include "boot/config.h"
#include "boot/cpu_read.h"
#include "boot/efi_console.h"
#include "boot/efi_files.h"
#include "boot/efi_machine.h"
#include "boot/efi_memory.h"
#include "boot/elf.h"
#include "boot/tables.h"
#include "rt/version.h"
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define INI_SIZE_MAX  (1u << 20)
#define STACK_SIZE    (64u << 10)
#define PAUSE_SECONDS 10u      // to read the sentence, before the boot manager clears the screen
#define LOW_MEMORY    0xa0000u // a trampoline must lie below the VGA window and the ROMs

enum { GUEST_FILES_MAX = 2 + BOOT_MODULES_MAX };

static struct load {
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *bs;
    EFI_HANDLE self;
    struct refusal why;
    struct options options;
    const char *ini, *elf_path; // paths, also as they are called in sentences
    struct boot_info *info;     // in pages of its own: the ELF gets it
    struct elf_plan plan;
    struct efi_file elf, guest_files[BOOT_GUESTS_MAX * GUEST_FILES_MAX];
    struct boot_mem mem[BOOT_MEM_MAX], identity_mem[BOOT_MEM_MAX];
    struct tables tables;
    uint64_t stack;
} load;

/// File `n` of a guest: kernel, initrd, modules. NULL: it has no such file.
static struct boot_file *guest_file(struct boot_guest *g, unsigned n)
{
    if (n >= 2)
        return n - 2 < g->module_count ? &g->modules[n - 2] : NULL;
    struct boot_file *file = n == 0 ? &g->kernel : &g->initrd;
    return file->path[0] != '\0' ? file : NULL;
}

static void wipe(void *bytes, size_t size)
{
    memset(bytes, 0, size);
    __asm__ volatile("" : : "r"(bytes) : "memory"); // the compiler may think that nobody looks
}

static enum status read_config(struct load *l)
{
    enum status s = machine_options(l->bs, l->self, &l->options, &l->why);
    l->ini = l->options.ini;
    if (s != OK)
        return s;
    uint64_t phys;
    s = memory_zeroed(sizeof *l->info, "the boot information", &phys, &l->why);
    if (s != OK)
        return s;
    l->info = (struct boot_info *)phys;
    s = files_start(l->bs, l->self, &l->why);
    if (s != OK)
        return s;
    struct efi_file ini = {.handle = NULL};
    s = file_open(&ini, l->ini, NULL, 0, &l->why);
    if (s == OK && ini.size > INI_SIZE_MAX)
        s = refuse_line(&l->why, ERR_RANGE, l->ini, 0, "the file has %llu bytes; the limit is %u",
                        (unsigned long long)ini.size, INI_SIZE_MAX);
    if (s == OK)
        s = file_read(&ini, l->ini, &phys, &l->why);
    file_close(&ini);
    if (s != OK)
        return s;
    s = config_parse(l->ini, (const char *)phys, ini.size, l->info, &l->why);
    wipe((void *)phys, ini.size); // it may hold keys
    if (s != OK)
        wipe(&l->info->keys, sizeof l->info->keys);
    return s;
}

/// Opens the ELF and every guest's files, and sees whether all of it fits into memory.
static enum status open_files(struct load *l)
{
    enum status s = file_open(&l->elf, l->elf_path, NULL, 0, &l->why);
    uint64_t bytes = l->elf.size;
    for (unsigned i = 0; s == OK && i < l->info->guest_count; i++) {
        for (unsigned n = 0; s == OK && n < GUEST_FILES_MAX; n++) {
            const struct boot_file *file = guest_file(&l->info->guests[i], n);
            struct efi_file *open = &l->guest_files[i * GUEST_FILES_MAX + n];
            if (file == NULL)
                continue;
            s = file_open(open, file->path, l->ini, file->ini_line, &l->why);
            bytes += open->size;
        }
    }
    struct memmap map = {.mem = l->mem};
    if (s == OK)
        s = memory_map(&map, &l->why);
    return s != OK ? s : memory_check(&map, l->info, bytes, l->ini, &l->why);
}

static enum status load_elf(struct load *l)
{
    struct boot_info *info = l->info;
    info->elf_size = l->elf.size;
    enum status s = file_read(&l->elf, l->elf_path, &info->elf_base, &l->why);
    if (s == OK)
        s = elf_plan(l->elf_path, (const void *)info->elf_base, info->elf_size,
                     (enum boot_role)info->node.role, &l->plan, &l->why);
    if (s == OK)
        s = memory_pages(l->plan.image_size, 0, l->elf_path, &info->image_base, &l->why);
    if (s != OK)
        return s;
    info->image_size = l->plan.image_size;
    info->image_virt = l->plan.image_virt;
    uint64_t filled = 0; // of the image, from its start
    for (unsigned i = 0; i < l->plan.count; i++) {
        const struct elf_segment *seg = &l->plan.segments[i];
        fill_zero((void *)(info->image_base + filled), seg->image_offset - filled);
        copy((void *)(info->image_base + seg->image_offset),
             (const void *)(info->elf_base + seg->file_offset), seg->file_size);
        filled = seg->image_offset + seg->file_size;
    }
    fill_zero((void *)(info->image_base + filled), info->image_size - filled);
    say("%s: %llu KiB, %llu KiB in memory", l->elf_path, (unsigned long long)info->elf_size >> 10,
        (unsigned long long)info->image_size >> 10);
    return OK;
}

static enum status load_guest_files(struct load *l)
{
    for (unsigned i = 0; i < l->info->guest_count; i++) {
        struct boot_guest *g = &l->info->guests[i];
        for (unsigned n = 0; n < GUEST_FILES_MAX; n++) {
            struct boot_file *file = guest_file(g, n);
            if (file == NULL)
                continue;
            struct efi_file *open = &l->guest_files[i * GUEST_FILES_MAX + n];
            file->size = open->size;
            enum status s = file_read(open, file->path, &file->base, &l->why);
            if (s != OK)
                return s;
            say("guest %s: %s, %llu KiB", g->name, file->path, (unsigned long long)(file->size + 1023) >> 10);
        }
    }
    return OK;
}

/// Everything the ELF needs besides its files, as long as memory can still be had.
static enum status prepare_entry(struct load *l, const struct cpu_facts *cpu)
{
    struct boot_info *info = l->info;
    struct memmap map = {.mem = l->mem}, identity = {.mem = l->identity_mem};
    if (memory_pages(EFI_PAGE_SIZE, LOW_MEMORY, "a trampoline", &info->trampoline,
                     &(struct refusal){.text = ""}) != OK)
        info->trampoline = 0; // then other CPUs cannot be started, and the ELF says so
    info->rsdp = machine_rsdp(l->system);
    info->framebuffer = machine_framebuffer(l->bs);
    info->boot_device_set = machine_boot_device(l->bs, l->self, &info->boot_device);
    enum status s = memory_pages(STACK_SIZE, 0, "a stack", &l->stack, &l->why);
    if (s == OK)
        s = memory_map(&map, &l->why);
    if (s == OK && tables_identity(&map, &info->framebuffer, &identity) != OK)
        s = refuse(&l->why, ERR_RANGE, "The firmware's memory map is too scattered.");
    if (s != OK)
        return s;
    struct tables *t = &l->tables;
    t->page1gb = (cpu->ext1_edx & CPUID_80000001_EDX_PAGE1GB) != 0;
    t->count = tables_needed(&identity, l->plan.image_size, t->page1gb);
    s = memory_zeroed(t->count * ELF_PAGE, "page tables", &t->phys, &l->why);
    if (s != OK)
        return s;
    t->pages = (uint64_t *)t->phys;
    if (tables_build(t, &identity, &l->plan, info->image_base) != OK)
        return refuse(&l->why, ERR_NOMEM, "The page tables need more than the %u pages foreseen.", t->count);
    return OK;
}

static enum status load_all(struct load *l)
{
    enum status s = read_config(l);
    if (s != OK)
        return s;
    bool host = l->info->node.role == BOOT_ROLE_HOST;
    l->elf_path = host ? "\\hv.elf" : "\\remote-fw.elf";
    say("%s: node %s, role %s, %u guest(s)", l->ini, l->info->node.name, host ? "host" : "remote",
        l->info->guest_count);
    const struct cpu_facts cpu = cpu_read();
    s = cpu_check(&cpu, (enum boot_role)l->info->node.role, &l->why);
    if (s == OK)
        s = open_files(l);
    if (s == OK)
        s = load_elf(l);
    if (s == OK)
        s = load_guest_files(l);
    return s == OK ? prepare_entry(l, &cpu) : s;
}

static void close_files(struct load *l)
{
    file_close(&l->elf);
    for (size_t i = 0; i < sizeof l->guest_files / sizeof l->guest_files[0]; i++)
        file_close(&l->guest_files[i]);
    files_stop();
}

/// Does not return unless the firmware keeps its boot services.
static enum status leave(struct load *l, uint64_t entry_tsc)
{
    struct boot_info *info = l->info;
    info->magic = BOOT_INFO_MAGIC;
    info->version = BOOT_INFO_VERSION;
    info->size = sizeof *info;
    info->entry_tsc = entry_tsc;
    info->files_tsc = files_ticks();
    say("Leaving the firmware.");
    enum status s = memory_exit_boot_services(&l->why);
    if (s != OK)
        return s;
    struct memmap map = {.mem = info->mem};
    if (memory_final_map(&map, info->image_base, info->image_size) != OK) {
        // It fitted a moment ago. There is no console to say so and nothing to go back to.
        l->system->RuntimeServices->ResetSystem(EfiResetCold, EFI_LOAD_ERROR, 0, NULL);
    }
    info->mem_count = map.count;
    info->exit_tsc = cpu_tsc();
    cpu_jump(l->plan.entry, l->tables.phys, l->stack + STACK_SIZE, (uint64_t)info);
}

static EFI_STATUS efi_status(enum status s)
{
    switch (s) {
    case ERR_NOTFOUND:
        return EFI_NOT_FOUND;
    case ERR_NOMEM:
        return EFI_OUT_OF_RESOURCES;
    case ERR_UNSUPPORTED:
    case ERR_DENIED:
        return EFI_UNSUPPORTED;
    case ERR_IO:
        return EFI_DEVICE_ERROR;
    default:
        return EFI_INVALID_PARAMETER;
    }
}

/// Called by gnu-efi's crt0 with the C calling convention.
EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    uint64_t entry_tsc = cpu_tsc();
    load.system = system;
    load.bs = system->BootServices;
    load.self = image;
    console_start(system);
    memory_start(system->BootServices, image);
    (void)load.bs->SetWatchdogTimer(0, 0, 0, NULL);
    say("Farbus " FARBUS_VERSION " loader");
    enum status s = load_all(&load);
    close_files(&load);
    if (s == OK)
        s = leave(&load, entry_tsc);
    say("%s", load.why.text);
    if (!load.options.shell)
        console_pause(PAUSE_SECONDS);
    memory_release();
    return efi_status(s);
}
