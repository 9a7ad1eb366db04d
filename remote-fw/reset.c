// SPDX-License-Identifier: BSD-2-Clause
// Function reset (remote-fw/reset.h). Registers: PCI 3.0 6.2, PCI PM 1.2 3.2, Advanced Capabilities ECN (AF),
// PCIe Base 4.0 7.5.3.
#include "remote-fw/reset.h"

#define COMMAND_IO           0x0001u
#define COMMAND_MEMORY       0x0002u
#define COMMAND_INTX_DISABLE 0x0400u

#define DEVICE_CAPABILITIES_FLR 0x10000000u
#define DEVICE_CONTROL_FLR      0x8000u
#define DEVICE_STATUS_TP        0x0020u // Transactions Pending
#define AF_CAPABILITIES_TP_FLR  0x03u
#define AF_CONTROL_FLR          0x01u
#define AF_STATUS_TP            0x01u
#define PMCSR_STATE             0x0003u
#define PMCSR_D3HOT             0x0003u
#define PMCSR_NO_SOFT_RESET     0x0008u

#define MS        1000000ull
#define DRAIN_NS  (100 * MS)
#define FLR_NS    (100 * MS)  // PCIe Base 4.0, 6.6.2
#define PM_NS     (10 * MS)   // PCI PM 1.2, table 5-6
#define RETURN_NS (1000 * MS) // configuration retry after a reset may last this long (PCIe Base 4.0, 2.3.1)

static uint32_t get(const struct function *f, unsigned offset, unsigned size)
{
    return f->ops->config_read(f->device, (uint16_t)offset, size);
}

static void put(const struct function *f, unsigned offset, unsigned size, uint32_t value)
{
    f->ops->config_write(f->device, (uint16_t)offset, size, value);
}

const char *reset_method_name(enum reset_method m)
{
    static const char *const names[] = {
        [RESET_FLR] = "FLR",
        [RESET_AF] = "AF FLR",
        [RESET_PM] = "D3hot",
        [RESET_COMMAND] = "decoding off only",
    };
    return names[m];
}

static enum reset_method choose(const struct function *f)
{
    if (f->cap_pcie && get(f, f->cap_pcie + 4u, 4) & DEVICE_CAPABILITIES_FLR)
        return RESET_FLR;
    if (f->reset.cap_af &&
        (get(f, f->reset.cap_af + 3u, 1) & AF_CAPABILITIES_TP_FLR) == AF_CAPABILITIES_TP_FLR)
        return RESET_AF;
    if (f->cap_pm && !(get(f, f->cap_pm + 4u, 2) & PMCSR_NO_SOFT_RESET))
        return RESET_PM;
    return RESET_COMMAND;
}

void reset_prepare(struct function *f)
{
    struct function_reset *r = &f->reset;
    r->cap_af = (uint8_t)config_find(&f->config, 0x13, false);
    r->method = choose(f);
    r->stage = RESET_IDLE;
    for (unsigned i = 0; i < 6; i++)
        r->saved_bars[i] = get(f, 0x10 + 4 * i, 4);
    r->saved_line_latency = (uint16_t)get(f, 0x0c, 2);
    r->saved_interrupt_line = (uint8_t)get(f, 0x3c, 1);
    if (f->cap_pcie) {
        r->saved_device_control = (uint16_t)(get(f, f->cap_pcie + 8u, 2) & ~DEVICE_CONTROL_FLR);
        r->saved_link_control = (uint16_t)get(f, f->cap_pcie + 0x10u, 2);
    }
}

static bool transactions_pending(const struct function *f)
{
    if (f->cap_pcie)
        return get(f, f->cap_pcie + 0x0au, 2) & DEVICE_STATUS_TP;
    if (f->reset.cap_af)
        return get(f, f->reset.cap_af + 5u, 1) & AF_STATUS_TP;
    return false;
}

