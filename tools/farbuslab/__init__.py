# SPDX-License-Identifier: BSD-2-Clause
"""A laboratory: machines (Bochs, QEMU), LANs between them, consoles. tools/lab and tests/system both use it; docs/lab.md describes it."""
from .console import Console, ConsoleTimeout
from .errors import LabError
from .lab import Lab

__all__ = ["Console", "ConsoleTimeout", "Lab", "LabError"]
