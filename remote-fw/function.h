// SPDX-License-Identifier: BSD-2-Clause
// One lent PCI function as the remote sees it: how it is reached, who has it, what was done to it. Shared by
// the executor, the reset and the server. Must not know links: an owner is a pointer that is compared, never
// followed. Invariant: `owner` is set exactly while a host may name the function by `handle`; no other
// pointer reaches the device.
#pragma once
#include "drivers/pci.h"
#include "net/limit.h"
#include "net/wire.h"
#include "remote-fw/config_mask.h"
#include "remote-fw/dma.h"
#include "rt/status.h"
#include "rt/time.h"
#include <stdbool.h>
#include <stdint.h>

#define PCI_FORMAT "%04x:%02x:%02x.%x"
#define PCI_ARGS(at)                                                                                         \
    (unsigned)(at).segment, (unsigned)(at).bus, (unsigned)((at).devfn >> 3), (unsigned)((at).devfn & 7)

/// How a function is really touched: the machine's bus (remote-fw/device.c), or a mock in tests. `size` is a
/// natural width, `offset` a multiple of it and inside what is named; the executor has checked that.
struct function_ops {
    uint32_t (*config_read)(void *device, uint16_t offset, unsigned size);
    void (*config_write)(void *device, uint16_t offset, unsigned size, uint32_t value);
    uint32_t (*io_read)(void *device, unsigned bar, uint64_t offset, unsigned size);
    void (*io_write)(void *device, unsigned bar, uint64_t offset, unsigned size, uint32_t value);
    /// ERR_NOMEM: this part of the BAR cannot be reached (no window left).
    MUST_CHECK enum status (*memory_read)(void *device, unsigned bar, uint64_t offset, unsigned size,
                                          uint64_t *value);
    MUST_CHECK enum status (*memory_write)(void *device, unsigned bar, uint64_t offset, unsigned size,
                                           uint64_t value);
};

/// Why a request was not done as it stands. Each is counted.
enum refusal {
    REFUSED_TYPE,       // no such request
    REFUSED_HANDLE,     // no such function, or another host's
    REFUSED_LENGTH,     // record longer or shorter than what it says it carries
    REFUSED_SIZE,       // access of 0 bytes, too many bytes, or a width the space does not have
    REFUSED_BAR,        // no such BAR, or of the other kind
    REFUSED_RANGE,      // beyond the end of the BAR or of configuration space
    REFUSED_RESETTING,  // the function is being reset
    REFUSED_MSIX,       // touches the MSI-X table, which is the remote's to program
    REFUSED_UNREACHED,  // no MMIO window left for this part of the BAR
    REFUSED_PROTECTED,  // configuration write that touched only protected bits
    REFUSED_BUS_MASTER, // asked for bus mastering without DMA_START
    REFUSAL_COUNT
};
const char *refusal_name(enum refusal r);

/// What was executed and what was refused: the proof that nothing is done twice. Indexed by record type.
struct executor_counters {
    uint64_t executed[REC_MWR + 1];
    uint64_t bytes_read, bytes_written;
    uint64_t refused[REFUSAL_COUNT];
};

enum function_state {
    FUNCTION_FREE,      // nobody's; decoding off
    FUNCTION_RESETTING, // a reset runs; for `owner` if set
    FUNCTION_LENT,      // the owner's, decoding on
};

enum reset_method { RESET_FLR, RESET_AF, RESET_PM, RESET_COMMAND };
enum reset_stage { RESET_IDLE, RESET_DRAIN, RESET_WAIT, RESET_PM_WAKE, RESET_READY };

/// Reset in progress and what it must put back (remote-fw/reset.c).
struct function_reset {
    enum reset_method method;
    enum reset_stage stage;
    uint64_t until_ns;
    uint8_t cap_af;
    uint32_t saved_bars[6];
    uint16_t saved_line_latency; // cache line size, latency timer
    uint8_t saved_interrupt_line;
    uint16_t saved_device_control, saved_link_control;
    uint64_t count, failed;
};

/// Where a function is between rounds of its DMA engine: an interrupt is told only behind a round that began
/// after it came.
enum round_state {
    ROUND_OFF,    // no DMA: nothing waits
    ROUND_IDLE,   // what was noted may be told
    ROUND_WANTED, // something was noted
    ROUND_RUNS,   // what comes now waits for the next one
};

/// What its host wants of it (remote-fw/interrupts.c).
struct function_interrupts {
    enum round_state round;
    bool intx_noted; // a change of INTx waits to be told: it is...
    bool intx_value;
    uint8_t mode;       // enum wire_interrupt_mode
    bool asserted;      // INTx: told, and neither ended nor gone since
    bool ended;         // INTx: look at once
    uint64_t looked_ns; // INTx
    uint64_t told;      // events told to hosts
};

/// Its DMA (remote-fw/mastering.c).
struct function_dma {
    bool on;     // from DMA_START until reset or release
    bool master; // Bus Master Enable, which is the guest's bit meanwhile
    void *space; // its address space, while on
    struct dma engine;
    uint64_t wanted; // number of the round that somebody waits for
    uint64_t sent_before, begun_ns, interval_ns, due_ns, rest_ns; // of rounds
    uint64_t faults, faults_ns;
    uint64_t messages;    // interrupts that were not its own, and stopped
    unsigned faults_told; // since faults_ns
};

struct boot_lend;

struct function {
    const struct function_ops *ops;
    void *device;                  // for ops
    const struct boot_lend *terms; // to whom it is lent; NULL: to everybody
    struct wire_function info;
    uint8_t cap_msi, cap_msix, cap_pcie, cap_pm; // offsets, 0: absent
    uint8_t msix_bar;
    uint64_t msix_offset, msix_size; // MSI-X table; size 0: none
    struct config_map config;
    struct function_reset reset;
    struct function_interrupts interrupts;
    struct function_dma dma;

    enum function_state state;
    const void *owner;     // NULL: nobody
    uint16_t handle;       // 0: none
    uint16_t pending_tag;  // of the ATTACH or RESET that waits for the reset
    uint8_t pending_type;  // 0: none
    bool clean;            // FREE, and reset since anybody last had it
    bool bus_master_told;  // the refusal was logged
    struct limit said;     // function_may_say
    uint32_t credits_used; // posted requests done since the last REC_CREDIT
    uint64_t credit_overruns;
    struct executor_counters counters;
};

/// Sentences that a host can cause as often as it likes: 16 at once, one a second. A slow console would keep
/// other hosts waiting.
static inline bool function_may_say(struct function *f)
{
    return limit_take(&f->said, time_ns(), 1000000000, 16);
}
