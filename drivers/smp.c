// SPDX-License-Identifier: BSD-2-Clause
// SDM vol. 3, 8.4.4 (INIT-SIPI-SIPI). The trampoline page is written through the direct map (RW, NX) and run
// through tables of its own where it is read-only: it is never writable and executable in one address space.
#include "drivers/smp.h"
#include "drivers/apic.h"
#include "rt/cpu_internal.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/pagetable.h"
#include "rt/paging_internal.h"
#include "rt/panic.h"
#include "rt/time.h"
#include "rt/x86.h"
#include <stddef.h>
#include <string.h>

#define INIT_DELAY_US  10u // what CPUs since 2000 need; the 10 ms of the MP specification were for the 486
#define FIRST_WAIT_NS  1000000ull
#define SECOND_WAIT_NS 200000000ull

/// The end of drivers/smp_trampoline.S.
struct __attribute__((packed)) trampoline {
    uint64_t cr3, stack, cpu, entry;
    uint16_t gdt_limit;
    uint32_t gdt_base;
    uint32_t protected_offset;
    uint16_t protected_selector;
    uint32_t long_offset;
    uint16_t long_selector;
};

extern const uint8_t smp_trampoline_start[], smp_trampoline_fields[], smp_trampoline_end[];

static uint8_t wake_vector;
static uint64_t tsc_adjust; // the boot CPU's: firmware may have left the others with another one
static bool has_tsc_adjust;

static void woken(void *ctx, uint8_t vector)
{
    (void)ctx;
    (void)vector; // coming out of HLT is all that is wanted
}

static void wake(const struct cpu *cpu)
{
    apic_send(cpu->apic_id, wake_vector);
}

/// First C code of a started CPU.
static _Noreturn void arrive(struct cpu *cpu)
{
    if (has_tsc_adjust && rdmsr(IA32_TSC_ADJUST) != tsc_adjust)
        wrmsr(IA32_TSC_ADJUST, tsc_adjust);
    apic_start_cpu();
    cpu_arrive(cpu);
}

static bool wait_online(const struct cpu *cpu, uint64_t ns)
{
    uint64_t start = time_ns();
    while (!__atomic_load_n(&cpu->online, __ATOMIC_ACQUIRE)) {
        if (time_ns() - start > ns)
            return false;
        cpu_pause();
    }
    return true;
}

static bool start_one(struct cpu *cpu, struct trampoline *t, uint64_t page)
{
    t->stack = (uint64_t)(uintptr_t)cpu->stack_top;
    t->cpu = (uint64_t)(uintptr_t)cpu;
    t->entry = (uint64_t)(uintptr_t)arrive;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    apic_send_init(cpu->apic_id);
    time_delay_us(INIT_DELAY_US);
    apic_send_startup(cpu->apic_id, (uint8_t)(page >> 12));
    if (wait_online(cpu, FIRST_WAIT_NS))
        return true;
    log_debug("smp", "CPU with APIC ID %u needs a second STARTUP", cpu->apic_id);
    apic_send_startup(cpu->apic_id, (uint8_t)(page >> 12));
    if (wait_online(cpu, SECOND_WAIT_NS))
        return true;
    apic_send_init(cpu->apic_id); // wherever it is, it must not come to life on memory that is given back
    return false;
}

static struct trampoline *fill_page(uint64_t page, phys_t root)
{
    uint8_t *bytes = phys_to_virt(page);
    memcpy(bytes, smp_trampoline_start, (size_t)(smp_trampoline_end - smp_trampoline_start));
    struct trampoline *t = (struct trampoline *)(bytes + (smp_trampoline_fields - smp_trampoline_start));
    t->cr3 = root;
    t->gdt_base += (uint32_t)page;
    t->protected_offset += (uint32_t)page;
    t->long_offset += (uint32_t)page;
    return t;
}

void smp_start(const struct acpi_info *acpi, uint64_t trampoline)
{
    uint32_t self = apic_id(), failed = 0;
    cpu_set_apic_id(cpu_self(), self);
    if (irq_alloc(woken, NULL, &wake_vector) != OK)
        return;
    cpu_set_wake(wake);
    if (acpi->cpu_count < 2)
        return;
    if (trampoline == 0 || trampoline >= 0x100000) {
        log_warn("smp", "no free page below 1 MiB: %u CPUs stay off", acpi->cpu_count - 1);
        return;
    }
    phys_t root;
    enum status s = paging_trampoline_make(trampoline, &root);
    if (s != OK) {
        log_warn("smp", "cannot start other CPUs: %s", status_name(s));
        return;
    }
    ASSERT(pagetable_audit(root).both == 0);
    has_tsc_adjust =
        cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & 1u << 1) && rdmsr_safe(IA32_TSC_ADJUST, &tsc_adjust);
    struct trampoline *t = fill_page(trampoline, root);
    for (uint32_t i = 0; i < acpi->cpu_count; i++) {
        struct cpu *cpu;
        if (acpi->cpu_apic_ids[i] == self)
            continue;
        s = cpu_prepare(acpi->cpu_apic_ids[i], &cpu);
        if (s == OK && start_one(cpu, t, trampoline))
            continue;
        failed++;
        log_warn("smp", "CPU with APIC ID %u does not start: %s", acpi->cpu_apic_ids[i],
                 s == OK ? "no answer" : status_name(s));
    }
    if (failed == 0)
        paging_trampoline_free(root); // else somebody may still walk them
}
