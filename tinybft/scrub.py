"""Bit rot: looking again and again at memory that nobody writes.

A block that does not change is hashed once and believed for ever, and a record is read at boot
only; so a bit that flips in them would be noticed when it is too late. Every `status_ms` one
piece is looked at, round and round:

    a block of the live state      against its digest in the partition tree, if it has not
                                   changed since the newest checkpoint
    its pages in the image         against the digest that the image's checkpoint has for it
    a record                       against what RAM knows that it says

What is wrong is counted (`faults.ROTTEN`) and mended: a block from the image or by state
transfer, the image and the records from RAM. Rewriting a rotten record in its place uses its old
mark again: if the power goes meanwhile it is ROTTEN still, and not taken for one that was never
written. Allocates nothing outside hashing.
"""

from tinybft import faults
from tinybft.clock import elapsed
from tinybft.compat import micropython
from tinybft.identity import MEMBER, REJOINING
from tinybft.layout import ACK_LENGTH, HEADER_LENGTH, KNOWN_LENGTH
from tinybft.octets import copy, equal, get_u32
from tinybft.records import BLANK, GOOD, ROTTEN
from tinybft.slot_records import (
    PREPARED_AT,
    SET,
)


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

    def _count(self):
        self.core.faults.count(faults.ROTTEN)
        self.mended += 1

    # --- non-volatile memory ---

    def _look_at_memory(self, piece):
        """Piece 0, 1, ... of it. False behind the last one."""
        durability = self.core.durability
        if not durability.is_durable:
            return False
        image = durability.image
        if image:
            if piece < self._block_count:
                self._look_at_image(durability, image, piece)
                return True
            piece -= self._block_count
        headers = durability.headers
        if piece < headers.count // 2:
            self._look_at_header(durability, headers, piece)
            return True
        piece -= headers.count // 2
        if piece < durability.acks.count:
            self._look_at_ack(durability, durability.acks, piece)
            return True
        piece -= durability.acks.count
        if piece == 0 and durability.stable.is_rotten():
            self._count()
            durability.write_stable()
            durability.write_stable()  # both places
        elif piece == 1 and durability.view.is_rotten():
            self._count()
            durability.write_view_again()
            durability.write_view_again()
        elif piece == 2 and not durability.identity.is_intact():
            self._count()
            durability.identity.write(REJOINING if durability.abstains else MEMBER)
        return piece < 2

    def _look_at_image(self, durability, image, block):
        room = self.core.post.buf
        if not image.is_intact(self.core.state, block, room):
            self._count()
            image.mend(self.core.state, block, room)
            durability.write_stable()

    def _look_at_header(self, durability, headers, index):
        stage = durability.stage
        known = index * KNOWN_LENGTH
        record = durability.record_of(index)
        if headers.read(record ^ 1) == ROTTEN:  # an older one, nothing will ask for it
            self._count()
            headers.clear(record ^ 1)
        found = headers.read(record)
        if get_u32(durability.known, known) == 0:  # the same
            if found != BLANK:
                headers.clear(record)
            return
        for i in range(2):
            if stage[i] != durability.known[known + PREPARED_AT + i] * SET:
                self._count()
                durability.write_flag(index, i)
        if found == GOOD and equal(stage, headers.at, durability.known, known, HEADER_LENGTH):
            return
        self._count()
        copy(stage, headers.at, durability.known, known, HEADER_LENGTH)
        headers.rewrite(record, HEADER_LENGTH)

    def _look_at_ack(self, durability, acks, replica):
        at = replica * ACK_LENGTH
        found = acks.read(replica)
        if found == GOOD and equal(durability.stage, acks.at, durability.said, at, ACK_LENGTH):
            return
        if get_u32(durability.said, at) == 0:
            if found != BLANK:
                acks.clear(replica)
            return
        self._count()
        copy(durability.stage, acks.at, durability.said, at, ACK_LENGTH)
        acks.rewrite(replica, ACK_LENGTH)
