"""Slots in non-volatile memory: what this replica said about a seqno, and the batch.

    header    two places by turns; a place is two flag bytes and a record (records.py) of
              seqno u32, view u32, digest 32, kind u8
    time      8 bytes of the batch's header
    bodies    as they lie in RAM; entries and digest of the batch follow from them

A header is never written over: one that is torn leaves the one before it, which is of an earlier
view or of a seqno that is stable by now. Flags are single bytes, 0 or 255, read as most of their
bits are: a flipped bit changes nothing, and a torn one is either, which does no harm since
nothing was said yet. `known` is what RAM knows of all that, to write nothing twice. Allocates
nothing outside hashing.
"""

from tinybft.compat import const, micropython
from tinybft.layout import (
    BATCH_TIME_LENGTH,
    HEADER_LENGTH,
    KNOWN_LENGTH,
    SLOT_HEADER_LENGTH,
    areas,
    slot_length,
)
from tinybft.memory import offsets, slot_fields
from tinybft.octets import copy, equal, get_u32, put_u32
from tinybft.records import BLANK, GOOD, ROTTEN, TORN

# What the header of a slot says about the batch in (view, seqno)
SPOKEN = const(1)  # this replica proposed it or said PREPARE
OVERRULED = const(2)  # it did, but others committed another one: it has no more to say
LEARNED = const(3)  # committed by others, executed here
AND_COMMITTED = const(8)  # beside one of these: committed before the header was written

SET = const(255)  # a flag byte: set, if most of its bits are
KIND = const(40)
PREPARED_AT = const(41)
COMMITTED_AT = const(42)
STORED = const(43)
_PLACE = const(44)


