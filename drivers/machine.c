// SPDX-License-Identifier: BSD-2-Clause
// The order in which the machine comes up, and the ways it ends. All that is known about one kind of hardware
// is in the file that drives it; here is only who needs whom.
#include "drivers/machine.h"
#include "drivers/acpi.h"
#include "drivers/apic.h"
#include "drivers/fbcon.h"
#include "drivers/pci.h"
#include "drivers/smp.h"
#include "drivers/tsc.h"
#include "drivers/uart.h"
#include "rt/cpu.h"
#include "rt/irq.h"
#include "rt/log.h"
#include "rt/paging_internal.h"
#include "rt/panic.h"
#include "rt/start.h"
#include "rt/time.h"
#include "rt/version.h"
#include "rt/x86.h"
#include <string.h>

static struct acpi_info acpi;
static struct fbcon screen;

extern const uint8_t _binary_console_psf_start[],
    _binary_console_psf_end[]; // the Makefile makes it from the system's font

const struct acpi_info *machine_acpi(void)
{
    return &acpi;
}

static void screen_write(void *dev, const char *bytes, size_t n)
{
    fbcon_write(dev, bytes, n);
}

static void start_screen(const struct boot_framebuffer *fb)
{
    static const struct console_sink sink = {.name = "framebuffer", .write = screen_write, .dev = &screen};
    struct psf font;
    if (fb->base == 0)
        return;
    enum status s = psf_open(_binary_console_psf_start,
                             (size_t)(_binary_console_psf_end - _binary_console_psf_start), &font);
    if (s != OK) {
        log_warn("machine", "no text on the framebuffer: the built-in font is %s", status_name(s));
        return;
    }
    size_t text = fbcon_text_bytes(fb->width, fb->height, &font);
    if (text == 0 || fb->pitch_pixels < fb->width ||
        fb->size / 4 < (uint64_t)fb->pitch_pixels * (fb->height - 1) + fb->width) {
        log_warn("machine", "no text on the framebuffer: %u x %u pixels, %u a line, in %llu bytes", fb->width,
                 fb->height, fb->pitch_pixels, (unsigned long long)fb->size);
        return;
    }
    volatile void *pixels = mmio_map_wc(fb->base, fb->size);
    phys_t cells = frames_alloc((text + FRAME_SIZE - 1) / FRAME_SIZE, FRAME_SIZE, 0);
    if (!pixels || cells == FRAME_NONE) {
        log_warn("machine", "no text on the framebuffer: no memory");
        return;
    }
    fbcon_start(&screen, pixels, fb->width, fb->height, fb->pitch_pixels, &font, phys_to_virt(cells));
    console_add_sink(&sink);
}

/// ACPI tables lie in RAM that the direct map has; where firmware put one elsewhere, it gets a window.
static const void *map_table(void *ctx, uint64_t phys, size_t size)
{
    (void)ctx;
    const void *direct = phys_to_virt(phys);
    if (phys + size < phys)
        return NULL;
    if (phys < 1ull << 46 && paging_readable((uint64_t)(uintptr_t)direct, size))
        return direct;
    return (const void *)mmio_map(phys, size);
}

const void *machine_table(uint64_t phys, size_t size)
{
    return map_table(NULL, phys, size);
}

static void read_acpi(uint64_t rsdp)
{
    enum status s = acpi_read(rsdp, map_table, NULL, &acpi);
    if (s != OK)
        log_warn("machine", "no ACPI tables (RSDP 0x%llx): %s; one CPU, no interrupts, no power off",
                 (unsigned long long)rsdp, status_name(s));
    if (acpi.bad_tables)
        log_warn("machine", "%u ACPI tables are damaged and not used", acpi.bad_tables);
    if (acpi.cpus_dropped)
        log_warn("machine", "%u CPUs more than the %u that are supported stay off", acpi.cpus_dropped,
                 ACPI_CPUS_MAX);
}

static void route_uart(void)
{
    uint8_t vector;
    if (irq_alloc(uart_interrupt, NULL, &vector) == OK && apic_route_isa(UART_ISA_IRQ, vector) == OK)
        uart_irq_enable();
    else
        log_debug("machine", "the UART has no interrupt and is polled");
}

static void start_pci(void)
{
    for (uint32_t i = 0; i < acpi.segment_count; i++) {
        enum status s = pci_set_ecam(acpi.segments[i].segment, acpi.segments[i].base,
                                     acpi.segments[i].first_bus, acpi.segments[i].last_bus);
        if (s != OK)
            log_warn("machine", "MCFG entry %u (segment %u, base 0x%llx) is not used: %s", i,
                     acpi.segments[i].segment, (unsigned long long)acpi.segments[i].base, status_name(s));
    }
    pci_scan();
}

/// The processor brand string (SDM vol. 2, CPUID leaves 80000002h-80000004h), without the blanks around it.
static const char *cpu_brand(char text[49])
{
    memset(text, 0, 49);
    if (cpuid(0x80000000u, 0).eax < 0x80000004u)
        return "unknown CPU";
    for (uint32_t i = 0; i < 3; i++) {
        struct cpuid r = cpuid(0x80000002u + i, 0);
        memcpy(text + 16 * i, &r, 16);
    }
    while (*text == ' ')
        text++;
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' ';)
        text[--n] = 0;
    return text;
}

