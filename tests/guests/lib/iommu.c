// SPDX-License-Identifier: BSD-2-Clause
#include "tests/guests/lib/iommu.h"
#include "tests/guests/lib/cpu.h"

#define BASE     0xfed90000u
#define PATIENCE 1000000u // looks

static _Alignas(4096) struct iommu_descriptor queue[256];
static volatile uint32_t done;
static uint32_t tail, number;

uint32_t iommu_read(uint32_t reg)
{
    return mmio_read32(BASE + reg);
}

void iommu_write(uint32_t reg, uint32_t value)
{
    mmio_write32(BASE + reg, value);
}

uint64_t iommu_read64(uint32_t reg)
{
    uint32_t low = iommu_read(reg);
    return low | (uint64_t)iommu_read(reg + 4) << 32;
}

void iommu_write64(uint32_t reg, uint64_t value)
{
    iommu_write(reg, (uint32_t)value);
    iommu_write(reg + 4, (uint32_t)(value >> 32));
}

bool iommu_here(void)
{
    uint64_t cap = iommu_read64(IOMMU_CAP);
    return cap != 0 && cap != ~0ull;
}

bool iommu_command(uint32_t gcmd)
{
    const uint32_t stays = IOMMU_TE | IOMMU_QIE;
    iommu_write(IOMMU_GCMD, gcmd);
    for (unsigned i = 0; i < PATIENCE; i++) {
        uint32_t gsts = iommu_read(IOMMU_GSTS);
        if (((gsts ^ gcmd) & stays) == 0 && (!(gcmd & IOMMU_SRTP) || gsts & IOMMU_SRTP))
            return true;
    }
    return false;
}

bool iommu_invalidate(uint64_t low, uint64_t high)
{
    done = 0;
    queue[tail] = (struct iommu_descriptor){low, high};
    queue[tail + 1] = (struct iommu_descriptor){IOMMU_WAIT(++number), (uint32_t)&done};
    tail = (tail + 2) % 256;
    __asm__ volatile("" ::: "memory");
    iommu_write(IOMMU_IQT, tail * 16);
    for (unsigned i = 0; i < PATIENCE && done != number; i++)
        ;
    return done == number;
}

bool iommu_start(uint64_t root)
{
    iommu_stop();
    iommu_write(IOMMU_IQT, 0);
    iommu_write64(IOMMU_IQA, (uint32_t)queue);
    iommu_write64(IOMMU_RTADDR, root);
    tail = 0;
    return iommu_command(IOMMU_QIE) && iommu_command(IOMMU_QIE | IOMMU_SRTP) &&
           iommu_invalidate(IOMMU_CONTEXT_GLOBAL, 0) && iommu_invalidate(IOMMU_IOTLB_GLOBAL, 0);
}

void iommu_stop(void)
{
    (void)iommu_command(0);
    iommu_write(IOMMU_FSTS, IOMMU_FSTS_IQE);
}
