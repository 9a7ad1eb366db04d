# SPDX-License-Identifier: BSD-2-Clause
"""A Linux guest's NVMe drive in another machine, and what can happen to it: a cable pulled for a moment and for long, a remote without power, the guest
itself reset while its drive writes, a LAN that loses, doubles and reorders frames. What may be seen is an error of the drive or a drive that is gone, in the
kernel's own words; never wrong data, never a host that stops."""
import re
import time

import linux_guest as lg
import pair

MIB = 1 << 20
BOOT_MARK = 8 * MIB  # where the drive remembers that there was a guest before

EVENTS = rf"""
drives() {{ ls /dev/nvme?n1 2>/dev/null; }}
gone() {{ ! drives >/dev/null; }}
within 60 drives
if dmacheck read $(drives) start={BOOT_MARK} bytes=65536 seed=9 | grep -q wrong=0; then
    say "second start"
    dmacheck read $(drives) bytes=1048576 bs=65536 qd=8 seed=1
    dmacheck write $(drives) start=2097152 bytes=1048576 bs=4096 qd=32 threads=2 seed=4
    dmacheck read $(drives) start=2097152 bytes=1048576 bs=65536 qd=8 seed=4
    warnings
    say "done"
    poweroff -f
fi
say "load"
dmacheck write $(drives) bytes=1048576 bs=65536 qd=8 threads=2 seed=1 seconds=4
for event in cable power; do
    say "before $event"
    dmacheck write $(drives) start=1048576 bytes=1048576 bs=65536 qd=8 threads=2 seed=2 seconds=3 | sed 's/^dmacheck/torn/' &
    within 200 gone
    wait
    say "gone $event"
    within 600 drives
    sleep 1
    dmacheck write $(drives) start=1048576 bytes=1048576 bs=65536 qd=8 seed=2
    dmacheck read $(drives) start=1048576 bytes=1048576 bs=4096 qd=16 threads=2 seed=2
    say "back $event"
done
dmacheck write $(drives) start={BOOT_MARK} bytes=65536 seed=9
say "before reset"
dmacheck read $(drives) bytes=1048576 bs=65536 qd=8 threads=2 seed=1 seconds=600
"""


def test_cable_power_reset(lab):
    l = lab(lg.description(EVENTS, {4: [lg.NVME]}, [{"id": "disk", "size": "16M"}], programs=["build/linux/dmacheck"], lan={"wire": True},
                           host={"sync": "steady"}))  # or a second of ours is three of the host's, and it gives up
    l.start()
    console, wire = l["host1"].console, l.lans["lan"]
    console.expect(r"guest: load", 900)
    time.sleep(1)
    pair.short_cut(l)
    console.expect(r"guest: before cable", 300)
    short = lg.checks(l)[-1]
    assert short["ops"] and not short["errors"] and not short["wrong"] and not short["beside"]

    time.sleep(1)
    wire.down()
    console.expect(r'remote "remote1": link down', 300)
    console.expect(r"guest: gone cable", 300)
    assert "linux: running" in pair.ask(l["host1"], "guests", "linux: ")
    wire.up()
    console.expect(r"guest: back cable", 600)

    console.expect(r"guest: before power", 60)
    time.sleep(1)
    l["remote1"].kill()
    console.expect(r"guest: gone power", 600)
    l["remote1"].start()
    console.expect(r"guest: back power", 600)

    console.expect(r"guest: before reset", 60)
    time.sleep(1)
    console.send("reset linux\n")
    console.expect(r"guest: second start", 600)
    console.expect(r"linux: stopped: powered off", 300)
    said = lg.said(l)
    assert said[-1] == "done" and [line for line in said if line.startswith("FAILED")] == []
    checks = lg.checks(l)
    assert [c for c in checks if c["seed"] != 9 and (c["errors"] or c["wrong"] or c["beside"])] == []
    assert len(re.findall(r"pcieport .*pciehp: Slot\(\d+\): (?:Link Down|Card not present)", console.text)) >= 2
    assert not re.findall(r"soft lockup|blocked for more than|rcu: INFO|Kernel panic|BUG:", console.text)
    l.close()
    for start, seed in ((0, 1), (MIB, 2), (2 * MIB, 4)):
        lg.verify_image(lg.image(l, "disk"), 0, start, MIB, seed)


LOSSY = r"""
within 60 test -b /dev/nvme0n1
dmacheck write /dev/nvme0n1 bytes=67108864 bs=131072 qd=16 threads=2 seed=1
dmacheck read /dev/nvme0n1 bytes=8388608 bs=65536 qd=16 threads=2 align=512 seed=1
warnings
say "done"
poweroff -f
"""


def test_loss_duplication_reordering(lab):
    l = lab(lg.description(LOSSY, {4: [lg.NVME]}, [{"id": "disk", "size": "64M"}], programs=["build/linux/dmacheck"],
                           lan={"pcap": False, "faults": {"loss": 1, "dup": 1, "delay": 2, "reorder": 1}}))
    lg.run(l, seconds=1500)
    assert lg.said(l)[-1] == "done" and len(lg.checks(l)) == 2
    lg.nothing_wrong(l)
    here, there = pair.links(l["host1"]), pair.links(l["remote1"])
    assert here["retransmitted"] > 0 and there["retransmitted"] > 0
    assert here["out of order"] > 0 and there["duplicates"] > 0
    l.close()
    lg.verify_image(lg.image(l, "disk"), 0, 0, 64 * MIB, 1)
