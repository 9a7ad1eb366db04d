// SPDX-License-Identifier: BSD-2-Clause
// A guest's accesses to what is not RAM: ports, string I/O, and instructions whose operand nested paging did
// not allow. Joins the emulator (instructions), gva (linear -> physical) and the io_space (who answers).
#include "hv/vm/guest.h"
#include "hv/vm/gva.h"
#include "hv/vm/vm.h"
#include "rt/trace.h"
#include "rt/x86.h"
#include <string.h>

#define PAGE_MASK       0xfffull
#define STRING_IO_BATCH 256u // elements of INS/OUTS before other vCPUs and interrupts have their chance

#define CS_LONG 0x2000u // L of access rights
#define SEG_DB  0x4000u // D/B

/// One access in progress: what the memory functions below need.
struct access {
    struct vcpu *v;
    struct gva_mmu mmu;
    // The operand whose translation the CPU has told already (VM exit), to save a walk.
    bool known, known_write;
    uint64_t known_linear, known_gpa;
};

static void *page_table(void *ctx, uint64_t gpa)
{
    struct vcpu *v = ctx;
    uint64_t room;
    return guest_memory_at(v->guest, gpa, &room);
}

static void page_table_written(void *ctx, uint64_t gpa)
{
    guest_memory_written(((struct vcpu *)ctx)->guest, gpa);
}

static void access_init(struct access *a, struct vcpu *v, const struct vcpu_view *view)
{
    *a = (struct access){
        .v = v,
        .mmu = {.cr0 = view->cr0,
                .cr3 = view->cr3,
                .cr4 = view->cr4,
                .efer = view->efer,
                .rflags = view->rflags,
                .pdpte = {view->pdpte[0], view->pdpte[1], view->pdpte[2], view->pdpte[3]},
                .user = (view->ss_rights >> 5 & 3) == 3,
                .table = page_table,
                .written = page_table_written,
                .ctx = v},
    };
}

static bool translate(struct access *a, uint64_t linear, enum gva_access how, uint64_t *gpa,
                      struct emulate_fault *fault)
{
    if (a->known && linear == a->known_linear && (how == GVA_READ || (how == GVA_WRITE && a->known_write))) {
        *gpa = a->known_gpa;
        return true;
    }
    return gva_translate(&a->mmu, linear, how, gpa, fault);
}

/// The vCPU's local APIC in xAPIC mode answers in its page (SDM vol. 3, 11.4.1); 4-byte accesses, aligned
/// to 16. Moved into memory it is not seen: there the memory answers, without an exit.
static bool is_lapic(const struct vcpu *v, uint64_t gpa)
{
    return ((gpa ^ v->lapic.base_msr) & ~PAGE_MASK) == 0 && (v->lapic.base_msr & 0xc00) == 0x800;
}

static uint64_t device_read(struct vcpu *v, uint64_t gpa, unsigned size)
{
    if (!is_lapic(v, gpa))
        return io_space_mmio_read(&v->guest->io, gpa, size);
    uint32_t offset = (uint32_t)(gpa & PAGE_MASK);
    if ((offset & 15) + size > 4)
        return 0;
    return lapic_read(&v->lapic, offset & ~15u, vm_guest_tsc(v, rdtsc())) >> (offset & 15) * 8;
}

static void device_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value)
{
    if (!is_lapic(v, gpa)) {
        io_space_mmio_write(&v->guest->io, gpa, size, value);
        return;
    }
    if (size != 4 || gpa & 15)
        return;
    lapic_write(&v->lapic, (uint32_t)(gpa & PAGE_MASK), (uint32_t)value, vm_guest_tsc(v, rdtsc()));
    vm_lapic_written(v);
}

/// Within one page.
static void transfer(struct vcpu *v, uint64_t gpa, uint8_t *bytes, size_t size, bool write)
{
    uint64_t room;
    void *ram = guest_memory_at(v->guest, gpa, &room);
    if (ram) {
        if (write) {
            memcpy(ram, bytes, size);
            guest_memory_written(v->guest, gpa);
        } else {
            memcpy(bytes, ram, size);
        }
        return;
    }
    for (size_t done = 0; done < size;) {
        unsigned n = size - done < 8 ? (unsigned)(size - done) : 8;
        uint64_t value = 0;
        if (write) {
            memcpy(&value, bytes + done, n);
            device_write(v, gpa + done, n, value);
        } else {
            value = device_read(v, gpa + done, n);
            memcpy(bytes + done, &value, n);
        }
        done += n;
    }
}

/// Both pages of an operand that crosses a boundary are translated before either is touched: a fault leaves
/// no trace.
static bool access_bytes(struct access *a, uint64_t linear, uint8_t *bytes, size_t size, bool write,
                         struct emulate_fault *fault)
{
    enum gva_access how = write ? GVA_WRITE : GVA_READ;
    size_t first = (size_t)(PAGE_MASK + 1 - (linear & PAGE_MASK));
    uint64_t gpa, gpa2 = 0;

