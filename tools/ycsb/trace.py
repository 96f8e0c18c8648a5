"""The operations of a YCSB workload, generated on the host: devices have floats of 32 bits.

YCSB's ScrambledZipfianGenerator: ranks are drawn from a Zipfian distribution of constant 0.99 over
10^10 items (Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994),
hashed with FNV-1a (64 bits) and taken modulo the number of records, so that the popular records
lie anywhere. The most popular rank has 1 / 26.47 of the draws.

A trace is three bytes per operation: kind, and the record as u16, little-endian.
"""

import random
import struct

THETA = 0.99
ITEM_COUNT = 10**10
# The sum of 1 / i**THETA for i in 1 .. ITEM_COUNT; YCSB has the same constant.
ZETA_N = 26.46902820178302

READ = 1
UPDATE = 2
READ_SHARES = {"a": 0.5, "b": 0.95, "c": 1.0}  # the rest are updates

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK = 0xFFFFFFFFFFFFFFFF
_ENTRY = struct.Struct("<BH")


def fnv1a_64(octets):
    """FNV-1a of bytes, unsigned."""
    value = _FNV_OFFSET
    for octet in octets:
        value = (value ^ octet) * _FNV_PRIME & _MASK
    return value


class Zipfian:
    """Ranks 0 .. ITEM_COUNT - 1, the lower the more often. `draw` is a random.Random."""

    def __init__(self, draw):
        self._draw = draw
        self._alpha = 1 / (1 - THETA)
        self._second = 1 + 0.5**THETA
        self._eta = (1 - (2 / ITEM_COUNT) ** (1 - THETA)) / (1 - self._second / ZETA_N)

    def next(self):
        u = self._draw.random()
        uz = u * ZETA_N
        if uz < 1:
            return 0
        if uz < self._second:
            return 1
        return int(ITEM_COUNT * (self._eta * u - self._eta + 1) ** self._alpha)


def record_of(rank, record_count):
    """Where a rank lies: its eight bytes, least significant first, are hashed."""
    return fnv1a_64(rank.to_bytes(8, "little")) % record_count


def trace(workload, client, count, record_count, seed=1):
    """`count` operations of one client, as bytes; the same for the same arguments."""
    draw = random.Random(f"ycsb {workload} {seed} {client}")
    zipfian = Zipfian(draw)
    share = READ_SHARES[workload]
    entries = []
    for _ in range(count):
        kind = READ if draw.random() < share else UPDATE
        entries.append(_ENTRY.pack(kind, record_of(zipfian.next(), record_count)))
    return b"".join(entries)


def entries(octets):
    """[(kind, record), ...] of a trace."""
    return list(_ENTRY.iter_unpack(octets))
