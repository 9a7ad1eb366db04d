// SPDX-License-Identifier: BSD-2-Clause
// mayfly: uses the function it has and dies, as it was told: what it leaves behind is somebody else's to
// clear up. `edu` gets bus mastering and MSI, so that there is something to take back; of any other function
// its first memory or I/O BAR is read. `end=off` (default), `end=triple`, `end=stay` (until the console ends
// it), `end=reset` (the machine's reset register).
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/edu.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/text.h"

#define RESET_CONTROL 0xcf9u

static bool is_device(void *ctx, pci_bdf at, uint32_t id)
{
    (void)ctx, (void)id;
    return at >> 8 != 0; // behind a port
}

static bool edu_works(pci_bdf at, uint32_t base)
{
    pci_write(at, PCI_COMMAND, 2, pci_read(at, PCI_COMMAND, 2) | PCI_COMMAND_MASTER);
    uint16_t msi = pci_capability(at, PCI_CAP_MSI);
    if (msi != 0) {
        pci_msi_message(at, msi, 0xfee00000u, 0x40);
        pci_write(at, (uint16_t)(msi + 2), 2, pci_read(at, (uint16_t)(msi + 2), 2) | 1u);
    }
    mmio_write32(base + EDU_LIVENESS, 0x12345678u);
    mmio_write32(base + EDU_IRQ_RAISE, 1); // pending when it dies
    return mmio_read32(base + EDU_LIVENESS) == ~0x12345678u;
}

/// Reads the first BAR there is.
static bool answers(pci_bdf at)
{
    for (unsigned i = 0; i < 6; i++) {
        struct bar bar = bar_use(at, i, true);
        if (bar.kind == BAR_NONE)
            continue;
        if (pci_read(at, PCI_VENDOR, 4) == (EDU_DEVICE << 16 | EDU_VENDOR))
            return edu_works(at, (uint32_t)bar.base);
        // pci-serial: Line Control, 0 after a reset; NVMe: capabilities. Neither is all-ones.
        return bar.kind == BAR_IO ? in8((uint16_t)(bar.base + 3)) != 0xff
                                  : mmio_read32((uint32_t)bar.base) != 0xffffffffu;
    }
    return false;
}

static const struct {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed)) no_idt = {0, 0};

int guest_main(void)
{
    pci_bdf at = pci_walk(is_device, NULL);
    if (at == PCI_NONE)
        print("mayfly: no device\n");
    else
        print("mayfly: %04x:%04x %s\n", pci_read(at, PCI_VENDOR, 2), pci_read(at, PCI_VENDOR + 2, 2),
              answers(at) ? "works" : "FAILED");
    if (option_lists("end", "triple"))
        __asm__ volatile("lidt %0; int3" ::"m"(no_idt));
    if (option_lists("end", "reset"))
        out8(RESET_CONTROL, 6);
    while (option_lists("end", "stay") || option_lists("end", "reset"))
        __asm__ volatile("hlt");
    return 0;
}
