"""A replicated key-value store: put, get, delete, compare-and-swap, increment, scan, count.

`kv_format` holds the bytes of operations and replies, `kv_cells` the layout of the state. Here
are the operations: each is all or nothing, each malformed one gets a reply that says so.

An operation is read in this order: opcode, key length, whether the lengths add up, read-only.

A value may have as many bytes as a PUT request and a GET reply can carry: request_length_max
- 2 - key, and reply_length_max - 1. A scan needs reply_length_max >= 72.

An operation changes at most the cells of the longest record that it can carry, the header of the
store, and a link to the record or (when one goes or gets shorter) the last cell of what is freed.

Allocates nothing; but `increment` does for numbers from 2**30 on.
"""

from tinybft.apps.kv_cells import Cells, cells_for
from tinybft.apps.kv_format import (
    ABSENT,
    BAD_OPERATION,
    COUNT,
    FULL,
    KEY_EMPTY,
    KEY_LENGTH_MAX,
    KEY_TOO_LONG,
    MISMATCH,
    NOT_A_NUMBER,
    NOT_FOUND,
    OK,
    OVERFLOW,
    PUT,
    READ_ONLY,
    SCAN,
    VALUE_TOO_LONG,
    in_range,
    number_from,
    number_into,
)
from tinybft.compat import const, micropython
from tinybft.octets import copy, get_u16, put_u16
from tinybft.service import Service

_NUMBER_LENGTH_MAX = const(20)
_CELL_LENGTH = const(64)  # as in kv_cells.py: a constant is inlined only where it is defined
_KEY_AT = const(2)  # in an operation; but for:
_CAS_KEY_AT = const(4)
_SCAN_KEY_AT = const(5)
_SCAN_REPLY_MIN = const(72)
_CELLS_MIN = const(4)  # DELETE: link, head cell, last cell, header

# By opcode, 1 PUT .. 7 COUNT: where the key is, whether something may follow it, whether
# the operation writes.
_KEY_STARTS = b"\x00\x02\x02\x02\x04\x02\x05\x02"
_HAS_REST = b"\x00\x01\x00\x00\x01\x01\x00\x00"
_WRITES = b"\x00\x01\x00\x01\x01\x01\x00\x00"


