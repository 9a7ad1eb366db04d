// SPDX-License-Identifier: BSD-2-Clause
// A guest's life: made from its section of farbus.ini, started when its devices are there (or its patience is
// over), reset, stopped. Invariant: that is done by the CPU of its first vCPU (guest_tend), and while no
// other CPU runs it; everybody else leaves a request.
#include "hv/vm/guest.h"
#include "drivers/cmos.h"
#include "hv/platform/machine.h"
#include "hv/vm/cpuid.h"
#include "hv/vm/cpus.h"
#include "hv/vm/msr.h"
#include "hv/vm/sched.h"
#include "hv/vm/start.h"
#include "hv/vm/vm.h"
#include "rt/log.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "rt/x86.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UART_PORT  0x3f8u
#define MEMORY_MIN (4ull << 20)
#define MEMORY_MAX (64ull << 30)

uint32_t guest_count;
const struct virt_ops *guest_virt;
static struct guest *guests[BOOT_GUESTS_MAX];

struct guest *guest_at(uint32_t index)
{
    return index < guest_count ? guests[index] : NULL;
}

struct guest *guest_find(const char *name)
{
    for (uint32_t i = 0; i < guest_count; i++) {
        if (guests[i] && strcmp(guests[i]->config->name, name) == 0)
            return guests[i];
    }
    return NULL;
}

/// Asks the CPU that runs the guest to do something; its vCPUs leave as soon as they can.
static void request(struct guest *g, uint32_t what)
{
    atomic_fetch_or(&g->requests, what);
    for (uint32_t i = 0; i < g->config->cpus; i++)
        atomic_fetch_or(&g->vcpus[i].attention, ATTENTION_LEAVE);
}

void guest_stop(struct guest *g, const char *reason)
{
    snprintf(g->stop_reason, sizeof g->stop_reason, "%s", reason);
    request(g, GUEST_REQUEST_STOP);
}

void guest_reset(struct guest *g)
{
    request(g, GUEST_REQUEST_RESET);
}

enum status guest_power_on(struct guest *g)
{
    if (atomic_load(&g->state) != GUEST_STOPPED)
        return ERR_DENIED;
    request(g, GUEST_REQUEST_START);
    return OK;
}

static void on_power_off(void *ctx, int code)
{
    struct guest *g = ctx;
    char reason[48];
    snprintf(reason, sizeof reason, code ? "powered off with code %d" : "powered off", code);
    guest_stop(g, reason);
}

static void on_reset(void *ctx)
{
    guest_reset(ctx);
}

static uint64_t on_clock(void *ctx)
{
    (void)ctx;
    return cmos_unix_time();
}

static void on_ipi(void *ctx, uint32_t apic_id, enum ipi_kind kind, uint8_t vector)
{
    struct guest *g = ctx;
    if (apic_id >= g->config->cpus)
        return;
    struct vcpu *v = &g->vcpus[apic_id];
    switch (kind) {
    case IPI_FIXED:
        lapic_set_irr(&v->lapic, vector, false);
        break;
    case IPI_NMI:
        v->nmi_pending = true;
        break;
    case IPI_INIT: // the bootstrap processor would start at a reset vector that nobody put anything at
        if (apic_id != 0) {
            lapic_init(&v->lapic);
            v->sipi_pending = false;
            atomic_store(&v->state, VCPU_WAIT_SIPI);
            vcpu_attend(v, ATTENTION_LEAVE);
        }
        break;
    case IPI_STARTUP: // taken while waiting only (SDM vol. 3, 9.4.3)
        if (atomic_load(&v->state) == VCPU_WAIT_SIPI && !v->sipi_pending) {
            v->sipi_vector = vector;
            v->sipi_pending = true;
        }
        break;
    }
    vcpu_attend(v, ATTENTION_EVENT);
    // When the two share a CPU, who sends gives way, for it may wait for who was sent to.
    struct vcpu *sender = g->running[cpu_self()->index];
    if (sender && sender != v && sender->cpu == v->cpu)
        atomic_fetch_or(&sender->attention, ATTENTION_LEAVE);
}

