# SPDX-License-Identifier: BSD-2-Clause
"""Seeds of fuzz_ini: one file for each key and form, so that the fuzzer begins where the parser ends."""
import os
import sys

HOST = "[node]\nname = a\nrole = host\n"
REMOTE = "[node]\nname = a\nrole = remote\n"
GUEST = "[guest g]\nmemory = 64M\nkernel = k.elf\n"
SEEDS = [
    HOST + GUEST,
    REMOTE + "lend = 0000:00:04.0\npeer = 10.0.0.1\n",
    HOST + "address = 192.168.1.10/24\ngateway = 192.168.1.1\n",
    HOST + "key = " + "0123456789abcdef" * 4 + "\npsk = " + "fedcba9876543210" * 4 + "\n[peer d]\nkey = " + "0f" * 32 + "\n",
    REMOTE + "security = none\n",
    REMOTE + "security = none\nlend = 0000:00:04.0 to b c\nlend = 0000:00:05.0\n",
    REMOTE + "lend = 0000:00:04.0 to d\nkey = " + "0123456789abcdef" * 4 + "\npsk = " + "fedcba9876543210" * 4 + "\n[peer d]\nkey = " + "0f" * 32 + "\n",
    HOST + "console = both debug\nnic = 0000:02:00.0\n",
    HOST + GUEST + "cpus = 2\nwait = 5\ncmdline = a b\ninitrd = i\nmodule = m a b\nnic = lan0\n",
    HOST + GUEST + "device = d/0000:00:04.0\n[guest h]\nmemory=1G\nkernel=k\ndevice = d/0000:00:04.1\n",
    HOST + GUEST + "dma = mirror\nbus = flat\n[guest h]\nmemory=1G\nkernel=k\ndma = iommu\nbus = ports\n",
    HOST + "[guest h]\ndma = mirror\nmemory=1G\nkernel=k\n",
    "\ufeff; comment\r\n" + HOST.replace("\n", "\r\n"),
]

for n, text in enumerate(SEEDS):
    with open(os.path.join(sys.argv[1], f"seed{n}"), "wb") as f:
        f.write(text.encode())
