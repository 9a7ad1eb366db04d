// SPDX-License-Identifier: BSD-2-Clause
// From the loader's world into ours, in order: time, CPU block and IDT, frames, page tables, stacks, symbols,
// then the role. Knows no device: what is logged here is kept until a driver adds a console.
#include "rt/start.h"
#include "rt/boot_info.h"
#include "rt/cpu_internal.h"
#include "rt/frames_internal.h"
#include "rt/log.h"
#include "rt/paging_internal.h"
#include "rt/panic.h"
#include "rt/role.h"
#include "rt/symbols.h"
#include "rt/time_internal.h"
#include "rt/trap.h"
#include "rt/x86.h"
#include <string.h>

_Noreturn void rt_start(const struct boot_info *from_loader);

static struct boot_info boot; // our copy: the loader's memory is given back one day

// Ticks of each phase; logged once the log level is known and time is not what is measured.
static struct {
    const char *name;
    uint64_t tsc;
} phases[16];
static unsigned phase_count;
static bool loader_memory_released;
static phys_t loader_copy; // of `boot`, in loader memory

void start_phase(const char *name)
{
    if (phase_count < sizeof phases / sizeof phases[0]) {
        phases[phase_count].name = name;
        phases[phase_count++].tsc = rdtsc();
    }
}

void start_log_phases(void)
{
    log_debug("start", "loader: %llu ticks, of them %llu in the firmware's file reads",
              (unsigned long long)(boot.exit_tsc - boot.entry_tsc), (unsigned long long)boot.files_tsc);
    for (unsigned i = 1; i < phase_count; i++)
        log_debug("start", "%s: %llu ticks", phases[i].name,
                  (unsigned long long)(phases[i].tsc - phases[i - 1].tsc));
    phase_count = 0;
}

/// Function names for backtraces; again when the file is at another address.
static enum status find_symbols(void)
{
    return boot.elf_size != 0 ? symbols_init(phys_to_virt(boot.elf_base), boot.elf_size) : ERR_NOTFOUND;
}

static void role_on_own_stack(void *info)
{
    role_main(info);
}

_Noreturn void rt_start(const struct boot_info *from_loader)
{
    start_phase("entry");
    time_start(phases[0].tsc);
    cpu_boot_init();
    trap_init();
    trap_load();
    if (from_loader->magic != BOOT_INFO_MAGIC || from_loader->version != BOOT_INFO_VERSION ||
        from_loader->size != sizeof boot)
        panic("boot information of version %u, %u bytes, from the loader; this ELF wants version %u, %zu "
              "bytes: "
              "install BOOTX64.EFI and the ELF from the same build",
              from_loader->version, from_loader->size, BOOT_INFO_VERSION, sizeof boot);
    memcpy(&boot, from_loader, sizeof boot);
    loader_copy = (phys_t)from_loader; // identity-mapped so far
    (void)find_symbols();              // in case of an early panic
    if (boot.node.verbose)
        log_set_level(LOG_DEBUG);
    start_phase("descriptor tables and boot information");

    enum status s = frames_init(boot.mem, boot.mem_count);
    if (s != OK)
        panic("cannot use the memory map of %u entries: %s", boot.mem_count, status_name(s));
    if (boot.trampoline != 0)
        frames_reserve(boot.trampoline, 1);
    start_phase("frame allocator");

    cpu_set_features();
    s = paging_init(&boot);
    if (s == ERR_UNSUPPORTED)
        panic("the firmware runs with 5-level paging, which Farbus does not: switch it off in the firmware "
              "setup");
    if (s != OK)
        panic("cannot build page tables: %s", status_name(s));
    s = cpu_boot_stacks();
    if (s != OK)
        panic("no memory for stacks: %s", status_name(s));
    start_phase("page tables and stacks");

    s = find_symbols();
    if (s != OK)
        log_warn("start", "no function names in backtraces: %s", status_name(s));
    start_phase("symbols");
    stack_switch(cpu_self()->stack_top, role_on_own_stack, &boot);
}

/// Gives [base, end) back except [keep, keep_end).
static void release_except(uint64_t base, uint64_t end, uint64_t keep, uint64_t keep_end)
{
    if (keep_end <= base || keep >= end) {
        frames_free(base, (end - base) / FRAME_SIZE);
        return;
    }
    if (keep > base)
        frames_free(base, (keep - base) / FRAME_SIZE);
    if (keep_end < end)
        frames_free(keep_end, (end - keep_end) / FRAME_SIZE);
}

void start_release_loader_memory(void)
{
    size_t from, to;
    if (loader_memory_released)
        return;
    loader_memory_released = true;
    symbols_extent(&from, &to);
    uint64_t keep = (boot.elf_base + from) & ~(FRAME_SIZE - 1);
    uint64_t keep_end = to == 0 ? keep : (boot.elf_base + to + FRAME_SIZE - 1) & ~(FRAME_SIZE - 1);
    for (uint32_t i = 0; i < boot.mem_count; i++)
        if (boot.mem[i].type == BOOT_MEM_LOADER)
            release_except(boot.mem[i].base, boot.mem[i].base + boot.mem[i].size, keep, keep_end);
}

static void wipe(struct boot_keys *keys)
{
    memset(keys, 0, sizeof *keys);
    __asm__ volatile("" : : "r"(keys) : "memory"); // the compiler may think that nobody looks
}

void start_forget_keys(void)
{
    wipe(&boot.keys);
    if (!loader_memory_released)
        wipe(&((struct boot_info *)phys_to_virt(loader_copy))->keys);
}