static void on_eoi(void *ctx, uint8_t vector)
{
    guest_ioapic_eoi(&((struct guest *)ctx)->ioapic, vector);
}

static uint64_t on_time(void *ctx)
{
    return guest_time_ns(ctx);
}

static void on_uart_irq(void *ctx, bool level)
{
    guest_isa_set(ctx, GUEST_UART_IRQ, level);
}

static void on_rtc_irq(void *ctx, bool level)
{
    guest_isa_set(ctx, GUEST_RTC_IRQ, level);
}

/// An interrupt message finds the local APICs it means (SDM vol. 3, 11.6.2); lowest priority: the first of
/// them.
static void on_message(void *ctx, const struct interrupt_message *m)
{
    enum { FIXED = 0, LOWEST = 1, NMI = 4 };
    struct guest *g = ctx;
    for (uint32_t i = 0; i < g->config->cpus; i++) {
        struct vcpu *v = &g->vcpus[i];
        if (!lapic_receives(&v->lapic, m->destination, m->logical))
            continue;
        if (m->delivery == NMI)
            v->nmi_pending = true;
        else if (m->delivery <= LOWEST && m->vector >= 16)
            lapic_set_irr(&v->lapic, m->vector, m->level);
        vcpu_attend(v, ATTENTION_EVENT);
        if (m->delivery == LOWEST)
            return;
    }
}

/// Of a virtual device. A write that is no interrupt is lost, as on a PC without memory there.
void guest_message(void *ctx, uint64_t address, uint32_t data)
{
    struct interrupt_message m;
    if (interrupt_message_from(address, data, &m))
        on_message(ctx, &m);
}

static void *on_iommu_memory(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    return guest_memory_at(ctx, gpa, contiguous);
}

static const void *on_iommu_peek(void *ctx, uint64_t gpa, uint64_t *contiguous)
{
    return guest_memory_peek(ctx, gpa, contiguous);
}

static struct lapic *on_peer(void *ctx, uint32_t apic_id)
{
    struct guest *g = ctx;
    return apic_id < g->config->cpus ? &g->vcpus[apic_id].lapic : NULL;
}

/// Level-triggered pins of the I/O APIC: their devices may be remote.
static void on_pin_ended(void *ctx, unsigned pin)
{
    struct guest *g = ctx;
    if (g->bus)
        bus_guest_eoi(g->bus, pin);
}

static void on_bus_line(void *ctx, unsigned gsi, bool high)
{
    guest_ioapic_set(&((struct guest *)ctx)->ioapic, gsi, high);
}

/// From any CPU: guest_tend collects.
void guest_attention(void *ctx)
{
    struct guest *g = ctx;
    uint32_t first = g->vcpus[0].cpu;
    for (uint32_t i = 0; i < g->config->cpus; i++) {
        if (g->vcpus[i].cpu == first || &g->vcpus[i] == g->running[cpu_self()->index])
            atomic_fetch_or(&g->vcpus[i].attention, ATTENTION_LEAVE);
    }
    sched_kick(first);
}

static void on_iommu_written(void *ctx, uint64_t gpa)
{
    guest_memory_written(ctx, gpa);
}

static enum status build_iommu(struct guest *g)
{
    const struct guest_iommu_ops ops = {.memory = on_iommu_memory,
                                        .peek = on_iommu_peek,
                                        .written = on_iommu_written,
                                        .changed = guest_dma_changed,
                                        .message = guest_message,
                                        .ctx = g};
    return g->config->dma == BOOT_DMA_IOMMU ? guest_iommu_create(&g->iommu, &g->io, &ops) : OK;
}

