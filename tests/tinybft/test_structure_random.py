"""Wire.check on random and altered bytes: it never raises, and what passes can be read."""

from tests.portable import ON_MICROPYTHON, property_test
from tests.tinybft import messages
from tests.tinybft.messages import CONFIGS, SMALL, build, kinds, typical
from tinybft import structure, wire

_COUNT = 300 if ON_MICROPYTHON else 1000


def read_everything(checked, buf, received):
    """Read what the accessors offer; a viper accessor would not notice leaving `received`."""
    kind = wire.message_type(buf)
    end = checked.body_end(buf)
    tags = checked.tag_count(kind, wire.sender(buf)) * checked._tag_length
    assert wire.HEADER_LENGTH <= end and end + tags == received
    if kind == wire.PRE_PREPARE:
        at = wire.HEADER_LENGTH + wire.BATCH_HEADER_LENGTH
        for _ in range(wire.batch_count(buf, wire.HEADER_LENGTH)):
            if buf[at] == wire.INLINE:
                assert at + 1 + wire.length_at(buf, at + 1) <= end
                assert at + 17 <= at + 1 + checked.body_end(buf, at + 1) <= end
            at = checked.next_request(buf, at, end)
            assert 0 < at <= end
        assert at == end
    elif kind == wire.STATUS:
        slots = wire.status_slot_count(buf) * checked.status_slot_length
        assert 22 + slots + checked.status_tail_length == end
    elif kind == wire.META_DATA:
        assert 24 + 36 * wire.meta_data_count(buf) == end


@property_test(count=_COUNT)
def test_random_bytes_never_raise(draw):
    checked = structure.Wire(SMALL)
    message = bytearray(draw.octets(0, 120))
    if checked.check(message + bytearray(16), len(message)) == 0:
        read_everything(checked, message, len(message))


@property_test(count=_COUNT)
def test_altered_messages_stay_readable_or_are_refused(draw):
    config = draw.choice(CONFIGS)
    checked = structure.Wire(config)
    kind = draw.integer(1, wire.TYPE_MAX)
    message = typical(config, kind)
    if kind == wire.PRE_PREPARE and draw.choice((True, False)):
        message = build(config, kind, messages.with_inline(config, config.BATCH_COUNT_MAX))
    for _ in range(draw.integer(1, 4)):
        message[draw.integer(0, len(message) - 1)] = draw.integer(0, 255)
    if draw.choice((True, False)):
        message = message[: draw.integer(16, len(message))]
        message[6] = len(message) & 255
        message[7] = len(message) >> 8
    received = len(message)
    if checked.check(message + bytearray(16), received) == 0:
        read_everything(checked, message, received)


def test_every_single_bit_flip_stays_readable_or_is_refused():
    checked = structure.Wire(SMALL)
    for kind in kinds():
        message = typical(SMALL, kind)
        buf = message + bytearray(16)
        for bit in range(len(message) * 8):
            buf[bit >> 3] ^= 1 << (bit & 7)
            if checked.check(buf, len(message)) == 0:
                read_everything(checked, buf, len(message))
            buf[bit >> 3] ^= 1 << (bit & 7)
