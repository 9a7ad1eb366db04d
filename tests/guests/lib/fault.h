// SPDX-License-Identifier: BSD-2-Clause
// GDT, IDT and faults that are caught: a test may execute what faults and be told about it.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define SELECTOR_CODE32 0x08u
#define SELECTOR_DATA32 0x10u
#define SELECTOR_CODE64 0x18u
#define SELECTOR_CODE16 0x20u
#define SELECTOR_BASED  0x28u // data; its base is what segment_set_base() said
#define SELECTOR_TSS_A  0x30u
#define SELECTOR_TSS_B  0x38u

#define VECTOR_UD 6u
#define VECTOR_GP 13u
#define VECTOR_PF 14u

struct fault {
    uint32_t vector, error, flags;
    uint64_t ip, cr2;
};
extern struct fault last_fault;

void fault_start(void);
/// Calls fn(arg). False: it faulted, last_fault says how; what it had changed stays changed.
bool try_call(void (*fn)(void *), void *arg);
/// False: #GP (or another fault, see last_fault).
bool try_rdmsr(uint32_t msr, uint64_t *value);
bool try_wrmsr(uint32_t msr, uint64_t value);
/// Replaces the handler of one vector by raw code (an interrupt gate).
void fault_set_gate(unsigned vector, const void *handler);
/// Writes descriptor `selector` of the GDT (SDM vol. 3, 3.4.5); limit in bytes, access and flags as in the
/// descriptor.
void segment_set(unsigned selector, uint32_t base, uint32_t limit, uint8_t access, uint8_t flags);
void segment_set_base(unsigned selector, uint32_t base);