static void on_test_line(void *ctx, unsigned pin, bool high)
{
    struct guest *g = ctx;
    if (pin < PIC_INPUTS && pin != GUEST_PIT_PIN)
        guest_isa_set(g, pin, high);
    else
        guest_ioapic_set(&g->ioapic, pin, high);
}

static enum status build_testdev(struct guest *g)
{
    const struct guest_testdev_ops ops = {
        .memory = g->config->memory, .cpus = g->config->cpus, .line = on_test_line, .ctx = g};
    return g->config->test_device ? guest_testdev_create(&g->testdev, &g->io, &ops) : OK;
}

/// Everything that is a device: ports and MMIO of a freshly built machine.
static enum status build_devices(struct guest *g)
{
    enum status s;
    g->uart.output = guest_console_byte;
    g->uart.irq = on_uart_irq;
    g->uart.ctx = g;
    g->rtc.unix_time = on_clock;
    g->rtc.irq = on_rtc_irq;
    g->rtc.ctx = g;
    g->power.reset = on_reset;
    g->power.power_off = on_power_off;
    g->power.ctx = g;
    g->pm = (struct guest_pm){.power_off = on_power_off, .now_ns = on_time, .ctx = g};
    g->ioapic.deliver = on_message;
    g->ioapic.ended = on_pin_ended;
    g->ioapic.ctx = g;
    g->lapic_ops = (struct lapic_ops){.ipi = on_ipi,
                                      .eoi = on_eoi,
                                      .peer = on_peer,
                                      .cpu_count = g->config->cpus,
                                      .address_bits = cpuid_address_bits(),
                                      .ctx = g};
    if ((s = guest_ioapic_init(&g->ioapic, &g->io)) != OK)
        return s;
    if ((s = guest_isa_build(g)) != OK)
        return s;
    if ((s = guest_uart_init(&g->uart, &g->io, UART_PORT)) != OK)
        return s;
    if ((s = guest_rtc_init(&g->rtc, &g->io, g->memory)) != OK)
        return s;
    if ((s = guest_power_init(&g->power, &g->io)) != OK)
        return s;
    if ((s = guest_pm_init(&g->pm, &g->io)) != OK)
        return s;
    if ((s = build_iommu(g)) != OK)
        return s;
    if ((s = build_testdev(g)) != OK)
        return s;
    return guest_pci_init(&g->pci, &g->io);
}

static enum status build_vcpu(struct guest *g, uint32_t index)
{
    struct vcpu *v = &g->vcpus[index];
    v->guest = g;
    v->index = index;
    v->cpu = sched_cpu_of(g->index, index);
    v->lapic.bus_divisor = 1;
    cpuid_reset(v);
    v->decode_cache = calloc(1, emulate_cache_size());
    if (!v->decode_cache)
        return ERR_NOMEM;
    return guest_virt->vcpu_create(v, g->map);
}

static enum status refuse(const struct boot_guest *config, const char *why)
{
    log_error(config->name, "not made: %s", why);
    return ERR_UNSUPPORTED;
}

static enum status build(struct guest *g)
{
    enum status s = guest_memory_create(g, g->config->memory);
    if (s == OK)
        s = guest_virt->map_create(&g->map);
    if (s == OK)
        s = build_devices(g);
    if (s == OK)
        s = guest_nics_create(g);
    for (uint32_t i = 0; s == OK && i < g->config->cpus; i++)
        s = build_vcpu(g, i);
    return s;
}

static void discard(struct guest *g)
{
    for (uint32_t i = 0; i < g->config->cpus; i++) {
        if (g->vcpus[i].vmx)
            guest_virt->vcpu_destroy(&g->vcpus[i]);
        free(g->vcpus[i].decode_cache);
    }
    if (g->map)
        guest_virt->map_destroy(g->map);
    guest_nics_destroy(g);
    guest_iommu_destroy(g->iommu);
    guest_testdev_destroy(g->testdev);
    guest_memory_destroy(g);
    free(g);
}

