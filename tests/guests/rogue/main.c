// SPDX-License-Identifier: BSD-2-Clause
// rogue: the list of what can be asked for. `do=NAME[,NAME...]`, `seed=N`, `count=N`.
#include "tests/guests/rogue/rogue.h"

static const struct {
    const char *name;
    void (*run)(void);
} things[] = {
    // survived
    {"msrs", rogue_msrs},
    {"ports", rogue_ports},
    {"mmio", rogue_mmio},
    {"storm", rogue_storm},
    {"step", rogue_step},
    {"own", rogue_own},
    {"odd", rogue_odd},
    {"registers", rogue_registers},
    {"vmx", rogue_vmx},
    {"task", rogue_task},
    {"movs", rogue_movs},
    {"lapic", rogue_lapic},
    {"pci", rogue_pci},
    {"dma", rogue_dma},
    {"iommu", rogue_iommu},
    // not survived
    {"garbage", rogue_garbage},
    {"random", rogue_random},
    {"triple", rogue_triple},
    {"cpuid", rogue_cpuid},
    {"hlt", rogue_hlt},
    {"exceptions", rogue_exceptions},
    {"fetch", rogue_fetch},
    {"page_tables", rogue_page_tables},
    {"spin", rogue_spin},
    {"stack", rogue_stack},
};

int guest_main(void)
{
    unsigned done = 0;
    for (unsigned i = 0; i < sizeof things / sizeof things[0]; i++)
        if (option_lists("do", things[i].name)) {
            print("rogue: %s begins\n", things[i].name);
            things[i].run();
            print("rogue: %s survived\n", things[i].name);
            done++;
        }
    print("rogue: %u done\n", done);
    return done == 0;
}
