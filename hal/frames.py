"""Messages in radio frames: fragmentation and reassembly, in static buffers.

    frame:  0 u16 address · 2 u8 message number · 3 u8 index << 4 | count - 1
            4 the fragment's bytes, at most FRAME_LENGTH - 4

    address = GROUP_ID * 40503 + CLIENT_COUNT * (target + 1) + transmitter, modulo 2**16
    target and transmitter are node ids, target -1 = everybody

Rules:
* A radio is heard by all: who is not meant drops a frame by its address, at the cost of a
  subtraction. The factor (2**16 by the golden ratio) keeps the addresses of two groups apart
  if their ids differ by less than 233 and they have up to 8 nodes (26 nodes: 55).
* Every fragment but the last is full, so fragment i belongs at i * (FRAME_LENGTH - 4) whatever
  came before it. At most 16 fragments.
* A message of one fragment goes straight to the caller; it uses no buffer and no number.
* One reassembly buffer per transmitter, so whoever sends garbage disturbs no message but those
  of the transmitter id that it puts into the header. Nothing in a frame is authenticated: who
  spoofs an id can spoil that transmitter's messages of several fragments, as he could by
  jamming. The tag inside of the message decides what is believed.
* A transmitter sends one message after the other. A fragment of another message number
  replaces an unfinished message (last one wins), except for the few numbers just before it,
  which come late. A finished message stays known until the next one begins, so that duplicates
  of its fragments do not begin it anew.
* Own frames that loop back are dropped before anything else.
* What is wrong is counted (hal.faults), never raised. Nothing here allocates after `__init__`.

    reassembly row per transmitter, 8 bytes, in `_rows`:
        0 u16 mask of fragments that are there · 2 u16 length, 0 = last one not there
        4 u8 number · 5 u8 count · 6 u8 finished · 7 zero
"""

from hal import BROADCAST
from hal.faults import Faults
from tinybft.compat import const, micropython
from tinybft.octets import copy, fill, get_u16, put_u16

HEADER_LENGTH = 4
FRAGMENT_COUNT_MAX = 16

_HEADER_LENGTH = const(4)
_ROW_LENGTH = const(8)
_LENGTH = const(2)
_NUMBER = const(4)
_COUNT = const(5)
_FINISHED = const(6)
# Frames of one transmitter overtake each other by little: one message under way on each of
# two sockets, or one jitter. More would make a rebooted transmitter wait for its old number.
_LATE_NUMBERS = const(4)
_GROUP_FACTOR = const(40503)


def fragment_count(config):
    """Fragments of the longest message; ValueError when the frame cannot carry it."""
    room = config.FRAME_LENGTH - HEADER_LENGTH
    if room < 1 or config.MESSAGE_LENGTH_MAX > FRAGMENT_COUNT_MAX * room:
        raise ValueError(
            "message_length_max %d does not fit into %d fragments of frame_length %d - %d bytes; "
            "raise [transport] frame_length or lower [sizes] message_length_max"
            % (config.MESSAGE_LENGTH_MAX, FRAGMENT_COUNT_MAX, config.FRAME_LENGTH, HEADER_LENGTH)
        )
    return (config.MESSAGE_LENGTH_MAX + room - 1) // room


def frame_memory_rows(config):
    """((region, field, bytes, the sum in words, row of Table I), ...) of what is allocated."""
    others = config.CLIENT_COUNT - 1
    buffers = others * config.MESSAGE_LENGTH_MAX
    if fragment_count(config) == 1:
        buffers = 0
    return (
        ("frames", "reassembly", buffers, "(clients - 1) x longest message", "other"),
        ("frames", "rows", others * _ROW_LENGTH, "(clients - 1) x 8", "other"),
        ("frames", "received", config.FRAME_LENGTH, "one frame", "other"),
        ("frames", "sent", config.FRAME_LENGTH, "one frame", "other"),
    )


