"""The structural check of a message, and the lengths that depend on the configuration.

`Wire.check` is the first thing that happens to received bytes: length, version, group, type,
sender, then the body of the type. What passes can be read with the accessors of wire.py without
any further check of bounds. Does not allocate.
"""

from tinybft.compat import const, micropython
from tinybft.octets import get_u16
from tinybft.wire import (
    DATA,
    DATA_HEADER_LENGTH,
    DIGEST_LENGTH,
    FETCH,
    FETCH_BODY_LENGTH,
    FLAG_DIGEST,
    META_DATA_HEADER_LENGTH,
    PRE_PREPARE,
    REPLY,
    REQUEST,
    STATUS,
    STATUS_HEADER_LENGTH,
    VIEW_CHANGE,
    VIEW_CHANGE_ACK,
    meta_data_count,
    status_slot_count,
)

# As in wire.py: a constant is inlined only in the module that defines it.
_VERSION = const(1)
_TYPE_MAX = const(13)
_REQUEST = const(1)
_PREPARE = const(3)
_COMMIT = const(4)
_REPLY = const(5)
_CHECKPOINT = const(6)
_FETCH = const(11)
_HEADER_LENGTH = const(16)
_DIGEST_LENGTH = const(32)
_ATTACHED_LENGTH = const(16)
_FLAG_CHECKPOINT = const(1)
_BATCH_HEADER_LENGTH = const(8)
_ENTRY_LENGTH = const(40)
_BY_DIGEST = const(0)
_INLINE = const(1)
_FLAG_UNORDERED = const(4)

# Why a message cannot be read: returned by `Wire.check`, names in faults.py.
BAD_LENGTH = const(1)
BAD_VERSION = const(2)
BAD_GROUP = const(3)
BAD_TYPE = const(4)
BAD_SENDER = const(5)
BAD_FIELD = const(6)


def view_change_body_max(config):
    w = config.WINDOW
    q_per_seqno = config.FAULT_COUNT + 2
    return 4 + 36 * config.CHECKPOINT_COUNT + 37 * w + 37 * w * q_per_seqno


