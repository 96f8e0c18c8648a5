"""AES-CMAC (RFC 4493) on MicroPython, `cryptolib.aes` in CBC mode, in place; and SHA-256.

    CMAC = the last block of CBC(message, last block ^ K1)           whole blocks
           the last block of CBC(message 0x80 0.., last block ^ K2)  otherwise

One AES object per key lives for ever, because making one allocates. In CBC mode it keeps the
last ciphertext block of the previous call as chaining value; RFC 4493 wants zero. So the
chaining value is remembered per key and xor-ed into the first block, which cancels it. For the
same reason a message of more than four blocks goes through the scratch in parts of four.

    one block of bytes:  0 scratch, where a message is laid out · 64 u8 tag length ·
        66 u16 number of rows · 68 a row of 52 bytes per peer:
        0 K1 · 16 K2 · 32 chaining value = full tag of the previous call · 48 u8 has a key

This is the hottest code of the product (15 tags per operation and replica): `_chain` and its
callers are machine code, and the tags of a multicast are one call. Nothing here allocates after
`__init__`.
"""

from hashlib import sha256

import cryptolib
import micropython
from uctypes import bytearray_at

from tinybft.compat import const
from tinybft.octets import copy, fill

_CBC = 2
_LENGTH_MAX = const(160)  # of a message
_TAG_LENGTH = const(64)  # in the block
_COUNT = const(66)
_ROWS = const(68)
_ROW_LENGTH = const(52)
_HAS_KEY = const(48)  # in a row
_TAG = const(32)
_VIEW_COUNT = const(4)  # of the scratch: 1 to 4 AES blocks


# `bytearray_at` makes one object where a slice of a memoryview makes two: a fifth of a digest.
@micropython.viper
def digest_into(buf, start: int, length: int, out, at: int):
    """SHA-256 of buf[start : start + length] into out[at : at + 32]. Allocates."""
    span = bytearray_at(uint(ptr8(buf)) + uint(start), length)
    copy(out, at, sha256(span).digest(), 0, 32)


# Addresses in local variables, 16 bytes a turn: an index a word costs four times as much.
@micropython.viper
def _chain(parts, block, peer: int, message, length: int):  # noqa: C901, PLR0912, PLR0915
    """The full tag of message[0:length] into the row of `peer` at 32."""
    to = int(ptr32(block))
    key = to + _ROWS + peer * _ROW_LENGTH
    at = int(ptr8(message))
    chained = key + _TAG
    while length > 64:  # whole blocks, of which none is the last
        end = at + 64
        if at & 3 == 0:
            while at < end:
                ptr32(to)[0] = ptr32(at)[0]
                ptr32(to)[1] = ptr32(at)[1]
                ptr32(to)[2] = ptr32(at)[2]
                ptr32(to)[3] = ptr32(at)[3]
                to += 16
                at += 16
        while at < end:
            ptr8(to)[0] = ptr8(at)[0]
            to += 1
            at += 1
        to -= 64
        if chained:
            ptr32(to)[0] ^= ptr32(chained)[0]
            ptr32(to)[1] ^= ptr32(chained)[1]
            ptr32(to)[2] ^= ptr32(chained)[2]
            ptr32(to)[3] ^= ptr32(chained)[3]
            chained = 0
        view = parts[3]
        parts[_VIEW_COUNT + peer](view, view)
        length -= 64
    last = 0 if length == 0 else (length - 1) >> 4
    end = to + (last << 4)
    left = length
    if at & 3 == 0:
        while left >= 16:
            ptr32(to)[0] = ptr32(at)[0]
            ptr32(to)[1] = ptr32(at)[1]
            ptr32(to)[2] = ptr32(at)[2]
            ptr32(to)[3] = ptr32(at)[3]
            to += 16
            at += 16
            left -= 16
    subkey = key
    if length & 15 or length == 0:
        subkey += 16
        ptr32(end)[0] = 0
        ptr32(end)[1] = 0
        ptr32(end)[2] = 0
        ptr32(end)[3] = 0
    while left > 0:
        ptr8(to)[0] = ptr8(at)[0]
        to += 1
        at += 1
        left -= 1
    if subkey != key:
        ptr8(to)[0] = 0x80
    ptr32(end)[0] ^= ptr32(subkey)[0]
    ptr32(end)[1] ^= ptr32(subkey)[1]
    ptr32(end)[2] ^= ptr32(subkey)[2]
    ptr32(end)[3] ^= ptr32(subkey)[3]
    to = key - peer * _ROW_LENGTH - _ROWS
    if chained:
        ptr32(to)[0] ^= ptr32(chained)[0]
        ptr32(to)[1] ^= ptr32(chained)[1]
        ptr32(to)[2] ^= ptr32(chained)[2]
        ptr32(to)[3] ^= ptr32(chained)[3]
    view = parts[last]
    parts[_VIEW_COUNT + peer](view, view)
    ptr32(key)[8] = ptr32(end)[0]
    ptr32(key)[9] = ptr32(end)[1]
    ptr32(key)[10] = ptr32(end)[2]
    ptr32(key)[11] = ptr32(end)[3]


