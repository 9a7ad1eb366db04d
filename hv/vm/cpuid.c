// SPDX-License-Identifier: BSD-2-Clause
#include "hv/vm/cpuid.h"
#include "hv/vm/guest.h"
#include "hv/vm/vm.h"
#include "rt/time.h"
#include "rt/x86.h"

#define ALL    0xffffffffu
#define BIT(n) (1u << (n))

#define BASIC_LEAVES    0x17u // 0 .. 0x16
#define EXTENDED_LEAVES 9u    // 0x80000000 .. 0x80000008
#define HYPERVISOR_LEAF 0x40000000u

// XCR0 (SDM vol. 1, 13.3): x87, SSE, AVX, AVX-512. No MPX (gone), PKRU (CR4.PKE is hidden), AMX (state too
// large).
#define XCR0_OFFERED 0xe7ull

enum special { PLAIN, FEATURES, CACHES, TOPOLOGY, XSTATE, FREQUENCY, MHZ, LAST_BASIC, LAST_EXTENDED };

/// keep: bits of the CPU's own answer that pass. Bits that are not kept read 0.
struct leaf {
    uint32_t eax, ebx, ecx, edx;
    enum special special; // what is put in afterwards
    bool by_subleaf; // subleaf 0 only is described here; others read 0 unless the special case answers them
};

static const struct leaf basic[BASIC_LEAVES] = {
    [0x00] = {0, ALL, ALL, ALL, LAST_BASIC, false},
    // Hidden: MONITOR, DS-CPL, VMX, SMX, EIST, TM2, PDCM, DTES64 (no nested VMX, no perfmon or thermal MSRs);
    // ACPI, TM, PBE, DS.
    [0x01] = {ALL, 0x0000ff00u,
              ALL & ~(BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(10) | BIT(11) |
                      BIT(15) | BIT(18)),
              ALL & ~(BIT(21) | BIT(22) | BIT(28) | BIT(29) | BIT(31)), FEATURES, false},
    [0x02] = {ALL, ALL, ALL, ALL, PLAIN, false},
    [0x04] = {0x00003fffu, ALL, ALL, ALL, CACHES,
              false},                         // sharing counts are those of the guest, not the machine's
    [0x06] = {BIT(2), 0, 0, 0, PLAIN, false}, // ARAT only: no HFI, no turbo, no thermal
    // Kept: FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, INVPCID, AVX512*, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB,
    // SHA; UMIP, VBMI, VAES, RDPID...; hidden: TSC_ADJUST, SGX, HLE/RTM, RDT, MPX, PT, PKU, LA57, CET,
    // WAITPKG, ENQCMD, all mitigation MSRs.
    [0x07] = {0,
              BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(16) | BIT(17) | BIT(18) |
                  BIT(19) | BIT(20) | BIT(21) | BIT(23) | BIT(24) | BIT(28) | BIT(29) | BIT(30) | BIT(31),
              BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) | BIT(22),
              BIT(2) | BIT(3) | BIT(4) | BIT(8), FEATURES, true},
    [0x0b] = {0, 0, 0, 0, TOPOLOGY, false},
    [0x0d] = {ALL, ALL, ALL, ALL, XSTATE, false},
    [0x15] = {ALL, ALL, ALL, 0, FREQUENCY, true},
    [0x16] = {ALL, ALL, ALL, 0, MHZ, true},
    // 0x03 serial number, 0x05 MONITOR, 0x09 DCA, 0x0a perfmon, 0x0f/0x10 RDT, 0x12 SGX, 0x14 PT: all zero.
};

static const struct leaf extended[EXTENDED_LEAVES] = {
    [0] = {0, 0, 0, 0, LAST_EXTENDED, false},
    [1] = {ALL, ALL, BIT(0) | BIT(5) | BIT(8), ALL, FEATURES, false}, // LAHF, LZCNT, PREFETCHW
    [2] = {ALL, ALL, ALL, ALL, PLAIN, false},
    [3] = {ALL, ALL, ALL, ALL, PLAIN, false},
    [4] = {ALL, ALL, ALL, ALL, PLAIN, false},
    [6] = {0, 0, ALL, 0, PLAIN, false},
    [7] = {0, 0, 0, BIT(8), PLAIN, false}, // invariant TSC
    [8] = {0x0000ffffu, 0, 0, 0, FEATURES, false},
};

static struct {
    bool rdtscp, invpcid;
    uint32_t last_basic, last_extended;
    uint32_t xsave_size; // of all states offered
    uint64_t xcr0, cr4;
} cpu;

/// SDM vol. 1, 13.4.3: where the last of these states ends in the standard format.
static uint32_t xsave_size(uint64_t xcr0)
{
    uint32_t size = xcr0 ? 512 + 64 : 0;
    for (uint32_t i = 2; i < 63; i++) {
        if (!(xcr0 >> i & 1))
            continue;
        struct cpuid state = cpuid(0xd, i);
        if (state.ebx + state.eax > size)
            size = state.ebx + state.eax;
    }
    return size;
}

