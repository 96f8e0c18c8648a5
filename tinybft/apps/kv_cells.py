"""Where the key-value store keeps its records: chains of 64-byte cells in the static state.

    offset   bytes          content
    0        2              first free cell, 0: none
    2        2              number of free cells
    4        2              number of records
    6        58             zero
    64       2 * buckets    per hash bucket: head cell of its first record, 0: none
    then     64 * cells     cells, numbered from 1

A record is a chain of cells; its payload is the key and then the value:

    head cell          u16 next cell | 0x8000, u16 head cell of the next record in the bucket,
                       u16 value length, u8 key length, u8 zero, 56 bytes of payload
    every other cell   u16 next cell, 62 bytes of payload
    a free cell        u16 next free cell, 62 bytes of whatever was there

Rules:
* The head cell of a record stays the same as long as the key exists, whatever happens to the
  value. So cell numbers are a stable order to scan in.
* A chain grows and shrinks at its end. What does not fit is refused before the first write.
* Everything is in the state: two stores that executed the same operations are equal bytes.

The hash is not secret: a client may build keys that share a bucket. The cost of an operation
stays bounded by the number of cells.

Allocates nothing.
"""

from tinybft.compat import const, micropython
from tinybft.octets import put_u16

CELL_LENGTH = 64

_CELL = const(64)
_FREE = const(0)
_FREE_COUNT = const(2)
_RECORD_COUNT = const(4)
_BUCKETS = const(64)
_HEAD = const(0x8000)
_NEXT = const(0x7FFF)
_BUCKET_NEXT = const(2)  # offsets in a head cell
_VALUE_LENGTH = const(4)
_KEY_LENGTH = const(6)
_HEAD_HEADER = const(8)
_TAIL_HEADER = const(2)
_HEAD_ROOM = const(56)
_TAIL_ROOM = const(62)
_CELLS_PER_BUCKET = const(4)


@micropython.viper
def cells_for(length: int) -> int:
    """Cells of a record with that many bytes of key and value."""
    if length <= _HEAD_ROOM:
        return 1
    return 1 + (length - _HEAD_ROOM + _TAIL_ROOM - 1) // _TAIL_ROOM


@micropython.viper
def hash_of(buf: ptr8, at: int, length: int) -> int:
    """24 bits; no intermediate value reaches 2**30."""
    value = length
    end = at + length
    while at < end:
        value = (value * 31 + buf[at]) & 0xFFFFFF
        at += 1
    return value ^ value >> 9


