// SPDX-License-Identifier: BSD-2-Clause
// The CPUs: their blocks, stacks, the registers every one of them must hold alike, and the idle loop that
// work is handed to. Knows no APIC: drivers/smp.c starts CPUs and tells how a sleeping one is woken.
#include "rt/cpu.h"
#include "rt/cpu_internal.h"
#include "rt/gdt.h"
#include "rt/paging.h"
#include "rt/paging_internal.h"
#include "rt/panic.h"
#include "rt/spinlock.h"
#include "rt/trap.h"
#include "rt/x86.h"
#include <stddef.h>

#define STACK_MAIN 65536u
#define STACK_IST  8192u // #DF, NMI, #MC and interrupts: a log line or a panic fits
#define STACK_IRQ  16384u

static struct cpu cpus[CPU_MAX];
static _Atomic uint32_t count; // blocks in use; the last ones may not be online yet
static _Atomic uint32_t online_count;
static struct spinlock run_lock;
static void (*wake)(const struct cpu *cpu);

static uint8_t boot_ist[STACK_IST] __attribute__((aligned(16))); // until the boot CPU has guarded stacks

struct cpu *cpu_self(void)
{
    struct cpu *self;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(self));
    return self;
}

struct cpu *cpu_get(uint32_t index)
{
    return index < atomic_load_explicit(&count, memory_order_acquire) ? &cpus[index] : NULL;
}

uint32_t cpu_count(void)
{
    return atomic_load_explicit(&online_count, memory_order_acquire);
}

void cpu_boot_init(void)
{
    struct cpu *cpu = &cpus[0];
    cpu->self = cpu;
    cpu->apic_id = cpuid(1, 0).ebx >> 24;
    gdt_build(cpu);
    for (enum trap_ist i = TRAP_IST_DF; i <= TRAP_IST_MC; i++)
        gdt_set_ist(cpu, i, boot_ist + sizeof boot_ist);
    gdt_set_ist(cpu, TRAP_IST_IRQ, boot_ist + sizeof boot_ist);
    gdt_load(cpu);
    cpu->online = true;
    atomic_store(&count, 1);
    atomic_store(&online_count, 1);
}

static enum status make_stacks(struct cpu *cpu)
{
    void *tops[TRAP_IST_COUNT + 1];
    for (unsigned i = 0; i <= TRAP_IST_COUNT; i++) {
        tops[i] = stack_alloc(i == 0 ? STACK_MAIN : i == TRAP_IST_IRQ ? STACK_IRQ : STACK_IST);
        if (!tops[i])
            return ERR_NOMEM;
    }
    cpu->stack_top = tops[0];
    for (enum trap_ist i = TRAP_IST_DF; i <= TRAP_IST_IRQ; i++)
        gdt_set_ist(cpu, i, tops[i]);
    return OK;
}

enum status cpu_boot_stacks(void)
{
    return make_stacks(&cpus[0]);
}

enum status cpu_prepare(uint32_t apic_id, struct cpu **out)
{
    uint32_t index = atomic_load(&count);
    if (index >= CPU_MAX)
        return ERR_NOMEM;
    struct cpu *cpu = &cpus[index];
    cpu->self = cpu;
    cpu->index = index;
    cpu->apic_id = apic_id;
    gdt_build(cpu);
    if (!cpu->stack_top) { // left over from a CPU that did not come
        enum status s = make_stacks(cpu);
        if (s != OK)
            return s;
    }
    *out = cpu;
    return OK;
}

void cpu_set_apic_id(struct cpu *cpu, uint32_t apic_id)
{
    cpu->apic_id = apic_id;
}

/// CR0, CR4, EFER, PAT and XCR0 as every CPU of ours holds them (SDM vol. 3, 2.5).
void cpu_set_features(void)
{
    struct cpuid l1 = cpuid(1, 0), l7 = {0};
    if (cpuid(0, 0).eax >= 7)
        l7 = cpuid(7, 0);
    uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_PGE | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (l1.ecx & 1u << 26)
        cr4 |= CR4_OSXSAVE;
    if (l7.ebx & 1u << 7)
        cr4 |= CR4_SMEP;
    if (l7.ebx & 1u << 20)
        cr4 |= CR4_SMAP;
    if (l7.ecx & 1u << 2)
        cr4 |= CR4_UMIP;
    wrmsr(IA32_EFER, rdmsr(IA32_EFER) | EFER_NXE);
    write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
    write_cr4(cr4 | (read_cr4() & CR4_LA57)); // LA57 cannot change while paging is on
    wrmsr(IA32_PAT, PAGING_PAT);
    if (cr4 & CR4_OSXSAVE)
        xsetbv(0, 1); // x87 only; whoever runs more says so (hv/vmx)
}

_Noreturn void cpu_arrive(struct cpu *cpu)
{
    cpu_set_features();
    gdt_load(cpu);
    trap_load();
    paging_load();
    atomic_store_explicit(&count, cpu->index + 1, memory_order_release);
    atomic_fetch_add_explicit(&online_count, 1, memory_order_release);
    __atomic_store_n(&cpu->online, true, __ATOMIC_RELEASE);
    cpu_idle_loop();
}

_Noreturn void cpu_idle_loop(void)
{
    struct cpu *cpu = cpu_self();
    for (;;) {
        cli();
        void (*work)(void *) = __atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);
        if (!work) {
            wait_interrupt();
            continue;
        }
        work(cpu->work_arg);
        __atomic_store_n(&cpu->work, NULL, __ATOMIC_RELEASE);
    }
}

void cpu_set_wake(void (*how)(const struct cpu *cpu))
{
    wake = how;
}

enum status cpu_run(uint32_t index, void (*fn)(void *arg), void *arg)
{
    struct cpu *cpu = cpu_get(index);
    if (!fn || !cpu || !cpu->online || cpu == cpu_self())
        return ERR_INVAL;
    enum status s = ERR_BUSY;
    spin_lock(&run_lock);
    if (!__atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE)) {
        cpu->work_arg = arg;
        __atomic_store_n(&cpu->work, fn, __ATOMIC_RELEASE);
        s = OK;
    }
    spin_unlock(&run_lock);
    if (s == OK && wake)
        wake(cpu);
    return s;
}

bool cpu_idle(uint32_t index)
{
    struct cpu *cpu = cpu_get(index);
    return cpu && cpu->online && !__atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);
}