void cpuid_start(bool rdtscp, bool invpcid)
{
    cpu.rdtscp = rdtscp;
    cpu.invpcid = invpcid;
    cpu.last_basic = cpuid(0, 0).eax;
    cpu.last_extended = cpuid(0x80000000u, 0).eax;
    if (cpuid(1, 0).ecx & BIT(26)) {
        struct cpuid x = cpuid(0xd, 0);
        cpu.xcr0 = ((uint64_t)x.edx << 32 | x.eax) & XCR0_OFFERED;
        cpu.xsave_size = xsave_size(cpu.xcr0);
    }
    struct cpuid one = cpuid(1, 0), seven = cpu.last_basic >= 7 ? cpuid(7, 0) : (struct cpuid){0};
    cpu.cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |
              CR4_OSFXSR | CR4_OSXMMEXCPT;
    static const struct {
        uint32_t bit;
        uint8_t leaf1_ecx, leaf7_ebx, leaf7_ecx;
        uint64_t cr4;
    } optional[] = {
        {17, 1, 0, 0, CR4_PCIDE}, {26, 1, 0, 0, CR4_OSXSAVE}, {0, 0, 1, 0, CR4_FSGSBASE},
        {7, 0, 1, 0, CR4_SMEP},   {20, 0, 1, 0, CR4_SMAP},    {2, 0, 0, 1, CR4_UMIP},
    };
    for (unsigned i = 0; i < sizeof optional / sizeof *optional; i++) {
        uint32_t word = optional[i].leaf1_ecx ? one.ecx : optional[i].leaf7_ebx ? seven.ebx : seven.ecx;
        if (word >> optional[i].bit & 1)
            cpu.cr4 |= optional[i].cr4;
    }
}

void cpuid_follow_apic(struct vcpu *v)
{
    if (v->lapic.base_msr & BIT(11))
        v->cpuid[1].edx |= BIT(9);
    else
        v->cpuid[1].edx &= ~BIT(9);
}

uint64_t cpuid_xcr0_mask(void)
{
    return cpu.xcr0;
}
uint64_t cpuid_cr4_mask(void)
{
    return cpu.cr4;
}
uint32_t cpuid_address_bits(void)
{
    return cpuid(0x80000008u, 0).eax & 0xff;
}

static void features(const struct vcpu *v, uint32_t leaf, struct cpuid *r, uint64_t cr4)
{
    switch (leaf) {
    case 1:
        r->ebx |= v->index << 24 | v->guest->config->cpus << 16;
        r->ecx |=
            BIT(21) | BIT(24) | BIT(31); // x2APIC and TSC-deadline are our LAPIC's; a hypervisor is present
        if (!cpu.xcr0)
            r->ecx &= ~(BIT(26) | BIT(28));
        r->ecx = cr4 & CR4_OSXSAVE ? r->ecx | BIT(27) : r->ecx & ~BIT(27);
        if (v->guest->config->cpus > 1)
            r->edx |= BIT(28);
        break;
    case 7:
        if (!cpu.invpcid)
            r->ebx &= ~BIT(10);
        if (!cpu.rdtscp)
            r->ecx &= ~BIT(22);
        break;
    case 0x80000008u: // CR4.LA57 is hidden
        if ((r->eax >> 8 & 0xff) > 48)
            r->eax = (r->eax & 0xff) | 48u << 8;
        break;
    default: // 0x80000001
        if (!cpu.rdtscp)
            r->edx &= ~BIT(27);
        break;
    }
}

static void topology(const struct vcpu *v, uint32_t subleaf, struct cpuid *r)
{
    // One thread a core, all cores in one package (SDM vol. 2, CPUID leaf 0BH).
    uint32_t cpus = v->guest->config->cpus, shift = 0;
    while (1u << shift < cpus)
        shift++;
    *r = (struct cpuid){.ecx = subleaf & 0xff, .edx = v->index};
    if (subleaf == 0) {
        r->ebx = 1;
        r->ecx |= 1 << 8;
    } else if (subleaf == 1) {
        r->eax = shift;
        r->ebx = cpus;
        r->ecx |= 2 << 8;
    }
}

static void xstate(uint32_t subleaf, struct cpuid *r)
{
    if (subleaf == 0) {
        // EBX is the CPU's own answer for the guest's XCR0, which is in the CPU now.
        r->eax &= (uint32_t)cpu.xcr0;
        r->edx &= (uint32_t)(cpu.xcr0 >> 32);
        r->ecx = cpu.xsave_size; // the CPU's own counts states that are hidden
    } else if (subleaf == 1) {
        *r = (struct cpuid){.eax = r->eax & 7, .ebx = r->ebx}; // XSAVEOPT, XSAVEC, XGETBV(1); no XSAVES
    } else if (subleaf > 62 || !(cpu.xcr0 >> subleaf & 1)) {
        *r = (struct cpuid){0};
    }
}

