"""Wire.check: what is well-formed passes, what is not is refused with the right code."""

from tests.tinybft import messages
from tests.tinybft.messages import CONFIGS, DIGEST, SEVEN, SMALL, build, kinds, typical
from tinybft import structure, wire
from tinybft.structure import BAD_FIELD, BAD_GROUP, BAD_LENGTH, BAD_SENDER, BAD_TYPE, BAD_VERSION


def check(message, config=SMALL, received=None):
    buf = bytearray(message) + bytearray(b"\xa5" * 64)
    return structure.Wire(config).check(buf, len(message) if received is None else received)


def verdict(kind, body, config=SMALL, **fields):
    return check(build(config, kind, body, **fields), config)


def test_every_type_passes():
    for config in CONFIGS:
        for kind in kinds():
            assert check(typical(config, kind), config) == 0, wire.TYPE_NAMES[kind]


def test_received_length_must_be_the_written_one():
    for kind in kinds():
        message = typical(SMALL, kind)
        for received in (len(message) - 1, len(message) + 1):
            assert check(message, SMALL, received) == BAD_LENGTH


def test_shorter_than_a_header():
    message = typical(SMALL, wire.PREPARE)
    for received in range(16):
        assert check(message, SMALL, received) == BAD_LENGTH


def test_longer_than_the_longest():
    message = build(SMALL, wire.REPLY, bytes(1200))
    assert check(message) == BAD_LENGTH


def test_truncated_everywhere():
    """At each length, also with the length field corrected."""
    for kind in kinds():
        message = typical(SMALL, kind)
        least = 40 if kind in (wire.REQUEST, wire.REPLY) else len(message)
        for length in range(least):
            cut = message[:length]
            if length >= 8:
                cut[6] = length & 255
                cut[7] = length >> 8
            assert kind == wire.REPLY and length >= 24 or check(cut) != 0, (kind, length)


def test_extended_everywhere():
    for kind in kinds():
        message = typical(SMALL, kind)
        for extra in (1, 7, 33):
            longer = message + bytes(extra)
            longer[6] = len(longer) & 255
            longer[7] = len(longer) >> 8
            free = kind in (wire.REQUEST, wire.REPLY)
            assert check(longer) == (0 if free else BAD_LENGTH), (kind, extra)


def test_wrong_version():
    for kind in kinds():
        for version in (0, 2, 15):
            message = typical(SMALL, kind)
            message[0] = version << 4
            assert check(message) == BAD_VERSION


def test_wrong_group():
    for kind in kinds():
        for at in (4, 5):
            message = typical(SMALL, kind)
            message[at] ^= 2
            assert check(message) == BAD_GROUP


def test_wrong_type():
    for kind in (0, 14, 15, 128, 255):
        message = typical(SMALL, wire.PREPARE)
        message[1] = kind
        assert check(message) == BAD_TYPE


def test_sender_outside_the_group():
    for config in CONFIGS:
        for kind in kinds():
            body = messages.bodies(config)[kind]
            for sender in (config.CLIENT_COUNT, 256, 65535):
                assert verdict(kind, body, config, sender=sender) == BAD_SENDER


def test_external_client_may_send_nothing_but_requests():
    for kind in kinds():
        expected = 0 if kind == wire.REQUEST else BAD_SENDER
        assert verdict(kind, messages.bodies(SMALL)[kind], SMALL, sender=4) == expected


def test_votes_carry_a_digest_and_nothing_else():
    for kind in (wire.PREPARE, wire.COMMIT, wire.CHECKPOINT):
        for length in (0, 31, 33, 64):
            assert verdict(kind, bytes(length)) == BAD_LENGTH


def test_request():
    assert verdict(wire.REQUEST, b"") == 0
    assert verdict(wire.REQUEST, bytes(256)) == 0
    assert verdict(wire.REQUEST, bytes(257)) == BAD_LENGTH
    assert verdict(wire.REQUEST, b"x", seqno=0) == BAD_FIELD
    assert verdict(wire.REQUEST, b"x", view=1) == BAD_FIELD
    assert verdict(wire.REQUEST, b"x", seqno=2**32 - 1) == 0


def test_request_that_has_no_room_for_its_tags():
    message = messages.request(SMALL, b"")
    for length in range(16, len(message)):
        message[6] = length
        assert check(message[:length]) == BAD_LENGTH


def test_reply():
    assert verdict(wire.REPLY, b"") == 0
    assert verdict(wire.REPLY, bytes(256)) == 0
    assert verdict(wire.REPLY, bytes(257)) == BAD_LENGTH
    assert verdict(wire.REPLY, DIGEST, flags=wire.FLAG_DIGEST) == 0
    for length in (0, 31, 33):
        assert verdict(wire.REPLY, bytes(length), flags=wire.FLAG_DIGEST) == BAD_LENGTH


def test_pre_prepare_lists():
    for config in CONFIGS:
        most = config.BATCH_COUNT_MAX
        for count in range(most + 1):
            assert verdict(wire.PRE_PREPARE, messages.by_digest(count), config) == 0
        assert verdict(wire.PRE_PREPARE, messages.by_digest(most + 1), config) == BAD_FIELD
        for operation in (b"", b"x" * 50):
            body = messages.with_inline(config, most, operation)
            assert verdict(wire.PRE_PREPARE, body, config) == 0


