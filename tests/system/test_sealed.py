# SPDX-License-Identifier: BSD-2-Clause
"""A real remote with keys, and hosts written from docs/protocol.md (tests/noise.py): they understand each other; a stranger, a recording, a
liar and an insider without a place in the remote's farbus.ini get nothing, and everything is counted."""
import random
import re

import pytest

import noise
import peer
import wire as w
from lone_remote import EDU, INI, NODE, SERIAL, TESTDEV, Remote

LIVENESS = 4  # edu: answers with the complement of what was written
PSK = bytes(range(32))
PRIVATE = {name: bytes([8 * n]) * 32 for n, name in enumerate(("disk1", "alpha", "beta", "eve"), 1)}


def keys(name, psk=PSK, remote=None):
    return noise.Keys(PRIVATE[name], psk, remote or noise.public_key(PRIVATE[NODE]))


@pytest.fixture(scope="module")
def sealed(shared_dir):
    ini = INI.replace("[node]\n", f"[node]\nkey = {PRIVATE[NODE].hex()}\npsk = {PSK.hex()}\ncarrier = udp\n")
    ini += f"lend = {EDU}\nlend = {TESTDEV} to alpha\nlend = {SERIAL} to alpha beta\n"
    ini += "".join(f"[peer {n}]\nkey = {noise.public_key(PRIVATE[n]).hex()}\n" for n in ("alpha", "beta"))
    made = Remote(shared_dir, ini)
    try:
        made.host.keys = keys("alpha")
        made.see(r"net: links are sealed; this node's public key is \w+\.\.\., it knows 2 peers")
        made.see(r'remote: node "disk1" lends \d+ functions')
        made.host.wait_announcement(NODE)
        yield made
    finally:
        made.close()


def counters(remote):
    remote.type("counters")
    remote.see(r"announcements: received")
    text = remote.console.text[remote.console.text.rindex("malformed, frame size"):]
    names = ("forged frames", "replayed", "handshakes of unknown keys", "over the limit", "sessions opened", "malformed, seal", "frames of no session")
    return {name: int(re.search(rf"{name}: (\d+)", text)[1]) for name in names}


def quiet(link, frame, count=1):
    """Sends it; true when nothing comes back within a while that would have been enough."""
    before = link.station.handshakes[:]
    for _ in range(count):
        link.station.udp(link.remote, frame)
    for _ in range(10):
        link.station.poll(0.05)
    return link.station.handshakes == before


def test_a_host_written_from_the_specification(sealed):
    link = sealed.sealed_link("alpha", keys("alpha")).open()
    edu = link.attach(EDU)
    assert link.cfg_rd(edu, 0, 4) == (w.SC, 0x11E81234)
    assert link.cfg_wr(edu, 4, 2, 2) == w.SC
    for value in (0, 0x12345678, 0xFFFFFFFF):
        link.mwr(edu, 0, LIVENESS, 4, value)
        assert link.mrd(edu, 0, LIVENESS, 4) == (w.SC, value ^ 0xFFFFFFFF)
    frame = link.mwr(edu, 0, LIVENESS, 4, 5)
    link.repeat(frame)  # sent again, with a counter of its own: acknowledged, not executed
    before = counters(sealed)

    # all of it once more, bit by bit as it was
    recorded = link.log[:60]
    for old in recorded:
        link.station.udp(link.remote, old)
    assert link.mrd(edu, 0, LIVENESS, 4) == (w.SC, 5 ^ 0xFFFFFFFF)
    # the next frame with a bit turned in every byte; then itself
    link.sequence += 1
    plain = w.data(link.epoch, link.sequence, link.received_upto, w.access(w.MWR, edu.handle, 0, 0, LIVENESS, 4, b"\x11\0\0\0"))
    good = link.session.seal(plain)
    for at in range(len(good)):
        link.station.udp(link.remote, good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1:])
        link.station.poll(0.001)
    # in the clear, and sealed with other keys
    link.station.udp(link.remote, plain)
    link.station.udp(link.remote, w.bye(link.epoch, 0))
    link.station.udp(link.remote, good)
    assert link.mrd(edu, 0, LIVENESS, 4) == (w.SC, 0x11 ^ 0xFFFFFFFF)
    after = counters(sealed)
    assert after["replayed"] - before["replayed"] >= len(recorded) - 1  # HELLO is an old one, too
    assert after["forged frames"] - before["forged frames"] >= len(good) - 24 - 8
    assert after["malformed, seal"] - before["malformed, seal"] >= 2
    assert after["sessions opened"] == before["sessions opened"]
    link.close()


