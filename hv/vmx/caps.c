// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vmx/caps.h"
#include "hv/vmx/vmcs.h"
#include <stddef.h>

enum word { WORD_PIN, WORD_CPU, WORD_SECONDARY, WORD_EXIT, WORD_ENTRY, WORD_COUNT };

struct control {
    enum word word;
    uint32_t bit;
    bool needed;
    const char *name; // what a refusal says
};

/// Every control that Farbus sets. What is not needed is used where the CPU has it.
static const struct control controls[] = {
    {WORD_PIN, PIN_EXTERNAL_INTERRUPT, true, "external-interrupt exiting"},
    {WORD_PIN, PIN_NMI, true, "NMI exiting"},
    {WORD_PIN, PIN_VIRTUAL_NMIS, true, "virtual NMIs"},
    {WORD_PIN, PIN_PREEMPTION_TIMER, true, "the VMX-preemption timer"},
    {WORD_CPU, CPU_TSC_OFFSETTING, true, "TSC offsetting"},
    {WORD_CPU, CPU_HLT, true, "HLT exiting"},
    {WORD_CPU, CPU_MWAIT, true, "MWAIT exiting"},
    {WORD_CPU, CPU_MONITOR, true, "MONITOR exiting"},
    {WORD_CPU, CPU_RDPMC, true, "RDPMC exiting"},
    {WORD_CPU, CPU_CR8_LOAD, true, "CR8-load exiting"},
    {WORD_CPU, CPU_CR8_STORE, true, "CR8-store exiting"},
    {WORD_CPU, CPU_IO_BITMAPS, true, "I/O bitmaps"},
    {WORD_CPU, CPU_MSR_BITMAPS, true, "MSR bitmaps"},
    {WORD_CPU, CPU_SECONDARY, true, "secondary processor-based controls"},
    {WORD_SECONDARY, SEC_EPT, true, "extended page tables (EPT)"},
    {WORD_SECONDARY, SEC_UNRESTRICTED_GUEST, true, "unrestricted guest"},
    {WORD_SECONDARY, SEC_VPID, false, "VPID"},
    {WORD_SECONDARY, SEC_RDTSCP, false, "RDTSCP"},
    {WORD_SECONDARY, SEC_INVPCID, false, "INVPCID"},
    {WORD_SECONDARY, SEC_PAUSE_LOOP, false, "PAUSE-loop exiting"},
    {WORD_SECONDARY, SEC_WBINVD, true, "WBINVD exiting"},
    {WORD_EXIT, EXIT_HOST_64, true, "64-bit host"},
    {WORD_EXIT, EXIT_ACK_INTERRUPT, true, "acknowledge interrupt on exit"},
    {WORD_EXIT, EXIT_SAVE_DEBUG, true, "save debug controls"},
    {WORD_EXIT, EXIT_SAVE_PAT, true, "save IA32_PAT"},
    {WORD_EXIT, EXIT_LOAD_PAT, true, "load IA32_PAT on exit"},
    {WORD_EXIT, EXIT_SAVE_EFER, true, "save IA32_EFER"},
    {WORD_EXIT, EXIT_LOAD_EFER, true, "load IA32_EFER on exit"},
    // Else the timer would begin anew with every entry, and a slice could last nearly twice its time.
    {WORD_EXIT, EXIT_SAVE_TIMER, false, "save the VMX-preemption timer"},
    {WORD_ENTRY, ENTRY_LOAD_DEBUG, true, "load debug controls"},
    {WORD_ENTRY, ENTRY_LOAD_PAT, true, "load IA32_PAT on entry"},
    {WORD_ENTRY, ENTRY_LOAD_EFER, true, "load IA32_EFER on entry"},
};

/// Controls that would change what a guest sees if the CPU forced them on (allowed 0-setting is 1).
static const struct control unwanted[] = {
    {WORD_CPU, CPU_CR3_LOAD, true, "MOV to CR3 without an exit"},
    {WORD_CPU, CPU_CR3_STORE, true, "MOV from CR3 without an exit"},
    {WORD_CPU, CPU_INVLPG, true, "INVLPG without an exit"},
};

// IA32_VMX_EPT_VPID_CAP (A.10)
#define EPT_WALK_4   (1ull << 6)
#define EPT_WB       (1ull << 14)
#define EPT_2M       (1ull << 16)
#define EPT_1G       (1ull << 17)
#define EPT_INVEPT   (1ull << 20)
#define EPT_DIRTY    (1ull << 21)
#define EPT_INVEPT_1 (1ull << 25)
#define VPID_INVVPID (1ull << 32)
#define VPID_SINGLE  (1ull << 41)

enum status vmx_controls_compute(const struct vmx_msrs *msrs, struct vmx_controls *out, const char **missing)
{
    const uint64_t capability[WORD_COUNT] = {
        [WORD_PIN] = msrs->pin,   [WORD_CPU] = msrs->cpu,     [WORD_SECONDARY] = msrs->secondary,
        [WORD_EXIT] = msrs->exit, [WORD_ENTRY] = msrs->entry,
    };
    uint32_t word[WORD_COUNT] = {0};

    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++)
        word[controls[i].word] |= controls[i].bit;
    // Without VPID's single-context invalidation VPID is not worth having.
    if (!(msrs->ept_vpid & VPID_INVVPID) || !(msrs->ept_vpid & VPID_SINGLE))
        word[WORD_SECONDARY] &= ~SEC_VPID;
    for (int w = 0; w < WORD_COUNT; w++)
        word[w] = vmx_adjust(capability[w], word[w]);

    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        if (controls[i].needed && !(word[controls[i].word] & controls[i].bit)) {
            *missing = controls[i].name;
            return ERR_UNSUPPORTED;
        }
    }
    for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++) {
        if (word[unwanted[i].word] & unwanted[i].bit) {
            *missing = unwanted[i].name;
            return ERR_UNSUPPORTED;
        }
    }
    if (!(msrs->ept_vpid & EPT_WALK_4) || !(msrs->ept_vpid & EPT_WB)) {
        *missing = "EPT with a 4-level walk and write-back memory";
        return ERR_UNSUPPORTED;
    }
    if (!(msrs->ept_vpid & EPT_INVEPT) || !(msrs->ept_vpid & EPT_INVEPT_1)) {
        *missing = "INVEPT";
        return ERR_UNSUPPORTED;
    }
    if (!(msrs->ept_vpid & EPT_2M)) {
        *missing = "2 MiB pages in EPT";
        return ERR_UNSUPPORTED;
    }
    *out = (struct vmx_controls){
        .pin = word[WORD_PIN],
        .cpu = word[WORD_CPU],
        .secondary = word[WORD_SECONDARY],
        .exit = word[WORD_EXIT],
        .entry = word[WORD_ENTRY],
        .preemption_timer = true,
        .virtual_nmis = true,
        .vpid = (word[WORD_SECONDARY] & SEC_VPID) != 0,
        .ept_2m = true,
        .ept_1g = (msrs->ept_vpid & EPT_1G) != 0,
        .ept_dirty = (msrs->ept_vpid & EPT_DIRTY) != 0,
        .timer_shift = (uint8_t)(msrs->misc & 0x1f),
    };
    return OK;
}
