// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Shell command: what sealing costs on this CPU (TSC ticks, the least of several), and that it leaves the
/// vector registers alone.
void run_seal(int argc, char *argv[]);
