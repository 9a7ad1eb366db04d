// SPDX-License-Identifier: BSD-2-Clause
// A command of selftest.elf, in a file of its own. Knows nothing else.
#pragma once

/// Tries drivers/vtd.h with an edu device; says what it saw. Once.
void run_iommu(int argc, char *argv[]);
