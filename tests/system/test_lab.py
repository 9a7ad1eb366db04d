# SPDX-License-Identifier: BSD-2-Clause
"""The laboratory itself: what it refuses, and that nothing it started outlives it."""
import gzip
import os
import re
import socket
import subprocess
import sys
import time

import pytest

import noise
from farbuslab import Console, ConsoleTimeout, LabError, run
from mkimage import make_image

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.mark.parametrize("description, words", [
    ({"host": {"h": {"memroy": 5}}}, "unknown key 'memroy'"),
    ({"hosts": {}}, "unknown key 'hosts'"),
    ({}, "names no"),
    ({"host": {"h": {"lan": "x"}}}, "there is no [lan.x]"),
    ({"host": {"h": {"memory": "64M"}}}, "memory is a number"),
    ({"host": {"h": {}}, "remote": {"h": {}}}, "used once"),
    ({"lan": {"l": {"faults": {"lost": 3}}}, "host": {"h": {}}}, "unknown key 'lost'"),
    ({"host": {"h": {"machine": "xen"}}}, "not 'xen'"),
    ({"remote": {"r": {"machine": "bochs"}}}, "a remote runs on qemu"),
    ({"linux": {"l": {"ini": "", "initrd": ""}}}, "unknown key 'ini'"),
    ({"linux": {"l": {}}}, "needs an initrd"),
    ({"linux": {"l": {"initrd": "", "lan": "x"}}}, "there is no [lan.x]"),
])
def test_refusals(lab, description, words):
    with pytest.raises(LabError, match=words.replace("[", r"\[")):
        lab(description)


def test_one_kernel_without_a_description(tmp_path):
    """tools/lab run: what it makes of a command line."""
    (tmp_path / "kernel.v1.gz").write_bytes(gzip.compress(b"a kernel"))
    (tmp_path / "server").write_bytes(b"a module")
    made = run.description(str(tmp_path / "kernel.v1.gz"), "16M", 2, "a b", modules=[f"{tmp_path}/server x y"], devices=["edu", "pci-testdev"])
    host, remote = made["host"]["host1"], made["remote"]["remote1"]
    assert host["files"] == {"kernel.v1": b"a kernel", "server": b"a module"}
    for line in ("[guest kernel]", "memory = 16M", "cpus = 2", "kernel = kernel.v1", "cmdline = a b", "module = server x y", "device = remote1/0000:00:04.0",
                 "device = remote1/0000:00:05.0"):
        assert line in host["ini"].split("\n"), line
    assert remote["devices"] == ["edu,addr=0x4", "pci-testdev,addr=0x5"] and "lend = 0000:00:05.0" in remote["ini"]
    assert run.description(str(tmp_path / "server"))["host"]["host1"]["nic"] == "none"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "server").write_bytes(b"another")
    for arguments, words in (({"memory": "16 MB"}, "K, M or G"), ({"initrd": "no/such/file"}, "no/such/file"),
                             ({"modules": [f"{tmp_path}/server", f"{tmp_path}/other/server"]}, "two files")):
        with pytest.raises(LabError, match=words):
            run.description(str(tmp_path / "kernel.v1.gz"), **arguments)


def test_keygen(tmp_path):
    """What tools/farbus-keygen prints and writes: keys of the curve, everybody's public one at all others, one psk, files for nobody else to read."""
    def keygen(*arguments, **more):
        return subprocess.run([sys.executable, os.path.join(ROOT, "tools", "farbus-keygen"), *arguments], capture_output=True, text=True, **more)

    def keys_of(text):
        node, *peers = re.split(r"^\[peer (\S+)\]\n", text, flags=re.M)
        private, psk = (bytes.fromhex(re.search(rf"^{what} = ([0-9a-f]{{64}})$", node, re.M)[1]) for what in ("key", "psk"))
        return private, psk, {name: bytes.fromhex(re.search(r"^key = (\w{64})$", section, re.M)[1]) for name, section in zip(peers[::2], peers[1::2])}

    names = ("host1", "host2", "disk1")
    for name in names:
        (tmp_path / f"{name}.ini").write_text(f"[node]\nname = {name}\nrole = host\n")
    assert keygen("--write", str(tmp_path / "out"), *(str(tmp_path / f"{n}.ini") for n in names)).returncode == 0
    made = {name: keys_of((tmp_path / "out" / f"{name}.ini").read_text()) for name in names}
    assert len({private for private, _, _ in made.values()}) == 3 and len({psk for _, psk, _ in made.values()}) == 1
    for name, (_, _, peers) in made.items():
        assert peers == {n: noise.public_key(made[n][0]) for n in names if n != name}
        assert (tmp_path / "out" / f"{name}.ini").stat().st_mode & 0o777 == 0o600
    private, psk, _ = made["host1"]
    assert keygen("--public", input=private.hex()).stdout.strip() == noise.public_key(private).hex()
    printed = keygen("--psk", psk.hex(), "new").stdout
    assert f"psk = {psk.hex()}\n" in printed and "[peer new]" in printed
    for wrong in (["a", "a"], ["a b"], ["--psk", "12", "a"], [], ["--write", str(tmp_path / "no"), str(tmp_path / "out" / "host1.ini")]):
        assert keygen(*wrong).returncode, wrong


def test_missing_file_is_named(lab):
    one = lab({"host": {"h": {"nic": "none", "files": {"a": "no/such/file"}, "loader": b"MZ", "elf": ""}}})
    with pytest.raises(LabError, match="no/such/file"):
        one.start()


