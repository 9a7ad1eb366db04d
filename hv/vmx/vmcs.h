// SPDX-License-Identifier: BSD-2-Clause
// VMCS field encodings (SDM vol. 3, appendix B) in SDM order, and the bits of the control words (vol. 3, ch.
// 25). One list gives the constants and the dump's names.
#pragma once
#include <stdint.h>

#define VMCS_FIELDS(X)                                                                                       \
    /* B.1.1 16-bit control */                                                                               \
    X(VIRTUAL_PROCESSOR_ID, 0x0000)                                                                          \
    /* B.1.2 16-bit guest state */                                                                           \
    X(GUEST_ES_SELECTOR, 0x0800)                                                                             \
    X(GUEST_CS_SELECTOR, 0x0802)                                                                             \
    X(GUEST_SS_SELECTOR, 0x0804)                                                                             \
    X(GUEST_DS_SELECTOR, 0x0806)                                                                             \
    X(GUEST_FS_SELECTOR, 0x0808)                                                                             \
    X(GUEST_GS_SELECTOR, 0x080a)                                                                             \
    X(GUEST_LDTR_SELECTOR, 0x080c)                                                                           \
    X(GUEST_TR_SELECTOR, 0x080e)                                                                             \
    /* B.1.3 16-bit host state */                                                                            \
    X(HOST_ES_SELECTOR, 0x0c00)                                                                              \
    X(HOST_CS_SELECTOR, 0x0c02)                                                                              \
    X(HOST_SS_SELECTOR, 0x0c04)                                                                              \
    X(HOST_DS_SELECTOR, 0x0c06)                                                                              \
    X(HOST_FS_SELECTOR, 0x0c08)                                                                              \
    X(HOST_GS_SELECTOR, 0x0c0a)                                                                              \
    X(HOST_TR_SELECTOR, 0x0c0c)                                                                              \
    /* B.2.1 64-bit control */                                                                               \
    X(IO_BITMAP_A, 0x2000)                                                                                   \
    X(IO_BITMAP_B, 0x2002)                                                                                   \
    X(MSR_BITMAP, 0x2004)                                                                                    \
    X(TSC_OFFSET, 0x2010)                                                                                    \
    X(EPT_POINTER, 0x201a)                                                                                   \
    /* B.2.2 64-bit read-only */                                                                             \
    X(GUEST_PHYSICAL_ADDRESS, 0x2400)                                                                        \
    /* B.2.3 64-bit guest state */                                                                           \
    X(VMCS_LINK_POINTER, 0x2800)                                                                             \
    X(GUEST_IA32_DEBUGCTL, 0x2802)                                                                           \
    X(GUEST_IA32_PAT, 0x2804)                                                                                \
    X(GUEST_IA32_EFER, 0x2806)                                                                               \
    X(GUEST_PDPTE0, 0x280a)                                                                                  \
    X(GUEST_PDPTE1, 0x280c)                                                                                  \
    X(GUEST_PDPTE2, 0x280e)                                                                                  \
    X(GUEST_PDPTE3, 0x2810)                                                                                  \
    /* B.2.4 64-bit host state */                                                                            \
    X(HOST_IA32_PAT, 0x2c00)                                                                                 \
    X(HOST_IA32_EFER, 0x2c02)                                                                                \
    /* B.3.1 32-bit control */                                                                               \
    X(PIN_BASED_CONTROLS, 0x4000)                                                                            \
    X(PROCESSOR_BASED_CONTROLS, 0x4002)                                                                      \
    X(EXCEPTION_BITMAP, 0x4004)                                                                              \
    X(PAGE_FAULT_ERROR_CODE_MASK, 0x4006)                                                                    \
    X(PAGE_FAULT_ERROR_CODE_MATCH, 0x4008)                                                                   \
    X(CR3_TARGET_COUNT, 0x400a)                                                                              \
    X(VM_EXIT_CONTROLS, 0x400c)                                                                              \
    X(VM_EXIT_MSR_STORE_COUNT, 0x400e)                                                                       \
    X(VM_EXIT_MSR_LOAD_COUNT, 0x4010)                                                                        \
    X(VM_ENTRY_CONTROLS, 0x4012)                                                                             \
    X(VM_ENTRY_MSR_LOAD_COUNT, 0x4014)                                                                       \
    X(VM_ENTRY_INTERRUPTION_INFO, 0x4016)                                                                    \
    X(VM_ENTRY_EXCEPTION_ERROR_CODE, 0x4018)                                                                 \
    X(VM_ENTRY_INSTRUCTION_LENGTH, 0x401a)                                                                   \
    X(SECONDARY_CONTROLS, 0x401e)                                                                            \
    /* B.3.2 32-bit read-only */                                                                             \
    X(VM_INSTRUCTION_ERROR, 0x4400)                                                                          \
    X(EXIT_REASON, 0x4402)                                                                                   \
    X(VM_EXIT_INTERRUPTION_INFO, 0x4404)                                                                     \
    X(VM_EXIT_INTERRUPTION_ERROR_CODE, 0x4406)                                                               \
    X(IDT_VECTORING_INFO, 0x4408)                                                                            \
    X(IDT_VECTORING_ERROR_CODE, 0x440a)                                                                      \
    X(VM_EXIT_INSTRUCTION_LENGTH, 0x440c)                                                                    \
    X(VM_EXIT_INSTRUCTION_INFO, 0x440e)                                                                      \
    /* B.3.3 32-bit guest state */                                                                           \
    X(GUEST_ES_LIMIT, 0x4800)                                                                                \
    X(GUEST_CS_LIMIT, 0x4802)                                                                                \
    X(GUEST_SS_LIMIT, 0x4804)                                                                                \
    X(GUEST_DS_LIMIT, 0x4806)                                                                                \
    X(GUEST_FS_LIMIT, 0x4808)                                                                                \
    X(GUEST_GS_LIMIT, 0x480a)                                                                                \
    X(GUEST_LDTR_LIMIT, 0x480c)                                                                              \
    X(GUEST_TR_LIMIT, 0x480e)                                                                                \
    X(GUEST_GDTR_LIMIT, 0x4810)                                                                              \
    X(GUEST_IDTR_LIMIT, 0x4812)                                                                              \
    X(GUEST_ES_ACCESS_RIGHTS, 0x4814)                                                                        \
    X(GUEST_CS_ACCESS_RIGHTS, 0x4816)                                                                        \
    X(GUEST_SS_ACCESS_RIGHTS, 0x4818)                                                                        \
    X(GUEST_DS_ACCESS_RIGHTS, 0x481a)                                                                        \
    X(GUEST_FS_ACCESS_RIGHTS, 0x481c)                                                                        \
    X(GUEST_GS_ACCESS_RIGHTS, 0x481e)                                                                        \
    X(GUEST_LDTR_ACCESS_RIGHTS, 0x4820)                                                                      \
    X(GUEST_TR_ACCESS_RIGHTS, 0x4822)                                                                        \
    X(GUEST_INTERRUPTIBILITY, 0x4824)                                                                        \
    X(GUEST_ACTIVITY_STATE, 0x4826)                                                                          \
    X(GUEST_SYSENTER_CS, 0x482a)                                                                             \
    X(VMX_PREEMPTION_TIMER_VALUE, 0x482e)                                                                    \
    /* B.3.4 32-bit host state */                                                                            \
    X(HOST_SYSENTER_CS, 0x4c00)                                                                              \
    /* B.4.1 natural-width control */                                                                        \
    X(CR0_GUEST_HOST_MASK, 0x6000)                                                                           \
    X(CR4_GUEST_HOST_MASK, 0x6002)                                                                           \
    X(CR0_READ_SHADOW, 0x6004)                                                                               \
    X(CR4_READ_SHADOW, 0x6006)                                                                               \
    /* B.4.2 natural-width read-only */                                                                      \
    X(EXIT_QUALIFICATION, 0x6400)                                                                            \
    X(GUEST_LINEAR_ADDRESS, 0x640a)                                                                          \
    /* B.4.3 natural-width guest state */                                                                    \
    X(GUEST_CR0, 0x6800)                                                                                     \
    X(GUEST_CR3, 0x6802)                                                                                     \
    X(GUEST_CR4, 0x6804)                                                                                     \
    X(GUEST_ES_BASE, 0x6806)                                                                                 \
    X(GUEST_CS_BASE, 0x6808)                                                                                 \
    X(GUEST_SS_BASE, 0x680a)                                                                                 \
    X(GUEST_DS_BASE, 0x680c)                                                                                 \
    X(GUEST_FS_BASE, 0x680e)                                                                                 \
    X(GUEST_GS_BASE, 0x6810)                                                                                 \
    X(GUEST_LDTR_BASE, 0x6812)                                                                               \
    X(GUEST_TR_BASE, 0x6814)                                                                                 \
    X(GUEST_GDTR_BASE, 0x6816)                                                                               \
    X(GUEST_IDTR_BASE, 0x6818)                                                                               \
    X(GUEST_DR7, 0x681a)                                                                                     \
    X(GUEST_RSP, 0x681c)                                                                                     \
    X(GUEST_RIP, 0x681e)                                                                                     \
    X(GUEST_RFLAGS, 0x6820)                                                                                  \
    X(GUEST_PENDING_DEBUG_EXCEPTIONS, 0x6822)                                                                \
    X(GUEST_SYSENTER_ESP, 0x6824)                                                                            \
    X(GUEST_SYSENTER_EIP, 0x6826)                                                                            \
    /* B.4.4 natural-width host state */                                                                     \
    X(HOST_CR0, 0x6c00)                                                                                      \
    X(HOST_CR3, 0x6c02)                                                                                      \
    X(HOST_CR4, 0x6c04)                                                                                      \
    X(HOST_FS_BASE, 0x6c06)                                                                                  \
    X(HOST_GS_BASE, 0x6c08)                                                                                  \
    X(HOST_TR_BASE, 0x6c0a)                                                                                  \
    X(HOST_GDTR_BASE, 0x6c0c)                                                                                \
    X(HOST_IDTR_BASE, 0x6c0e)                                                                                \
    X(HOST_SYSENTER_ESP, 0x6c10)                                                                             \
    X(HOST_SYSENTER_EIP, 0x6c12)                                                                             \
    X(HOST_RSP, 0x6c14)                                                                                      \
    X(HOST_RIP, 0x6c16)

