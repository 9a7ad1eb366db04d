# SPDX-License-Identifier: BSD-2-Clause
"""Several hosts, many guests: nobody has what another has, nothing is left behind by restarts, nobody is starved."""
import re

import pair

EDU, NVME, SERIAL = (f"remote1/0000:00:{pair.DEVICES[d][0]:02x}.0" for d in ("edu", "nvme", "serial"))


def section(name, elf, devices, cmdline="", wait=300, bus="ports"):
    """A guest; its functions sit in slots (and can be given away), or on bus 0."""
    lines = [f"[guest {name}]", "memory = 32M", f"kernel = {elf}.elf", f"wait = {wait}", f"bus = {bus}"]
    lines += [f"cmdline = {cmdline}"] if cmdline else []
    return "\n".join(lines + [f"device = {d}" for d in devices]) + "\n"


def until(machine, pattern, timeout=90):
    if not machine.console.seen(pattern):
        machine.console.expect(pattern, timeout)


def owners(lab):
    """{device number: what the remote's console says of who has it}"""
    text = pair.ask(lab["remote1"], "status", r"status: 0000:00:06\.0 ")
    return {int(n, 16): state for n, state in re.findall(r"status: 0000:00:(\w\w)\.0 \S+ (.*?) handle", text)}


def test_eight_guests(lab):
    """Eight guests, two processors (one of them is the network's and the console's). One guest never exits, one floods ports, one
    configuration space; each of the others gets at least three quarters of its eighth, in instructions."""
    storms, others = ["spin", "ports", "config"], [f"share{i}" for i in range(5)]
    guests = [pair.guest(n, "share", f"do={n}", memory="16M") for n in storms] + [pair.guest(n, "share", memory="16M") for n in others]
    l = lab(pair.description(guests, elves=["share"], host={"cpus": 2}))
    l.start()
    host = l["host1"]
    host.console.expect("host: up", pair.BOOT)
    for name in others:
        until(host, rf"{name}\| share: measured", 400)
    began = max(int(m[1]) for m in host.console.seen(r"started, entry 0x\w+, at TSC (\d+)"))
    assert len(re.findall(r"guests: \w+: running", pair.ask(host, "guests", "guests: share4: "))) == 8
    shares = {}
    for name in others:
        found = re.findall(r"window at (\d+): (\d+) blocks of (\d+) in (\d+) ticks", "\n".join(pair.guest_lines(host, name)))
        found = [list(map(int, w)) for w in found if int(w[0]) > began]
        assert len(found) >= 3, (name, began)  # while all eight ran
        shares[name] = sum(blocks for _, blocks, _, _ in found) * found[-1][2] / sum(ticks for _, _, _, ticks in found)
    print("shares of a processor:", {name: round(share, 4) for name, share in shares.items()})
    assert all(0.75 / 8 <= share < 0.2 for share in shares.values()), shares


def edu_resets(lab):
    return int(re.search(r"status: 0000:00:05\.0 .* resets (\d+)", pair.ask(lab["remote1"], "status", r"status: 0000:00:06\.0 "))[1])


