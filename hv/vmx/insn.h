// SPDX-License-Identifier: BSD-2-Clause
// The VMX instructions (SDM vol. 3, ch. 31). Only hv/vmx includes this.
#pragma once
#include "hv/vmx/vmcs.h"
#include "rt/frames.h"
#include <stdbool.h>
#include <stdint.h>

/// CF or ZF set after a VMX instruction: VMfailInvalid / VMfailValid.
static inline bool vmxon(phys_t region)
{
    bool failed;
    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region) : "memory");
    return !failed;
}

static inline bool vmclear(phys_t vmcs)
{
    bool failed;
    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(vmcs) : "memory");
    return !failed;
}

static inline bool vmptrld(phys_t vmcs)
{
    bool failed;
    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs) : "memory");
    return !failed;
}

/// Fields named in vmcs.h exist on every CPU that vmx_cpu_start() accepted, so these two cannot fail.
static inline uint64_t vmread(enum vmcs_field field)
{
    uint64_t value;
    __asm__ volatile("vmread %1, %0" : "=rm"(value) : "r"((uint64_t)field) : "cc");
    return value;
}

static inline void vmwrite(enum vmcs_field field, uint64_t value)
{
    __asm__ volatile("vmwrite %0, %1" : : "rm"(value), "r"((uint64_t)field) : "cc");
}

/// type 1: single context (EPTP); 2: all.
static inline void invept(uint64_t type, uint64_t eptp)
{
    struct {
        uint64_t eptp, zero;
    } descriptor = {eptp, 0};
    __asm__ volatile("invept %0, %1" : : "m"(descriptor), "r"(type) : "cc", "memory");
}

/// type 1: single context (VPID); 2: all.
static inline void invvpid(uint64_t type, uint16_t vpid)
{
    struct {
        uint64_t vpid, linear;
    } descriptor = {vpid, 0};
    __asm__ volatile("invvpid %0, %1" : : "m"(descriptor), "r"(type) : "cc", "memory");
}