def test_console_text_and_end(work_dir):
    os.makedirs(work_dir, exist_ok=True)
    seen = []
    console = Console("c", os.path.join(work_dir, "c.console"), seen.append)
    try:
        console.alive = lambda: False
        with socket.create_connection(("127.0.0.1", console.port)) as s:
            console.alive = lambda: True
            s.sendall(b"\x1b[2J\x1b[01;01Hone\r\ntw")
            assert console.expect(r"^one$", 10)
            s.sendall(b"o\x1b[")
            s.sendall(b"0m 2\r\nthree")
            assert console.expect(r"^two (\d)$", 10).group(1) == "2"
            console.send("typed\n")
            assert s.recv(100) == b"typed\n"
            console.alive = lambda: False
        with pytest.raises(ConsoleTimeout, match="has ended without printing 'four'") as e:
            console.expect("four", 60)
        assert "three" in e.value.tail
        assert seen == ["one", "two 2", "three"]
    finally:
        console.close()


def frames(count, tag=b""):
    return [b"\xff" * 6 + b"\x52\x54\x00\x00\x00\x01" + tag + b"\x88\xb5" + bytes([i]) + b"x" * 60 for i in range(count)]


def pass_frames(lan, run_dir, count, vlan=None):
    """How many of `count` frames that QEMU's user of one side sends reach the other (through vde_plug)."""
    receiver = subprocess.Popen(["vde_plug", lan.sock("b")], cwd=run_dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    sender = subprocess.Popen(["vde_plug", lan.sock("a")], cwd=run_dir, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        os.set_blocking(receiver.stdout.fileno(), False)
        time.sleep(2)  # until both are plugged in
        tag = b"\x81\x00\x00" + bytes([vlan]) if vlan else b""
        if vlan:
            lan.vlan(vlan)
        for i, frame in enumerate(frames(count, tag)):
            sender.stdin.write(len(frame).to_bytes(2, "big") + frame)
            sender.stdin.flush()
            if i % 5 == 4:
                time.sleep(0.02)  # a switch keeps ten for who does not look
        data, quiet = b"", 0
        while quiet < 30:
            got = receiver.stdout.read()
            data, quiet = data + (got or b""), 0 if got else quiet + 1
            time.sleep(0.1)
        return len(data) // (len(frames(1, tag)[0]) + 2)
    finally:
        for p in (sender, receiver):
            p.kill()
            p.wait()


def test_lan_faults(lab, work_dir):
    one = lab({"lan": {"l": {"wire": True}}, "host": {"h": {"nic": "none"}}})
    one.start(machines=False)
    lan = one.lans["l"]
    assert pass_frames(lan, one.run_dir, 100) == 100
    lan.faults(dup=40)
    assert pass_frames(lan, one.run_dir, 100) > 100
    lan.calm()
    lan.down()
    assert pass_frames(lan, one.run_dir, 100) == 0
    lan.up()
    lan.faults(loss=50)
    assert 0 < pass_frames(lan, one.run_dir, 100) < 100
    with pytest.raises(LabError, match="no such fault"):
        lan.faults(lost=1)


def test_vlan(lab):
    one = lab({"lan": {"l": {}}, "host": {"h": {"nic": "none"}}})
    one.start(machines=False)
    with pytest.raises(LabError, match="no machine is connected"):
        one.lans["l"].vlan(7)
    assert pass_frames(one.lans["l"], one.run_dir, 100, vlan=8) == 100


def test_plain_lan_has_no_faults(lab):
    one = lab({"lan": {"l": {}}, "host": {"h": {"nic": "none"}}})
    one.start(machines=False)
    with pytest.raises(LabError, match="wire = true"):
        one.lans["l"].faults(loss=1)


def test_nothing_outlives_its_parent(work_dir):
    """The parent is killed outright: no cleanup of its own runs, and still its child is gone."""
    os.makedirs(work_dir, exist_ok=True)
    code = ("import sys, os, signal; sys.path.insert(0, 'tools')\n"
            "from farbuslab.process import Child\n"
            "c = Child(['sleep', '600'], '.', sys.argv[1]); print(c.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    out = subprocess.run([sys.executable, "-c", code, os.path.join(work_dir, "log")], capture_output=True, text=True,
                         cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))).stdout
    pid = int(out)
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail("the child outlived its parent")


def test_image_holds_the_folder(work_dir):
    folder = os.path.join(work_dir, "in")
    os.makedirs(os.path.join(folder, "EFI", "BOOT"), exist_ok=True)
    body = bytes(range(256)) * 700
    with open(os.path.join(folder, "EFI", "BOOT", "BOOTX64.EFI"), "wb") as f:
        f.write(body)
    image = os.path.join(work_dir, "out.img")
    for fat, kind in ((16, b"FAT16"), (32, b"FAT32")):
        make_image(folder, image, fat)
        with open(image, "rb") as f:
            head = f.read((2048 + 1) * 512)
        assert head[510:512] == b"\x55\xaa" and head[450] == 0xEF
        assert kind in head[2048 * 512:]
        assert os.path.getsize(image) % (16 * 63 * 512) == 0
        out = subprocess.run(["mtype", "-i", f"{image}@@1048576", "::/EFI/BOOT/BOOTX64.EFI"], capture_output=True, check=True,
                             env=dict(os.environ, MTOOLS_SKIP_CHECK="1")).stdout
        assert out == body