class Fragments:
    """The frames of one message after the other, in the one buffer `frame`.

    frame_length = fragments.put_whole(buf, length, target)      one frame carries it, or else
    fragments.begin(buf, length, target)
    while True:
        frame_length = fragments.put_next()
        if not frame_length: break
        ... send frame[0:frame_length] ...
    """

    def __init__(self, config, own_id, frame=None, number=0):
        """`frame`: where to write frames, FRAME_LENGTH bytes; `number`: of the first message."""
        fragment_count(config)
        self.frame = bytearray(config.FRAME_LENGTH) if frame is None else frame
        self._room = config.FRAME_LENGTH - HEADER_LENGTH
        self._message_length_max = config.MESSAGE_LENGTH_MAX
        self._number = number & 255
        self._buf = None
        self._length = self._at = self._index = self._count = 0
        self._node_count = config.CLIENT_COUNT
        self._own_address = config.GROUP_ID * _GROUP_FACTOR + own_id

    @micropython.native
    def begin(self, buf, length, target=BROADCAST):
        """Start on buf[0:length] for a node or for everybody; buf must stay as it is until the
        last frame is written."""
        self._check_length(length)
        put_u16(self.frame, 0, self._own_address + self._node_count * (target + 1) & 0xFFFF)
        self._buf = buf
        self._length = length
        self._at = 0
        self._index = 0
        self._count = (length + self._room - 1) // self._room
        if self._count > 1:
            self._number = self._number + 1 & 255

    def _check_length(self, length):
        if not 0 < length <= self._message_length_max:
            raise ValueError(
                "message of %d bytes, must be 1..%d" % (length, self._message_length_max)
            )

    @micropython.viper
    def put_whole(self, buf, length: int, target: int) -> int:
        """The same for a message that one frame carries: writes it and returns the length of the
        frame; 0: it needs several."""
        if length > int(self._room) or length <= 0:
            return 0
        frame = self.frame
        octets = ptr8(frame)
        address = int(self._own_address) + int(self._node_count) * (target + 1)
        octets[0] = address & 255
        octets[1] = address >> 8 & 255
        octets[2] = int(self._number)
        octets[3] = 0
        copy(frame, _HEADER_LENGTH, buf, 0, length)
        return _HEADER_LENGTH + length

    @micropython.native
    def put_next(self):
        """Write the next frame and return its length; 0 when the message is through."""
        at = self._at
        size = self._length - at
        if size <= 0:
            return 0
        if size > self._room:
            size = self._room
        frame = self.frame
        frame[2] = self._number
        frame[3] = self._index << 4 | self._count - 1
        copy(frame, HEADER_LENGTH, self._buf, at, size)
        self._at = at + size
        self._index += 1
        return HEADER_LENGTH + size


