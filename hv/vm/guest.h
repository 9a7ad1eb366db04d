// SPDX-License-Identifier: BSD-2-Clause
// A guest: memory, devices, vCPUs, and its life (waiting for devices -> running -> stopped).
// Everything in it belongs to the CPU that holds its lock (cpus.h), unless it says otherwise: that one is
// meant wherever it says "the CPU that runs the guest" or "who runs the guest".
#pragma once
#include "hv/bus/bus.h"
#include "hv/platform/devices.h"
#include "hv/platform/io_space.h"
#include "hv/platform/ioapic.h"
#include "hv/platform/iommu.h"
#include "hv/platform/pci_host.h"
#include "hv/platform/pic.h"
#include "hv/platform/pit.h"
#include "hv/platform/pm.h"
#include "hv/platform/testdev.h"
#include "hv/vm/fair.h"
#include "hv/vm/turn.h"
#include "hv/vm/vcpu.h"
#include "hv/vm/virt.h"
#include "net/limit.h"
#include "rt/boot_info.h"
#include "rt/cpu.h"
#include "rt/frames.h"
#include "rt/spinlock.h"
#include "rt/status.h"

#define GUEST_CPUS_MAX   BOOT_CPUS_MAX
#define GUEST_LOW_END    0xc0000000ull // RAM below 4 GiB ends here; the rest is from 4 GiB on
#define GUEST_HIGH_START 0x100000000ull
#define GUEST_HOLE_START 0xa0000ull // legacy video memory: nobody's
#define GUEST_HOLE_END   0xc0000ull
#define GUEST_CHUNK      0x200000ull // RAM is given, zeroed and mapped in pieces of this size

enum guest_state {
    GUEST_WAITING, // for its devices, until its `wait` is over
    GUEST_RUNNING,
    GUEST_PAUSED, // pause.c
    GUEST_STOPPED,
};

/// A piece of RAM on its way to the guest.
enum chunk_state { CHUNK_DIRTY, CHUNK_ZEROED, CHUNK_MAPPED };

/// What the console (any CPU) asks of a guest; carried out by its first vCPU's CPU, when no other runs it.
#define GUEST_REQUEST_STOP  0x1u
#define GUEST_REQUEST_RESET 0x2u
#define GUEST_REQUEST_START 0x4u

struct guest {
    const struct boot_guest *config;
    uint32_t index;
    bool spread; // its vCPUs run on several CPUs
    struct spinlock lock;
    _Atomic uint32_t owner; // CPU that holds the lock, and 1; 0: none
    _Atomic uint32_t state;
    _Atomic uint32_t requests;
    char stop_reason[160];
    _Atomic bool pause_wanted;
    uint64_t pause_began_tsc, pause_began_ns;
    uint64_t paused_ns;  // all its pauses so far
    uint64_t waiting_ns; // when it began to wait
    uint64_t starts;
    struct fair fair[CPU_MAX]; // what it owes to the others of each CPU
    struct turn turns[CPU_MAX];
    uint64_t used_tsc; // its turns, all together, in ticks

    uint64_t memory;      // bytes
    phys_t *chunks;       // GUEST_CHUNK pieces, in guest-physical order (low RAM, then high RAM)
    uint8_t *chunk_state; // enum chunk_state
    uint32_t chunk_count;
    uint32_t next_to_zero; // pieces before it are zeroed or mapped
    struct nested_map *map;
    bool watched; // somebody asks which pages were written (dma.c)

    struct io_space io;
    struct guest_pci pci;
    struct guest_uart uart;
    struct guest_rtc rtc;
    struct guest_power power;
    struct guest_pm pm;
    struct guest_ioapic ioapic;
    struct guest_pic pic;
    struct guest_pit pit;
    struct guest_iommu *iommu;     // NULL: `dma = mirror`
    struct guest_testdev *testdev; // NULL: there is none
    struct bus_guest *bus;
    struct guest_nic *nics[BOOT_NICS_MAX]; // nics.c

    char line[224]; // console output up to the next newline
    uint32_t line_length;
    uint8_t escape;    // where in a control sequence its output is (console.c)
    struct limit said; // sentences about its starts and resets: it can have as many as it likes
    // Typed for its UART. The console's CPU appends at `typed_in`, the CPU that runs the guest takes at
    // `typed_out`.
    uint8_t typed[64];
    _Atomic uint32_t typed_in, typed_out;

    struct vcpu *running[CPU_MAX]; // whose slice it is on each CPU; NULL: none of this guest's
    struct vcpu vcpus[GUEST_CPUS_MAX];
    struct lapic_ops lapic_ops;
};

/// Makes a guest from its section of farbus.ini: reserves memory, adds devices, tells the bus. It is then
/// WAITING. Errors are logged with the guest's name; a guest that cannot be made costs nothing
/// but, at most, the stacks of its turns.
MUST_CHECK enum status guest_create(const struct boot_guest *config, uint32_t index,
                                    const struct virt_ops *virt);
/// All guests, by index; NULL where there is none.
struct guest *guest_at(uint32_t index);
struct guest *guest_find(const char *name);
extern uint32_t guest_count;
extern const struct virt_ops *guest_virt;

