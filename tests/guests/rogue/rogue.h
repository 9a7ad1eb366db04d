// SPDX-License-Identifier: BSD-2-Clause
// The rogue guest: does what no guest should, one thing per name on its command line (`do=NAME`). A thing
// either ends the guest (its own fault, its own end) or is survived, and then says so.
#pragma once
#include "tests/guests/lib/boot.h"
#include "tests/guests/lib/console.h"
#include "tests/guests/lib/cpu.h"
#include "tests/guests/lib/fault.h"
#include <stdint.h>

// The end of the guest, or a loop without end
void rogue_garbage(void);
void rogue_random(void);
void rogue_triple(void);
void rogue_cpuid(void);
void rogue_hlt(void);
void rogue_exceptions(void);
void rogue_fetch(void);
void rogue_page_tables(void);
void rogue_spin(void);
void rogue_stack(void);
// Survived
void rogue_msrs(void);
void rogue_ports(void);
void rogue_mmio(void);
void rogue_storm(void);
void rogue_step(void);
void rogue_own(void);
void rogue_odd(void);
void rogue_registers(void);
void rogue_vmx(void);
void rogue_task(void);
void rogue_movs(void);
void rogue_lapic(void);
void rogue_pci(void);
void rogue_dma(void);
void rogue_iommu(void);

// dma.c: edu's DMA for other rooms. `base` is edu's BAR.
extern volatile uint8_t edu_page[4096];
void edu_page_fill(uint8_t byte);
/// 512 bytes between edu's buffer and `ram`, to the end; command: EDU_DMA_TO_RAM or 0.
void edu_transfer(uint32_t base, uint64_t ram, uint32_t command);
/// Through edu_page. Bytes that went wrong there and back; bytes of edu's buffer that came from elsewhere.
uint32_t edu_wrong(uint32_t base);
uint32_t edu_leaked(uint32_t base);
/// edu's BAR, ready for DMA without interrupts; 0: no edu.
uint32_t edu_ready(uint16_t *bdf);
