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
