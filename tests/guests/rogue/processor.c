// SPDX-License-Identifier: BSD-2-Clause
// What belongs to the processor: MSRs, control registers, exceptions, VMX instructions, tasks. All survived.
#include "tests/guests/lib/text.h"
#include "tests/guests/rogue/rogue.h"

static bool hardware_state(uint32_t msr)
{
    // written back they still change something: TSC, EFER, APIC base, microcode update trigger, TSC deadline
    return msr == 0x10 || msr == 0x1b || msr == 0x79 || msr == 0x6e0 || msr == 0x8b || msr == MSR_EFER;
}

void rogue_msrs(void)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {{0, 0x1fff},
                  {0x40000000, 0x400001ff},
                  {0x80000000, 0x800000ff},
                  {0xc0000000, 0xc0001fff},
                  {0xc0010000, 0xc00101ff},
                  {0xffffff00, 0xfffffffe}};
    for (unsigned r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        uint32_t readable = 0, refused = 0, written = 0, write_refused = 0, other = 0;
        for (uint32_t msr = ranges[r].first; msr <= ranges[r].last; msr++) {
            uint64_t value;
            if (try_rdmsr(msr, &value)) {
                readable++;
                if (hardware_state(msr))
                    continue;
                if (try_wrmsr(msr, value))
                    written++;
                else
                    write_refused++;
            } else {
                refused++;
                other += last_fault.vector != VECTOR_GP || last_fault.error != 0;
                if (!try_wrmsr(msr, 0xffffffffffffffffull))
                    write_refused++;
                else
                    written++;
            }
        }
        print(
            "rogue: MSR 0x%08x-0x%08x: %u read, %u refused (%u not by #GP), %u written, %u writes refused\n",
            ranges[r].first, ranges[r].last, readable, refused, other, written, write_refused);
    }
}

static void do_int3(void *arg)
{
    (void)arg;
    __asm__ volatile("int3");
}
static void do_icebp(void *arg)
{
    (void)arg;
    __asm__ volatile(".byte 0xf1");
}
static void do_ud2(void *arg)
{
    (void)arg;
    __asm__ volatile("ud2");
}
static void do_into(void *arg)
{
    (void)arg;
    __asm__ volatile("movb $0x7f, %%al; addb $1, %%al; into" ::: "eax", "cc");
}
static void do_bound(void *arg)
{
    (void)arg;
    static const int32_t bounds[2] = {1, 2};
    __asm__ volatile("bound %0, %1" ::"r"(5), "m"(bounds[0]), "m"(bounds[1]));
}
static void do_divide(void *arg)
{
    (void)arg;
    __asm__ volatile("xorl %%edx, %%edx; xorl %%ecx, %%ecx; divl %%ecx" ::: "eax", "ecx", "edx", "cc");
}
static void do_int_n(void *arg)
{
    (void)arg;
    __asm__ volatile("int $0x55");
} // no gate: #GP
static void do_trap_flag(void *arg)
{
    (void)arg;
    __asm__ volatile("pushfl; orl $0x100, (%%esp); popfl; nop; nop" ::: "cc", "memory");
}
static void do_bad_segment(void *arg)
{
    (void)arg;
    __asm__ volatile("movw %w0, %%ds" ::"r"(0x1230));
}
static void do_trap_mmio(void *arg)
{
    (void)arg; // single step over an instruction that is emulated
    __asm__ volatile("pushfl; orl $0x100, (%%esp); popfl; movl 0xd7f00000, %%eax; nop" ::
                         : "eax", "cc", "memory");
}
static void do_trap_cpuid(void *arg)
{
    (void)arg;
    __asm__ volatile("pushfl; orl $0x100, (%%esp); popfl; cpuid; nop" ::
                         : "eax", "ebx", "ecx", "edx", "cc", "memory");
}

void rogue_storm(void)
{
    static const struct {
        const char *name;
        void (*run)(void *);
        uint32_t vector;
    } kinds[] = {{"INT3", do_int3, 3},
                 {"ICEBP", do_icebp, 1},
                 {"UD2", do_ud2, 6},
                 {"INTO", do_into, 4},
                 {"BOUND", do_bound, 5},
                 {"DIV", do_divide, 0},
                 {"INT n", do_int_n, 13},
                 {"TF", do_trap_flag, 1},
                 {"MOV DS", do_bad_segment, 13},
                 {"TF on MMIO", do_trap_mmio, 1},
                 {"TF on CPUID", do_trap_cpuid, 1}};
    uint32_t count = option_number("count", 1000);
    for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        uint32_t right = 0;
        for (uint32_t i = 0; i < count; i++)
            right += !try_call(kinds[k].run, NULL) && last_fault.vector == kinds[k].vector;
        print("rogue: %s %u times, %u times vector %u\n", kinds[k].name, count, right, kinds[k].vector);
    }
}

