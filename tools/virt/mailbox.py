"""The host's side of one emulated board's shared memory (hal/virt_map.py says what is where)."""

import mmap
import os
import struct
from pathlib import Path

from hal import virt_map

RAM_LENGTH = 32 << 20
_BASE = virt_map.ADDRESS - virt_map.RAM_ADDRESS
_MASK = virt_map.RING_COUNT - 1
_STACK = 0x80600000  # of the port's linker script, 64 KiB; its start-up code fills it
_STACK_LENGTH = 0x10000
_UNTOUCHED = 0xBBBBBBBB


class Mailbox:
    """The board whose RAM is the file at `path`; made of zeros if it is not there."""

    def __init__(self, path):
        self.path = Path(path)
        with open(path, "a+b") as file:
            file.truncate(RAM_LENGTH)
            self._map = mmap.mmap(file.fileno(), RAM_LENGTH)
        self._ram = memoryview(self._map)
        self._shared = self._ram[_BASE : _BASE + virt_map.LENGTH]
        self.refused = 0  # frames that came while the board's ring was full

    def power_on(self, identity, store_length):
        """Leave of what was there only the store, as a power cut does; fill in the rest.

        Requires: no emulator runs on it.
        """
        with memoryview(bytes(1 << 20)) as zeros:
            store_at = _BASE + virt_map.STORE
            _clear(self._ram[:store_at], zeros)
            _clear(self._ram[store_at + virt_map.STORE_LENGTH_MAX :], zeros)
        shared = self._shared
        octets = identity.encode()
        shared[virt_map.IDENTITY : virt_map.IDENTITY + len(octets)] = octets
        struct.pack_into("<II", shared, virt_map.IDENTITY_LENGTH, len(octets), store_length)
        end = virt_map.ENTROPY + virt_map.ENTROPY_LENGTH
        shared[virt_map.ENTROPY : end] = os.urandom(virt_map.ENTROPY_LENGTH)
        shared[0] = virt_map.MAGIC

    def take(self):
        """The next frame that the board sent as (target or None for all, bytes); None: no more."""
        shared = self._shared
        tail = shared[virt_map.SENT_TAIL]
        if shared[virt_map.SENT_HEAD] == tail:
            return None
        at = virt_map.SENT + (tail & _MASK) * virt_map.ENTRY_LENGTH
        length, target = struct.unpack_from("<HH", shared, at)
        begin = at + virt_map.ENTRY_HEADER
        frame = bytes(shared[begin : begin + min(length, virt_map.ENTRY_LENGTH)])
        shared[virt_map.SENT_TAIL] = (tail + 1) & _MASK
        return (None if target == virt_map.TO_ALL else target), frame

    def put(self, frame):
        """Let the board receive a frame; False when it has no room, and the frame is lost."""
        shared = self._shared
        head = shared[virt_map.RECEIVED_HEAD]
        if (head + 1) & _MASK == shared[virt_map.RECEIVED_TAIL]:
            self.refused += 1
            return False
        at = virt_map.RECEIVED + (head & _MASK) * virt_map.ENTRY_LENGTH
        struct.pack_into("<HH", shared, at, len(frame), virt_map.TO_ALL)
        begin = at + virt_map.ENTRY_HEADER
        shared[begin : begin + len(frame)] = frame
        shared[virt_map.RECEIVED_HEAD] = (head + 1) & _MASK
        return True

    def store(self, length):
        """The board's non-volatile memory, as a store of the HAL."""
        begin = virt_map.STORE
        return _Store(self._shared[begin : begin + length])

    def stack_used(self):
        """Bytes of the stack that the program has touched: the port fills it with a pattern."""
        begin = _STACK - virt_map.RAM_ADDRESS
        words = struct.iter_unpack("<I", self._ram[begin : begin + _STACK_LENGTH])
        untouched = next((i for i, (word,) in enumerate(words) if word != _UNTOUCHED), 0)
        return _STACK_LENGTH - 4 * untouched

    def close(self):
        self._shared.release()
        self._ram.release()
        self._map.close()


class _Store:
    """The HAL contract of a store over a memoryview."""

    def __init__(self, octets):
        self.size = len(octets)
        self.octets = octets

    def read_into(self, address, buf, length):
        buf[:length] = self.octets[address : address + length]

    def write(self, address, buf, length):
        self.octets[address : address + length] = buf[:length]


def _clear(span, zeros):
    """Fill a span with zeros; only pages that hold something, so that the file stays sparse."""
    for at in range(0, len(span), len(zeros)):
        part = span[at : at + len(zeros)]
        if part != zeros[: len(part)]:
            part[:] = zeros[: len(part)]
