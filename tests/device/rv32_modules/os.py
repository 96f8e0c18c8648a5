"""`os` with random bytes, which the qemu port leaves out."""

import hashlib

from uos import *  # noqa: F403 - the built-in module

_seed = b"the same in every run"


def urandom(length):
    global _seed
    octets = b""
    while len(octets) < length:
        _seed = hashlib.sha256(_seed).digest()
        octets += hashlib.sha256(_seed + b"out").digest()
    return octets[:length]
