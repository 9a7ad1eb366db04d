// SPDX-License-Identifier: BSD-2-Clause
// The guest's machine as its operating system is told of it: PCIe root complex, COM1, RTC, S5. Addresses: hv/platform/machine.h,
// hv/platform/pci_host.h.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "FARBUS", "FARBUSVM", 1)
{
    Name (\_S5, Package () { 0, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, 0)
            Name (_BBN, 0)
            Name (_CCA, 1)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 255, 0, 256)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0xC000, 0xFFFF, 0, 0x4000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0x8000000000, 0xBFFFFFFFFF, 0, 0x4000000000)
            })
            // INTx of bus 0: GSI 16 + (device + pin) mod 4
            Name (_PRT, Package ()
            {
#define PRT(d, a, b, c, e) Package () { d, 0, 0, a }, Package () { d, 1, 0, b }, Package () { d, 2, 0, c }, Package () { d, 3, 0, e }
                PRT (0x0001FFFF, 17, 18, 19, 16), PRT (0x0002FFFF, 18, 19, 16, 17), PRT (0x0003FFFF, 19, 16, 17, 18),
                PRT (0x0004FFFF, 16, 17, 18, 19), PRT (0x0005FFFF, 17, 18, 19, 16), PRT (0x0006FFFF, 18, 19, 16, 17),
                PRT (0x0007FFFF, 19, 16, 17, 18), PRT (0x0008FFFF, 16, 17, 18, 19), PRT (0x0009FFFF, 17, 18, 19, 16),
                PRT (0x000AFFFF, 18, 19, 16, 17), PRT (0x000BFFFF, 19, 16, 17, 18), PRT (0x000CFFFF, 16, 17, 18, 19),
                PRT (0x000DFFFF, 17, 18, 19, 16), PRT (0x000EFFFF, 18, 19, 16, 17), PRT (0x000FFFFF, 19, 16, 17, 18)
            })
            // The operating system gets what it asks for of PCIe's native features (PCI Firmware Specification 4.5.1).
            Method (_OSC, 4)
            {
                Return (Arg3)
            }
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
            })
        }

        Device (MBRD) // what is decoded but belongs to no other device
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xE0000000, 0x10000000)
                IO (Decode16, 0x0600, 0x0600, 1, 0x10)
            })
        }
    }
}