enum status guest_create(const struct boot_guest *config, uint32_t index, const struct virt_ops *virt)
{
    if (config->cpus == 0 || config->cpus > GUEST_CPUS_MAX)
        return refuse(config, "it may have 1 to 8 vCPUs (cpus = n)");
    if (config->memory < MEMORY_MIN || config->memory > MEMORY_MAX || config->memory % GUEST_CHUNK)
        return refuse(config, "memory must be 4M to 64G, in steps of 2M");
    guest_virt = virt;
    struct guest *g = calloc(1, sizeof *g);
    if (!g) {
        log_error(config->name, "not made: no memory for it");
        return ERR_NOMEM;
    }
    g->config = config;
    g->index = index;
    g->spread = config->cpus > 1 && cpu_count() > 1;
    g->waiting_ns = time_ns();
    enum status s = build(g);
    if (s == OK)
        s = sched_add(g);
    if (s == OK)
        s = bus_guest_add(config->name, (enum boot_bus)config->bus, config->devices, config->device_count,
                          &g->io, &g->pci, &g->bus);
    if (s != OK) {
        log_error(config->name, "not made: %s",
                  s == ERR_NOMEM ? "not enough memory in this machine" : status_name(s));
        discard(g);
        return s;
    }
    guest_dma_start(g);
    bus_guest_interrupts(
        g->bus, &(struct bus_interrupts){
                    .message = on_message, .line = on_bus_line, .attention = guest_attention, .ctx = g});
    char where[32];
    guests[index] = g;
    if (index >= guest_count)
        guest_count = index + 1;
    log_info(config->name, "%llu MiB, %u vCPU on %s, %u remote function%s",
             (unsigned long long)(config->memory >> 20), (unsigned)config->cpus,
             guest_where(g, where, sizeof where), (unsigned)config->device_count,
             config->device_count == 1 ? "" : "s");
    return OK;
}

/// Waiting for INIT and SIPI, as every processor but the first does.
static void power_on(struct vcpu *v)
{
    v->tsc_offset = 0;
    v->sipi_pending = false;
    v->event.valid = false;
    v->nmi_pending = false;
    v->halt_told = false;
    lapic_reset(&v->lapic, v->index, v->index == 0, &v->guest->lapic_ops);
    cpuid_follow_apic(v);
    if (v->index == 0)
        lapic_virtual_wire(&v->lapic);
    msr_reset(v);
    atomic_store(&v->attention, 0);
    atomic_store(&v->state, VCPU_WAIT_SIPI);
}

void guest_start_waiting(struct guest *g)
{
    for (uint32_t i = 1; i < g->config->cpus; i++) {
        struct vcpu *v = &g->vcpus[i];
        if (v->cpu != cpu_self()->index || atomic_load(&v->state) != VCPU_WAIT_SIPI || !v->sipi_pending)
            continue;
        struct vcpu_start start;
        start_real_mode(v->sipi_vector, &start);
        v->sipi_pending = false;
        v->tsc_offset = g->vcpus[0].tsc_offset;
        guest_virt->vcpu_reset(v, &start);
        atomic_store(&v->state, VCPU_RUNNABLE);
    }
}

/// A guest that resets itself for ever does not fill the console.
static bool may_say(struct guest *g)
{
    return limit_take(&g->said, time_ns(), 1000000000, 32);
}

void guest_start(struct guest *g)
{
    struct vcpu_start start;

    g->starts++;
    if (start_load(g, &start) != OK) {
        log_error(g->config->name, "not started: %s", g->stop_reason);
        bus_guest_stop(g->bus);
        atomic_store(&g->state, GUEST_STOPPED);
        return;
    }
    bus_guest_start(g->bus);
    for (uint32_t i = 0; i < g->config->cpus; i++)
        power_on(&g->vcpus[i]);
    guest_virt->vcpu_reset(&g->vcpus[0], &start);
    g->stop_reason[0] = 0;
    atomic_store(&g->state, GUEST_RUNNING);
    atomic_store(&g->vcpus[0].state, VCPU_RUNNABLE);
    if (may_say(g))
        log_info(g->config->name, "started, entry 0x%llx, at TSC %llu", (unsigned long long)start.rip,
                 (unsigned long long)rdtsc());
    trace(TRACE_GUEST_START, g->index);
}

