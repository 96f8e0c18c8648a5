"""Message layouts: every byte position that is on the air stands in this file, and only here.

Header, 16 bytes (one AES block), little-endian, the same for all messages:

    0  version << 4 | flags    1  type       2  sender u16    4  group id u16
    6  length u16 (whole message, authenticator included)
    8  view u32               12  seqno u32

Bodies; `n` replicas, `t` tag bytes, `m` = mask bytes = ceil(n / 8):

    REQUEST          seqno = request_id, view = 0; the operation
    PRE-PREPARE      time_s u32, time_ms u16, count u8, zero u8, then per request
                       0, entry   the request by its digest (entry: see below), or
                       1, message the whole REQUEST inline
    PREPARE, COMMIT  batch digest 32
    REPLY            seqno = request_id; the result, or (flag) its SHA-256
    CHECKPOINT       digest 32
    VIEW-CHANGE      seqno = low_mark; counts c, p, q u8 and a zero; c x (seqno u32, digest),
                       p x and q x (seqno - low_mark u8, view u32, digest)
    VIEW-CHANGE-ACK  replica u8, digest of its VIEW-CHANGE
    NEW-VIEW         seqno = chosen checkpoint; counts v, x u8; its digest; v x (replica u8,
                       digest); x x digest, null = zeros
    STATUS           seqno = low_mark; last_executed u32, round u8, slot count u8; per slot
                       state u8, missing bodies u16, prepare mask m, commit mask m; per
                       checkpoint interval of the window the CHECKPOINT mask m;
                       VIEW-CHANGE mask m
    FETCH            seqno = checkpoint; level u8, zero u8, index u16, mask u16: the children of
                       a node (mask 0), or the blocks index + i with bit i of the mask set
    META-DATA        seqno = checkpoint; level u8, zero u8, index u16, count u16, zero u16;
                       count x (last modified u32, digest 32)
    DATA             seqno = checkpoint; index u16, zero u16, last modified u32; the block

Behind the body stands the authenticator: one tag per receiving replica, the sender's own left
out; REPLY, FETCH, META-DATA and DATA have one receiver and one tag.

A batch in its canonical form (what the batch digest covers, and what a slot stores) is
time_s u32, time_ms u16, count u8, zero u8, then per request an entry of 40 bytes:
client_id u16, length u16 of the REQUEST message, request_id u32, request digest 32.

Rule of the file: after `Wire.check` returned 0 no accessor can fail. Nothing here allocates.
"""

from tinybft.compat import const
from tinybft.octets import get_u16, get_u32, put_u16, put_u32
from tinybft.partition import fan_out_of

VERSION = const(1)

REQUEST = const(1)
PRE_PREPARE = const(2)
PREPARE = const(3)
COMMIT = const(4)
REPLY = const(5)
CHECKPOINT = const(6)
VIEW_CHANGE = const(7)
VIEW_CHANGE_ACK = const(8)
NEW_VIEW = const(9)
STATUS = const(10)
FETCH = const(11)
META_DATA = const(12)
DATA = const(13)
TYPE_MAX = const(13)

TYPE_NAMES = (
    "",
    "REQUEST",
    "PRE-PREPARE",
    "PREPARE",
    "COMMIT",
    "REPLY",
    "CHECKPOINT",
    "VIEW-CHANGE",
    "VIEW-CHANGE-ACK",
    "NEW-VIEW",
    "STATUS",
    "FETCH",
    "META-DATA",
    "DATA",
)

# Flags, by type.
FLAG_READ_ONLY = const(1)  # REQUEST
FLAG_RECOVERY = const(2)  # REQUEST
FLAG_TENTATIVE = const(1)  # REPLY
FLAG_DIGEST = const(2)  # REPLY: the body is the digest of the result
FLAG_STABLE = const(1)  # CHECKPOINT
FLAG_ACTIVE = const(1)  # STATUS: the sender takes part in its view