enum vmcs_field {
#define X(name, encoding) name = encoding,
    VMCS_FIELDS(X)
#undef X
    // There only with SEC_PAUSE_LOOP: not for the dump
    PLE_GAP = 0x4020,
    PLE_WINDOW = 0x4022,
};

// Pin-based controls (table 25-5)
#define PIN_EXTERNAL_INTERRUPT (1u << 0)
#define PIN_NMI                (1u << 3)
#define PIN_VIRTUAL_NMIS       (1u << 5)
#define PIN_PREEMPTION_TIMER   (1u << 6)

// Primary processor-based controls (table 25-6)
#define CPU_INTERRUPT_WINDOW (1u << 2)
#define CPU_TSC_OFFSETTING   (1u << 3)
#define CPU_HLT              (1u << 7)
#define CPU_INVLPG           (1u << 9)
#define CPU_MWAIT            (1u << 10)
#define CPU_RDPMC            (1u << 11)
#define CPU_CR3_LOAD         (1u << 15)
#define CPU_CR3_STORE        (1u << 16)
#define CPU_CR8_LOAD         (1u << 19)
#define CPU_CR8_STORE        (1u << 20)
#define CPU_NMI_WINDOW       (1u << 22)
#define CPU_MOV_DR           (1u << 23)
#define CPU_IO_BITMAPS       (1u << 25)
#define CPU_MSR_BITMAPS      (1u << 28)
#define CPU_MONITOR          (1u << 29)
#define CPU_SECONDARY        (1u << 31)

