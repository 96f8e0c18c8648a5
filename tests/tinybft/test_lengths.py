"""The longest message of every type really is as long as its sum says, and passes."""

from tests.tinybft import messages
from tests.tinybft.messages import CONFIGS, DIGEST, build
from tinybft import lengths, wire
from tinybft.state_fields import fan_out_of
from tinybft.structure import Wire


def longest(config):
    """{type: (body, sender)} of the longest messages that the protocol can make."""
    w = config.WINDOW
    f = config.FAULT_COUNT
    count = config.BATCH_COUNT_MAX
    operation = config.INLINE_LENGTH_MAX - 16 - config.REPLICA_COUNT * config.TAG_LENGTH
    if operation >= 0:
        pre_prepare = messages.with_inline(config, count, bytes(operation))
    else:
        pre_prepare = messages.by_digest(count)
    children = min(fan_out_of(config), config.BLOCK_COUNT)
    return {
        wire.REQUEST: (bytes(config.REQUEST_LENGTH_MAX), config.REPLICA_COUNT),
        wire.PRE_PREPARE: (pre_prepare, 0),
        wire.PREPARE: (DIGEST, 1),
        wire.COMMIT: (DIGEST + DIGEST[:16], 1),
        wire.REPLY: (bytes(config.REPLY_LENGTH_MAX), 1),
        wire.CHECKPOINT: (DIGEST, 1),
        wire.VIEW_CHANGE: (
            messages.view_change_body(config.CHECKPOINT_COUNT, w, w * (f + 2)),
            1,
        ),
        wire.VIEW_CHANGE_ACK: (b"\1" + DIGEST, 2),
        wire.NEW_VIEW: (messages.new_view_body(config.REPLICA_COUNT, w), 1),
        wire.STATUS: (messages.status_body(config, w), 1),
        wire.FETCH: (bytes(6), 1),
        wire.META_DATA: (messages.meta_data_body(children), 1),
        wire.DATA: (messages.data_body(config), 1),
    }


def flags_of(kind):
    return wire.FLAG_CHECKPOINT if kind == wire.COMMIT else 0


def test_longest_messages_have_the_length_of_their_row():
    for config in CONFIGS:
        rows = {row[0]: row[1] for row in lengths.length_rows(config)}
        for kind, (body, sender) in longest(config).items():
            message = build(config, kind, body, sender, flags=flags_of(kind))
            name = wire.TYPE_NAMES[kind]
            by_digest_only = kind == wire.PRE_PREPARE and body[8] == wire.BY_DIGEST
            if by_digest_only:
                assert len(message) <= rows[name]
            else:
                assert len(message) == rows[name], (name, len(message), rows[name])


def test_longest_messages_fit_and_are_well_formed():
    for config in CONFIGS:
        checked = Wire(config)
        for kind, (body, sender) in longest(config).items():
            message = build(config, kind, body, sender, flags=flags_of(kind))
            assert len(message) <= config.MESSAGE_LENGTH_MAX, wire.TYPE_NAMES[kind]
            assert checked.check(message, len(message)) == 0, wire.TYPE_NAMES[kind]


def test_there_is_a_row_for_every_type():
    names = [row[0] for row in lengths.length_rows(CONFIGS[0])]
    assert names == list(wire.TYPE_NAMES[1:])


def test_several_inline_requests_are_no_longer_than_one():
    """Inline requests share INLINE_LENGTH_MAX, and each replaces an entry of 41 bytes."""
    config = CONFIGS[0]
    rows = {row[0]: row[1] for row in lengths.length_rows(config)}
    small = bytes(messages.request(config, bytes(8)))  # 56 bytes, two fit 128
    body = messages.batch_head(4) + (b"\1" + small) * 2 + (b"\0" + messages.entry()) * 2
    assert len(build(config, wire.PRE_PREPARE, body, 0)) <= rows["PRE-PREPARE"]


def test_default_configuration_fits():
    from tinybft import config

    for name, length, _ in lengths.length_rows(config):
        assert length <= config.MESSAGE_LENGTH_MAX, name