static uint32_t steps;
__attribute__((naked)) static void step_handler(void)
{
    __asm__ volatile("incl %0; iret" : "+m"(steps));
}
static void do_guarded(void *arg)
{
    (void)arg;
    __asm__ volatile("movl $0x2400, %%eax; movl %%eax, %%dr7; movl %%dr0, %%eax" ::: "eax"); // DR7.GD
}
static void do_read_dr7(void *arg)
{
    __asm__ volatile("movl %%dr7, %0" : "=r"(*(uint32_t *)arg));
}

/// Single steps over what exits, under MOV SS and STI too, and over HLT: a trap after each, none after MOV SS
/// (SDM vol. 3, 6.8.3), one after each iteration of REP. Then DR7.GD: the handler of its #DB may use the
/// debug registers (17.2.4). A fault saves RF (17.3.1.1).
void rogue_step(void)
{
    uint32_t dr7 = 0;
    steps = 0;
    fault_set_gate(1, (const void *)step_handler);
    __asm__ volatile(
        "pushfl; orl $0x100, (%%esp); popfl; nop; movl %%ss, %%eax; movl %%eax, %%ss; nop;"
        "movl %%ss, %%eax; movl %%eax, %%ss; cpuid; cpuid; sti; cpuid; cli; inb $0x80, %%al;"
        "movl 0xd7f00000, %%eax; movl $0x80, %%edx; movl $3, %%ecx; movl %%esp, %%esi; rep outsb;"
        "sti; hlt; cli; pushfl; andl $0xfffffeff, (%%esp); popfl" ::
            : "eax", "ebx", "ecx", "edx", "esi", "cc", "memory");
    fault_start();
    bool guarded = !try_call(do_guarded, NULL) && last_fault.vector == 1;
    bool cleared = try_call(do_read_dr7, &dr7) && !(dr7 & 0x2000);
    bool resumes = !try_wrmsr(0x10000, 0) && last_fault.flags & 0x10000;
    print("rogue: %u single steps of 23, DR7.GD %s, %s; RF of what exits %s\n", steps,
          guarded ? "caught" : "NOT caught", cleared ? "cleared" : "NOT cleared",
          resumes ? "saved" : "NOT saved");
}

struct control_write {
    unsigned which;
    uint32_t value;
};
static void do_control(void *arg)
{
    const struct control_write *w = arg;
    if (w->which == 0)
        write_cr0(w->value);
    else if (w->which == 3)
        write_cr3(w->value);
    else
        write_cr4(w->value);
}
static void do_xsetbv(void *arg)
{
    const uint32_t *v = arg;
    __asm__ volatile("xsetbv" ::"c"(v[0]), "a"(v[1]), "d"(v[2]));
}

/// Each bit of CR0 and CR4, one at a time, and back; bad values of XCR0.
void rogue_registers(void)
{
    for (unsigned which = 0; which <= 4; which += 4) {
        uint32_t was = which == 0 ? read_cr0() : read_cr4(), taken = 0, refused = 0;
        for (unsigned bit = 0; bit < 32; bit++) {
            if (which == 0 && (bit == 0 || bit == 31)) // PE, PG: with these off and on nothing here would run
                continue;
            struct control_write w = {which, was ^ 1u << bit};
            if (!try_call(do_control, &w)) {
                refused |= 1u << bit;
                continue;
            }
            uint32_t now = which == 0 ? read_cr0() : read_cr4();
            if (((now ^ was) & 1u << bit) != 0)
                taken |= 1u << bit;
            w.value = was;
            (void)try_call(do_control, &w);
        }
        print("rogue: CR%u bits changed 0x%08x, refused 0x%08x\n", which, taken, refused);
    }
    struct control_write no_pe = {0, (read_cr0() | CR0_PG) & ~1u}; // PG without PE: #GP
    bool refused = !try_call(do_control, &no_pe) && last_fault.vector == VECTOR_GP;
    print("rogue: CR0 PG without PE %s\n", refused ? "refused" : "taken");
    uint32_t cr4 = read_cr4();
    struct control_write osxsave = {4, cr4 | 1u << 18};
    if (try_call(do_control, &osxsave)) {
        static const uint32_t values[][3] = {
            {0, 0, 0}, {0, 2, 0}, {0, 4, 0}, {0, 0xffffffff, 0xffffffff}, {1, 1, 0}, {0xffffffff, 1, 0}};
        uint32_t gp = 0;
        for (unsigned i = 0; i < 6; i++)
            gp += !try_call(do_xsetbv, (void *)&values[i]) && last_fault.vector == VECTOR_GP;
        print("rogue: XSETBV bad 6 times, refused %u times\n", gp);
        write_cr4(cr4);
    } else {
        print("rogue: no XSAVE here\n");
    }
}