class Cells:
    """Records by head cell number; 0 is no record. `state` is an AppState."""

    def __init__(self, state):
        total = state.length // _CELL
        self.bucket_count = 1
        while self.bucket_count * 2 * _CELLS_PER_BUCKET <= total:
            self.bucket_count *= 2
        first = _BUCKETS + (self.bucket_count * 2 + _CELL - 1) // _CELL * _CELL
        self.cell_count = min(_NEXT, (state.length - first) // _CELL)
        if self.cell_count < 1:
            raise ValueError("state_length is too small for one cell of the key-value store")
        self._base = first - _CELL  # cell 0 does not exist
        self._read = state.read
        self._equal = state.equal
        self._get_u8 = state.get_u8
        self._get_u16 = state.get_u16
        self._write = state.write
        self._put_u16 = state.put_u16
        self._header = bytearray(_HEAD_HEADER)
        self._link = 0  # offset of the link that leads to the record found last

    def genesis(self):
        """All cells are free, in order; the rest of the state is zero."""
        for cell in range(1, self.cell_count):
            self._put_u16(self._base + cell * _CELL, cell + 1)
        self._put_free(1, self.cell_count)

    # Reading.

    @property
    def record_count(self):
        return self._get_u16(_RECORD_COUNT)

    @property
    def free_count(self):
        return self._get_u16(_FREE_COUNT)

    def is_head(self, cell):
        return self._get_u16(self._base + cell * _CELL) >= _HEAD

    def key_length(self, cell):
        return self._get_u8(self._base + cell * _CELL + _KEY_LENGTH)

    @micropython.viper
    def value_length(self, cell: int) -> int:
        return int(self._get_u16(int(self._base) + cell * _CELL + _VALUE_LENGTH))

    @micropython.viper
    def find(self, key, at: int, length: int) -> int:
        """The record with that key, or 0."""
        base = int(self._base)
        mask = int(self.bucket_count) - 1
        link = _BUCKETS + (int(hash_of(key, at, length)) & mask) * 2
        cell = int(self._get_u16(link))
        while cell:
            offset = base + cell * _CELL
            is_equal = int(self._get_u8(offset + _KEY_LENGTH)) == length
            if is_equal and self.equals(cell, 0, key, at, length):
                break
            link = offset + _BUCKET_NEXT
            cell = int(self._get_u16(link))
        self._link = link
        return cell

    @micropython.native
    def copy_into(self, cell, position, length, out, at):
        """Payload bytes position .. position + length."""
        offset = self._base + cell * _CELL
        header = _HEAD_HEADER
        while length:
            room = _CELL - header - position
            if room > 0:
                part = length if length < room else room
                self._read(offset + header + position, out, at, part)
                at += part
                length -= part
                position = 0
            else:
                position = -room
            header = _TAIL_HEADER
            offset = self._base + (self._get_u16(offset) & _NEXT) * _CELL

    @micropython.viper
    def equals(self, cell: int, position: int, buf, at: int, length: int) -> bool:
        """Whether payload bytes position .. position + length are buf[at:at+length]."""
        base = int(self._base)
        offset = base + cell * _CELL
        header = _HEAD_HEADER
        while length > 0:
            room = _CELL - header - position
            if room > 0:
                part = length if length < room else room
                if not self._equal(offset + header + position, buf, at, part):
                    return False
                at += part
                length -= part
                position = 0
            else:
                position = -room
            if length > 0:
                header = _TAIL_HEADER
                offset = base + (int(self._get_u16(offset)) & _NEXT) * _CELL
        return True

    # Writing.

    @micropython.viper
    def store(  # noqa: PLR0913
        self, cell: int, key, key_at: int, key_length: int, buf, at: int, length: int
    ) -> bool:
        """Give the record (`cell` as `find` just returned it) a value. False: no room."""
        needed = int(cells_for(key_length + length))
        old_length = 0
        held = 0
        if cell:
            old_length = int(self.value_length(cell))
            held = needed
            if length != old_length:
                held = int(cells_for(key_length + old_length))
        more = needed - held
        if more > 0 and more > int(self.free_count):
            return False
        if not cell:
            cell = int(self._create(needed, key, key_at, key_length))
        elif more > 0:
            self._put_next(self._walk(cell, held - 1), self._take(more))
        elif more < 0:
            self._cut(cell, needed, -more)
        if length != old_length:
            self._put_u16(int(self._base) + cell * _CELL + _VALUE_LENGTH, length)
        self._put_payload(cell, key_length, buf, at, length)
        return True

    def remove(self, cell):
        """Requires: `cell` as `find` just returned it, and not 0."""
        offset = self._base + cell * _CELL
        count = cells_for(self.key_length(cell) + self.value_length(cell))
        self._put_u16(self._link, self._get_u16(offset + _BUCKET_NEXT))
        self._put_u16(offset, self._get_u16(offset) & _NEXT)
        self._give(cell, count)
        self._put_u16(_RECORD_COUNT, self.record_count - 1)

    def _create(self, count, key, at, length):
        cell = self._take(count)
        offset = self._base + cell * _CELL
        header = self._header
        put_u16(header, 0, self._get_u16(offset) | _HEAD)
        put_u16(header, _BUCKET_NEXT, 0)
        put_u16(header, _VALUE_LENGTH, 0)
        header[_KEY_LENGTH] = length
        self._write(offset, header, 0, _HEAD_HEADER)
        self._put_payload(cell, 0, key, at, length)
        self._put_u16(self._link, cell)  # behind the last record of its bucket
        self._put_u16(_RECORD_COUNT, self.record_count + 1)
        return cell

    @micropython.viper
    def _put_payload(self, cell: int, position: int, buf, at: int, length: int):
        base = int(self._base)
        offset = base + cell * _CELL
        header = _HEAD_HEADER
        while length > 0:
            room = _CELL - header - position
            if room > 0:
                part = length if length < room else room
                self._write(offset + header + position, buf, at, part)
                at += part
                length -= part
                position = 0
            else:
                position = -room
            if length > 0:
                header = _TAIL_HEADER
                offset = base + (int(self._get_u16(offset)) & _NEXT) * _CELL

    def _cut(self, cell, keep, count):
        """Free the last `count` cells of a record, behind the first `keep`."""
        last = self._walk(cell, keep - 1)
        rest = self._walk(last, 1)
        self._put_next(last, 0)
        self._give(rest, count)

    def _take(self, count):
        """The first `count` free cells: they are a chain already."""
        first = self._get_u16(_FREE)
        last = self._walk(first, count - 1)
        self._put_free(self._walk(last, 1), self.free_count - count)
        self._put_next(last, 0)
        return first

    def _give(self, first, count):
        """A chain of `count` cells becomes the start of the free list."""
        self._put_next(self._walk(first, count - 1), self._get_u16(_FREE))
        self._put_free(first, self.free_count + count)

    @micropython.native
    def _walk(self, cell, steps):
        while steps:
            cell = self._get_u16(self._base + cell * _CELL) & _NEXT
            steps -= 1
        return cell

    def _put_next(self, cell, following):
        offset = self._base + cell * _CELL
        self._put_u16(offset, self._get_u16(offset) & _HEAD | following)

    @micropython.native
    def _put_free(self, first, count):
        put_u16(self._header, _FREE, first)
        put_u16(self._header, _FREE_COUNT, count)
        self._write(_FREE, self._header, 0, 4)
