// SPDX-License-Identifier: BSD-2-Clause
// A lent function on this machine's real bus (remote-fw/device.h).
#include "remote-fw/device.h"
#include "net/discovery.h"
#include "rt/log.h"
#include "rt/paging.h"
#include "rt/x86.h"
#include <stddef.h>

struct device {
    struct pci_device *pci;
    volatile uint8_t *bars[6]; // BARs of up to one window, once mapped
};
static struct device devices[DISCOVERY_FUNCTIONS_MAX];
static unsigned device_count;

/// Windows into larger BARs: an open-addressed hash by physical address.
static struct {
    uint64_t base; // 0: free
    volatile uint8_t *at;
} windows[DEVICE_WINDOWS_MAX];
static unsigned window_count;

static uint32_t real_config_read(void *device, uint16_t offset, unsigned size)
{
    return pci_config_read(((struct device *)device)->pci->at, offset, size);
}

static void real_config_write(void *device, uint16_t offset, unsigned size, uint32_t value)
{
    pci_config_write(((struct device *)device)->pci->at, offset, size, value);
}

static uint16_t port_of(const struct device *d, unsigned bar, uint64_t offset)
{
    return (uint16_t)(d->pci->bars[bar].base + offset);
}

static uint32_t real_io_read(void *device, unsigned bar, uint64_t offset, unsigned size)
{
    uint16_t port = port_of(device, bar, offset);
    return size == 1 ? in8(port) : size == 2 ? in16(port) : in32(port);
}

static void real_io_write(void *device, unsigned bar, uint64_t offset, unsigned size, uint32_t value)
{
    uint16_t port = port_of(device, bar, offset);
    if (size == 1)
        out8(port, (uint8_t)value);
    else if (size == 2)
        out16(port, (uint16_t)value);
    else
        out32(port, value);
}

/// mmio_map of something that need not begin on a page.
static volatile uint8_t *map(uint64_t base, uint64_t size)
{
    uint64_t in_page = base & (FRAME_SIZE - 1);
    uint64_t bytes = (in_page + size + FRAME_SIZE - 1) & ~(FRAME_SIZE - 1);
    volatile uint8_t *at = mmio_map(base - in_page, bytes);
    return at ? at + in_page : NULL;
}

static volatile uint8_t *window(uint64_t phys)
{
    uint64_t base = phys & ~(DEVICE_WINDOW_SIZE - 1);
    unsigned i = (unsigned)(base / DEVICE_WINDOW_SIZE) % DEVICE_WINDOWS_MAX;
    for (unsigned n = 0; n < DEVICE_WINDOWS_MAX; n++, i = (i + 1) % DEVICE_WINDOWS_MAX) {
        if (windows[i].base == base)
            return windows[i].at + (phys - base);
        if (windows[i].base)
            continue;
        volatile uint8_t *at = map(base, DEVICE_WINDOW_SIZE);
        if (!at)
            return NULL;
        windows[i].base = base;
        windows[i].at = at;
        if (++window_count == DEVICE_WINDOWS_MAX)
            log_warn("lend", "all %u MMIO windows are in use: further parts of large BARs cannot be reached",
                     DEVICE_WINDOWS_MAX);
        return at + (phys - base);
    }
    return NULL;
}

static volatile void *reach(struct device *d, unsigned bar, uint64_t offset)
{
    const struct pci_bar *b = &d->pci->bars[bar];
    if (b->size > DEVICE_WINDOW_SIZE) // naturally aligned: no access crosses a window
        return window(b->base + offset);
    if (!d->bars[bar])
        d->bars[bar] = map(b->base, b->size);
    return d->bars[bar] ? d->bars[bar] + offset : NULL;
}

static enum status real_memory_read(void *device, unsigned bar, uint64_t offset, unsigned size,
                                    uint64_t *value)
{
    volatile void *p = reach(device, bar, offset);
    if (!p)
        return ERR_NOMEM;
    switch (size) {
    case 1:
        *value = mmio_read8(p);
        break;
    case 2:
        *value = mmio_read16(p);
        break;
    case 4:
        *value = mmio_read32(p);
        break;
    default:
        *value = mmio_read64(p);
        break;
    }
    return OK;
}

static enum status real_memory_write(void *device, unsigned bar, uint64_t offset, unsigned size,
                                     uint64_t value)
{
    volatile void *p = reach(device, bar, offset);
    if (!p)
        return ERR_NOMEM;
    switch (size) {
    case 1:
        mmio_write8(p, (uint8_t)value);
        break;
    case 2:
        mmio_write16(p, (uint16_t)value);
        break;
    case 4:
        mmio_write32(p, (uint32_t)value);
        break;
    default:
        mmio_write64(p, value);
        break;
    }
    return OK;
}

static const struct function_ops real_ops = {
    .config_read = real_config_read,
    .config_write = real_config_write,
    .io_read = real_io_read,
    .io_write = real_io_write,
    .memory_read = real_memory_read,
    .memory_write = real_memory_write,
};

static struct wire_bar describe_bar(const struct pci_device *pci, unsigned i)
{
    static const uint8_t kinds[] = {
        [PCI_BAR_NONE] = 0, [PCI_BAR_IO] = 1, [PCI_BAR_MEM32] = 2, [PCI_BAR_MEM64] = 3};
    const struct pci_bar *b = &pci->bars[i];
    if (b->kind == PCI_BAR_NONE || b->size == 0)
        return (struct wire_bar){0};
    if (b->base == 0 || (b->base & (b->size - 1)) || (b->kind == PCI_BAR_IO && b->base + b->size > 0x10000)) {
        log_warn("lend",
                 PCI_FORMAT ": the firmware gave BAR%u no usable address (%#llx, %llu bytes): not lent",
                 PCI_ARGS(pci->at), i, (unsigned long long)b->base, (unsigned long long)b->size);
        return (struct wire_bar){0};
    }
    return (struct wire_bar){.size = b->size,
                             .kind = (uint8_t)(kinds[b->kind] | (b->prefetchable ? 0x80 : 0))};
}

enum status device_open(struct function *f, struct pci_device *pci)
{
    if (device_count == DISCOVERY_FUNCTIONS_MAX)
        return ERR_NOMEM;
    struct device *d = &devices[device_count++];
    d->pci = pci;
    f->ops = &real_ops;
    f->device = d;
    f->info = (struct wire_function){
        .at = {pci->at.segment, pci->at.bus, pci->at.devfn},
        .vendor = pci->vendor,
        .device = pci->device,
        .subsystem_vendor = pci->subsystem_vendor,
        .subsystem = pci->subsystem,
        .class_code = pci->class_code,
        .subclass = pci->subclass,
        .prog_if = pci->prog_if,
        .revision = pci->revision,
        .pin = pci->pin <= 4 ? pci->pin : 0,
    };
    for (unsigned i = 0; i < 6; i++)
        f->info.bars[i] = describe_bar(pci, i);
    return OK;
}