HEADER_LENGTH = const(16)
DIGEST_LENGTH = const(32)
BATCH_HEADER_LENGTH = const(8)
ENTRY_LENGTH = const(40)
BY_DIGEST = const(0)
INLINE = const(1)
STATUS_HEADER_LENGTH = const(6)
FETCH_BODY_LENGTH = const(6)
META_DATA_HEADER_LENGTH = const(8)
DATA_HEADER_LENGTH = const(8)

# Why a message cannot be read: returned by `Wire.check`, names in faults.py.
BAD_LENGTH = const(1)
BAD_VERSION = const(2)
BAD_GROUP = const(3)
BAD_TYPE = const(4)
BAD_SENDER = const(5)
BAD_FIELD = const(6)


def flags(buf):
    return buf[0] & 15


def message_type(buf):
    return buf[1]


def sender(buf):
    return get_u16(buf, 2)


def length(buf, at=0):
    return get_u16(buf, at + 6)


def view(buf):
    return get_u32(buf, 8)


def seqno(buf, at=0):
    return get_u32(buf, at + 12)


def put_header(buf, kind, flag_bits, sender_id, group_id, view_number, number):
    """Write all of the header but the length, which `put_length` adds when it is known."""
    buf[0] = VERSION << 4 | flag_bits
    buf[1] = kind
    put_u16(buf, 2, sender_id)
    put_u16(buf, 4, group_id)
    put_u32(buf, 8, view_number)
    put_u32(buf, 12, number)


def put_length(buf, total):
    put_u16(buf, 6, total)


def request_sender(buf, at):
    """Client of the REQUEST message that starts at buf[at]."""
    return get_u16(buf, at + 2)


# --- canonical batch and its entries -----------------------------------------------------


def batch_time_s(buf, at):
    return get_u32(buf, at)


def batch_time_ms(buf, at):
    return get_u16(buf, at + 4)


def batch_count(buf, at):
    return buf[at + 6]


def put_batch_header(buf, at, time_s, time_ms, count):
    put_u32(buf, at, time_s)
    put_u16(buf, at + 4, time_ms)
    buf[at + 6] = count
    buf[at + 7] = 0


def entry_at(at, index):
    """Offset of entry `index` of the canonical batch at `at`."""
    return at + BATCH_HEADER_LENGTH + index * ENTRY_LENGTH


def entry_client(buf, at):
    return get_u16(buf, at)


def entry_length(buf, at):
    return get_u16(buf, at + 2)


def entry_request_id(buf, at):
    return get_u32(buf, at + 4)


ENTRY_DIGEST = const(8)  # offset of the digest inside an entry


def put_entry(buf, at, client_id, message_length, request_id):
    """Write all of an entry but its digest, which belongs at `at + ENTRY_DIGEST`."""
    put_u16(buf, at, client_id)
    put_u16(buf, at + 2, message_length)
    put_u32(buf, at + 4, request_id)


# --- STATUS ------------------------------------------------------------------------------


def status_last_executed(buf):
    return get_u32(buf, 16)


def status_round(buf):
    return buf[20]


def status_slot_count(buf):
    return buf[21]


def put_status_header(buf, last_executed, round_number, slot_count):
    put_u32(buf, 16, last_executed)
    buf[20] = round_number
    buf[21] = slot_count


def get_mask(buf, at, width):
    mask = 0
    shift = 0
    for i in range(at, at + width):
        mask |= buf[i] << shift
        shift += 8
    return mask


def put_mask(buf, at, width, mask):
    for i in range(at, at + width):
        buf[i] = mask & 255
        mask >>= 8


# --- state transfer ----------------------------------------------------------------------


def fetch_level(buf):
    return buf[16]


def fetch_index(buf):
    return get_u16(buf, 18)


def fetch_mask(buf):
    return get_u16(buf, 20)