class SlotRecords:
    """The part of `Durability` that is about slots; `records`: makes Records of an area."""

    def __init__(self, records):
        config = self.config
        self._size = offsets(slot_fields(config))["size"]
        self._stride = slot_length(config)
        self._slots_at = areas(config)["slots"]
        self.headers = records("slots", HEADER_LENGTH, 2 * config.SLOT_COUNT, 2, self._stride, 2)
        self.known = bytearray(config.SLOT_COUNT * KNOWN_LENGTH)
        self._flag = bytearray(1)

    @micropython.native
    def known_at(self, index):
        return index * KNOWN_LENGTH

    @micropython.native
    def _is_known(self, index, base):
        """True if the memory holds this batch, in whatever view."""
        slots = self.core.slots
        at = index * KNOWN_LENGTH
        if get_u32(self.known, at) != slots.seqno(base) or self.known[at + KIND] == OVERRULED:
            return False
        return equal(self.known, at + 8, slots.buf, slots.digest_at(base), 32)

    @micropython.native
    def say_batch(self, base):
        """Before PRE-PREPARE or PREPARE of the slot's batch in the present view.

        Its digest binds this replica; the batch itself is needed from COMMIT on (`store_batch`).
        """
        if not self.has_spoken(base):
            index = base // self._size
            self._write_header(index, base, SPOKEN)

    @micropython.native
    def has_spoken(self, base):
        """True if this replica spoke for the slot's digest in the present view; after a restart
        the slot may have lost the batch."""
        index = base // self._size
        at = index * KNOWN_LENGTH
        if not self._is_known(index, base) or self.known[at + KIND] & 7 != SPOKEN:
            return False
        return get_u32(self.known, at + 4) == self.core.progress.view

    @micropython.native
    def store_batch(self, base):
        """After PRE-PREPARE or PREPARE, while others answer: the batch itself."""
        index = base // self._size
        if not self.known[index * KNOWN_LENGTH + STORED]:
            self._write_batch(index, base)
            self.known[index * KNOWN_LENGTH + STORED] = 1

    @micropython.native
    def say_prepared(self, base):
        """Before COMMIT."""
        self.store_batch(base)
        self._set_flag(base // self._size, 0)

    @micropython.native
    def overrule(self, base):
        """Before the batch that was spoken for makes room for the one that others committed.

        Without that, the bodies of the other one would lie under the header of the first.
        """
        index = base // self._size
        at = index * KNOWN_LENGTH
        if get_u32(self.known, at) == self.core.slots.seqno(base) and (
            self.known[at + KIND] & 7 == SPOKEN
        ):
            copy(self.stage, self.headers.at, self.known, at, HEADER_LENGTH)
            self._finish_header(index, OVERRULED)

    @micropython.native
    def note_executed(self, first, last):
        """Before the CHECKPOINT of `last`: after a restart all of these are executed again."""
        slots = self.core.slots
        for seqno in range(first, last + 1):
            base = slots.find(seqno)
            if base < 0:
                continue
            index = base // self._size
            if not self._is_known(index, base):
                self.overrule(base)
                self._write_whole(index, base, LEARNED | AND_COMMITTED)
            self.store_batch(base)
            if not self.known[index * KNOWN_LENGTH + KIND] & AND_COMMITTED:
                self._set_flag(index, 1)

    @micropython.native
    def keep_batch(self, base):
        """The slot was copied to `base` in the second ring: P will name it."""
        index = base // self._size
        if not self._is_known(index, base):
            self._write_whole(index, base, SPOKEN)

    @micropython.native
    def _write_whole(self, index, base, kind):
        """The batch, then the header that says it is there."""
        self._write_batch(index, base)
        self._write_header(index, base, kind)
        self.known[index * KNOWN_LENGTH + STORED] = 1

    @micropython.native
    def _set_flag(self, index, flag):
        """`flag`: 0 prepared, 1 committed."""
        at = index * KNOWN_LENGTH + PREPARED_AT + flag
        if not self.known[at]:
            self.known[at] = 1
            self.write_flag(index, flag)

    @micropython.native
    def write_flag(self, index, flag):
        self._flag[0] = self.known[index * KNOWN_LENGTH + PREPARED_AT + flag] * SET
        self.store.write(self.headers.address_of(self.record_of(index)) + flag, self._flag, 1)

    @micropython.native
    def record_of(self, index):
        """Number of the record that counts, among `headers`."""
        return 2 * index + self.known[index * KNOWN_LENGTH + _PLACE]

    @micropython.native
    def _write_header(self, index, base, kind):
        slots = self.core.slots
        known = index * KNOWN_LENGTH
        at = self.headers.at
        if not self._is_known(index, base):
            self.known[known + STORED] = 0
        elif self.known[known + COMMITTED_AT] or self.known[known + KIND] & AND_COMMITTED:
            kind |= AND_COMMITTED
        put_u32(self.stage, at, slots.seqno(base))
        put_u32(self.stage, at + 4, self.core.progress.view)
        copy(self.stage, at + 8, slots.buf, slots.digest_at(base), 32)
        self._finish_header(index, kind)

    @micropython.native
    def _finish_header(self, index, kind):
        """Write what is staged to the place that does not count: from then on it does."""
        known = index * KNOWN_LENGTH
        self.stage[self.headers.at + KIND] = kind
        copy(self.known, known, self.stage, self.headers.at, HEADER_LENGTH)
        self.known[known + PREPARED_AT] = 0
        self.known[known + COMMITTED_AT] = 0
        self.known[known + _PLACE] ^= 1
        self.headers.write(self.record_of(index), HEADER_LENGTH)

    @micropython.native
    def _write_batch(self, index, base):
        """Time and bodies. Entries and digest follow from the bodies."""
        slots = self.core.slots
        stage = self.stage
        copy(stage, 0, slots.buf, slots.batch_at(base), BATCH_TIME_LENGTH)
        length = BATCH_TIME_LENGTH
        if slots.bodies.in_ram:
            bodies = slots.bodies_length(base)
            slots.bodies.get(slots.body_at(base, 0), stage, length, bodies)
            length += bodies
        self.store.write(self.content_at(index), stage, length)

    def read_header(self, index):
        """At boot: GOOD with the newer of the two headers in `stage` and `known`; BLANK or ROTTEN.

        The newer one is of a higher seqno, or a later view, or says more of one view.
        """
        headers = self.headers
        known = index * KNOWN_LENGTH
        first = headers.read(2 * index)
        if first == GOOD:
            copy(self.known, known, self.stage, headers.at, HEADER_LENGTH)
        second = headers.read(2 * index + 1)
        if first == ROTTEN or second == ROTTEN or (first == TORN and second == TORN):
            return ROTTEN
        place = 1
        if second != GOOD or (first == GOOD and not self._is_newer(known)):
            place = 0
        if first != GOOD and second != GOOD:
            self.known[known + _PLACE] = (
                1 if first == BLANK else 0
            )  # the next write goes to a BLANK
            return BLANK
        headers.read(2 * index + place)
        copy(self.known, known, self.stage, headers.at, HEADER_LENGTH)
        self.known[known + PREPARED_AT] = _is_set(self.stage[0])
        self.known[known + COMMITTED_AT] = _is_set(self.stage[1])
        self.known[known + _PLACE] = place
        return GOOD

    def _is_newer(self, known):
        """True if the header in `stage` was written after the one in `known`."""
        at = self.headers.at
        for field in (0, 4):
            there = get_u32(self.known, known + field)
            here = get_u32(self.stage, at + field)
            if here != there:
                return here > there
        return self.stage[at + KIND] & 7 > self.known[known + KIND] & 7

    @micropython.native
    def content_at(self, index):
        """Address of the batch of a slot: time, then the bodies."""
        return self._slots_at + index * self._stride + SLOT_HEADER_LENGTH


def _is_set(flag):
    """A flag byte as most of its bits are."""
    count = 0
    while flag:
        count += flag & 1
        flag >>= 1
    return 1 if count > 4 else 0