def test_two_hosts_three_guests(lab):
    """Two guests on one host, one on another, one remote. Nobody sees what is another's; who asks for it is told who has it, and gets
    it when it is given back, or when its owner has no power any more."""
    devices = ["nvme", "edu", "serial"]
    second_ini = "[node]\nname = host2\nrole = host\naddress = 10.7.0.3/24\n" + \
        section("third", "probe", [SERIAL, EDU], cmdline="loop=8", wait=10, bus="flat")
    description = pair.description([section("first", "watch", [EDU]), section("second", "probe", [NVME], cmdline="loop=8", bus="flat")], devices,
                                   elves=["watch", "probe"])
    description["host"]["host2"] = {"lan": "lan", "ini": second_ini, "ips": pair.IPS, "start": False,
                                    "files": {"probe.elf": "build/guests/probe.elf"}}
    l = lab(description)
    pair.prepare(l)
    l.start()
    host1, host2 = l["host1"], l["host2"]
    until(host1, r"first\| watch: edu here")
    until(host1, r"second: stopped: powered off")
    host2.start()
    until(host2, r'0000:00:05\.0 for guest "third": another host has it: host1')
    until(host2, r"third\| probe: \d+ findings, 0 failed")
    until(host2, r"third: stopped: powered off")

    # each worked its own, and met nothing of the others'
    second, third = pair.guest_lines(host1, "second"), pair.guest_lines(host2, "third")
    for lines, own, absent in ((second, "nvme", "edu serial"), (third, "serial", "edu nvme")):
        assert [line for line in lines if "FAILED" in line] == []
        assert [line for line in lines if line.startswith(f"probe: {own}.")]
        for name in absent.split():
            assert f"probe: {name} = absent ok" in lines, (name, lines)
    assert not host1.console.seen(r"first\| watch: (nvme|edu (gone|wrong))")
    assert owners(l) == {4: "attached by host1", 5: "attached by host1", 6: "attached by host2"}
    assert re.search(rf'{EDU}  guest "third" \S+ .*refused by host1', pair.ask(host2, "devices", r'guest "third" .*refused[^\n]*'))

    # the owner is stopped and gives it back: it is reset, and the other host's
    resets = edu_resets(l)
    host1.console.send("stop first\r")
    host1.console.expect("first: stopped: stopped from the console", 60)
    host1.console.send(f"detach first {EDU}\r")
    until(host2, rf'{EDU} \(1234:11e8\) is guest "third"', 120)
    assert edu_resets(l) > resets
    assert owners(l) == {4: "attached by host1", 5: "attached by host2", 6: "attached by host2"}
    host2.console.mark()
    host2.console.send("reset third\r")
    host2.console.expect(r"third\| probe: edu\.", 120)
    host2.console.expect(r"third\| probe: \d+ findings, 0 failed", 120)

    # now the first host's guest is the one that is refused; until the second host has no power
    host1.console.mark()
    host1.console.send("reset first\r")
    host1.console.expect(r"first\| watch: nothing to watch yet", 60)
    host1.console.send(f"attach first {EDU}\r")
    host1.console.expect(r'for guest "first": another host has it: host2', 60)
    assert len(host1.console.seen(r"first\| watch: edu (found|here)")) == 1
    host2.kill()
    l["remote1"].console.expect(r"0000:00:05\.0 released by host \"host2\"", 60)
    host1.console.expect(rf'{EDU} \(1234:11e8\) is guest "first"', 60)
    assert owners(l) == {4: "attached by host1", 5: "attached by host1", 6: "free"}


ROUNDS = 30


def test_restarts(lab):
    """A guest with a remote function is stopped and started again and again, another one crashes each time: memory is what it was, the
    function is attached once, and free when it is taken from the guest."""
    guests = [section("steady", "watch", [EDU]), section("crash", "rogue", [SERIAL], cmdline="do=triple")]
    l = lab(pair.description(guests, ["nvme", "edu", "serial"], elves=["watch", "rogue"]))
    pair.prepare(l)
    l.start()
    host = l["host1"]
    until(host, r"steady\| watch: edu here")
    until(host, r"crash: stopped: triple fault")

    def free():
        return int(re.search(r"free (\d+) KiB", pair.ask(host, "memory", "kept from guests"))[1])

    before, handles = free(), set()
    for number in range(ROUNDS):
        host.console.mark()
        if number % 2:  # also without a stop in between
            host.console.send("stop steady\r")
            host.console.expect("steady: stopped: stopped from the console", 60)
        host.console.send("reset steady\r")
        host.console.expect(r"steady\| watch: edu here", 60)
        host.console.send("reset crash\r")
        host.console.expect("crash: stopped: triple fault", 60)
        handles |= set(re.findall(r"05\.0 \S+ attached by host1 handle (\d+):", pair.ask(l["remote1"], "status", r"status: 0000:00:06\.0 ")))
    text = pair.ask(host, "guests", "guests: crash: ")
    assert re.findall(r"started (\d+) times", text) == [str(ROUNDS + 1)] * 2
    after = free()
    print("KiB free, after the first start and after the last:", before, after)
    assert after == before
    assert len(handles) == 1  # the same attachment all the time
    assert owners(l) == {4: "free", 5: "attached by host1", 6: "attached by host1"}
    devices = pair.ask(host, "devices", r"06\.0  guest[^\n]*attached[^\n]*")
    assert len(re.findall(rf"{EDU}  guest", devices)) == 1

    # taken from the guests, they are reset and free
    remote = l["remote1"].console
    for name, device in (("steady", EDU), ("crash", SERIAL)):
        host.console.mark()
        if name == "steady":
            host.console.send("stop steady\r")
            host.console.expect("steady: stopped: stopped from the console", 60)
        remote.mark()
        host.console.send(f"detach {name} {device}\r")
        remote.expect(rf"{device[8:].replace('.', '[.]')} released by host", 60)
    assert "no guest names a remote function" in pair.ask(host, "devices", "remote function")
    assert owners(l) == {4: "free", 5: "free", 6: "free"}