def put_fetch(buf, level, index, mask):
    buf[16] = level
    buf[17] = 0
    put_u16(buf, 18, index)
    put_u16(buf, 20, mask)


def meta_data_count(buf):
    return get_u16(buf, 20)


def put_meta_data_header(buf, level, index, count):
    put_fetch(buf, level, index, count)
    put_u16(buf, 22, 0)


def entry_modified(buf, at):
    """Last modifying checkpoint in the partition tree's entry at buf[at]."""
    return get_u32(buf, at)


def data_index(buf):
    return get_u16(buf, 16)


def data_modified(buf):
    return get_u32(buf, 20)


def put_data_header(buf, index, modified):
    put_u16(buf, 16, index)
    put_u16(buf, 18, 0)
    put_u32(buf, 20, modified)


class Wire:
    """The lengths that depend on the configuration, and the structural check of a message."""

    def __init__(self, config):
        n = config.REPLICA_COUNT
        self._group_id = config.GROUP_ID
        self._replica_count = n
        self._client_count = config.CLIENT_COUNT
        self._tag_length = config.TAG_LENGTH
        self._block_length = config.BLOCK_LENGTH
        self._length_max = config.MESSAGE_LENGTH_MAX
        self._result_length_max = config.REPLY_LENGTH_MAX
        self._operation_length_max = config.REQUEST_LENGTH_MAX
        self._window = config.WINDOW
        self._batch_count_max = config.BATCH_COUNT_MAX
        self.mask_length = (n + 7) // 8
        self.status_slot_length = 3 + 2 * self.mask_length
        self.status_tail_length = (config.CHECKPOINT_COUNT - 1 + 1) * self.mask_length
        self.view_change_length_max = view_change_body_max(config)

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

    def body_end(self, buf, at=0):
        """Where the body of the checked message at buf[at] ends and the tags begin."""
        tags = self.tag_count(buf[at + 1], get_u16(buf, at + 2))
        return get_u16(buf, at + 6) - tags * self._tag_length

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

    def _check_body(self, kind, buf, body):
        if kind == PREPARE or kind == COMMIT or kind == CHECKPOINT:
            return 0 if body == DIGEST_LENGTH else BAD_LENGTH
        if kind == REQUEST:
            if body < 0 or body > self._operation_length_max:
                return BAD_LENGTH
            return BAD_FIELD if seqno(buf) == 0 or view(buf) else 0
        if kind == PRE_PREPARE:
            return self._check_pre_prepare(buf, body)
        if kind == STATUS:
            return self._check_status(buf, body)
        if kind == REPLY:
            return self._check_reply(buf, body)
        if kind >= FETCH:
            return self._check_transfer(kind, buf, body)
        return self._check_view_change(kind, buf, body)

    def _check_reply(self, buf, body):
        if body < 0 or body > self._result_length_max:
            return BAD_LENGTH
        if buf[0] & FLAG_DIGEST and body != DIGEST_LENGTH:
            return BAD_LENGTH
        return 0

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

    def next_request(self, buf, at, end):
        """Offset behind the request at buf[at] of a PRE-PREPARE that ends at `end`; 0 = bad."""
        if at + 1 + HEADER_LENGTH > end:
            return 0
        if buf[at] == BY_DIGEST:
            if get_u16(buf, at + 1) >= self._client_count:
                return 0
            at += 1 + ENTRY_LENGTH
            return at if at <= end else 0
        if buf[at] != INLINE or not self._is_request(buf, at + 1, end):
            return 0
        return at + 1 + length(buf, at + 1)

    def _is_request(self, buf, at, end):
        if buf[at] >> 4 != VERSION or buf[at + 1] != REQUEST:
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
            if body < 4 or body > self.view_change_length_max:
                return BAD_LENGTH
            expected = 4 + 36 * buf[16] + 37 * (buf[17] + buf[18])
        else:
            if body < 2 + DIGEST_LENGTH:
                return BAD_LENGTH
            if buf[16] > self._replica_count or buf[17] > self._window:
                return BAD_FIELD
            expected = 2 + DIGEST_LENGTH + 33 * buf[16] + 32 * buf[17]
        return 0 if body == expected else BAD_LENGTH


