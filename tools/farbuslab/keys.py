# SPDX-License-Identifier: BSD-2-Clause
"""Keys for farbus.ini: X25519 pairs and a network's psk, as hexadecimal digits. openssl does the arithmetic. Knows nothing of files."""
import re
import secrets
import subprocess

from .errors import LabError


def _openssl(*arguments, data=None):
    try:
        return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise LabError("openssl is missing (Debian package openssl)") from None
    except subprocess.CalledProcessError as e:
        raise LabError(f"openssl {arguments[0]}: {e.stderr.decode().strip()}") from None


# Both are DER: what stands before the 32 bytes is always the same (RFC 8410, 7 and 10.3).
_PRIVATE = bytes.fromhex("302e020100300506032b656e04220420")


def public_key(private):
    """Of 64 hexadecimal digits."""
    if not re.fullmatch("[0-9a-fA-F]{64}", private):
        raise LabError("a private key is 64 hexadecimal digits")
    der = _PRIVATE + bytes.fromhex(private)
    return _openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", data=der)[-32:].hex()


def key_pair():
    """(private, public)"""
    private = _openssl("genpkey", "-algorithm", "X25519", "-outform", "DER")[-32:].hex()
    return private, public_key(private)


def psk():
    return secrets.token_hex(32)


def lines(private, network, peers):
    """(lines for [node], sections behind it); peers: {name: public key}"""
    node = f"key = {private}\npsk = {network}\n"
    return node, "".join(f"\n[peer {name}]\nkey = {public}\n" for name, public in peers.items())


def inserted(ini, private, network, peers):
    """An ini with keys in it: behind the line [node], and at its end."""
    node, sections = lines(private, network, peers)
    head = re.search(r"^\[node\][^\n]*\n", ini, re.M)
    if not head:
        return ini
    return ini[:head.end()] + node + ini[head.end():].rstrip("\n") + "\n" + sections


def without(ini):
    """The same ini for links without keys, said aloud."""
    return re.sub(r"^(\[node\][^\n]*\n)", r"\1security = none\n", ini, count=1, flags=re.M)


def are_in(ini):
    """Does this ini say itself who may speak?"""
    return bool(re.search(r"^\s*(key|psk|security)\s*=", ini, re.M))