// Secondary processor-based controls (table 25-7)
#define SEC_EPT                (1u << 1)
#define SEC_RDTSCP             (1u << 3)
#define SEC_VPID               (1u << 5)
#define SEC_WBINVD             (1u << 6)
#define SEC_UNRESTRICTED_GUEST (1u << 7)
#define SEC_PAUSE_LOOP         (1u << 10)
#define SEC_INVPCID            (1u << 12)

// VM-exit controls (table 25-13)
#define EXIT_SAVE_DEBUG    (1u << 2)
#define EXIT_HOST_64       (1u << 9)
#define EXIT_ACK_INTERRUPT (1u << 15)
#define EXIT_SAVE_PAT      (1u << 18)
#define EXIT_LOAD_PAT      (1u << 19)
#define EXIT_SAVE_EFER     (1u << 20)
#define EXIT_LOAD_EFER     (1u << 21)
#define EXIT_SAVE_TIMER    (1u << 22)

// VM-entry controls (table 25-15)
#define ENTRY_LOAD_DEBUG (1u << 2)
#define ENTRY_IA32E      (1u << 9)
#define ENTRY_LOAD_PAT   (1u << 14)
#define ENTRY_LOAD_EFER  (1u << 15)

// Interruption information (tables 25-16, 25-17, 25-18)
#define INTR_INFO_VALID        (1u << 31)
#define INTR_INFO_ERROR_CODE   (1u << 11)
#define INTR_INFO_NMI_UNBLOCK  (1u << 12)
#define INTR_INFO_VECTOR       0xffu
#define INTR_INFO_TYPE         0x700u
#define INTR_TYPE_EXTERNAL     (0u << 8)
#define INTR_TYPE_NMI          (2u << 8)
#define INTR_TYPE_EXCEPTION    (3u << 8)
#define INTR_TYPE_SOFTWARE     (4u << 8)
#define INTR_TYPE_PRIV_SW      (5u << 8)
#define INTR_TYPE_SW_EXCEPTION (6u << 8)