/// Brings the machine of a guest that does not run back to its power-on state. for_good: remote functions are
/// given back.
static void reset_devices(struct guest *g, bool for_good)
{
    for (uint32_t i = 0; i < g->config->cpus; i++)
        atomic_store(&g->vcpus[i].state, VCPU_STOPPED);
    guest_console_flush(g);
    guest_uart_reset(&g->uart);
    guest_power_reset(&g->power);
    guest_pm_reset(&g->pm);
    guest_nics_reset(g);
    if (for_good)
        bus_guest_stop(g->bus);
    else
        bus_guest_reset(g->bus);
    if (g->iommu)
        guest_iommu_reset(g->iommu); // after the functions that it confined
    guest_ioapic_reset(&g->ioapic);  // after whatever still drove its pins
    guest_isa_reset(g);
    guest_rtc_reset(&g->rtc);
    guest_memory_clear(g);
}

static void stop_now(struct guest *g)
{
    reset_devices(g, true);
    atomic_store(&g->state, GUEST_STOPPED);
    trace(TRACE_GUEST_STOP, g->index);
    log_info(g->config->name, "stopped: %s", g->stop_reason);
}

/// A stopped guest asks for its functions again, and waits for them.
static void begin_waiting(struct guest *g)
{
    g->waiting_ns = time_ns();
    bus_guest_claim(g->bus);
    atomic_store(&g->state, GUEST_WAITING);
}

static void carry_out(struct guest *g, uint32_t requests)
{
    bool stopped = atomic_load(&g->state) == GUEST_STOPPED;
    atomic_store(&g->pause_wanted, false);
    if (requests & GUEST_REQUEST_STOP) {
        if (!stopped)
            stop_now(g);
        return;
    }
    if (may_say(g))
        log_info(g->config->name, requests & GUEST_REQUEST_RESET ? "reset" : "started again");
    if (stopped) {
        begin_waiting(g);
    } else if (requests & GUEST_REQUEST_RESET) {
        reset_devices(g, false);
        guest_start(g);
    }
}

void guest_tend(struct guest *g)
{
    if (guest_wants_out(g) && !guest_alone(g))
        return; // the others end their slices first
    uint32_t requests = atomic_exchange(&g->requests, 0);
    if (requests)
        carry_out(g, requests);
    else
        guest_pause_tend(g);
    if (atomic_load(&g->state) == GUEST_RUNNING) {
        guest_console_feed(g);
        guest_nics_tend(g);
    }
    if (atomic_load(&g->state) != GUEST_WAITING)
        return;
    if (bus_guest_ready(g->bus)) {
        bus_guest_tell_missing(g->bus); // those that are another guest's
        guest_start(g);
    } else if (time_ns() - g->waiting_ns > g->config->wait_s * 1000000000ull) {
        log_warn(g->config->name, "starts without all its devices: they did not come in %u s",
                 (unsigned)g->config->wait_s);
        bus_guest_tell_missing(g->bus);
        guest_start(g);
    } else {
        (void)guest_memory_zero_ahead(g); // the time is there anyway
    }
}

enum vm_result vm_stop(struct vcpu *v, const char *fmt, ...)
{
    struct guest *g = v->guest;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->stop_reason, sizeof g->stop_reason, fmt, ap);
    va_end(ap);
    guest_console_flush(g);
    log_error(g->config->name, "%s", g->stop_reason);
    guest_virt->dump(v);
    atomic_store(&v->state, VCPU_STOPPED);
    request(g, GUEST_REQUEST_STOP);
    return VM_STOP;
}
