"""Bit rot: looking again and again at memory that nobody writes.

A block that does not change is hashed once and believed for ever, and a record is read at boot
only; so a bit that flips in them would be noticed when it is too late. Every `status_ms` one
piece is looked at, round and round:

    a block of the live state      against its digest in the partition tree, if it has not
                                   changed since the newest checkpoint
    its pages in the image         against the digest that the image's checkpoint has for it
    a record                       against what RAM knows that it says

Image and records: scrub_records.py. What is wrong is counted (`faults.ROTTEN`) and mended: a
block from the image or by state transfer, the image and the records from RAM. Rewriting a rotten
record in its place uses its old mark again: if the power goes meanwhile it is ROTTEN still, and
not taken for one that was never written. Allocates nothing outside hashing.
"""

from tinybft import faults
from tinybft.clock import elapsed
from tinybft.compat import micropython


class Scrub:
    def __init__(self, core):
        self.core = core
        self.mended = 0
        self._at = 0
        self._period_ms = core.config.STATUS_MS
        self._block_count = core.config.BLOCK_COUNT
        self._next = 0
        self._digest = bytearray(42)

    @micropython.native
    def tick(self, now):
        if elapsed(now, self._at) >= self._period_ms:
            self._at = now
            self.step()

    def step(self):
        """Look at the next piece."""
        piece = self._next
        if piece < self._block_count:
            done = self._look_at_block(piece)
        else:
            done = True
            if not self._look_at_memory(piece - self._block_count):
                self._next = -1
        if done:
            self._next += 1

    def _look_at_block(self, block):
        """False: it is rotten, and cannot be mended before the next checkpoint."""
        core = self.core
        state = core.state
        if core.transfer.running or state.is_intact(block):
            return True
        if core.durability.reload_block(block) and state.is_intact(block):
            self._count()
            return True
        seqno = core.checkpoints.last_taken
        if core.progress.last_executed != seqno:
            return False
        self._count()
        state.root_into(seqno, self._digest, 0)
        core.transfer.start(seqno, self._digest, 0)
        return True

    def _look_at_memory(self, _piece):
        """Piece 0, 1, ... of non-volatile memory. False behind the last one."""
        return False

    def _count(self):
        self.core.faults.count(faults.ROTTEN)
        self.mended += 1