void reset_begin(struct function *f, uint64_t now_ns)
{
    f->reset.count++;
    f->reset.stage = RESET_DRAIN;
    f->reset.until_ns = now_ns + DRAIN_NS;
    f->state = FUNCTION_RESETTING;
    put(f, 0x04, 2, COMMAND_INTX_DISABLE);
    if (f->cap_msi)
        put(f, f->cap_msi + 2u, 2, get(f, f->cap_msi + 2u, 2) & ~1u);
    if (f->cap_msix)
        put(f, f->cap_msix + 2u, 2, get(f, f->cap_msix + 2u, 2) & ~0x8000u);
}

static void set_power_state(const struct function *f, uint32_t state)
{
    put(f, f->cap_pm + 4u, 2, (get(f, f->cap_pm + 4u, 2) & ~(PMCSR_STATE | 0x8000u)) | state);
}

static void trigger(struct function *f, uint64_t now_ns)
{
    struct function_reset *r = &f->reset;
    r->stage = RESET_WAIT;
    switch (r->method) {
    case RESET_FLR:
        put(f, f->cap_pcie + 8u, 2, get(f, f->cap_pcie + 8u, 2) | DEVICE_CONTROL_FLR);
        r->until_ns = now_ns + FLR_NS;
        return;
    case RESET_AF:
        put(f, r->cap_af + 4u, 1, AF_CONTROL_FLR);
        r->until_ns = now_ns + FLR_NS;
        return;
    case RESET_PM:
        set_power_state(f, PMCSR_D3HOT);
        r->stage = RESET_PM_WAKE;
        r->until_ns = now_ns + PM_NS;
        return;
    case RESET_COMMAND:
        r->until_ns = now_ns;
        return;
    }
}

void reset_enable(const struct function *f)
{
    uint32_t command = COMMAND_INTX_DISABLE;
    for (unsigned i = 0; i < 6; i++) {
        if ((f->info.bars[i].kind & 0x7f) == 1)
            command |= COMMAND_IO;
        else if (f->info.bars[i].kind)
            command |= COMMAND_MEMORY;
    }
    put(f, 0x04, 2, command);
}

static void restore(const struct function *f)
{
    const struct function_reset *r = &f->reset;
    for (unsigned i = 0; i < 6; i++)
        put(f, 0x10 + 4 * i, 4, r->saved_bars[i]);
    put(f, 0x0c, 2, r->saved_line_latency);
    put(f, 0x3c, 1, r->saved_interrupt_line);
    if (f->cap_pcie) {
        put(f, f->cap_pcie + 8u, 2, r->saved_device_control);
        put(f, f->cap_pcie + 0x10u, 2, r->saved_link_control);
    }
    put(f, 0x04, 2, COMMAND_INTX_DISABLE);
}

enum status reset_poll(struct function *f, uint64_t now_ns, bool enable)
{
    struct function_reset *r = &f->reset;
    switch (r->stage) {
    case RESET_DRAIN:
        if (now_ns < r->until_ns && transactions_pending(f))
            return ERR_BUSY;
        trigger(f, now_ns);
        return ERR_BUSY;
    case RESET_PM_WAKE:
        if (now_ns < r->until_ns)
            return ERR_BUSY;
        set_power_state(f, 0);
        r->stage = RESET_WAIT;
        r->until_ns = now_ns + PM_NS;
        return ERR_BUSY;
    case RESET_WAIT:
        if (now_ns < r->until_ns)
            return ERR_BUSY;
        r->stage = RESET_READY;
        r->until_ns = now_ns + RETURN_NS;
        // fall through
    case RESET_READY: {
        uint32_t vendor = get(f, 0x00, 2);
        if (vendor != f->info.vendor) { // all-ones: not there; 0x0001: CRS Software Visibility
            if (now_ns < r->until_ns)
                return ERR_BUSY;
            r->stage = RESET_IDLE;
            r->failed++;
            return ERR_IO;
        }
        restore(f);
        if (enable)
            reset_enable(f);
        r->stage = RESET_IDLE;
        return OK;
    }
    case RESET_IDLE:
        break;
    }
    return OK;
}
