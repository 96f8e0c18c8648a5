"""The record adapter: records of 256 bytes in the replicated state, read and written whole.

    operation   bytes
    READ        1, u16 record                       reply: 0, the record
    WRITE       2, u16 record, the record           reply: 0
    any other   anything                            reply: 1

    record      u16 its number, u8 who wrote it (client), u8 fields, u32 sequence of that client's
                writes, then 8 fields of 31 bytes, which follow from these

So whoever reads a record can tell whether it is whole and what was written last. Runs on
MicroPython and CPython; allocates nothing per operation.
"""

from tinybft.octets import equal, fill, get_u16, get_u32, put_u16, put_u32
from tinybft.service import Service

READ = 1
WRITE = 2
OK = 0
BAD = 1
RECORD_LENGTH = 256
FIELD_COUNT = 8
FIELD_LENGTH = 31
HEADER_LENGTH = 8
WRITE_LENGTH = 3 + RECORD_LENGTH


def record_into(buf, at, record, client, sequence):
    """Write the record that `client` makes with its write number `sequence`."""
    put_u16(buf, at, record)
    buf[at + 2] = client
    buf[at + 3] = FIELD_COUNT
    put_u32(buf, at + 4, sequence)
    first = at + HEADER_LENGTH
    for field in range(FIELD_COUNT):
        value = (record + 7 * client + 13 * sequence + 31 * field) & 255
        fill(buf, first + field * FIELD_LENGTH, FIELD_LENGTH, value)


def is_whole(buf, at, record, scratch):
    """Whether a record is one that `record_into` made. scratch: RECORD_LENGTH bytes."""
    record_into(scratch, 0, record, buf[at + 2], get_u32(buf, at + 4))
    return equal(buf, at, scratch, 0, RECORD_LENGTH)


def encode_read(buf, record):
    buf[0] = READ
    put_u16(buf, 1, record)
    return 3


def encode_write(buf, record, client, sequence):
    buf[0] = WRITE
    put_u16(buf, 1, record)
    record_into(buf, 3, record, client, sequence)
    return WRITE_LENGTH


class Records(Service):
    """As many records as the state has room for; all bytes are zero before they are loaded."""

    name = "records"
    state_length = RECORD_LENGTH
    reads_view = False

    def setup(self, state):
        self._count = state.length // RECORD_LENGTH

    def pages_max(self, length, page_length):
        """A record begins where a page does."""
        return RECORD_LENGTH // page_length if length >= WRITE_LENGTH else 0

    def execute(self, state, op, length, reply, ctx):
        reply[0] = BAD
        if length < 3 or get_u16(op, 1) >= self._count:
            return 1
        at = get_u16(op, 1) * RECORD_LENGTH
        if op[0] == READ and length == 3:
            reply[0] = OK
            state.read(at, reply, 1, RECORD_LENGTH)
            return 1 + RECORD_LENGTH
        if op[0] == WRITE and length == WRITE_LENGTH and not ctx.read_only:
            reply[0] = OK
            state.write(at, op, 3, RECORD_LENGTH)
        return 1


class Books:
    """What one client knows of the records: by it each reply is judged.

    Writes of a record are in one order, and a client's writes in the order of their sequences. So
    who has seen a client's write of a record never sees an earlier one of that client there; and
    of its own writes always the last.

    `own(record)`: the sequence of the client's last acknowledged write there, 0: none.
    """

    def __init__(self, client, record_count, client_count):
        self.client = client
        self.record_count = record_count
        self.sequence = 0  # of the client's latest write
        self._client_count = client_count
        self._scratch = bytearray(RECORD_LENGTH)
        self._seen = bytearray(4 * record_count * client_count)

    def _at(self, record, client):
        return 4 * (record * self._client_count + client)

    def own(self, record):
        return get_u32(self._seen, self._at(record, self.client))

    def written(self, record):
        """The latest write, of this record, was acknowledged."""
        put_u32(self._seen, self._at(record, self.client), self.sequence)

    def judge(self, record, reply, length):
        """What is wrong with the reply to a READ, in words; "" if nothing is."""
        if length != 1 + RECORD_LENGTH or reply[0] != OK:
            return "status " + str(reply[0]) + ", " + str(length) + " bytes"
        if not is_whole(reply, 1, record, self._scratch):
            return "torn, or another record"
        writer = reply[3]
        if writer >= self._client_count:
            return "written by a client that is not there"
        sequence = get_u32(reply, 5)
        at = self._at(record, writer)
        seen = get_u32(self._seen, at)
        if sequence < seen or (writer == self.client and sequence != seen):
            return "write " + str(sequence) + " of client " + str(writer) + ", not " + str(seen)
        put_u32(self._seen, at, sequence)
        return ""

    def copy_own(self):
        """[sequence of the last own write, ...] by record. Allocates."""
        return [self.own(record) for record in range(self.record_count)]


class Commands:
    """The commands of a trace, one after the other: an update is a read, then a write.

    `next_into(buf)` returns a length, 0: the trace is at its end. `accept` returns the kind of
    the operation that is complete with it (READ, UPDATE), 0: one command of it is left.
    """

    UPDATE = 2

    def __init__(self, octets, books):
        self.books = books
        self.mismatch = ""  # the first wrong reply, in words
        self.mismatched = 0
        self._octets = octets
        self._at = 0
        self._is_writing = False

    @property
    def begins(self):
        """Whether the next command is the first of an operation."""
        return not self._is_writing

    def next_into(self, buf):
        if self._at >= len(self._octets):
            return 0
        record = get_u16(self._octets, self._at + 1)
        if not self._is_writing:
            return encode_read(buf, record)
        self.books.sequence += 1
        return encode_write(buf, record, self.books.client, self.books.sequence)

    def accept(self, reply, length):
        kind = self._octets[self._at]
        record = get_u16(self._octets, self._at + 1)
        if self._is_writing:
            wrong = "" if length == 1 and reply[0] == OK else "write: status " + str(reply[0])
            if not wrong:
                self.books.written(record)
        else:
            wrong = self.books.judge(record, reply, length)
        if wrong:
            self.mismatched += 1
            self.mismatch = self.mismatch or "record " + str(record) + ": " + wrong
        if kind == self.UPDATE and not self._is_writing:
            self._is_writing = True
            return 0
        self._is_writing = False
        self._at += 3
        return kind
