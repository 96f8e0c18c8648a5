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
    `macs`, `digests` and `digested` (bytes) count what was asked for.
    """

    def __init__(self, own_id, keys, tag_length):
        self.own_id = own_id
        self.tag_length = tag_length
        self._keys = keys
        self._zero = bytes(tag_length)
        self.macs = 0
        self.digests = 0
        self.digested = 0

    def _tag(self, peer, buf, length):
        self.macs += 1
        key = self._keys.get(peer)
        if key is None or not 0 <= length <= 160:
            return self._zero
        return hashlib.sha256(key + bytes(buf[:length])).digest()[: self.tag_length]

    def mac_into(self, peer, buf, length, out, at):
        tag = self._tag(peer, buf, length)
        out[at : at + self.tag_length] = tag
        return tag is not self._zero

    def macs_into(self, first, end, buf, length, out, at):  # noqa: PLR0913
        count = 0
        for peer in range(first, end):
            if peer in self._keys:
                self.mac_into(peer, buf, length, out, at)
                at += self.tag_length
                count += 1
        return count

    def mac_equal(self, peer, buf, length, tagged, tag_at):
        tag = self._tag(peer, buf, length)
        return tag != self._zero and tag == bytes(tagged[tag_at : tag_at + self.tag_length])

    def digest_into(self, buf, start, length, out, at):
        self.digests += 1
        self.digested += length
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
    """Non-volatile bytes and what can go wrong with them; zeros at first.

    bytes_left   power goes off when so many more bytes are written; -1: no cut is planned
    torn         what the byte under way holds then: "old", "new" or "random"
    writes_left  so many more writes are done, then one silently is not; -1: none is lost
    on_write     called with (store, address, buf, length) before each write
    us_per_byte, us_per_transfer    time that the bus takes (I2C at 400 kHz: 22.5 and 90)
    busy_us      time that it took since somebody set this to 0

    `writes`, `written`, `reads` and `read` count transfers and bytes since `reset_counts`.
    """

    def __init__(self, size=STORE_LENGTH, seed=1):
        self.size = size
        self.octets = bytearray(size)
        self.bytes_left = -1
        self.torn = "random"
        self.writes_left = -1
        self.on_write = None
        self.us_per_byte = 0
        self.us_per_transfer = 0
        self.busy_us = 0
        self._random = Random(seed)
        self.reset_counts()

    def reset_counts(self):
        self.writes = 0
        self.written = 0
        self.reads = 0
        self.read = 0

    def read_into(self, address, buf, length):
        self._check(address, buf, length)
        buf[:length] = self.octets[address : address + length]
        self.reads += 1
        self.read += length
        self.busy_us += self.us_per_transfer + length * self.us_per_byte

    def write(self, address, buf, length):
        """Bytes go out one by one, in order: a cut leaves the first of them written."""
        self._check(address, buf, length)
        if self.on_write:
            self.on_write(self, address, buf, length)
        is_lost = self.writes_left == 0
        if self.writes_left >= 0:
            self.writes_left -= 1
        cut = 0 <= self.bytes_left < length
        if cut:
            length = self.bytes_left
        self.writes += 1
        self.written += length
        self.busy_us += self.us_per_transfer + length * self.us_per_byte
        if not is_lost:
            self.octets[address : address + length] = buf[:length]
        if cut:
            if not is_lost:
                self._tear(address + length, buf[length])
            self.bytes_left = -1
            raise PowerCut()
        if self.bytes_left >= 0:
            self.bytes_left -= length

    def _tear(self, address, new):
        """What power is lost amid: its bits are the old ones, the new ones, or anything."""
        if self.torn == "new":
            self.octets[address] = new
        elif self.torn == "random":
            self.octets[address] = self._random.below(256)

    def wipe(self, value=0):
        for address in range(self.size):
            self.octets[address] = value

    def image(self):
        """All bytes, to be put back some day."""
        return bytes(self.octets)

    def put_back(self, image):
        if len(image) != self.size:
            raise ValueError("an image of %d bytes, the store has %d" % (len(image), self.size))
        self.octets[:] = image

    def _check(self, address, buf, length):
        if length > len(buf):
            raise ValueError("%d bytes of a buffer of %d" % (length, len(buf)))
        if address < 0 or length < 0 or address + length > self.size:
            raise ValueError(
                "%d bytes at %d are outside of a store of %d" % (length, address, self.size)
            )
