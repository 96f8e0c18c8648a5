"""AES-CMAC (RFC 4493) on MicroPython: `cryptolib.aes` in CBC mode, in place, without allocation.

    CMAC = the last block of CBC(message, last block ^ K1)           whole blocks
           the last block of CBC(message 0x80 0.., last block ^ K2)  otherwise

One AES object per key lives for ever, because making one allocates. In CBC mode it keeps the
last ciphertext block of the previous call as chaining value; RFC 4493 wants zero. So the
chaining value is remembered per key and xor-ed into the first block, which cancels it.

    key row of 48 bytes:  0 K1 · 16 K2 · 32 chaining value = full tag of the previous call

This is the hottest code of the product (some 15 calls per operation and replica): one machine
code function does it all but the choice of the key. Nothing here allocates after `__init__`.
"""

import cryptolib
import micropython

from tinybft.octets import fill

_CBC = 2


# One function, because every call of another costs a fifth of a tag.
@micropython.viper
def _tag(  # noqa: C901, PLR0913, PLR0915
    encrypt, views, scratch, row, message, length: int, claim: ptr8, at: int, count: int, put: int
) -> bool:
    """Tag message[0:length]; put=1 writes `count` bytes to claim[at:], put=0 compares them."""
    if length < 0 or length > 64:
        return False
    block = ptr32(scratch)
    src = ptr32(message)
    key = ptr32(row)
    bytewise = ptr8(scratch)
    last = 0 if length == 0 else (length - 1) >> 4
    words = length >> 2
    i = 0
    if int(src) & 3:
        src8 = ptr8(message)
        while i < words << 2:
            bytewise[i] = src8[i]
            i += 1
    else:
        while i < words:
            block[i] = src[i]
            i += 1
    subkey = 0
    if length & 15 or length == 0:
        subkey = 4
        i = words
        while i < (last + 1) << 2:
            block[i] = 0
            i += 1
        tail = ptr8(message)
        i = words << 2
        while i < length:
            bytewise[i] = tail[i]
            i += 1
        bytewise[length] = 0x80
    end = last << 2
    block[end] ^= key[subkey]
    block[end + 1] ^= key[subkey + 1]
    block[end + 2] ^= key[subkey + 2]
    block[end + 3] ^= key[subkey + 3]
    block[0] ^= key[8]
    block[1] ^= key[9]
    block[2] ^= key[10]
    block[3] ^= key[11]
    view = views[last]
    encrypt(view, view)
    key[8] = block[end]
    key[9] = block[end + 1]
    key[10] = block[end + 2]
    key[11] = block[end + 3]
    tag = ptr8(row)
    i = 0
    if put:
        while i < count:
            claim[at + i] = tag[32 + i]
            i += 1
        return True
    difference = 0
    present = 0
    while i < count:
        byte = claim[at + i]
        difference |= byte ^ tag[32 + i]
        present |= byte
        i += 1
    return difference == 0 and present != 0


def _doubled(block):
    """The 16-byte block times x in GF(2**128): RFC 4493 section 2.3."""
    number = int.from_bytes(block, "big") << 1
    if number >> 128:
        number ^= 1 << 128 | 0x87
    return number.to_bytes(16, "big")


def _row(key):
    """K1, K2 and the chaining value 0 of a fresh AES object."""
    block = bytearray(16)
    cryptolib.aes(key, _CBC, bytes(16)).encrypt(block, block)
    k1 = _doubled(block)
    return bytearray(k1 + _doubled(k1) + bytes(16))


class Cmac:
    """Truncated tags under the keys {peer_id: 16 bytes}."""

    def __init__(self, keys, tag_length):
        count = max(keys) + 1 if keys else 0
        self._count = count
        self._encrypt = [None] * count
        self._rows = [None] * count
        for peer, key in keys.items():
            self._encrypt[peer] = cryptolib.aes(key, _CBC, bytes(16)).encrypt
            self._rows[peer] = _row(key)
        self._scratch = bytearray(64)
        view = memoryview(self._scratch)
        self._views = (view[:16], view[:32], view[:48], view)
        self._tag_length = tag_length

    @micropython.native
    def mac_into(self, peer, buf, length, out, at):
        encrypt = self._encrypt[peer] if 0 <= peer < self._count else None
        if encrypt is not None and _tag(
            encrypt,
            self._views,
            self._scratch,
            self._rows[peer],
            buf,
            length,
            out,
            at,
            self._tag_length,
            1,
        ):
            return True
        fill(out, at, self._tag_length, 0)
        return False

    @micropython.native
    def mac_equal(self, peer, buf, length, tagged, tag_at):
        encrypt = self._encrypt[peer] if 0 <= peer < self._count else None
        return encrypt is not None and _tag(
            encrypt,
            self._views,
            self._scratch,
            self._rows[peer],
            buf,
            length,
            tagged,
            tag_at,
            self._tag_length,
            0,
        )