    if (first > size)
        first = size;
    if (!translate(a, linear, how, &gpa, fault))
        return false;
    if (first < size && !translate(a, linear + first, how, &gpa2, fault))
        return false;
    transfer(a->v, gpa, bytes, first, write);
    if (first < size)
        transfer(a->v, gpa2, bytes + first, size - first, write);
    return true;
}

/// The very access that trapped, as devices are accessed most: there is nothing to walk or to cut.
static bool is_plain(const struct access *a, uint64_t linear, size_t size, bool write)
{
    return a->known && linear == a->known_linear && a->known_write == write &&
           (size == 4 || size == 8 || size == 1 || size == 2) && (linear & (size - 1)) == 0;
}

static bool access_read(void *ctx, uint64_t linear, void *to, size_t size, struct emulate_fault *fault)
{
    const struct access *a = ctx;
    if (is_plain(a, linear, size, false)) {
        uint64_t value = device_read(a->v, a->known_gpa, (unsigned)size);
        if (size == 4)
            memcpy(to, &value, 4);
        else
            memcpy(to, &value, size);
        return true;
    }
    return access_bytes(ctx, linear, to, size, false, fault);
}

static bool access_write(void *ctx, uint64_t linear, const void *from, size_t size,
                         struct emulate_fault *fault)
{
    uint8_t copy[64];
    const struct access *a = ctx;
    if (is_plain(a, linear, size, true)) {
        uint64_t value = 0;
        if (size == 4)
            memcpy(&value, from, 4);
        else
            memcpy(&value, from, size);
        device_write(a->v, a->known_gpa, (unsigned)size, value);
        return true;
    }
    if (size > sizeof copy) {
        *fault = (struct emulate_fault){.vector = EXC_UD};
        return false;
    }
    memcpy(copy, from, size);
    return access_bytes(ctx, linear, copy, size, true, fault);
}

static bool access_fetch(void *ctx, uint64_t linear, uint8_t *bytes, size_t want, size_t *got,
                         struct emulate_fault *fault)
{
    struct access *a = ctx;
    *got = 0;
    while (*got < want) {
        uint64_t gpa, room, at = linear + *got;
        if (!gva_translate(&a->mmu, at, GVA_FETCH, &gpa, fault))
            return *got > 0; // what is there may be the whole instruction
        const uint8_t *ram = guest_memory_at(a->v->guest, gpa, &room);
        size_t n = (size_t)(PAGE_MASK + 1 - (at & PAGE_MASK));
        if (n > want - *got)
            n = want - *got;
        if (ram)
            memcpy(bytes + *got, ram, n);
        else
            memset(bytes + *got, 0xff, n); // nobody answers an instruction fetch
        *got += n;
    }
    return true;
}

static const struct emulate_ops ops = {.fetch = access_fetch, .read = access_read, .write = access_write};

static enum emulate_mode mode_of(const struct vcpu_view *view)
{
    if ((view->efer & EFER_LMA) && (view->cs_rights & CS_LONG))
        return EMULATE_64;
    return view->cs_rights & SEG_DB ? EMULATE_32 : EMULATE_16;
}

static enum vm_result stop_unsupported(struct vcpu *v, struct access *a, const struct emulate_cpu *cpu,
                                       uint64_t gpa)
{
    uint8_t b[15] = {0};
    size_t got = 0;
    struct emulate_fault fault;
    (void)access_fetch(a, cpu->segment_base[SEG_CS] + cpu->rip, b, sizeof b, &got, &fault);
    return vm_stop(v,
                   "instruction at rip 0x%llx (bytes %02x %02x %02x %02x %02x %02x %02x %02x) accesses "
                   "device memory at 0x%llx: Farbus does not emulate it (%s)",
                   (unsigned long long)cpu->rip, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
                   (unsigned long long)gpa, emulate_refusal(v->decode_cache));
}

/// An instruction with REP that is not at its end: a single-step trap is due after each iteration, and RF
/// keeps its breakpoint from firing again (SDM vol. 3, 18.3.1.1, 18.3.1.4).
static void between_iterations(struct vcpu *v, const struct vcpu_view *view)
{
    guest_virt->finish(v, view->rip, view->rflags | RFLAGS_RF);
}

static enum vm_result emulate(struct vcpu *v, uint64_t gpa, bool write, uint64_t linear, bool has_linear)
{
    struct vcpu_view view;
    struct access a;
    struct emulate_fault fault = {0};

    guest_virt->view(v, &view);
    access_init(&a, v, &view);
    a.known = has_linear;
    a.known_write = write;
    a.known_linear = linear;
    a.known_gpa = gpa;
    struct emulate_cpu cpu = {.gpr = v->gpr,
                              .rip = view.rip,
                              .rflags = view.rflags,
                              .mode = mode_of(&view),
                              .stack32 = (view.ss_rights & SEG_DB) != 0};
    memcpy(cpu.segment_base, view.segment_base, sizeof cpu.segment_base);

