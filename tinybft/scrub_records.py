"""Bit rot in non-volatile memory: `Scrub` (scrub.py) where there is any, its records included.

Allocates nothing outside hashing.
"""

from tinybft.identity import MEMBER, REJOINING
from tinybft.layout import ACK_LENGTH, HEADER_LENGTH, KNOWN_LENGTH
from tinybft.octets import copy, equal, get_u32
from tinybft.records import BLANK, GOOD, ROTTEN
from tinybft.scrub import Scrub
from tinybft.slot_records import PREPARED_AT, SET


class RecordScrub(Scrub):
    def _look_at_memory(self, piece):
        durability = self.core.durability
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
