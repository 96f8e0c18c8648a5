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
    PREPARE, COMMIT  batch digest 32; with FLAG_CHECKPOINT a COMMIT has the first 16 bytes of the
                     sender's digest of checkpoint seqno - 1 behind it
    REPLY            seqno = request_id; the result, or (flag) its SHA-256
    CHECKPOINT       digest 32
    VIEW-CHANGE      seqno = low_mark; counts c, p, q u8 and a zero; c x (seqno u32, digest),
                       p x and q x (seqno - low_mark u8, view u32, digest)
    VIEW-CHANGE-ACK  replica u8, digest of its VIEW-CHANGE; or the primary of the view, digest
                       of its NEW-VIEW, from a replica that has installed it
    NEW-VIEW         seqno = chosen checkpoint; counts v, x u8; its digest; v x (replica u8,
                       digest); x x digest, null = zeros
    STATUS           seqno = low_mark; last_executed u32, round u8, slot count u8; per slot
                       state u8, missing bodies u16, prepare mask m, commit mask m; per
                       checkpoint interval of the window the CHECKPOINT mask m;
                       mask m of the replicas of whose VIEW-CHANGE nothing is needed
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

Rule of the file: after `structure.Wire.check` returned 0 no accessor can fail. Nothing here
allocates.
"""

from tinybft.compat import const, micropython
from tinybft.octets import get_u16, get_u32, put_u16, put_u32

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
FLAG_UNORDERED = const(4)  # REQUEST, REPLY: executed at once, in no order (reads.py)
FLAG_CHECKPOINT = const(1)  # COMMIT: a checkpoint is attached
FLAG_STABLE = const(1)  # CHECKPOINT
FLAG_GONE = const(2)  # CHECKPOINT: in place of an older one that a FETCH asked for
FLAG_ACTIVE = const(1)  # STATUS: the sender takes part in its view

HEADER_LENGTH = const(16)
DIGEST_LENGTH = const(32)
ATTACHED_LENGTH = const(16)
BATCH_HEADER_LENGTH = const(8)
ENTRY_LENGTH = const(40)
BY_DIGEST = const(0)
INLINE = const(1)
STATUS_HEADER_LENGTH = const(6)
FETCH_BODY_LENGTH = const(6)
META_DATA_HEADER_LENGTH = const(8)
DATA_HEADER_LENGTH = const(8)


@micropython.viper
def flags(buf: ptr8) -> int:
    return buf[0] & 15


@micropython.viper
def message_type(buf: ptr8) -> int:
    return buf[1]


@micropython.viper
def sender(buf: ptr8) -> int:
    return buf[2] | buf[3] << 8


@micropython.viper
def length(buf: ptr8) -> int:
    return buf[6] | buf[7] << 8


@micropython.viper
def length_at(buf: ptr8, at: int) -> int:
    """Of the message that starts at buf[at]."""
    return buf[at + 6] | buf[at + 7] << 8


@micropython.viper
def view(buf: ptr8) -> uint:
    high = uint(buf[11]) << 24 | uint(buf[10]) << 16
    return high | uint(buf[9]) << 8 | uint(buf[8])


@micropython.viper
def seqno(buf: ptr8) -> uint:
    high = uint(buf[15]) << 24 | uint(buf[14]) << 16
    return high | uint(buf[13]) << 8 | uint(buf[12])


@micropython.viper
def seqno_at(buf: ptr8, at: int) -> uint:
    """Of the message that starts at buf[at]."""
    high = uint(buf[at + 15]) << 24 | uint(buf[at + 14]) << 16
    return high | uint(buf[at + 13]) << 8 | uint(buf[at + 12])


@micropython.viper
def put_header(  # noqa: PLR0913
    buf: ptr8,
    kind: int,
    flag_bits: int,
    sender_id: int,
    group_id: int,
    view_number: uint,
    number: uint,
):
    """Write all of the header but the length, which `put_length` adds when it is known."""
    buf[0] = VERSION << 4 | flag_bits
    buf[1] = kind
    buf[2] = sender_id & 255
    buf[3] = sender_id >> 8 & 255
    buf[4] = group_id & 255
    buf[5] = group_id >> 8 & 255
    buf[8] = view_number & 255
    buf[9] = view_number >> 8 & 255
    buf[10] = view_number >> 16 & 255
    buf[11] = view_number >> 24 & 255
    buf[12] = number & 255
    buf[13] = number >> 8 & 255
    buf[14] = number >> 16 & 255
    buf[15] = number >> 24 & 255


@micropython.viper
def put_length(buf: ptr8, total: int):
    buf[6] = total & 255
    buf[7] = total >> 8 & 255


@micropython.viper
def request_sender(buf: ptr8, at: int) -> int:
    """Client of the REQUEST message that starts at buf[at]."""
    return buf[at + 2] | buf[at + 3] << 8


# --- canonical batch and its entries -----------------------------------------------------


@micropython.viper
def batch_time_s(buf: ptr8, at: int) -> uint:
    high = uint(buf[at + 3]) << 24 | uint(buf[at + 2]) << 16
    return high | uint(buf[at + 1]) << 8 | uint(buf[at])


@micropython.viper
def batch_time_ms(buf: ptr8, at: int) -> int:
    return buf[at + 4] | buf[at + 5] << 8


@micropython.viper
def batch_count(buf: ptr8, at: int) -> int:
    return buf[at + 6]


@micropython.viper
def put_batch_header(buf: ptr8, at: int, time_s: uint, time_ms: int, count: int):
    buf[at] = time_s & 255
    buf[at + 1] = time_s >> 8 & 255
    buf[at + 2] = time_s >> 16 & 255
    buf[at + 3] = time_s >> 24 & 255
    buf[at + 4] = time_ms & 255
    buf[at + 5] = time_ms >> 8 & 255
    buf[at + 6] = count
    buf[at + 7] = 0


@micropython.viper
def entry_at(at: int, index: int) -> int:
    """Offset of entry `index` of the canonical batch at `at`."""
    return at + BATCH_HEADER_LENGTH + index * ENTRY_LENGTH


@micropython.viper
def entry_client(buf: ptr8, at: int) -> int:
    return buf[at] | buf[at + 1] << 8


@micropython.viper
def entry_length(buf: ptr8, at: int) -> int:
    return buf[at + 2] | buf[at + 3] << 8


@micropython.viper
def entry_request_id(buf: ptr8, at: int) -> uint:
    high = uint(buf[at + 7]) << 24 | uint(buf[at + 6]) << 16
    return high | uint(buf[at + 5]) << 8 | uint(buf[at + 4])


ENTRY_DIGEST = const(8)  # offset of the digest inside an entry


@micropython.viper
def put_entry(buf: ptr8, at: int, client_id: int, message_length: int, request_id: uint):
    """Write all of an entry but its digest, which belongs at `at + ENTRY_DIGEST`."""
    buf[at] = client_id & 255
    buf[at + 1] = client_id >> 8 & 255
    buf[at + 2] = message_length & 255
    buf[at + 3] = message_length >> 8 & 255
    buf[at + 4] = request_id & 255
    buf[at + 5] = request_id >> 8 & 255
    buf[at + 6] = request_id >> 16 & 255
    buf[at + 7] = request_id >> 24 & 255


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


# --- view change -------------------------------------------------------------------------


def put_view_change_counts(buf, c, p, q):
    buf[16] = c
    buf[17] = p
    buf[18] = q
    buf[19] = 0


def put_new_view_counts(buf, members, batches):
    buf[16] = members
    buf[17] = batches


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
