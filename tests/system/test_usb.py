# SPDX-License-Identifier: BSD-2-Clause
"""The images of `make usb`, as `dd` would put them on a stick: the firmware finds the loader, the loader its files, the ELF its LAN."""


def test_remote_boots_from_a_stick(lab):
    """On a LAN of its own, with QEMU's DHCP server: the sample configuration asks for an address."""
    one = lab({"remote": {"stick": {"image": "build/farbus-remote.img", "boot": "usb", "nic": "none", "devices": ["edu,addr=0x4", "e1000e,netdev=user,addr=0x5"],
                                    "args": ["-netdev", "user,id=user,restrict=on"]}}})
    one.start()
    console = one["stick"].console
    console.expect(r"^\\farbus.ini: node remote1, role remote", 180)
    console.expect(r"lend: kept 0000:00:1e.0 .*: this machine was started from it", 120)
    console.expect(r'remote: node "remote1" lends', 120)
    console.expect(r"net: address 10\.0\.2\.\d+/24", 120)


def test_host_boots_from_a_disk(lab):
    """Bochs has no USB firmware driver that OVMF uses here; the same image is its disk."""
    one = lab({"lan": {"lan": {}}, "host": {"disk": {"image": "build/farbus-host.img", "lan": "lan"}}})
    one.start()
    console = one["disk"].console
    console.expect(r"^\\farbus.ini: node host1, role host, 1 guest", 240)
    console.expect(r"probe\| probe: \d+ findings, \d+ failed", 600)
