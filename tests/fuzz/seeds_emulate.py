#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""usage: seeds_emulate.py FOLDER   writes the seed corpus of fuzz_emulate there: instructions of every kind, in every mode."""
import os
import sys

instructions = {
    "mov": "8907 8807 8b06 8a36 c70701020304 c60755 a00010000000000000 48a30010000000000000",
    "extend": "0fb606 0fb706 0fbe06 480fbf06 486306 0f38f006 0f38f106 0fc307",
    "alu": "0107 0a06 811701000000 831fff f00fc106 2107 2b06 3307 3c01 3b06 8507 f707ff000000",
    "unary": "f717 f61f ff07 fe0f f0ff07",
    "shift": "d127 c12f05 d23f c00703 d30f",
    "bits": "0fa307 0fab0f 0fba3703 f00fba3f1f",
    "exchange": "8707 0fb00f 0fb10f f00fc10f",
    "stack": "ff36 8f06 66ff37 8f442408",
    "string": "f3ab f3a5 f2ae f3a7 ac 67f3a4 6466a5",
    "conditional": "0f4406 0f9407",
    "refused": "0f2806 c5f82806 d906 ff16 660f6f06 f20f1006",
    "prefixed": "66678b8c24 2e67668b8424 4866 66666666666666666666666666668907",
    "relative": "8b0500100000 c7050010000001020304",
}
for name, text in instructions.items():
    for i, code in enumerate(text.split()):
        for mode in range(3):
            with open(os.path.join(sys.argv[1], f"{name}-{i}-{mode}"), "wb") as f:
                f.write(bytes([mode, 1]) + bytes.fromhex(code))