def test_a_recorded_hello_opens_nothing(sealed):
    first = sealed.sealed_link("alpha", keys("alpha")).open()
    edu = first.attach(EDU)
    opened = counters(sealed)["sessions opened"]
    other = sealed.station()
    other.keys = keys("alpha")  # understands announcements
    for _ in range(3):
        other.udp(first.remote, first.log[0])  # from another address, as a stranger would
        for _ in range(5):
            sealed.host.poll(0.05)
    # an old session's HELLO of a host that has begun anew
    again = sealed.sealed_link("alpha", keys("alpha"))
    assert counters(sealed)["sessions opened"] == opened
    assert first.cfg_rd(edu, 0, 4) == (w.SC, 0x11E81234)
    # and one that is answered, but never confirmed: the session that is there stays
    again.boot_id = first.boot_id + 2
    again.station.attempts["alpha"] += 1
    again.epoch = random.getrandbits(32) | 1
    hello, again.noise = again.station.keys.hello(again.hello_frame(again.epoch))
    again.say(lambda: again.station.udp(again.remote, hello), lambda: again.answers(w.HELLO_ACK), "an answer to HELLO")
    assert first.cfg_rd(edu, 0, 4) == (w.SC, 0x11E81234)
    assert counters(sealed)["sessions opened"] == opened
    again.open_, again.session, again.noise = False, None, None
    again.close()
    first.close()


def test_who_is_refused(sealed):
    before = counters(sealed)
    # another psk; another idea of the remote's key; a key that nobody told the remote: not a word
    for name, psk, remote, sentence in (("alpha", bytes(32), None, "its HELLO is not made with our public key and our network's psk"),
                                        ("alpha", PSK, noise.public_key(PRIVATE["beta"]), "its HELLO is not made with our public key"),
                                        ("eve", PSK, None, "it has our network's psk, but no \\[peer\\] section here has its public key")):
        link = sealed.sealed_link(name, keys(name, psk, remote))
        hello, _ = link.station.keys.hello(link.hello_frame(7))
        link.station.keys = keys("alpha")
        assert quiet(link, hello)
        sealed.see(rf"{link.station.ip.replace('.', chr(92) + '.')} is refused: {sentence}")
        link.close()
    # a host that lies about its name is told so, in words that only it can read
    liar = sealed.sealed_link("beta", keys("alpha"))
    answer = liar.hello()
    assert answer.status == 1 and answer.why == "this key belongs to a host of another name"
    liar.close()
    # frames in the clear, as a host without keys sends them
    plain = sealed.sealed_link("alpha", keys("alpha"))
    assert quiet(plain, plain.hello_frame(9), 5)
    plain.close()
    after = counters(sealed)
    assert after["forged frames"] - before["forged frames"] >= 2
    assert after["handshakes of unknown keys"] - before["handshakes of unknown keys"] == 1
    assert after["malformed, seal"] - before["malformed, seal"] >= 5
    assert after["sessions opened"] == before["sessions opened"]


def test_what_is_lent_to_a_name(sealed):
    """It is lent to who has that name's key, whatever else a host says; who asks for what another one has hears that one's name."""
    alpha, beta = (sealed.sealed_link(n, keys(n)).open() for n in ("alpha", "beta"))
    assert beta.attach(TESTDEV)[:2] == (w.DENIED, b"")  # free, and then alpha's: nobody's for beta
    sealed.see(rf"{re.escape(TESTDEV)} asked for by host \"beta\": its 'lend' line names other hosts")
    testdev = alpha.attach(TESTDEV)
    assert testdev.handle and beta.attach(TESTDEV)[:2] == (w.DENIED, b"")
    serial = beta.attach(SERIAL)
    assert serial.handle and alpha.attach(SERIAL)[:2] == (w.OWNED, b"beta")
    sealed.see(rf"{re.escape(SERIAL)} asked for by host \"alpha\": lent to \"beta\"")
    opened = counters(sealed)["sessions opened"]
    # "alpha", says who has the key of beta, of nobody known, of the remote itself; and in each case the psk
    for name, answer in (("beta", 1), ("eve", None), (NODE, None)):
        liar = sealed.sealed_link("alpha", keys(name))
        if answer is None:
            hello, _ = liar.station.keys.hello(liar.hello_frame(13))
            assert quiet(liar, hello)
        else:
            assert liar.hello().status == answer
        liar.close()
    # alpha's session in beta's hands: its epoch from beta's place, with beta's key
    alpha.sequence += 1
    stolen = beta.session.seal(w.data(alpha.epoch, alpha.sequence, alpha.received_upto, w.access(w.CFG_WR, testdev.handle, 99, 0, 4, 2, b"\7\0")))
    assert quiet(beta, stolen)
    alpha.sequence -= 1
    # handles are a session's own: beta guesses alpha's
    for handle in range(1, 256):
        if handle != serial.handle:
            assert beta.access(w.CFG_RD, handle, 0, 0, 4).status == w.UR
    assert beta.request(w.DETACH, testdev.handle).status == w.UR
    assert alpha.cfg_rd(testdev, 0, 4) == (w.SC, 0x00051B36) and alpha.cfg_rd(testdev, 4, 2)[1] & 4 == 0
    assert counters(sealed)["sessions opened"] == opened
    beta.close()
    alpha.close()


def test_after_a_flood(sealed):
    link = sealed.sealed_link("beta", keys("beta"))
    hello, _ = link.station.keys.hello(link.hello_frame(11))
    before = counters(sealed)
    for n in range(600):
        link.station.udp(link.remote, hello[:8] + n.to_bytes(4, "little") + hello[12:])
        if n % 50 == 0:
            link.station.poll(0.01)
    after = counters(sealed)
    assert after["forged frames"] > before["forged frames"]
    assert after["sessions opened"] == before["sessions opened"]
    link.open()
    assert link.attach(EDU).vendor == 0x1234
    link.close()