// Guest interruptibility state (table 25-3)
#define BLOCKING_BY_STI    (1u << 0)
#define BLOCKING_BY_MOV_SS (1u << 1)
#define BLOCKING_BY_NMI    (1u << 3)

// Pending debug exceptions (table 25-4), debug registers (vol. 3, 18.2)
#define PENDING_DEBUG_BS (1u << 14)
#define DR7_GD           (1u << 13)

// Exit qualification of an EPT violation (table 28-7)
#define EPT_NMI_UNBLOCK (1u << 12)

#define ACTIVITY_ACTIVE    0u
#define ACTIVITY_HLT       1u
#define ACTIVITY_WAIT_SIPI 3u

/// X(reason, number): basic exit reasons (appendix C) that this code names.
#define EXIT_REASONS(X)                                                                                      \
    X(EXCEPTION_OR_NMI, 0)                                                                                   \
    X(EXTERNAL_INTERRUPT, 1)                                                                                 \
    X(TRIPLE_FAULT, 2)                                                                                       \
    X(INIT_SIGNAL, 3)                                                                                        \
    X(SIPI, 4)                                                                                               \
    X(INTERRUPT_WINDOW, 7)                                                                                   \
    X(NMI_WINDOW, 8)                                                                                         \
    X(TASK_SWITCH, 9)                                                                                        \
    X(CPUID, 10)                                                                                             \
    X(GETSEC, 11)                                                                                            \
    X(HLT, 12)                                                                                               \
    X(INVD, 13)                                                                                              \
    X(INVLPG, 14)                                                                                            \
    X(RDPMC, 15)                                                                                             \
    X(RDTSC, 16)                                                                                             \
    X(RSM, 17)                                                                                               \
    X(VMCALL, 18)                                                                                            \
    X(VMCLEAR, 19)                                                                                           \
    X(VMLAUNCH, 20)                                                                                          \
    X(VMPTRLD, 21)                                                                                           \
    X(VMPTRST, 22)                                                                                           \
    X(VMREAD, 23)                                                                                            \
    X(VMRESUME, 24)                                                                                          \
    X(VMWRITE, 25)                                                                                           \
    X(VMXOFF, 26)                                                                                            \
    X(VMXON, 27)                                                                                             \
    X(CR_ACCESS, 28)                                                                                         \
    X(MOV_DR, 29)                                                                                            \
    X(IO_INSTRUCTION, 30)                                                                                    \
    X(RDMSR, 31)                                                                                             \
    X(WRMSR, 32)                                                                                             \
    X(ENTRY_FAILURE_GUEST_STATE, 33)                                                                         \
    X(ENTRY_FAILURE_MSR_LOADING, 34)                                                                         \
    X(MWAIT, 36)                                                                                             \
    X(MONITOR, 39)                                                                                           \
    X(PAUSE, 40)                                                                                             \
    X(ENTRY_FAILURE_MACHINE_CHECK, 41)                                                                       \
    X(EPT_VIOLATION, 48)                                                                                     \
    X(EPT_MISCONFIGURATION, 49)                                                                              \
    X(INVEPT, 50)                                                                                            \
    X(RDTSCP, 51)                                                                                            \
    X(PREEMPTION_TIMER, 52)                                                                                  \
    X(INVVPID, 53)                                                                                           \
    X(WBINVD, 54)                                                                                            \
    X(XSETBV, 55)                                                                                            \
    X(RDRAND, 57)                                                                                            \
    X(INVPCID, 58)                                                                                           \
    X(VMFUNC, 59)                                                                                            \
    X(RDSEED, 61)                                                                                            \
    X(XSAVES, 63)                                                                                            \
    X(XRSTORS, 64)                                                                                           \
    X(SEAMCALL, 76)                                                                                          \
    X(TDCALL, 77)

enum exit_reason {
#define X(name, number) REASON_##name = number,
    EXIT_REASONS(X)
#undef X
        EXIT_REASON_COUNT = 78
};
