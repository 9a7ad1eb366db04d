// SPDX-License-Identifier: BSD-2-Clause
// Names of class codes (drivers/pci_class.h): PCI Code and ID Assignment Specification 1.11, chapter 1, with
// the words that `lspci` has for them.
#include "drivers/pci_class.h"
#include <stddef.h>

#define OTHER 0x80u // the subclass of what has no own one; its row names the class

static const struct {
    uint8_t class_code, subclass;
    const char *name;
} names[] = {
    {0x00, 0x01, "VGA compatible unclassified device"},
    {0x00, 0xff, "Unclassified device"},
    {0x00, OTHER, "Unclassified device"},
    {0x01, 0x00, "SCSI storage controller"},
    {0x01, 0x01, "IDE interface"},
    {0x01, 0x04, "RAID bus controller"},
    {0x01, 0x05, "ATA controller"},
    {0x01, 0x06, "SATA controller"},
    {0x01, 0x07, "Serial Attached SCSI controller"},
    {0x01, 0x08, "Non-Volatile memory controller"},
    {0x01, OTHER, "Mass storage controller"},
    {0x02, 0x00, "Ethernet controller"},
    {0x02, 0x07, "Infiniband controller"},
    {0x02, OTHER, "Network controller"},
    {0x03, 0x00, "VGA compatible controller"},
    {0x03, 0x02, "3D controller"},
    {0x03, OTHER, "Display controller"},
    {0x04, 0x00, "Multimedia video controller"},
    {0x04, 0x01, "Multimedia audio controller"},
    {0x04, 0x03, "Audio device"},
    {0x04, OTHER, "Multimedia controller"},
    {0x05, 0x00, "RAM memory"},
    {0x05, 0x01, "FLASH memory"},
    {0x05, OTHER, "Memory controller"},
    {0x06, 0x00, "Host bridge"},
    {0x06, 0x01, "ISA bridge"},
    {0x06, 0x04, "PCI bridge"},
    {0x06, OTHER, "Bridge"},
    {0x07, 0x00, "Serial controller"},
    {0x07, 0x01, "Parallel controller"},
    {0x07, 0x02, "Multiport serial controller"},
    {0x07, 0x03, "Modem"},
    {0x07, OTHER, "Communication controller"},
    {0x08, 0x05, "SD Host controller"},
    {0x08, 0x06, "IOMMU"},
    {0x08, OTHER, "System peripheral"},
    {0x09, OTHER, "Input device controller"},
    {0x0b, OTHER, "Processor"},
    {0x0c, 0x00, "FireWire (IEEE 1394)"},
    {0x0c, 0x03, "USB controller"},
    {0x0c, 0x04, "Fibre Channel"},
    {0x0c, 0x05, "SMBus"},
    {0x0c, OTHER, "Serial bus controller"},
    {0x0d, 0x11, "Bluetooth"},
    {0x0d, OTHER, "Wireless controller"},
    {0x0f, OTHER, "Satellite communications controller"},
    {0x10, OTHER, "Encryption controller"},
    {0x11, OTHER, "Signal processing controller"},
    {0x12, OTHER, "Processing accelerators"},
};

const char *pci_class_name(uint8_t class_code, uint8_t subclass)
{
    const char *of_class = "Unknown device";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].class_code != class_code)
            continue;
        if (names[i].subclass == subclass)
            return names[i].name;
        if (names[i].subclass == OTHER)
            of_class = names[i].name;
    }
    return of_class;
}