static void print_banner(const struct boot_info *info, const char *role, const char *time_source)
{
    char brand[49];
    struct frames_stats mem = frames_stats();
    uint64_t khz = time_tsc_hz() / 1000, usable = 0;
    for (uint32_t i = 0; i < info->mem_count; i++)
        if (info->mem[i].type != BOOT_MEM_RESERVED && info->mem[i].type != BOOT_MEM_MMIO)
            usable += info->mem[i].size;
    log_info("machine", "Farbus %s, %s \"%s\"", FARBUS_VERSION, role, info->node.name);
    log_info("machine", "CPU: %s, %u online, %s, %u I/O APIC%s", cpu_brand(brand), cpu_count(), apic_mode(),
             apic_ioapic_count(), apic_ioapic_count() == 1 ? "" : "s");
    log_info("machine", "memory: %llu MiB, %llu MiB free", (unsigned long long)(usable >> 20),
             (unsigned long long)(mem.free * FRAME_SIZE >> 20));
    log_info("machine", "time: TSC at %llu.%03llu MHz from %s", (unsigned long long)(khz / 1000),
             (unsigned long long)(khz % 1000), time_source);
    log_info("machine", "PCI: %u functions, configuration through %s", pci_device_count(),
             acpi.segment_count ? "MCFG" : "0xCF8");
}

/// After everything is mapped that is mapped at start; what comes later cannot be W+X either (rt/pagetable.c
/// refuses).
static void audit_paging(void)
{
    struct paging_audit audit = paging_audit();
    log_info("machine", "paging: %llu leaves, W %llu, X %llu, W+X %llu", (unsigned long long)audit.leaves,
             (unsigned long long)audit.writable, (unsigned long long)audit.executable,
             (unsigned long long)audit.both);
    ASSERT(audit.both == 0);
}

enum status machine_start(const struct boot_info *info, const char *role)
{
    if (info->node.console_serial)
        (void)uart_start();
    if (info->node.console_fb)
        start_screen(&info->framebuffer);
    start_phase("consoles");
    read_acpi(info->rsdp);
    start_phase("ACPI tables");
    const char *time_source = tsc_start(&acpi);
    start_phase("time");
    enum status s = apic_start(&acpi);
    if (s != OK) {
        log_error("machine", "the local APIC does not work: %s", status_name(s));
        return s;
    }
    if (info->node.console_serial)
        route_uart();
    start_phase("interrupt controllers");
    start_pci();
    start_phase("PCI");
    smp_start(&acpi, info->trampoline);
    start_phase("CPUs");
    audit_paging();
    start_phase("page table audit");
    print_banner(info, role, time_source);
    start_phase("banner");
    start_log_phases();
    return OK;
}

static void write_register(const struct acpi_register *r, unsigned bytes, uint32_t value)
{
    volatile void *at;
    switch (r->space) {
    case ACPI_SPACE_IO:
        if (bytes == 1)
            out8((uint16_t)r->address, (uint8_t)value);
        else
            out16((uint16_t)r->address, (uint16_t)value);
        break;
    case ACPI_SPACE_MEMORY:
        at = mmio_map(r->address, bytes);
        if (at && bytes == 1)
            mmio_write8(at, (uint8_t)value);
        else if (at)
            mmio_write16(at, (uint16_t)value);
        break;
    case ACPI_SPACE_PCI: // bus 0; device in bits 47:32, function in 31:16, register in 15:0
        pci_config_write(
            (struct pci_address){.devfn = (uint8_t)((r->address >> 32 & 31) << 3 | (r->address >> 16 & 7))},
            (uint16_t)(r->address & 0xff), bytes, value);
        break;
    default:
        break;
    }
}

/// ACPI 6.4, 7.4.1: SLP_TYP and SLP_EN to PM1a_CNT and PM1b_CNT.
static void soft_off(void)
{
    enum { SCI_EN = 1, SLP_TYP_SHIFT = 10, SLP_EN = 1 << 13, SMI_PORT_MAX = 0xffff };
    const struct acpi_register *a = &acpi.pm1a_control, *b = &acpi.pm1b_control;
    if (!acpi.s5 || a->address == 0)
        return;
    if (a->space == ACPI_SPACE_IO && !(in16((uint16_t)a->address) & SCI_EN) && acpi.smi_command != 0 &&
        acpi.smi_command <= SMI_PORT_MAX && acpi.acpi_enable != 0) {
        out8((uint16_t)acpi.smi_command, acpi.acpi_enable);
        for (unsigned i = 0; i < 300 && !(in16((uint16_t)a->address) & SCI_EN); i++)
            time_delay_us(10000);
    }
    write_register(a, 2, (uint32_t)acpi.s5_type_a << SLP_TYP_SHIFT | SLP_EN);
    if (b->address != 0)
        write_register(b, 2, (uint32_t)acpi.s5_type_b << SLP_TYP_SHIFT | SLP_EN);
    time_delay_us(100000);
}

_Noreturn void machine_power_off(void)
{
    uart_drain();
    soft_off();
    for (const char *c = "Shutdown"; *c; c++) // Bochs's and older QEMUs' way
        out8(0x8900, (uint8_t)*c);
    log_error("machine", "this machine does not power off: do it by hand");
    uart_drain();
    for (;;) {
        cli();
        hlt();
    }
}

_Noreturn void machine_reset(void)
{
    const struct descriptor_table none = {0};
    uart_drain();
    if (acpi.reset.address != 0) {
        write_register(&acpi.reset, 1, acpi.reset_value);
        time_delay_us(100000);
    }
    out8(0xcf9, 0x02); // reset control register of PIIX and ICH: full reset on the rising edge of bit 2
    out8(0xcf9, 0x06);
    time_delay_us(100000);
    out8(0x64, 0xfe); // keyboard controller: pulse the reset line
    time_delay_us(100000);
    lidt(&none); // an exception without an IDT is a triple fault
    __asm__ volatile("int3");
    for (;;)
        hlt();
}
