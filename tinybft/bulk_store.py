"""A bulk field (bulk.py) in the non-volatile store; imported where [storage] has one.

A span that does not begin at the start of its buffer passes through a window: some static bytes
that all fields share. What `open` put there stays until the next call. Allocates nothing.
"""

from tinybft.octets import copy, fill


class InStore:
    """A field of the store, its first place at `address`; needs `stride` bytes of window for
    `open`, any number of them for the rest."""

    in_ram = False

    def __init__(self, store, address, stride, window):
        self.octets = window
        self.stride = stride
        self._store = store
        self._address = address
        self._length_max = len(window)

    def put(self, at, buf, start, length):
        at += self._address
        if start == 0 and length:
            self._store.write(at, buf, length)
            return
        window = self.octets
        while length:
            part = length if length < self._length_max else self._length_max
            copy(window, 0, buf, start, part)
            self._store.write(at, window, part)
            at += part
            start += part
            length -= part

    def get(self, at, out, start, length):
        at += self._address
        if start == 0 and length:
            self._store.read_into(at, out, length)
            return
        window = self.octets
        while length:
            part = length if length < self._length_max else self._length_max
            self._store.read_into(at, window, part)
            copy(out, start, window, 0, part)
            at += part
            start += part
            length -= part

    def copy_to(self, at, other, to, length):
        at += self._address
        while length:
            part = length if length < self._length_max else self._length_max
            self._store.read_into(at, self.octets, part)
            other.put(to, self.octets, 0, part)
            at += part
            to += part
            length -= part

    def open(self, place):
        self._store.read_into(self._address + place * self.stride, self.octets, self.stride)
        return 0

    def clear(self, length):
        """The first `length` bytes become zero, as a new bytearray is."""
        window = self.octets
        fill(window, 0, len(window), 0)
        at = 0
        while at < length:
            part = min(length - at, len(window))
            self.put(at, window, 0, part)
            at += part
