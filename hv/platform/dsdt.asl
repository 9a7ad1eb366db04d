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
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x1000, 0x7FFF, 0, 0x7000)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x9000, 0xFFFF, 0, 0x7000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                             0, 0x8000000000, 0xBFFFFFFFFF, 0, 0x4000000000)
            })
            // INTx of bus 0: GSI 16 + (device + pin) mod 4. Behind a root port: the port's own.
            Name (_PRT, Package ()
            {
                Package () { 0x0001FFFF, 0, 0, 17 }, Package () { 0x0001FFFF, 1, 0, 18 }, Package () { 0x0001FFFF, 2, 0, 19 }, Package () { 0x0001FFFF, 3, 0, 16 },
                Package () { 0x0002FFFF, 0, 0, 18 }, Package () { 0x0002FFFF, 1, 0, 19 }, Package () { 0x0002FFFF, 2, 0, 16 }, Package () { 0x0002FFFF, 3, 0, 17 },
                Package () { 0x0003FFFF, 0, 0, 19 }, Package () { 0x0003FFFF, 1, 0, 16 }, Package () { 0x0003FFFF, 2, 0, 17 }, Package () { 0x0003FFFF, 3, 0, 18 },
                Package () { 0x0004FFFF, 0, 0, 16 }, Package () { 0x0004FFFF, 1, 0, 17 }, Package () { 0x0004FFFF, 2, 0, 18 }, Package () { 0x0004FFFF, 3, 0, 19 },
                Package () { 0x0005FFFF, 0, 0, 17 }, Package () { 0x0005FFFF, 1, 0, 18 }, Package () { 0x0005FFFF, 2, 0, 19 }, Package () { 0x0005FFFF, 3, 0, 16 },
                Package () { 0x0006FFFF, 0, 0, 18 }, Package () { 0x0006FFFF, 1, 0, 19 }, Package () { 0x0006FFFF, 2, 0, 16 }, Package () { 0x0006FFFF, 3, 0, 17 },
                Package () { 0x0007FFFF, 0, 0, 19 }, Package () { 0x0007FFFF, 1, 0, 16 }, Package () { 0x0007FFFF, 2, 0, 17 }, Package () { 0x0007FFFF, 3, 0, 18 },
                Package () { 0x0008FFFF, 0, 0, 16 }, Package () { 0x0008FFFF, 1, 0, 17 }, Package () { 0x0008FFFF, 2, 0, 18 }, Package () { 0x0008FFFF, 3, 0, 19 },
                Package () { 0x0009FFFF, 0, 0, 17 }, Package () { 0x0009FFFF, 1, 0, 18 }, Package () { 0x0009FFFF, 2, 0, 19 }, Package () { 0x0009FFFF, 3, 0, 16 },
                Package () { 0x000AFFFF, 0, 0, 18 }, Package () { 0x000AFFFF, 1, 0, 19 }, Package () { 0x000AFFFF, 2, 0, 16 }, Package () { 0x000AFFFF, 3, 0, 17 },
                Package () { 0x000BFFFF, 0, 0, 19 }, Package () { 0x000BFFFF, 1, 0, 16 }, Package () { 0x000BFFFF, 2, 0, 17 }, Package () { 0x000BFFFF, 3, 0, 18 },
                Package () { 0x000CFFFF, 0, 0, 16 }, Package () { 0x000CFFFF, 1, 0, 17 }, Package () { 0x000CFFFF, 2, 0, 18 }, Package () { 0x000CFFFF, 3, 0, 19 },
                Package () { 0x000DFFFF, 0, 0, 17 }, Package () { 0x000DFFFF, 1, 0, 18 }, Package () { 0x000DFFFF, 2, 0, 19 }, Package () { 0x000DFFFF, 3, 0, 16 },
                Package () { 0x000EFFFF, 0, 0, 18 }, Package () { 0x000EFFFF, 1, 0, 19 }, Package () { 0x000EFFFF, 2, 0, 16 }, Package () { 0x000EFFFF, 3, 0, 17 },
                Package () { 0x000FFFFF, 0, 0, 19 }, Package () { 0x000FFFFF, 1, 0, 16 }, Package () { 0x000FFFFF, 2, 0, 17 }, Package () { 0x000FFFFF, 3, 0, 18 }
            })
            // PCI Firmware Specification 3.3, 4.5.1: the operating system gets native hot-plug and the capability structures. PME,
            // AER, LTR and DPC are not for the asking: no port reports them.
            Method (_OSC, 4)
            {
                CreateDWordField (Arg3, 0, STAT)
                If (LNotEqual (Arg0, ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766")))
                {
                    Or (STAT, 0x04, STAT) // unrecognized UUID
                    Return (Arg3)
                }
                CreateDWordField (Arg3, 8, CTRL)
                If (LNotEqual (Arg1, One))
                {
                    Or (STAT, 0x08, STAT) // unrecognized revision
                }
                If (And (CTRL, Not (0x11)))
                {
                    Or (STAT, 0x10, STAT) // capabilities masked
                    And (CTRL, 0x11, CTRL)
                }
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
                IRQNoFlags () { 8 }
            })
        }

        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0020, 0x0020, 1, 2)
                IO (Decode16, 0x00A0, 0x00A0, 1, 2)
                IO (Decode16, 0x04D0, 0x04D0, 1, 2)
                IRQNoFlags () { 2 }
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0040, 0x0040, 1, 4)
                IRQNoFlags () { 0 }
            })
        }

        Device (MBRD) // what is decoded but belongs to no other device
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xE0000000, 0x10000000)
                IO (Decode16, 0x0061, 0x0061, 1, 1)
                IO (Decode16, 0x0600, 0x0600, 1, 0x10)
            })
        }
    }
}