def _doubled(block):
    """The 16-byte block times x in GF(2**128): RFC 4493 section 2.3."""
    number = int.from_bytes(block, "big") << 1
    if number >> 128:
        number ^= 1 << 128 | 0x87
    return number.to_bytes(16, "big")


def _row(key):
    """K1, K2 and the chaining value 0 of a fresh AES object, and what follows them."""
    block = bytearray(16)
    cryptolib.aes(key, _CBC, bytes(16)).encrypt(block, block)
    k1 = _doubled(block)
    return bytearray(k1 + _doubled(k1) + bytes(20))


class Cmac:
    """Truncated tags under the keys {peer_id: 16 bytes}."""

    def __init__(self, keys, tag_length):
        count = max(keys) + 1 if keys else 0
        block = bytearray(_ROWS + count * _ROW_LENGTH)
        block[_TAG_LENGTH] = tag_length
        block[_COUNT] = count & 255
        block[_COUNT + 1] = count >> 8
        view = memoryview(block)
        # One list, one block of bytes: each attribute that a tag takes is 200 instructions.
        self._parts = [view[:16], view[:32], view[:48], view[:64]] + [None] * count
        self._block = block
        for peer, key in keys.items():
            self._parts[_VIEW_COUNT + peer] = cryptolib.aes(key, _CBC, bytes(16)).encrypt
            row = _row(key)
            row[_HAS_KEY] = 1
            copy(block, _ROWS + peer * _ROW_LENGTH, row, 0, _ROW_LENGTH)

    @micropython.viper
    def mac_into(self, peer: int, buf, length: int, out, at: int) -> bool:
        return int(self.macs_into(peer, peer + 1, buf, length, out, at)) != 0

    @micropython.viper
    def macs_into(  # noqa: PLR0913
        self, first: int, end: int, buf, length: int, out, at: int
    ) -> int:
        """The tags for the peers from `first` to `end` - 1 that have a key, one behind the other;
        one of zeros if none has. Returns how many."""
        block = self._block
        parts = self._parts
        octets = ptr8(out)
        own = ptr8(block)
        tag_length = own[_TAG_LENGTH]
        rows = own[_COUNT] | own[_COUNT + 1] << 8
        count = 0
        if first < 0 or length < 0 or length > _LENGTH_MAX:
            end = first
        elif end > rows:
            end = rows
        while first < end:
            row = _ROWS + first * _ROW_LENGTH
            if own[row + _HAS_KEY]:
                _chain(parts, block, first, buf, length)
                i = 0
                while i < tag_length:
                    octets[at + i] = own[row + _TAG + i]
                    i += 1
                at += tag_length
                count += 1
            first += 1
        if count == 0:
            fill(out, at, tag_length, 0)
        return count

    @micropython.viper
    def mac_equal(self, peer: int, buf, length: int, tagged: ptr8, tag_at: int) -> bool:
        block = self._block
        own = ptr8(block)
        rows = own[_COUNT] | own[_COUNT + 1] << 8
        if peer < 0 or peer >= rows or length < 0 or length > _LENGTH_MAX:
            return False
        row = _ROWS + peer * _ROW_LENGTH
        if not own[row + _HAS_KEY]:
            return False
        _chain(self._parts, block, peer, buf, length)
        tag = int(own) + row + _TAG
        end = tag + own[_TAG_LENGTH]
        claim = int(tagged) + tag_at
        difference = 0
        present = 0
        while tag < end:
            byte = ptr8(claim)[0]
            difference |= byte ^ ptr8(tag)[0]
            present |= byte
            claim += 1
            tag += 1
        return difference == 0 and present != 0