class KeyValueStore(Service):
    name = "kv"
    state_length = 192  # header, buckets, one cell
    reads_view = False

    def setup(self, state):
        self._cells = Cells(state)
        self._number = bytearray(_NUMBER_LENGTH_MAX)
        self._execute = (
            None,
            self._put,
            self._get,
            self._delete,
            self._cas,
            self._increment,
            self._scan,
            self._count,
        )

    def genesis(self, state):
        self._cells.genesis()

    @micropython.viper
    def pages_max(self, length: int, page_length: int) -> int:
        cells = int(cells_for(length - _KEY_AT)) + 2
        if cells < _CELLS_MIN:
            cells = _CELLS_MIN
        return cells * (_CELL_LENGTH // page_length)

    @micropython.native
    def execute(self, state, op, length, reply, ctx):
        status = self._refusal(op, length, ctx)
        if status:
            reply[0] = status
            return 1
        reply[0] = OK
        return self._execute[op[0]](op, length, reply)

    @micropython.native
    def _refusal(self, op, length, ctx):
        """The status with which the operation is refused unread, or OK."""
        if length < 2 or not PUT <= op[0] <= COUNT:
            return BAD_OPERATION
        opcode = op[0]
        if op[1] > KEY_LENGTH_MAX:
            return KEY_TOO_LONG
        if op[1] == 0 and opcode < SCAN:
            return KEY_EMPTY
        rest = length - _KEY_STARTS[opcode] - op[1]
        if rest < 0 or (rest and not _HAS_REST[opcode]):
            return BAD_OPERATION
        if ctx.read_only and _WRITES[opcode]:
            return READ_ONLY
        return OK

    # One function per operation: the lengths are checked, reply[0] is OK; returns the
    # reply's length.

    @micropython.viper
    def _put(self, op, length: int, reply) -> int:
        key_length = ptr8(op)[1]
        value_at = _KEY_AT + key_length
        cell = self._cells.find(op, _KEY_AT, key_length)
        return int(self._store(cell, op, _KEY_AT, op, value_at, length - value_at, reply))

    @micropython.viper
    def _store(  # noqa: PLR0913
        self, cell, op, key_at: int, buf, at: int, length: int, reply
    ) -> int:
        if length >= int(len(reply)):
            reply[0] = VALUE_TOO_LONG
        elif not self._cells.store(cell, op, key_at, ptr8(op)[1], buf, at, length):
            reply[0] = FULL
        return 1

    @micropython.native
    def _get(self, op, length, reply):
        cells = self._cells
        cell = cells.find(op, _KEY_AT, op[1])
        if not cell:
            reply[0] = NOT_FOUND
            return 1
        value_length = cells.value_length(cell)
        cells.copy_into(cell, op[1], value_length, reply, 1)
        return 1 + value_length

    def _delete(self, op, length, reply):
        cell = self._cells.find(op, _KEY_AT, op[1])
        if cell:
            self._cells.remove(cell)
        else:
            reply[0] = NOT_FOUND
        return 1

    def _cas(self, op, length, reply):
        key_length = op[1]
        expected_length = get_u16(op, 2)
        expected_at = _CAS_KEY_AT + key_length
        absent = expected_length == ABSENT
        value_at = expected_at if absent else expected_at + expected_length
        if value_at > length:
            reply[0] = BAD_OPERATION
            return 1
        cells = self._cells
        cell = cells.find(op, _CAS_KEY_AT, key_length)
        if absent:
            matches = cell == 0
        else:
            matches = cell and cells.value_length(cell) == expected_length
            matches = matches and cells.equals(cell, key_length, op, expected_at, expected_length)
        if not matches:
            reply[0] = MISMATCH if cell or absent else NOT_FOUND
            return 1
        return self._store(cell, op, _CAS_KEY_AT, op, value_at, length - value_at, reply)

    def _increment(self, op, length, reply):
        key_length = op[1]
        at = _KEY_AT + key_length
        delta = number_from(op, at, length - at)
        if delta is None:
            reply[0] = BAD_OPERATION
            return 1
        cell = self._cells.find(op, _KEY_AT, key_length)
        value = self._number_of(cell, key_length) if cell else 0
        if value is None:
            reply[0] = NOT_A_NUMBER
            return 1
        value += delta
        if not in_range(value):
            reply[0] = OVERFLOW
            return 1
        number_length = number_into(value, self._number, 0)
        self._store(cell, op, _KEY_AT, self._number, 0, number_length, reply)
        if reply[0] != OK:
            return 1
        copy(reply, 1, self._number, 0, number_length)
        return 1 + number_length

    def _number_of(self, cell, key_length):
        length = self._cells.value_length(cell)
        if length > _NUMBER_LENGTH_MAX:
            return None
        self._cells.copy_into(cell, key_length, length, self._number, 0)
        return number_from(self._number, 0, length)

    def _scan(self, op, length, reply):
        assert len(reply) >= _SCAN_REPLY_MIN, "a scan needs reply_length_max >= 72"
        cells = self._cells
        with_values = op[2] & 1
        end = 3
        put_u16(reply, 1, 0)
        for cell in range(get_u16(op, 3) + 1, cells.cell_count + 1):
            if not cells.is_head(cell) or not self._has_prefix(cell, op, _SCAN_KEY_AT):
                continue
            following = self._append_record(cell, with_values, reply, end)
            if not following:
                put_u16(reply, 1, cell - 1)
                break
            end = following
        return end

    def _append_record(self, cell, with_values, reply, at):
        """The end of the record in the reply, 0: it does not fit behind the others."""
        cells = self._cells
        key_length = cells.key_length(cell)
        reply_length = len(reply)
        if not with_values:
            if at + 1 + key_length > reply_length:
                return 0
            reply[at] = key_length
            cells.copy_into(cell, 0, key_length, reply, at + 1)
            return at + 1 + key_length
        value_length = cells.value_length(cell)
        carried = value_length
        if 3 + 3 + key_length + value_length > reply_length:  # in no reply at all
            value_length = ABSENT
            carried = 0
        if at + 3 + key_length + carried > reply_length:
            return 0
        reply[at] = key_length
        put_u16(reply, at + 1, value_length)
        cells.copy_into(cell, 0, key_length + carried, reply, at + 3)
        return at + 3 + key_length + carried

    def _has_prefix(self, cell, op, at):
        length = op[1]
        return self._cells.key_length(cell) >= length and self._cells.equals(
            cell, 0, op, at, length
        )

    def _count(self, op, length, reply):
        cells = self._cells
        count = cells.record_count
        if op[1]:
            count = 0
            for cell in range(1, cells.cell_count + 1):
                if cells.is_head(cell) and self._has_prefix(cell, op, _KEY_AT):
                    count += 1
        put_u16(reply, 1, count)
        return 3