static uint8_t code[16];
static void do_code(void *arg)
{
    (void)arg;
    static uint64_t operand[2];
    __asm__ volatile("call *%0" ::"r"(code), "a"(operand), "c"(0), "d"(0), "b"(0) : "memory", "cc");
}

/// Instructions a guest without VMX must not have: #UD (or #GP), never an exit that stops it.
void rogue_vmx(void)
{
    static const struct {
        const char *name;
        uint8_t bytes[6];
    } instructions[] = {
        {"VMXON", {0xf3, 0x0f, 0xc7, 0x30}},
        {"VMXOFF", {0x0f, 0x01, 0xc4}},
        {"VMCALL", {0x0f, 0x01, 0xc1}},
        {"VMLAUNCH", {0x0f, 0x01, 0xc2}},
        {"VMRESUME", {0x0f, 0x01, 0xc3}},
        {"VMPTRLD", {0x0f, 0xc7, 0x30}},
        {"VMPTRST", {0x0f, 0xc7, 0x38}},
        {"VMCLEAR", {0x66, 0x0f, 0xc7, 0x30}},
        {"VMREAD", {0x0f, 0x78, 0xc0}},
        {"VMWRITE", {0x0f, 0x79, 0xc0}},
        {"INVEPT", {0x66, 0x0f, 0x38, 0x80, 0x08}},
        {"INVVPID", {0x66, 0x0f, 0x38, 0x81, 0x08}},
        {"VMFUNC", {0x0f, 0x01, 0xd4}},
        {"VMMCALL", {0x0f, 0x01, 0xd9}},
        {"RSM", {0x0f, 0xaa}},
        {"GETSEC", {0x0f, 0x37}},
        {"XSAVES", {0x0f, 0xc7, 0x28}},
        {"ENCLS", {0x0f, 0x01, 0xcf}},
    };
    for (unsigned i = 0; i < sizeof instructions / sizeof instructions[0]; i++) {
        memset(code, 0xc3, sizeof code);
        memcpy(code, instructions[i].bytes, 6);
        for (unsigned j = 0; j < 6; j++)
            if (code[j] == 0 && j > 1)
                code[j] = 0xc3; // RET behind the instruction
        bool fine = try_call(do_code, NULL);
        if (fine)
            print("rogue: %s did something\n", instructions[i].name);
        else
            print("rogue: %s vector %u\n", instructions[i].name, last_fault.vector);
    }
}

struct tss32 {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt, io_map;
};
static struct tss32 task_a, task_b;
static uint32_t task_stack[256];

static void other_task(void)
{
    for (;;)
        __asm__ volatile("iret"); // NT is set: back to the task that called
}

/// A hardware task switch, there and back (SDM vol. 3, 7.3): processors with VMX leave it to the hypervisor.
void rogue_task(void)
{
    segment_set(SELECTOR_TSS_A, (uint32_t)&task_a, sizeof task_a - 1, 0x89, 0);
    segment_set(SELECTOR_TSS_B, (uint32_t)&task_b, sizeof task_b - 1, 0x89, 0);
    task_b = (struct tss32){.eip = (uint32_t)other_task,
                            .eflags = 2,
                            .esp = (uint32_t)(task_stack + 256),
                            .es = SELECTOR_DATA32,
                            .cs = SELECTOR_CODE32,
                            .ss = SELECTOR_DATA32,
                            .ds = SELECTOR_DATA32,
                            .fs = SELECTOR_DATA32,
                            .gs = SELECTOR_DATA32,
                            .cr3 = read_cr3(),
                            .io_map = sizeof task_b << 16};
    __asm__ volatile("ltr %w0" ::"r"(SELECTOR_TSS_A));
    __asm__ volatile("lcall %0, $0" ::"i"(SELECTOR_TSS_B) : "memory", "cc");
    print("rogue: task switch there and back\n");
}
