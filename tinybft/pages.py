"""Which pages of the state were written: between the held checkpoints, and since the newest.

A page is what the image in non-volatile memory (image.py) is written in. Bitmaps: one for now,
one per place in the ring of snapshots. Does not allocate.
"""

from tinybft.compat import micropython
from tinybft.octets import copy, fill


class DirtyPages:
    def __init__(self, config):
        self._page_length = config.PAGE_LENGTH
        self._length = (config.PAGE_COUNT + 7) // 8
        self._now = bytearray(self._length)
        self._held = bytearray(self._length * config.CHECKPOINT_COUNT)

    def bytes_reserved(self):
        return len(self._now) + len(self._held)

    @micropython.native
    def mark(self, offset, length):
        page = offset // self._page_length
        last = (offset + length - 1) // self._page_length
        now = self._now
        while page <= last:
            now[page >> 3] |= 1 << (page & 7)
            page += 1

    @micropython.native
    def close(self, slot):
        """A checkpoint is taken, held in `slot`: what changed belongs to it."""
        copy(self._held, slot * self._length, self._now, 0, self._length)
        self.forget()

    @micropython.native
    def forget(self):
        fill(self._now, 0, self._length, 0)

    @micropython.native
    def is_marked(self, slot, page):
        return self._held[slot * self._length + (page >> 3)] >> (page & 7) & 1
