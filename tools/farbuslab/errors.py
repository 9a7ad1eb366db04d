# SPDX-License-Identifier: BSD-2-Clause
"""What goes wrong in a laboratory, as a sentence a person can act on."""


class LabError(Exception):
    pass
