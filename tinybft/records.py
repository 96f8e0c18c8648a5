"""Records in non-volatile memory that tell, after a power cut, whether they can be believed.

    lead       flag bytes of the caller, set to zero by each write of the record
    mark u8    differs from that of the write before
    length u16
    payload
    check 4    the first bytes of SHA-256 over mark, length and payload
    (room up to the longest payload)
    mark u8    the same again, written last

Bytes persist in the order of addresses, so a write that did not finish leaves two marks that
differ, or bytes whose check still holds:

    BLANK    never written: all zeros
    GOOD     the check holds with one of the marks
    TORN     it does not, and the marks differ: the power went while this was written. Nothing
             that was to come after the write has happened
    ROTTEN   it does not, and the marks are the same: the memory has changed by itself

A place that is written again loses its old payload for a moment. What must never be lost is
written to two places by turns, with a generation in front (`Pair`).

One staging buffer serves all records: compose the payload at `stage[at:]`, then write. Does not
allocate outside hashing, except in `read`, which is for boot.
"""

from tinybft.compat import const, micropython
from tinybft.octets import copy, equal, fill, get_u16, get_u32, is_zero, put_u16, put_u32

BLANK = const(0)
GOOD = const(1)
TORN = const(2)
ROTTEN = const(3)

_HEAD = const(3)  # mark, length
_CHECK = const(4)


class Records:
    """`count` records, the first one at `address`: one behind the other, or `group` of them every
    `stride` bytes.

    `length`: of the payload that `read` found; it stands at `stage[at:]`.
    """

    def __init__(  # noqa: PLR0913 - a table row
        self, store, digest_into, stage, address, length_max, count=1, lead=0, stride=0, group=1
    ):
        self.stage = stage
        self.at = lead + _HEAD
        self.count = count
        self.length = 0
        self.size = lead + _HEAD + length_max + _CHECK + 1
        self._stride = stride or self.size
        self._group = group
        self._store = store
        self._digest_into = digest_into
        self._address = address
        self._length_max = length_max
        self._lead = lead
        self._digest = bytearray(32)
        self._marks = bytearray(2 * count)  # of each record, as they stand in the memory
        self._last = bytearray(1)
        self._zeros = bytearray(min(self.size, 64))
        assert self.size <= len(stage), "the staging buffer is shorter than a record"

    @micropython.native
    def address_of(self, index):
        group = self._group
        return self._address + index // group * self._stride + index % group * self.size

    @micropython.native
    def write(self, index, length):
        """Make stage[at:at + length] the payload; returns when it is there to stay."""
        stage = self.stage
        mark = self._next_mark(index)
        fill(stage, 0, self._lead, 0)
        end = self._seal(length, mark)
        self._marks[2 * index] = mark
        if length == self._length_max:  # then the second mark comes next
            stage[end] = mark
            self._store.write(self.address_of(index), stage, end + 1)
        else:
            self._store.write(self.address_of(index), stage, end)
            self._last[0] = mark
            self._store.write(self.address_of(index) + self.size - 1, self._last, 1)
        self._marks[2 * index + 1] = mark

    def rewrite(self, index, length):
        """`write` in place of a rotten record: marks and flag bytes stay untouched, so that it is
        ROTTEN still if the power goes meanwhile, and never TORN."""
        stage = self.stage
        skipped = self._lead + 1
        end = self._seal(length, self._marks[2 * index])
        copy(stage, 0, stage, skipped, end - skipped)
        self._store.write(self.address_of(index) + skipped, stage, end - skipped)

    @micropython.native
    def _seal(self, length, mark):
        """Head and check around the payload; returns where the check ends."""
        stage = self.stage
        lead = self._lead
        stage[lead] = mark
        put_u16(stage, lead + 1, length)
        end = lead + _HEAD + length
        self._digest_into(stage, lead, _HEAD + length, self._digest, 0)
        copy(stage, end, self._digest, 0, _CHECK)
        return end + _CHECK

    @micropython.native
    def _next_mark(self, index):
        """Differs from both that are there, or a torn write could look like a rotten record."""
        mark = self._marks[2 * index]
        while True:
            mark = mark % 255 + 1
            if mark != self._marks[2 * index] and mark != self._marks[2 * index + 1]:
                return mark

    def read(self, index):
        """BLANK, GOOD, TORN or ROTTEN; the flag bytes, if any, are stage[0:lead] then."""
        stage = self.stage
        lead = self._lead
        self._store.read_into(self.address_of(index), stage, self.size)
        first = stage[lead]
        last = stage[self.size - 1]
        self._marks[2 * index] = first
        self._marks[2 * index + 1] = last
        self.length = get_u16(stage, lead + 1)
        if self._is_good(first) or (first != last and self._is_good(last)):
            return GOOD
        if first != last:
            return TORN
        stage[lead] = first
        return BLANK if is_zero(stage, lead, self.size - lead) else ROTTEN

    def _is_good(self, mark):
        stage = self.stage
        lead = self._lead
        if mark == 0 or self.length > self._length_max:
            return False
        stage[lead] = mark
        self._digest_into(stage, lead, _HEAD + self.length, self._digest, 0)
        return equal(stage, lead + _HEAD + self.length, self._digest, 0, _CHECK)

    def clear(self, index):
        """Write zeros: BLANK again. Not safe against a power cut by itself."""
        done = 0
        while done < self.size:
            length = min(len(self._zeros), self.size - done)
            self._store.write(self.address_of(index) + done, self._zeros, length)
            done += length
        self._marks[2 * index] = 0
        self._marks[2 * index + 1] = 0


class Pair:
    """Two records that are written by turns: the newer whole one counts.

    The first four bytes of the payload are the generation, which this object writes.
    """

    def __init__(self, records):
        assert records.count == 2
        self._records = records
        self.generation = 0
        self._turn = 0

    @micropython.native
    def write(self, length):
        records = self._records
        self.generation += 1
        put_u32(records.stage, records.at, self.generation)
        records.write(self._turn, length)
        self._turn = 1 - self._turn

    def read(self):
        """BLANK, GOOD (the newer payload is at stage[at:]) or ROTTEN."""
        records = self._records
        first = self._look(0)
        first_generation = self.generation
        second = self._look(1)
        if first == ROTTEN or second == ROTTEN or (first == TORN and second == TORN):
            return ROTTEN  # one power cut tears one write
        if first != GOOD and second != GOOD:
            self.generation = 0
            self._turn = 0
            return BLANK
        if second != GOOD or (first == GOOD and first_generation > self.generation):
            self._look(0)
            self._turn = 1
        else:
            self._turn = 0
        self.generation = get_u32(records.stage, records.at)
        return GOOD

    def _look(self, index):
        records = self._records
        found = records.read(index)
        self.generation = get_u32(records.stage, records.at) if found == GOOD else 0
        return found

    def is_rotten(self):
        """One of the two has changed by itself, or the newer one is not the one written last."""
        generation = self.generation
        turn = self._turn
        rotten = self._look(0) == ROTTEN or self._look(1) == ROTTEN
        if generation and not rotten:
            rotten = self._look(1 - turn) != GOOD or self.generation != generation
        self.generation = generation
        self._turn = turn
        return rotten

    def clear(self):
        self._records.clear(0)
        self._records.clear(1)
        self.generation = 0
        self._turn = 0