# --- longest messages: what the configuration must leave room for -------------------------


def authenticator_length(config):
    return (config.REPLICA_COUNT - 1) * config.TAG_LENGTH


def request_length_max(config):
    """Longest REQUEST message: an external client has one tag for every replica."""
    tags = config.REPLICA_COUNT * config.TAG_LENGTH
    return HEADER_LENGTH + config.REQUEST_LENGTH_MAX + tags


def view_change_body_max(config):
    w = config.WINDOW
    q_per_seqno = config.FAULT_COUNT + 2
    return 4 + 36 * config.CHECKPOINT_COUNT + 37 * w + 37 * w * q_per_seqno


def length_rows(config):
    """((message, longest length in bytes, the sum in words), ...) for all message types."""
    auth = authenticator_length(config)
    tag = config.TAG_LENGTH
    n = config.REPLICA_COUNT
    w = config.WINDOW
    b = config.BATCH_COUNT_MAX
    mask = (n + 7) // 8
    status = 6 + w * (3 + 2 * mask) + config.CHECKPOINT_COUNT * mask
    by_digest = BATCH_HEADER_LENGTH + b * (1 + ENTRY_LENGTH)
    one_inline = min(config.INLINE_LENGTH_MAX, request_length_max(config))
    inline = max(0, one_inline - ENTRY_LENGTH)
    children = min(fan_out_of(config), config.BLOCK_COUNT)
    return (
        (
            "REQUEST",
            request_length_max(config),
            "header 16 + operation + one tag per replica",
        ),
        (
            "PRE-PREPARE",
            HEADER_LENGTH + by_digest + inline + auth,
            "header 16 + batch 8 + entries (41 each, one of them inline) + authenticator",
        ),
        ("PREPARE", HEADER_LENGTH + 32 + auth, "header 16 + digest 32 + authenticator"),
        ("COMMIT", HEADER_LENGTH + 32 + auth, "header 16 + digest 32 + authenticator"),
        (
            "REPLY",
            HEADER_LENGTH + max(32, config.REPLY_LENGTH_MAX) + tag,
            "header 16 + result (or digest 32) + tag",
        ),
        ("CHECKPOINT", HEADER_LENGTH + 32 + auth, "header 16 + digest 32 + authenticator"),
        (
            "VIEW-CHANGE",
            HEADER_LENGTH + view_change_body_max(config) + auth,
            "header 16 + counts 4 + C (W/K + 1) x 36 + P W x 37 + Q W x (f + 2) x 37"
            " + authenticator",
        ),
        (
            "VIEW-CHANGE-ACK",
            HEADER_LENGTH + 33 + auth,
            "header 16 + replica 1 + digest 32 + authenticator",
        ),
        (
            "NEW-VIEW",
            HEADER_LENGTH + 34 + 33 * n + 32 * w + auth,
            "header 16 + counts 2 + checkpoint 32 + V n x 33 + X W x 32 + authenticator",
        ),
        (
            "STATUS",
            HEADER_LENGTH + status + auth,
            "header 16 + 6 + W x (3 + 2 masks) + W/K + 1 masks + authenticator",
        ),
        ("FETCH", HEADER_LENGTH + FETCH_BODY_LENGTH + tag, "header 16 + 6 + tag"),
        (
            "META-DATA",
            HEADER_LENGTH + META_DATA_HEADER_LENGTH + 36 * children + tag,
            "header 16 + 8 + children x 36 + tag",
        ),
        (
            "DATA",
            HEADER_LENGTH + DATA_HEADER_LENGTH + config.BLOCK_LENGTH + tag,
            "header 16 + 8 + block + tag",
        ),
    )