/// Loads the image and makes the vCPU runnable. On failure the guest is STOPPED with a reason.
void guest_start(struct guest *g);
/// Starts this CPU's vCPUs that a SIPI has come for; called by the scheduler, between slices.
void guest_start_waiting(struct guest *g);
/// Stops it: vCPUs leave, devices are reset, remote functions given back. `reason` is a sentence.
void guest_stop(struct guest *g, const char *reason);
/// Power-on state, image loaded again. One that is stopped waits for its devices first, as when it was made.
void guest_reset(struct guest *g);
/// As guest_reset, of one that is stopped. ERR_DENIED: it is not.
MUST_CHECK enum status guest_power_on(struct guest *g);
/// Carries out requests and state changes; called by the scheduler on the CPU of its first vCPU, between
/// slices.
void guest_tend(struct guest *g);
/// Output of the guest's UART; flush prints what waits without a newline.
void guest_console_byte(void *guest, char byte);
void guest_console_flush(struct guest *g);
/// A byte for the guest's UART, from the console's CPU. ERR_BUSY: too many wait.
MUST_CHECK enum status guest_console_type(struct guest *g, uint8_t byte);
/// Gives the UART what was typed, as far as its FIFO takes it; on the CPU that runs the guest.
void guest_console_feed(struct guest *g);

/// An interrupt message of a virtual device: a write of `data` to `address`. On the CPU that runs the guest.
void guest_message(void *guest, uint64_t address, uint32_t data);
/// From any CPU: something waits that guest_tend, bus_guest_collect or guest_nics_tend has to look at.
void guest_attention(void *guest);

// dma.c
/// Tells the bus how the DMA of the guest's functions reaches its memory. Once, right after bus_guest_add.
void guest_dma_start(struct guest *g);
/// guest_iommu_ops.changed
void guest_dma_changed(void *guest, const struct iommu_scope *scope);

// nics.c
/// The guest's virtual NICs, on the host's LAN. Errors are logged.
MUST_CHECK enum status guest_nics_create(struct guest *g);
void guest_nics_destroy(struct guest *g);
void guest_nics_reset(struct guest *g);
/// Frames to and from the guest; on the CPU that runs it, between slices. Costs one load each when there are
/// none.
void guest_nics_tend(struct guest *g);
/// For the console: a line for each.
void guest_nics_print(void);

// pause.c
/// Asked of the CPU that runs the guest. ERR_DENIED: it is not running (pause) or not paused (resume).
MUST_CHECK enum status guest_pause(struct guest *g);
MUST_CHECK enum status guest_resume(struct guest *g);
/// Carries that out; on the CPU that runs the guest, between slices.
void guest_pause_tend(struct guest *g);
/// Nanoseconds as the guest's devices count them: they stand still while it is paused.
uint64_t guest_time_ns(const struct guest *g);

// isa.c
/// Does INTR of the 8259 pair reach this vCPU?
bool guest_extint_wired(const struct vcpu *v);
/// Does the 8259 pair have an interrupt that this vCPU takes, if it takes interrupts?
static inline bool guest_extint_pending(const struct vcpu *v)
{
    return __builtin_expect(v->guest->pic.intr_now, 0) && guest_extint_wired(v);
}
/// It is being injected: the acknowledge, and the vector.
uint8_t guest_extint_accept(struct vcpu *v);
/// The 8259 pair and the 8254. The I/O APIC is there already.
MUST_CHECK enum status guest_isa_build(struct guest *g);
void guest_isa_reset(struct guest *g);
/// Drives an ISA interrupt: the 8259's input and the I/O APIC's pin are one wire.
void guest_isa_set(struct guest *g, unsigned irq, bool high);
/// Brings the 8254 and the clock to the present. Returns this machine's TSC when it interrupts next,
/// UINT64_MAX: never.
uint64_t guest_isa_tick(struct guest *g);

// memory.c
MUST_CHECK enum status guest_memory_create(struct guest *g, uint64_t bytes);
void guest_memory_destroy(struct guest *g);
/// True if gpa is RAM of this guest.
bool guest_memory_contains(const struct guest *g, uint64_t gpa);
/// Is that piece of RAM usable already? From any CPU.
bool guest_memory_present(const struct guest *g, uint64_t gpa);
/// Makes the piece of RAM that holds gpa usable (zeroed, mapped). gpa must be RAM.
MUST_CHECK enum status guest_memory_touch(struct guest *g, uint64_t gpa);
/// Zeroes one piece ahead of its first touch, for a CPU with nothing better to do. False: all are.
bool guest_memory_zero_ahead(struct guest *g);
/// Our view of guest RAM: NULL when not RAM, else *contiguous bytes may be used from there.
void *guest_memory_at(struct guest *g, uint64_t gpa, uint64_t *contiguous);
/// The same, to read, and without making anything usable: NULL also where nobody has touched it, so that it
/// is zero.
const void *guest_memory_peek(const struct guest *g, uint64_t gpa, uint64_t *contiguous);
/// What is done with RAM through guest_memory_at() has to be told, page by page: it may be mirrored for a
/// device's DMA. guest_memory_write() and _fill() tell it themselves.
static inline void guest_memory_written(struct guest *g, uint64_t gpa)
{
    if (g->watched)
        guest_virt->map_mark(g->map, gpa);
}
/// Copies into guest RAM. ERR_RANGE: not all of it is RAM (nothing before the first bad page is undone).
MUST_CHECK enum status guest_memory_write(struct guest *g, uint64_t gpa, const void *from, uint64_t size);
MUST_CHECK enum status guest_memory_fill(struct guest *g, uint64_t gpa, uint8_t byte, uint64_t size);
/// Throws the contents away: RAM reads as zero again.
void guest_memory_clear(struct guest *g);