def test_pre_prepare_header_fields():
    assert verdict(wire.PRE_PREPARE, bytes(7)) == BAD_LENGTH
    assert verdict(wire.PRE_PREPARE, messages.batch_head(0, 999)) == 0
    assert verdict(wire.PRE_PREPARE, messages.batch_head(0, 1000)) == BAD_FIELD
    assert verdict(wire.PRE_PREPARE, bytes(7) + b"\1") == BAD_FIELD


def test_pre_prepare_entries_must_fill_the_body():
    two = messages.by_digest(2)
    assert verdict(wire.PRE_PREPARE, two[:-1]) == BAD_FIELD
    assert verdict(wire.PRE_PREPARE, two + b"\0") == BAD_LENGTH
    one_too_few = messages.batch_head(1) + two[8:]
    assert verdict(wire.PRE_PREPARE, one_too_few) == BAD_LENGTH


def test_pre_prepare_entry_fields():
    head = messages.batch_head(1)
    assert verdict(wire.PRE_PREPARE, head + b"\0" + messages.entry(client=4)) == 0
    assert verdict(wire.PRE_PREPARE, head + b"\0" + messages.entry(client=5)) == BAD_FIELD
    assert verdict(wire.PRE_PREPARE, head + b"\2" + messages.entry()) == BAD_FIELD


def inline(at=None, value=0):
    request = messages.request(SMALL)
    if at is not None:
        request[at] = value
    return verdict(wire.PRE_PREPARE, messages.batch_head(1) + b"\1" + bytes(request))


def test_inline_request_is_checked_like_any_other():
    assert inline() == 0
    broken = ((0, 0x20), (1, wire.PREPARE), (2, 5), (4, 2), (6, 15), (6, 255), (7, 1), (8, 1))
    for at, value in broken:
        assert inline(at, value) == BAD_FIELD, at
    assert inline(12, 0) == BAD_FIELD  # request id 0


def test_status():
    for config in CONFIGS:
        for slots in range(config.WINDOW + 1):
            assert verdict(wire.STATUS, messages.status_body(config, slots), config) == 0
        too_many = messages.status_body(config, config.WINDOW + 1)
        assert verdict(wire.STATUS, too_many, config) == BAD_FIELD
    body = messages.status_body(SMALL, 2)
    assert verdict(wire.STATUS, body[:-1]) == BAD_LENGTH
    assert verdict(wire.STATUS, body[:5]) == BAD_LENGTH


def test_view_change():
    for counts in ((0, 0, 0), (3, 4, 12)):
        assert verdict(wire.VIEW_CHANGE, messages.view_change_body(*counts)) == 0
    assert verdict(wire.VIEW_CHANGE, bytes(3)) == BAD_LENGTH
    assert verdict(wire.VIEW_CHANGE, messages.view_change_body(3, 4, 13)) == BAD_LENGTH
    assert verdict(wire.VIEW_CHANGE, messages.view_change_body(1, 1, 1)[:-1]) == BAD_LENGTH


def test_view_change_ack():
    for replica in range(4):
        assert verdict(wire.VIEW_CHANGE_ACK, bytes((replica,)) + DIGEST) == 0
    assert verdict(wire.VIEW_CHANGE_ACK, b"\4" + DIGEST) == BAD_FIELD
    assert verdict(wire.VIEW_CHANGE_ACK, DIGEST) == BAD_LENGTH


def test_new_view():
    assert verdict(wire.NEW_VIEW, messages.new_view_body(4, 4)) == 0
    assert verdict(wire.NEW_VIEW, messages.new_view_body(0, 0)) == 0
    assert verdict(wire.NEW_VIEW, messages.new_view_body(5, 0)) == BAD_FIELD
    assert verdict(wire.NEW_VIEW, messages.new_view_body(3, 5)) == BAD_FIELD
    assert verdict(wire.NEW_VIEW, messages.new_view_body(3, 2)[:-1]) == BAD_LENGTH
    assert verdict(wire.NEW_VIEW, bytes(33)) == BAD_LENGTH


def test_state_transfer_lengths():
    for length in (0, 5, 7):
        assert verdict(wire.FETCH, bytes(length)) == BAD_LENGTH
    for length in (0, 7, 71, 73):
        assert verdict(wire.DATA, bytes(length)) == BAD_LENGTH
    for length in (0, 7):
        assert verdict(wire.META_DATA, bytes(length)) == BAD_LENGTH
    assert verdict(wire.META_DATA, messages.meta_data_body(0)) == 0
    assert verdict(wire.META_DATA, messages.meta_data_body(2)[:-1]) == BAD_LENGTH


def test_tags_per_type_and_sender():
    for config in CONFIGS:
        checked = structure.Wire(config)
        for kind in kinds():
            for sender in range(config.CLIENT_COUNT):
                expected = messages.tags_of(config, kind, sender)
                assert checked.tag_count(kind, sender) == expected


def test_every_receiver_has_a_tag_of_its_own():
    checked = structure.Wire(SEVEN)
    for sender in range(9):
        receivers = [r for r in range(7) if r != sender]
        places = [checked.tag_index(wire.REQUEST, sender, r) for r in receivers]
        assert places == list(range(len(receivers)))
    assert checked.tag_index(wire.REPLY, 2, 8) == 0
