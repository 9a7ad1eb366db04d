// SPDX-License-Identifier: BSD-2-Clause
// A driver for an Intel VT-d remapping unit at 0xfed90000 (Farbus' and QEMU's place), as small as it can be:
// registers, commands, a queue of 256 descriptors. Knows no ACPI: look whether it is there first.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// Registers (VT-d 3.3, 11.4)
#define IOMMU_CAP    0x08u
#define IOMMU_ECAP   0x10u
#define IOMMU_GCMD   0x18u
#define IOMMU_GSTS   0x1cu
#define IOMMU_RTADDR 0x20u
#define IOMMU_FSTS   0x34u
#define IOMMU_IQH    0x80u
#define IOMMU_IQT    0x88u
#define IOMMU_IQA    0x90u
#define IOMMU_ICS    0x9cu

#define IOMMU_TE   0x80000000u
#define IOMMU_SRTP 0x40000000u
#define IOMMU_QIE  0x04000000u

#define IOMMU_FSTS_PPF 0x2u
#define IOMMU_FSTS_IQE 0x10u

// Descriptors (6.5.2), first quadword
#define IOMMU_CONTEXT_GLOBAL    0x11ull
#define IOMMU_IOTLB_GLOBAL      0x12ull
#define IOMMU_IOTLB_DOMAIN(did) (0x22ull | (uint64_t)(did) << 16)
#define IOMMU_IOTLB_PAGES(did)  (0x32ull | (uint64_t)(did) << 16)  // second: address | log2(pages)
#define IOMMU_WAIT(data)        (0x25ull | (uint64_t)(data) << 32) // second: where the data is written

struct iommu_descriptor {
    uint64_t low, high;
};

bool iommu_here(void);
uint32_t iommu_read(uint32_t reg);
void iommu_write(uint32_t reg, uint32_t value);
/// Both halves, the low one first.
uint64_t iommu_read64(uint32_t reg);
void iommu_write64(uint32_t reg, uint64_t value);
/// Writes GCMD and waits until GSTS shows those of its bits that stay. False: it does not.
bool iommu_command(uint32_t gcmd);
/// The library's queue, empty, and root table; everything cached is forgotten. Translation is off.
bool iommu_start(uint64_t root);
/// One descriptor and a wait for it. False: not completed.
bool iommu_invalidate(uint64_t low, uint64_t high);
/// Everything off.
void iommu_stop(void);
