"""The structural check of a message, and the lengths that depend on the configuration.

`Wire.check` is the first thing that happens to received bytes: length, version, group, type,
sender, then the body of the type. What passes can be read with the accessors of wire.py without
any further check of bounds. Does not allocate.
"""

from tinybft.compat import const, micropython
from tinybft.octets import get_u16, get_u32
from tinybft.wire import (
    BATCH_HEADER_LENGTH,
    BY_DIGEST,
    CHECKPOINT,
    COMMIT,
    DATA,
    DATA_HEADER_LENGTH,
    DIGEST_LENGTH,
    ENTRY_LENGTH,
    FETCH,
    FETCH_BODY_LENGTH,
    FLAG_DIGEST,
    FLAG_UNORDERED,
    HEADER_LENGTH,
    INLINE,
    META_DATA_HEADER_LENGTH,
    PRE_PREPARE,
    PREPARE,
    REPLY,
    REQUEST,
    STATUS,
    STATUS_HEADER_LENGTH,
    TYPE_MAX,
    VERSION,
    VIEW_CHANGE,
    VIEW_CHANGE_ACK,
    batch_count,
    batch_time_ms,
    length,
    meta_data_count,
    seqno,
    status_slot_count,
    view,
)

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
        self._barred = 0 if config.READ_ONLY else FLAG_UNORDERED
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

    @micropython.native
    def check(self, buf, received):
        """0 if buf[:received] is a well-formed message of this group, else a BAD_ code."""
        if received < HEADER_LENGTH or received > self._length_max:
            return BAD_LENGTH
        if buf[0] >> 4 != VERSION:
            return BAD_VERSION
        if get_u16(buf, 4) != self._group_id:
            return BAD_GROUP
        kind = buf[1]
        if kind == 0 or kind > TYPE_MAX:
            return BAD_TYPE
        sender_id = get_u16(buf, 2)
        if sender_id >= self._replica_count and (
            kind != REQUEST or sender_id >= self._client_count
        ):
            return BAD_SENDER
        if get_u16(buf, 6) != received:
            return BAD_LENGTH
        body = self.body_end(buf) - HEADER_LENGTH
        return self._check_body(kind, buf, body)

    @micropython.native
    def _check_body(self, kind, buf, body):
        if kind == PREPARE or kind == COMMIT or kind == CHECKPOINT:
            return 0 if body == DIGEST_LENGTH else BAD_LENGTH
        if kind == REQUEST:
            if body < 0 or body > self._operation_length_max:
                return BAD_LENGTH
            barred = buf[0] & self._barred
            return BAD_FIELD if barred or seqno(buf) == 0 or view(buf) else 0
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

    @micropython.native
    def _check_pre_prepare(self, buf, body):
        if body < BATCH_HEADER_LENGTH:
            return BAD_LENGTH
        count = batch_count(buf, HEADER_LENGTH)
        if count > self._batch_count_max or batch_time_ms(buf, HEADER_LENGTH) > 999:
            return BAD_FIELD
        if buf[HEADER_LENGTH + 7]:
            return BAD_FIELD
        at = HEADER_LENGTH + BATCH_HEADER_LENGTH
        end = HEADER_LENGTH + body
        for _ in range(count):
            at = self.next_request(buf, at, end)
            if not at:
                return BAD_FIELD
        return 0 if at == end else BAD_LENGTH

    @micropython.native
    def next_request(self, buf, at, end):
        """Offset behind the request at buf[at] of a PRE-PREPARE that ends at `end`; 0 = bad."""
        if at + 1 + HEADER_LENGTH > end:
            return 0
        if buf[at] == BY_DIGEST:
            if get_u16(buf, at + 1) >= self._client_count:
                return 0
            at += 1 + ENTRY_LENGTH
            return at if at <= end else 0
        if buf[at] != INLINE or not self.is_request(buf, at + 1, end):
            return 0
        return at + 1 + length(buf, at + 1)

    @micropython.native
    def is_request(self, buf, at, end):
        """True if a well-formed REQUEST of this group that may be ordered is at buf[at:end]."""
        if buf[at] & (0xF0 | FLAG_UNORDERED) != VERSION << 4 or buf[at + 1] != REQUEST:
            return False
        client = get_u16(buf, at + 2)
        if client >= self._client_count or get_u16(buf, at + 4) != self._group_id:
            return False
        total = get_u16(buf, at + 6)
        operation = self.body_end(buf, at) - HEADER_LENGTH
        if at + total > end or operation < 0 or operation > self._operation_length_max:
            return False
        return get_u32(buf, at + 8) == 0 and get_u32(buf, at + 12) != 0

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