class Wire:
    """The lengths that depend on the configuration, and the structural check of a message."""

    def __init__(self, config):
        n = config.REPLICA_COUNT
        self._group_id = config.GROUP_ID
        self._replica_count = n
        self._client_count = config.CLIENT_COUNT
        self._tag_length = config.TAG_LENGTH
        self._replica_tags_length = self.tag_count(REQUEST, 0) * config.TAG_LENGTH
        self._client_tags_length = self.tag_count(REQUEST, n) * config.TAG_LENGTH
        self._block_length = config.BLOCK_LENGTH
        self._length_max = config.MESSAGE_LENGTH_MAX
        self._result_length_max = config.REPLY_LENGTH_MAX
        self._operation_length_max = config.REQUEST_LENGTH_MAX
        self._window = config.WINDOW
        self._barred = 0 if config.READ_ONLY else _FLAG_UNORDERED
        self._batch_count_max = config.BATCH_COUNT_MAX
        self.mask_length = (n + 7) // 8
        self.status_slot_length = 3 + 2 * self.mask_length
        self.status_tail_length = (config.CHECKPOINT_COUNT - 1 + 1) * self.mask_length
        self._view_change_body_max = view_change_body_max(config)

    def tag_count(self, kind, sender_id):
        """Tags behind a message of this type and sender."""
        if kind == REPLY or kind >= FETCH:
            return 1
        if sender_id < self._replica_count:
            return self._replica_count - 1
        return self._replica_count

    def tag_index(self, kind, sender_id, receiver_id):
        """Place of `receiver_id`'s tag: the sender's own entry is left out."""
        if kind == REPLY or kind >= FETCH:
            return 0
        if receiver_id < sender_id:
            return receiver_id
        return receiver_id - (sender_id < self._replica_count)

    @micropython.native
    def body_end(self, buf, at=0):
        """Where the body of the checked message at buf[at] ends and the tags begin."""
        kind = buf[at + 1]
        if kind == REPLY or kind >= FETCH:
            tags = self._tag_length
        elif get_u16(buf, at + 2) < self._replica_count:
            tags = self._replica_tags_length
        else:
            tags = self._client_tags_length
        return get_u16(buf, at + 6) - tags

    @micropython.viper
    def operation_length(self, client: int, length: int) -> int:
        """Of the operation in a REQUEST of that client and length; 0 if it is too short."""
        tags = int(self._client_tags_length)
        if client < int(self._replica_count):
            tags = int(self._replica_tags_length)
        length -= _HEADER_LENGTH + tags
        return length if length > 0 else 0

    @micropython.viper
    def check(self, buf, received: int) -> int:  # noqa: C901, PLR0911, PLR0912
        """0 if buf[:received] is a well-formed message of this group, else a BAD_ code.

        Votes and requests are decided here, in one function: with accessors, 15 calls more.
        """
        octets = ptr8(buf)
        if received < _HEADER_LENGTH or received > int(self._length_max):
            return BAD_LENGTH
        if octets[0] >> 4 != _VERSION:
            return BAD_VERSION
        if octets[4] | octets[5] << 8 != int(self._group_id):
            return BAD_GROUP
        kind = octets[1]
        if kind == 0 or kind > _TYPE_MAX:
            return BAD_TYPE
        sender_id = octets[2] | octets[3] << 8
        tags = int(self._replica_tags_length)
        if sender_id >= int(self._replica_count):
            tags = int(self._client_tags_length)
            if kind != _REQUEST or sender_id >= int(self._client_count):
                return BAD_SENDER
        if octets[6] | octets[7] << 8 != received:
            return BAD_LENGTH
        body = received - _HEADER_LENGTH - tags
        if kind == _COMMIT and octets[0] & _FLAG_CHECKPOINT:
            body -= _ATTACHED_LENGTH
        if kind == _PREPARE or kind == _COMMIT or kind == _CHECKPOINT:
            return 0 if body == _DIGEST_LENGTH else BAD_LENGTH
        if kind == _REQUEST:
            if body < 0 or body > int(self._operation_length_max):
                return BAD_LENGTH
            view = octets[8] | octets[9] | octets[10] | octets[11]
            request_id = octets[12] | octets[13] | octets[14] | octets[15]
            barred = octets[0] & int(self._barred)
            return BAD_FIELD if view or barred or not request_id else 0
        if kind == _REPLY or kind >= _FETCH:
            body += tags - int(self._tag_length)
        return int(self._check_body(kind, buf, body))

    @micropython.native
    def _check_body(self, kind, buf, body):
        if kind == PRE_PREPARE:
            return self._check_pre_prepare(buf, body)
        if kind == STATUS:
            return self._check_status(buf, body)
        if kind == REPLY:
            return self._check_reply(buf, body)
        if kind >= FETCH:
            return self._check_transfer(kind, buf, body)
        return self._check_view_change(kind, buf, body)

    @micropython.native
    def _check_reply(self, buf, body):
        if body < 0 or body > self._result_length_max:
            return BAD_LENGTH
        if buf[0] & FLAG_DIGEST and body != DIGEST_LENGTH:
            return BAD_LENGTH
        return 0

    @micropython.viper
    def _check_pre_prepare(self, buf, body: int) -> int:
        octets = ptr8(buf)
        if body < _BATCH_HEADER_LENGTH:
            return BAD_LENGTH
        count = octets[_HEADER_LENGTH + 6]
        milliseconds = octets[_HEADER_LENGTH + 4] | octets[_HEADER_LENGTH + 5] << 8
        if count > int(self._batch_count_max) or milliseconds > 999:
            return BAD_FIELD
        if octets[_HEADER_LENGTH + 7]:
            return BAD_FIELD
        at = _HEADER_LENGTH + _BATCH_HEADER_LENGTH
        end = _HEADER_LENGTH + body
        while count:
            at = int(self.next_request(buf, at, end))
            if not at:
                return BAD_FIELD
            count -= 1
        return 0 if at == end else BAD_LENGTH

    @micropython.viper
    def next_request(self, buf, at: int, end: int) -> int:
        """Offset behind the request at buf[at] of a PRE-PREPARE that ends at `end`; 0 = bad."""
        octets = ptr8(buf)
        if at + 1 + _HEADER_LENGTH > end:
            return 0
        if octets[at] == _BY_DIGEST:
            if octets[at + 1] | octets[at + 2] << 8 >= int(self._client_count):
                return 0
            at += 1 + _ENTRY_LENGTH
            return at if at <= end else 0
        if octets[at] != _INLINE or not self.is_request(buf, at + 1, end):
            return 0
        return at + 1 + (octets[at + 7] | octets[at + 8] << 8)

    @micropython.viper
    def is_request(self, buf, at: int, end: int) -> bool:
        """True if a well-formed REQUEST of this group that may be ordered is at buf[at:end]."""
        octets = ptr8(buf)
        if octets[at] & (0xF0 | _FLAG_UNORDERED) != _VERSION << 4 or octets[at + 1] != _REQUEST:
            return False
        client = octets[at + 2] | octets[at + 3] << 8
        if client >= int(self._client_count):
            return False
        if octets[at + 4] | octets[at + 5] << 8 != int(self._group_id):
            return False
        total = octets[at + 6] | octets[at + 7] << 8
        tags = int(self._replica_tags_length)
        if client >= int(self._replica_count):
            tags = int(self._client_tags_length)
        operation = total - _HEADER_LENGTH - tags
        if at + total > end or operation < 0 or operation > int(self._operation_length_max):
            return False
        if octets[at + 8] | octets[at + 9] | octets[at + 10] | octets[at + 11]:
            return False
        return octets[at + 12] | octets[at + 13] | octets[at + 14] | octets[at + 15] != 0

    def _check_status(self, buf, body):
        if body < STATUS_HEADER_LENGTH:
            return BAD_LENGTH
        count = status_slot_count(buf)
        if count > self._window:
            return BAD_FIELD
        expected = count * self.status_slot_length + self.status_tail_length
        return 0 if body == STATUS_HEADER_LENGTH + expected else BAD_LENGTH

    def _check_transfer(self, kind, buf, body):
        if kind == FETCH:
            return 0 if body == FETCH_BODY_LENGTH else BAD_LENGTH
        if kind == DATA:
            return 0 if body == DATA_HEADER_LENGTH + self._block_length else BAD_LENGTH
        if body < META_DATA_HEADER_LENGTH:
            return BAD_LENGTH
        return 0 if body == META_DATA_HEADER_LENGTH + 36 * meta_data_count(buf) else BAD_LENGTH

    def _check_view_change(self, kind, buf, body):
        if kind == VIEW_CHANGE_ACK:
            if body != 1 + DIGEST_LENGTH:
                return BAD_LENGTH
            return 0 if buf[16] < self._replica_count else BAD_FIELD
        if kind == VIEW_CHANGE:
            if body < 4 or body > self._view_change_body_max:
                return BAD_LENGTH
            expected = 4 + 36 * buf[16] + 37 * (buf[17] + buf[18])
        else:
            if body < 2 + DIGEST_LENGTH:
                return BAD_LENGTH
            if buf[16] > self._replica_count or buf[17] > self._window:
                return BAD_FIELD
            expected = 2 + DIGEST_LENGTH + 33 * buf[16] + 32 * buf[17]
        return 0 if body == expected else BAD_LENGTH
