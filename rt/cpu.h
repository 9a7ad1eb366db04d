// SPDX-License-Identifier: BSD-2-Clause
// CPUs of this machine: each with its own GDT, TSS, IDT stack set and per-CPU block (through GS).
#pragma once
#include "rt/status.h"
#include <stdbool.h>
#include <stdint.h>

#define CPU_MAX 64

struct cpu {
    struct cpu *self; // at GS:0
    uint32_t index;   // 0 = boot CPU
    uint32_t apic_id;
    void *stack_top;
    void *role_data;                  // whatever hv/ or remote-fw/ keeps per CPU
    uint64_t gdt_base, tss_base;      // linear addresses, for VMCS host state
    void (*volatile work)(void *arg); // set by cpu_run
    void *work_arg;
    volatile bool online;
};

struct cpu *cpu_self(void);
struct cpu *cpu_get(uint32_t index);
uint32_t cpu_count(void); // online CPUs
/// Runs fn(arg) on another CPU, which is waiting in its idle loop; returns at once. ERR_BUSY when it already
/// runs something.
MUST_CHECK enum status cpu_run(uint32_t index, void (*fn)(void *arg), void *arg);
/// True when the CPU is back in its idle loop.
bool cpu_idle(uint32_t index);
