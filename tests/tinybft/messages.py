"""One well-formed message of every type, built from the layouts in wire.py by hand."""

from tests.tinybft.bench import make_config, u16, u32
from tinybft import wire

DIGEST = bytes(range(100, 132))
SMALL = make_config()
SEVEN = make_config(FAULT_COUNT=2, CLIENT_COUNT=9, TAG_LENGTH=16)
# The smallest window, one byte of mask; and masks of two bytes.
NARROW = make_config(WINDOW=2, CHECKPOINT_INTERVAL=1, BATCH_COUNT_MAX=1)
TEN = make_config(FAULT_COUNT=3, CLIENT_COUNT=11, MESSAGE_LENGTH_MAX=4096)
CONFIGS = (SMALL, SEVEN, NARROW, TEN)


def tags_of(config, kind, sender):
    """Tags behind the body: one per receiver, the own entry left out."""
    if kind in (wire.REPLY, wire.FETCH, wire.META_DATA, wire.DATA):
        return 1
    return config.REPLICA_COUNT - (sender < config.REPLICA_COUNT)


def build(config, kind, body, sender=2, view=0, seqno=4, flags=0):
    total = 16 + len(body) + tags_of(config, kind, sender) * config.TAG_LENGTH
    head = bytes((0x10 | flags, kind)) + u16(sender) + u16(config.GROUP_ID) + u16(total)
    tags = b"\x77" * (total - 16 - len(body))
    return bytearray(head + u32(view) + u32(seqno) + body + tags)


def request(config, operation=b"operation", client=None, seqno=9):
    client = config.REPLICA_COUNT if client is None else client
    return build(config, wire.REQUEST, operation, client, 0, seqno)


def batch_head(count, ms=7):
    return u32(5) + u16(ms) + bytes((count, 0))


def entry(client=2, length=60, number=9):
    return u16(client) + u16(length) + u32(number) + DIGEST


def by_digest(count):
    return batch_head(count) + (b"\0" + entry()) * count


def with_inline(config, count, operation=b""):
    inline = b"\1" + bytes(request(config, operation))
    return batch_head(count) + inline + (b"\0" + entry()) * (count - 1)


def mask_length(config):
    return (config.REPLICA_COUNT + 7) // 8


def status_body(config, slots):
    width = mask_length(config)
    per_slot = bytes((1,)) + u16(2) + bytes((3,) * (2 * width))
    tail = bytes(width * config.CHECKPOINT_COUNT)
    return u32(3) + bytes((1, slots)) + per_slot * slots + tail


def view_change_body(c, p, q):
    return bytes((c, p, q, 0)) + bytes(36 * c) + bytes(37 * (p + q))


def new_view_body(v, x):
    return bytes((v, x)) + DIGEST + bytes(33 * v) + bytes(32 * x)


def meta_data_body(count):
    return bytes((1, 0)) + u16(0) + u16(count) + u16(0) + bytes(36 * count)


def data_body(config):
    return u16(3) + u16(0) + u32(8) + bytes(config.BLOCK_LENGTH)


def bodies(config):
    """{type: body of a typical message}"""
    return {
        wire.REQUEST: b"operation",
        wire.PRE_PREPARE: by_digest(1),
        wire.PREPARE: DIGEST,
        wire.COMMIT: DIGEST,
        wire.REPLY: b"result",
        wire.CHECKPOINT: DIGEST,
        wire.VIEW_CHANGE: view_change_body(2, 1, 2),
        wire.VIEW_CHANGE_ACK: b"\1" + DIGEST,
        wire.NEW_VIEW: new_view_body(3, 2),
        wire.STATUS: status_body(config, 2),
        wire.FETCH: b"\1\0" + u16(0) + u16(0),
        wire.META_DATA: meta_data_body(3),
        wire.DATA: data_body(config),
    }


def typical(config, kind):
    return build(config, kind, bodies(config)[kind])


def kinds():
    return range(1, wire.TYPE_MAX + 1)