static void frequency(struct cpuid *r)
{
    // Hide nothing a guest needs to calibrate time: when the CPU does not say, say what the TSC was measured
    // to be.
    if (!r->eax || !r->ebx || !r->ecx) {
        uint64_t hz = time_tsc_hz();
        *r = hz >> 32 ? (struct cpuid){.eax = 1, .ebx = (uint32_t)(hz / 1000000), .ecx = 1000000}
                      : (struct cpuid){.eax = 1, .ebx = 1, .ecx = (uint32_t)hz};
    }
}

static struct cpuid answer(struct vcpu *v, const struct leaf *row, uint32_t leaf, uint32_t subleaf,
                           uint64_t cr4)
{
    struct cpuid r = {0};
    uint32_t last = leaf >> 31 ? cpu.last_extended : cpu.last_basic;
    if (leaf <= last && !(row->by_subleaf && subleaf != 0))
        r = cpuid(leaf, subleaf);
    r.eax &= row->eax;
    r.ebx &= row->ebx;
    r.ecx &= row->ecx;
    r.edx &= row->edx;
    switch (row->special) {
    case PLAIN:
        break;
    case FEATURES:
        if (!(row->by_subleaf && subleaf != 0))
            features(v, leaf, &r, cr4);
        break;
    case CACHES:
        if (r.eax & 0x1f)
            r.eax |= (v->guest->config->cpus - 1) << 26;
        break;
    case TOPOLOGY:
        topology(v, subleaf, &r);
        break;
    case XSTATE:
        xstate(subleaf, &r);
        break;
    case FREQUENCY:
        frequency(&r);
        break;
    case MHZ:
        if (!r.eax)
            r.eax = r.ebx = (uint32_t)(time_tsc_hz() / 1000000);
        break;
    case LAST_BASIC:
        r.eax = BASIC_LEAVES - 1;
        break;
    case LAST_EXTENDED:
        r.eax = 0x80000000u + EXTENDED_LEAVES - 1;
        break;
    }
    return r;
}

_Static_assert(BASIC_LEAVES + EXTENDED_LEAVES <= CPUID_ANSWERS, "room in struct vcpu");

void cpuid_reset(struct vcpu *v)
{
    for (uint32_t i = 0; i < BASIC_LEAVES + EXTENDED_LEAVES; i++) {
        bool is_basic = i < BASIC_LEAVES;
        uint32_t leaf = is_basic ? i : 0x80000000u + i - BASIC_LEAVES;
        struct cpuid r = answer(v, is_basic ? &basic[i] : &extended[i - BASIC_LEAVES], leaf, 0, 0);
        v->cpuid[i] = (struct cpuid_answer){r.eax, r.ebx, r.ecx, r.edx};
    }
}

static void set_result(struct vcpu *v, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    v->gpr[RAX] = eax;
    v->gpr[RBX] = ebx;
    v->gpr[RCX] = ecx;
    v->gpr[RDX] = edx;
}

/// Leaves whose answer depends on the subleaf or on the vCPU's state.
static __attribute__((noinline)) void cpuid_changing(struct vcpu *v, uint32_t leaf, uint64_t cr4)
{
    struct cpuid r = answer(v, &basic[leaf], leaf, (uint32_t)v->gpr[RCX], cr4);
    set_result(v, r.eax, r.ebx, r.ecx, r.edx);
}

void vm_cpuid(struct vcpu *v, uint64_t cr4)
{
    // Leaves with subleaves (2 is not one: it has been constant since it reports "see leaf 4"), and leaf DH,
    // which follows XCR0.
    static const uint32_t changing = BIT(4) | BIT(7) | BIT(0xb) | BIT(0xd) | BIT(0x15) | BIT(0x16);
    uint32_t leaf = (uint32_t)v->gpr[RAX], at = leaf;

    if (leaf >= BASIC_LEAVES) {
        at = leaf - 0x80000000u + BASIC_LEAVES;
        if (leaf - 0x80000000u >= EXTENDED_LEAVES) {
            if (leaf == HYPERVISOR_LEAF)
                set_result(v, HYPERVISOR_LEAF, 0x62726146, 0x61467375, 0x73756272); // "FarbusFarbus"
            else
                set_result(v, 0, 0, 0, 0);
            return;
        }
    } else if (changing >> leaf & 1) {
        cpuid_changing(v, leaf, cr4);
        return;
    }
    const struct cpuid_answer *r = &v->cpuid[at];
    set_result(v, r->eax, r->ebx, r->ecx, r->edx);
    if (leaf == 1 && (cr4 & CR4_OSXSAVE))
        v->gpr[RCX] |= BIT(27);
}

bool vm_xsetbv(struct vcpu *v, uint32_t index, uint64_t value, uint64_t cr4)
{
    // SDM vol. 2, XSETBV: x87 always, AVX needs SSE, AVX-512's three go together and need AVX.
    uint64_t avx512 = value & 0xe0;
    if (index != 0 || !(cr4 & CR4_OSXSAVE) || !(value & 1) || (value & ~cpu.xcr0) ||
        ((value & 4) && !(value & 2)) || (avx512 && (avx512 != 0xe0 || !(value & 4))))
        return false;
    v->xcr0 = value;
    return true;
}