    switch (emulate_one(&cpu, &ops, &a, v->decode_cache, &fault)) {
    case EMULATE_DONE:
        guest_virt->finish(v, cpu.rip, cpu.rflags);
        return VM_AGAIN;
    case EMULATE_AGAIN:
        view.rflags = cpu.rflags;
        between_iterations(v, &view);
        return VM_AGAIN;
    case EMULATE_FAULT:
        guest_virt->raise(v, &fault);
        return VM_AGAIN;
    default:
        return stop_unsupported(v, &a, &cpu, gpa);
    }
}

enum vm_result vm_memory_fault(struct vcpu *v, uint64_t gpa, bool write, bool fetch, uint64_t linear,
                               bool has_linear)
{
    if (guest_memory_contains(v->guest, gpa)) {
        if (guest_memory_touch(v->guest, gpa) == OK)
            return VM_AGAIN;
        return vm_stop(v, "no memory for page tables");
    }
    if (fetch) { // reads all-ones, which is no instruction
        const struct emulate_fault undefined = {.vector = EXC_UD};
        guest_virt->raise(v, &undefined);
        return VM_AGAIN;
    }
    return emulate(v, gpa, write, linear, has_linear);
}

static void set_low(uint64_t *reg, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        *reg = (*reg & ~0xffull) | (value & 0xff);
        break;
    case 2:
        *reg = (*reg & ~0xffffull) | (value & 0xffff);
        break;
    case 4:
        *reg = (uint32_t)value;
        break;
    default:
        *reg = value;
        break;
    }
}

void vm_port_in(struct vcpu *v, uint16_t port, unsigned size)
{
    set_low(&v->gpr[RAX], io_space_port_read(&v->guest->io, port, size), size);
}

void vm_port_out(struct vcpu *v, uint16_t port, unsigned size)
{
    uint32_t value = (uint32_t)v->gpr[RAX];
    if (size < 4)
        value &= (1u << size * 8) - 1;
    io_space_port_write(&v->guest->io, port, size, value);
}

/// One element of INS/OUTS. False: *fault.
static bool string_element(struct access *a, uint16_t port, unsigned size, bool in, uint64_t linear,
                           struct emulate_fault *fault)
{
    uint32_t value = 0;
    if (!in) {
        if (!access_read(a, linear, &value, size, fault))
            return false;
        io_space_port_write(&a->v->guest->io, port, size, value);
        return true;
    }
    uint64_t gpa; // the port must not be read when the store would fault
    if (!gva_translate(&a->mmu, linear, GVA_WRITE, &gpa, fault) ||
        !gva_translate(&a->mmu, linear + size - 1, GVA_WRITE, &gpa, fault))
        return false;
    value = io_space_port_read(&a->v->guest->io, port, size);
    return access_write(a, linear, &value, size, fault);
}

enum vm_result vm_port_string(struct vcpu *v, uint16_t port, unsigned size, bool in, bool rep,
                              unsigned address_size, enum segment_index segment)
{
    struct vcpu_view view;
    struct access a;
    struct emulate_fault fault = {0};
    uint64_t mask = address_size == 2 ? 0xffff : address_size == 4 ? 0xffffffffu : ~0ull;
    uint64_t *index = &v->gpr[in ? RDI : RSI];

    guest_virt->view(v, &view);
    access_init(&a, v, &view);
    bool flat = mode_of(&view) == EMULATE_64 && segment < SEG_FS; // bases of ES to DS do not count there
    uint64_t segment_base = flat ? 0 : view.segment_base[segment];
    uint64_t step = view.rflags & RFLAGS_DF ? (uint64_t)0 - size : size;
    for (unsigned n = 0; n < STRING_IO_BATCH; n++) {
        if (rep && (v->gpr[RCX] & mask) == 0)
            return VM_DONE;
        uint64_t linear = segment_base + (*index & mask);
        if (mode_of(&view) != EMULATE_64)
            linear &= 0xffffffffu;
        if (!string_element(&a, port, size, in, linear, &fault)) {
            guest_virt->raise(v, &fault);
            return VM_AGAIN;
        }
        set_low(index, (*index & mask) + step, address_size);
        if (!rep)
            return VM_DONE;
        set_low(&v->gpr[RCX], (v->gpr[RCX] & mask) - 1, address_size);
        if (rdtsc() >= v->slice_end_tsc || view.rflags & RFLAGS_TF) // a port of a remote may take long
            break;
    }
    if ((v->gpr[RCX] & mask) == 0)
        return VM_DONE;
    between_iterations(v, &view);
    return VM_AGAIN;
}
