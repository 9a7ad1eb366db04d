// SPDX-License-Identifier: BSD-2-Clause
// Configuration space as PCI 3.0 (chapter 6), PCI-to-PCI Bridge 1.2 (chapter 3) and PCIe 4.0 (chapter 7)
// number it. Offsets and bits only, for every room that looks at a function's configuration space.
#pragma once

// PCI 3.0 figure 6-1: common header
#define PCI_VENDOR_ID           0x00
#define PCI_DEVICE_ID           0x02
#define PCI_COMMAND             0x04
#define PCI_COMMAND_IO          0x0001u
#define PCI_COMMAND_MEMORY      0x0002u
#define PCI_COMMAND_MASTER      0x0004u
#define PCI_COMMAND_INTX_OFF    0x0400u
#define PCI_STATUS              0x06
#define PCI_STATUS_CAPABILITIES 0x0010u
#define PCI_REVISION_ID         0x08 // class code in the three bytes above it
#define PCI_HEADER_TYPE         0x0e
#define PCI_HEADER_MULTI        0x80u
#define PCI_HEADER_MASK         0x7fu
#define PCI_BAR0                0x10
#define PCI_BAR_IS_IO           0x1u
#define PCI_BAR_IO_MASK         0xfffffffcu
#define PCI_BAR_MEM_TYPE        0x6u
#define PCI_BAR_MEM_64          0x4u
#define PCI_BAR_MEM_PREFETCH    0x8u
#define PCI_BAR_MEM_MASK        0xfffffff0u

enum pci_header { PCI_HEADER_NORMAL = 0, PCI_HEADER_BRIDGE = 1, PCI_HEADER_CARDBUS = 2 };

// header type 0
#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID        0x2e
#define PCI_CAPABILITIES        0x34
#define PCI_INTERRUPT_LINE      0x3c
#define PCI_INTERRUPT_PIN       0x3d
// header type 1 (Bridge 1.2 figure 3-1) and 2
#define PCI_PRIMARY_BUS          0x18 // secondary bus 0x19, subordinate bus 0x1a
#define PCI_CARDBUS_CAPABILITIES 0x14

#define PCI_CLASS_NETWORK        0x02
#define PCI_CLASS_BRIDGE         0x06
#define PCI_SUBCLASS_ETHERNET    0x00
#define PCI_SUBCLASS_BRIDGE_HOST 0x00
#define PCI_SUBCLASS_BRIDGE_PCI  0x04

// Capability identifiers (PCI Code and ID Assignment, chapter 2)
#define PCI_CAP_PM     0x01
#define PCI_CAP_MSI    0x05
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_PCIE   0x10
#define PCI_CAP_MSIX   0x11

// Power management (PM 1.2, 3.2)
#define PCI_PM_CONTROL    0x04
#define PCI_PM_STATE_MASK 0x0003u

// MSI (PCI 3.0, 6.8.1)
#define PCI_MSI_CONTROL       0x02
#define PCI_MSI_ENABLE        0x0001u
#define PCI_MSI_MULTIPLE_MASK 0x0070u
#define PCI_MSI_64            0x0080u
#define PCI_MSI_ADDRESS       0x04

// MSI-X (PCI 3.0, 6.8.2)
#define PCI_MSIX_CONTROL     0x02
#define PCI_MSIX_LAST_MASK   0x07ffu // number of entries, less one
#define PCI_MSIX_MASK_ALL    0x4000u
#define PCI_MSIX_ENABLE      0x8000u
#define PCI_MSIX_TABLE       0x04 // BAR in bits 2:0
#define PCI_MSIX_BAR_MASK    0x7u
#define PCI_MSIX_ENTRY_BYTES 16u  // address, upper address, data, vector control
#define PCI_MSIX_ENTRY_MASK  0x1u // in vector control

// PCI Express (PCIe 4.0, 7.5.3)
#define PCI_PCIE_LINK_CONTROL 0x10
#define PCI_PCIE_ASPM_MASK    0x0003u