class Reassembly:
    """Whole messages out of the frames of all other nodes."""

    def __init__(self, config, own_id, faults=None):
        multiple = fragment_count(config) > 1
        others = config.CLIENT_COUNT - 1
        self.faults = Faults() if faults is None else faults
        self._own_id = own_id
        self._node_count = config.CLIENT_COUNT
        self._group_address = config.GROUP_ID * _GROUP_FACTOR
        self._to_own = config.CLIENT_COUNT * (own_id + 1)
        self._frame_length = config.FRAME_LENGTH
        self._room = config.FRAME_LENGTH - HEADER_LENGTH
        self._message_length_max = config.MESSAGE_LENGTH_MAX
        self._whole_max = min(self._room, self._message_length_max)
        self._buffers = bytearray(others * config.MESSAGE_LENGTH_MAX if multiple else 0)
        self._rows = bytearray(others * _ROW_LENGTH)

    @micropython.native
    def offer(self, frame, frame_length, out):
        """Take frame[0:frame_length]; length of the message that it completes in out, or 0."""
        size = self.take_whole(frame, 0, frame_length, out)
        return size if size else self._offer_fragment(frame, frame_length, out)

    @micropython.viper
    def take_whole(self, frame, at: int, frame_length: int, out) -> int:
        """The same of the frame at frame[at:] if it is, as almost every one, from a member, for
        all or for this node, and a whole message; else 0, and it is left to `offer`."""
        size = frame_length - _HEADER_LENGTH
        if size <= 0 or size > int(self._whole_max):
            return 0
        octets = ptr8(frame)
        count = int(self._node_count)
        own_id = int(self._own_id)
        transmitter = (octets[at] | octets[at + 1] << 8) - int(self._group_address) & 0xFFFF
        if transmitter >= count:
            transmitter -= count * (own_id + 1)
        if transmitter < 0 or transmitter >= count or transmitter == own_id or octets[at + 3]:
            return 0
        copy(out, 0, frame, at + _HEADER_LENGTH, size)
        return size

    def _offer_fragment(self, frame, frame_length, out):
        """`offer` of a frame that is not a whole message for this node; says why."""
        if not HEADER_LENGTH < frame_length <= self._frame_length:
            self.faults.frame_length += 1
            return 0
        transmitter = self._transmitter(get_u16(frame, 0))
        if transmitter < 0 or transmitter == self._own_id:
            return 0
        size = frame_length - HEADER_LENGTH
        if frame[3] == 0:
            self.faults.fragment_overflow += 1
            return 0
        place = transmitter if transmitter < self._own_id else transmitter - 1
        if not self._well_formed(frame[3], size):
            return 0
        if not self._wanted(place * _ROW_LENGTH, frame[2], frame[3]):
            return 0
        return self._store(place, frame, size, out)

    @micropython.native
    def _transmitter(self, address):
        """Who sent it, if it is for this node; else -1."""
        count = self._node_count
        place = address - self._group_address & 0xFFFF
        if place < count:
            return place
        if 0 <= place - self._to_own < count:
            return place - self._to_own
        if place >= count * (count + 1):
            self.faults.frame_transmitter += 1
        return -1

    def _well_formed(self, place, size):
        """What one fragment must fulfil by itself: `place` is index << 4 | count - 1."""
        index = place >> 4
        last = place & 15
        if index > last:
            self.faults.fragment_index += 1
            return False
        if index < last and size != self._room:
            self.faults.fragment_length += 1
            return False
        # All that comes before the last fragment is full, so the count alone can be too much.
        end = last * self._room + (size if index == last else 1)
        if end > self._message_length_max:
            self.faults.fragment_overflow += 1
            return False
        return True

    def _wanted(self, row, number, place):
        """Whether the fragment adds to the message in its row, which it begins if need be."""
        rows = self._rows
        if rows[row + _COUNT] == 0 or rows[row + _NUMBER] != number:
            return self._begun(row, number, place)
        if rows[row + _COUNT] != (place & 15) + 1:
            self.faults.fragment_count += 1
            return False
        if get_u16(rows, row) >> (place >> 4) & 1:
            self.faults.fragment_repeat += 1
            return False
        return True

    def _begun(self, row, number, place):
        rows = self._rows
        if rows[row + _COUNT] and not rows[row + _FINISHED]:
            if rows[row + _NUMBER] - number & 255 <= _LATE_NUMBERS:
                self.faults.fragment_late += 1
                return False
            self.faults.message_unfinished += 1
        fill(rows, row, _ROW_LENGTH, 0)
        rows[row + _NUMBER] = number
        rows[row + _COUNT] = (place & 15) + 1
        return True

    def _store(self, place, frame, size, out):
        rows = self._rows
        row = place * _ROW_LENGTH
        base = place * self._message_length_max
        index = frame[3] >> 4
        count = rows[row + _COUNT]
        copy(self._buffers, base + index * self._room, frame, HEADER_LENGTH, size)
        mask = get_u16(rows, row) | 1 << index
        put_u16(rows, row, mask)
        if index == count - 1:
            put_u16(rows, row + _LENGTH, index * self._room + size)
        if mask != (1 << count) - 1:
            return 0
        rows[row + _FINISHED] = 1
        length = get_u16(rows, row + _LENGTH)
        copy(out, 0, self._buffers, base, length)
        return length
