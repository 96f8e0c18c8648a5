"""What a simulated device is made of: randomness from a seed, a fast MAC, a store of bytes.

Runs on CPython and on MicroPython with the same results. Allocates.
"""

import hashlib

STORE_LENGTH = 4096


class PowerCut(BaseException):
    """Raised by a store in the midst of a write; not an Exception, so that nothing stops it."""


class Random:
    """A 64-bit linear congruential generator (Knuth's MMIX), its upper 31 bits."""

    def __init__(self, seed):
        self._x = seed * 2862933555777941757 + 3037000493 & 0xFFFFFFFFFFFFFFFF
        for _ in range(4):
            self.bits()

    def bits(self):
        self._x = self._x * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFFFFFF
        return self._x >> 33

    def below(self, bound):
        """An integer in 0 .. bound - 1, bound < 2**31."""
        return self.bits() * bound >> 31

    def chance(self, share):
        """True with probability `share` (0..1, in steps of 2**-31)."""
        return share > 0 and self.bits() < share * 2147483648


class Crypto:
    """The interface of hal.crypto with SHA-256 over key and message in place of AES-CMAC.

    AES is not what is simulated, and this is faster. A node holds its own pairwise keys only.
    """

    def __init__(self, own_id, keys, tag_length):
        self.own_id = own_id
        self.tag_length = tag_length
        self._keys = keys
        self._zero = bytes(tag_length)

    def _tag(self, peer, buf, length):
        key = self._keys.get(peer)
        if key is None or not 0 <= length <= 64:
            return self._zero
        return hashlib.sha256(key + bytes(buf[:length])).digest()[: self.tag_length]

    def mac_into(self, peer, buf, length, out, at):
        tag = self._tag(peer, buf, length)
        out[at : at + self.tag_length] = tag
        return tag is not self._zero

    def mac_equal(self, peer, buf, length, tagged, tag_at):
        tag = self._tag(peer, buf, length)
        return tag != self._zero and tag == bytes(tagged[tag_at : tag_at + self.tag_length])

    def digest_into(self, buf, start, length, out, at):
        span = memoryview(buf)[start : start + length]
        out[at : at + 32] = hashlib.sha256(span).digest()


def make_crypto(config, own_id, seed):
    """The provider of one node: a key per peer with which it has one (replica with anybody)."""
    keys = {}
    for peer in range(config.CLIENT_COUNT):
        if peer != own_id and min(peer, own_id) < config.REPLICA_COUNT:
            names = "%d %d %d" % (seed, min(peer, own_id), max(peer, own_id))
            keys[peer] = hashlib.sha256(names.encode()).digest()[:16]
    return Crypto(own_id, keys, config.TAG_LENGTH)


class Store:
    """Non-volatile bytes. `bytes_left` counts down to a power cut; -1 = no cut is planned."""

    def __init__(self, size=STORE_LENGTH):
        self.size = size
        self.octets = bytearray(size)
        self.written = 0
        self.bytes_left = -1

    def read_into(self, address, buf, length):
        self._check(address, length)
        buf[:length] = self.octets[address : address + length]

    def write(self, address, buf, length):
        """Bytes go out one by one, in order: a cut leaves the first of them written."""
        self._check(address, length)
        cut = 0 <= self.bytes_left < length
        if cut:
            length = self.bytes_left
        self.octets[address : address + length] = buf[:length]
        self.written += length
        if self.bytes_left >= 0:
            self.bytes_left -= length
        if cut:
            self.bytes_left = -1
            raise PowerCut()

    def wipe(self):
        self.octets = bytearray(self.size)

    def _check(self, address, length):
        if address < 0 or length < 0 or address + length > self.size:
            raise ValueError(
                "%d bytes at %d are outside of a store of %d" % (length, address, self.size)
            )
