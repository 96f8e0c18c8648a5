"""Frames: their bytes, reassembly in any order, and that only what was sent comes out."""

from hal.frames import Fragments, Reassembly, fragment_count, frame_memory_rows
from tests.hal.support import Config, bytes_allocated, message_of, raises
from tests.portable import property_test

# Group 0: the address of a broadcast is the transmitter.
SMALL = Config(FRAME_LENGTH=10, MESSAGE_LENGTH_MAX=40, GROUP_ID=0)


def frames_of(fragments, message):
    fragments.begin(message, len(message))
    frames = []
    length = fragments.put_next()
    while length:
        frames.append(bytes(fragments.frame[:length]))
        length = fragments.put_next()
    return frames


def offered(reassembly, frame, out=None):
    """The message that the frame completes, or None."""
    out = bytearray(b"\xa5" * SMALL.MESSAGE_LENGTH_MAX) if out is None else out
    length = reassembly.offer(frame, len(frame), out)
    return bytes(out[:length]) if length else None


def counted(reassembly):
    faults = reassembly.faults
    return {name: getattr(faults, name) for name in faults.names() if getattr(faults, name)}


def test_one_frame_byte_by_byte():
    fragments = Fragments(SMALL, 0x0102, bytearray(b"\xa5" * 10), number=7)
    assert frames_of(fragments, b"abc") == [b"\x02\x01\x07\x00abc"]


def test_three_frames_byte_by_byte():
    fragments = Fragments(SMALL, 3, number=255)
    assert frames_of(fragments, b"0123456789abc") == [
        b"\x03\x00\x00\x02" + b"012345",
        b"\x03\x00\x00\x12" + b"6789ab",
        b"\x03\x00\x00\x22" + b"c",
    ]
    assert frames_of(fragments, b"0123456")[0][2] == 1


def test_every_length_makes_the_round():
    for own_id, transmitter in ((0, 4), (4, 0), (2, 3)):
        reassembly = Reassembly(SMALL, own_id)
        fragments = Fragments(SMALL, transmitter)
        for length in range(1, 41):
            message = bytes(message_of(length, length))
            frames = frames_of(fragments, message)
            assert len(frames) == (length + 5) // 6
            for frame in frames[:-1]:
                assert offered(reassembly, frame) is None
            assert offered(reassembly, frames[-1]) == message
        assert counted(reassembly) == {}


def test_impossible_message_length():
    fragments = Fragments(SMALL, 0)
    for length in (-1, 0, 41):
        raises(ValueError, fragments.begin, bytearray(64), length)


def test_frame_too_small_for_the_message():
    for frame_length in (4, 0, 75):
        error = raises(ValueError, fragment_count, Config(FRAME_LENGTH=frame_length))
        assert "raise [transport] frame_length" in str(error)
    assert fragment_count(Config(FRAME_LENGTH=76)) == 16
    assert fragment_count(Config()) == 5


def test_own_frames_are_dropped_without_a_count():
    reassembly = Reassembly(SMALL, 2)
    for frame in frames_of(Fragments(SMALL, 2), message_of(40)):
        assert offered(reassembly, frame) is None
    assert counted(reassembly) == {}


def test_malformed_frames_are_counted_by_name():
    for frame, name in (
        (b"", "frame_length"),
        (b"\x01\x00\x00\x00", "frame_length"),
        (b"\x01\x00\x00\x00" + bytes(7), "frame_length"),
        (b"\x1e\x00\x00\x00abc", "frame_transmitter"),
        (b"\x01\x01\x00\x00abc", "frame_transmitter"),
        (b"\x01\x00\x00\x10abcdef", "fragment_index"),
        (b"\x01\x00\x00\xf1abcdef", "fragment_index"),
        (b"\x01\x00\x00\x01abcde", "fragment_length"),
        (b"\x01\x00\x00\x66abcde", "fragment_overflow"),
        (b"\x01\x00\x00\x07abcdef", "fragment_overflow"),
        (b"\x01\x00\x00\xffabcdef", "fragment_overflow"),
    ):
        reassembly = Reassembly(SMALL, 0)
        assert offered(reassembly, frame) is None
        assert counted(reassembly) == {name: 1}, (frame, name)
    short = Reassembly(Config(FRAME_LENGTH=10, MESSAGE_LENGTH_MAX=5, GROUP_ID=0), 0)
    assert offered(short, b"\x01\x00\x00\x00abcdef") is None
    assert counted(short) == {"fragment_overflow": 1}


def test_fragments_in_reverse_and_twice():
    reassembly = Reassembly(SMALL, 0)
    message = bytes(message_of(31))
    frames = frames_of(Fragments(SMALL, 1), message)
    for frame in reversed(frames[1:]):
        assert offered(reassembly, frame) is None
        assert offered(reassembly, frame) is None
    assert offered(reassembly, frames[0]) == message
    for frame in frames:
        assert offered(reassembly, frame) is None
    assert counted(reassembly) == {"fragment_repeat": 2 * len(frames) - 1}


def test_newer_message_replaces_an_unfinished_one_and_late_fragments_do_not():
    reassembly = Reassembly(SMALL, 0)
    fragments = Fragments(SMALL, 1)
    old, new = bytes(message_of(20)), bytes(message_of(20, 99))
    old_frames, new_frames = frames_of(fragments, old), frames_of(fragments, new)
    out = [offered(reassembly, f) for f in old_frames[:2] + new_frames[:2] + old_frames[2:]]
    assert out == [None] * (4 + len(old_frames) - 2)
    assert [offered(reassembly, frame) for frame in new_frames[2:]] == [None, new]
    assert counted(reassembly) == {"message_unfinished": 1, "fragment_late": 2}


def test_count_that_changes_within_a_message():
    reassembly = Reassembly(SMALL, 0)
    assert offered(reassembly, b"\x01\x00\x09\x02abcdef") is None
    assert offered(reassembly, b"\x01\x00\x09\x11ghi") is None
    assert counted(reassembly) == {"fragment_count": 1}
    assert offered(reassembly, b"\x01\x00\x09\x12ghijkl") is None
    assert offered(reassembly, b"\x01\x00\x09\x22m") == b"abcdefghijklm"


def test_single_frames_do_not_disturb_a_message_under_way():
    reassembly = Reassembly(SMALL, 0)
    fragments = Fragments(SMALL, 1)
    frames = frames_of(fragments, message_of(12))
    assert offered(reassembly, frames[0]) is None
    assert offered(reassembly, frames_of(fragments, b"abc")[0]) == b"abc"
    assert offered(reassembly, frames[1]) == bytes(message_of(12))


def test_transmitters_do_not_disturb_each_other():
    reassembly = Reassembly(SMALL, 2)
    messages = {i: bytes(message_of(40, 50 * i)) for i in (0, 1, 3, 4)}
    frames = {i: frames_of(Fragments(SMALL, i), messages[i]) for i in messages}
    done = {}
    for k in range(7):
        for i in messages:
            message = offered(reassembly, frames[i][k])
            if message:
                done[i] = message
    assert done == messages and counted(reassembly) == {}


def mutated(draw, frame):
    """The frame with something wrong in what follows the transmitter."""
    kind = draw.choice(("flip", "cut", "extend", "bytes")) if len(frame) > 3 else "extend"
    if kind == "cut":
        return frame[: draw.integer(0, len(frame) - 1)]
    if kind == "extend":
        return frame + draw.octets(1, 4)
    if kind == "bytes":
        return frame[:2] + draw.octets(0, 12)
    at = draw.integer(2, len(frame) - 1)
    return frame[:at] + bytes((frame[at] ^ 1 << draw.integer(0, 7),)) + frame[at + 1 :]


@property_test(count=60)
def test_only_what_was_sent_comes_out(draw):
    """Lost, doubled and reordered frames of several transmitters, one of which is attacked.

    Whatever completes under an honest transmitter id is a message that it sent; spoofed
    frames spoil nothing but the id that they name; every frame is told or counted.
    """
    reassembly = Reassembly(SMALL, 0)
    air = []
    sent = {}
    for transmitter in (1, 2, 3, 4):
        fragments = Fragments(SMALL, transmitter, number=draw.integer(0, 255))
        sent[transmitter] = []
        for _ in range(draw.integer(1, 3)):
            message = draw.octets(1, 40)
            sent[transmitter].append(message)
            air += frames_of(fragments, message)
    for _ in range(draw.integer(0, 20)):
        at = draw.integer(0, len(air) - 1)
        what = draw.choice(("lose", "double", "move", "spoof"))
        if what == "lose" and len(air) > 1:
            del air[at]
        elif what == "double":
            air.insert(draw.integer(0, len(air)), air[at])
        elif what == "move":
            air.insert(draw.integer(0, len(air) - 1), air.pop(at))
        else:
            air.insert(at, mutated(draw, b"\x04\x00" + air[at][2:]))
    for frame in air:
        message = offered(reassembly, frame)
        if message is not None and frame[0] != 4:
            assert message in sent[frame[0]]


def test_a_spoofed_fragment_spoils_five_messages_at_most():
    """Those whose numbers seem late, and the one that has its number."""
    message = bytes(message_of(20))
    spoofed = frames_of(Fragments(SMALL, 1, number=99), bytes(20))[0]
    for number in range(256):
        reassembly = Reassembly(SMALL, 0)
        offered(reassembly, spoofed)
        fragments = Fragments(SMALL, 1, number=number)
        for _ in range(6):
            come = [offered(reassembly, frame) for frame in frames_of(fragments, message)]
        assert come[-1] == message, number


@property_test(count=60)
def test_garbage_is_never_more_than_counted(draw):
    """Any bytes: no exception, nothing longer than MESSAGE_LENGTH_MAX, nothing beside it."""
    reassembly = Reassembly(SMALL, 1)
    for _ in range(20):
        frame = bytes((draw.integer(0, 5), draw.choice((0, 0, 0, 1)))) + draw.octets(0, 12)
        out = bytearray(b"\xa5" * 60)
        length = reassembly.offer(frame, len(frame), out)
        assert 0 <= length <= 40 and out[length:] == b"\xa5" * (60 - length)
        assert len(reassembly._buffers) == 4 * 40 and len(reassembly._rows) == 4 * 8


@property_test(count=60)
def test_loss_free_transmitter_is_heard_beside_an_attacker(draw):
    reassembly = Reassembly(SMALL, 0)
    message = draw.octets(7, 40)
    for frame in frames_of(Fragments(SMALL, 3), message):
        for _ in range(draw.integer(0, 4)):
            offered(reassembly, bytes((draw.choice((0, 1, 2, 4, 5)), 0)) + draw.octets(0, 9))
        result = offered(reassembly, frame)
    assert result == message


def test_memory_rows_are_what_is_allocated():
    config = Config()
    reassembly = Reassembly(config, 0)
    rows = {row[1]: row[2] for row in frame_memory_rows(config)}
    assert rows["reassembly"] == len(reassembly._buffers) == 4 * 1152
    assert rows["rows"] == len(reassembly._rows)
    assert rows["sent"] == len(Fragments(config, 0).frame)
    assert all(len(row) == 5 and row[0] == "frames" for row in frame_memory_rows(config))
    alone = Config(FRAME_LENGTH=1470)
    assert frame_memory_rows(alone)[0][2] == len(Reassembly(alone, 0)._buffers) == 0


def test_frames_allocate_nothing():
    config = Config()
    fragments, reassembly = Fragments(config, 1), Reassembly(config, 0)
    out, message = bytearray(config.MESSAGE_LENGTH_MAX), message_of(1152)

    def make_the_round():
        for length in (72, 1152, 500):
            fragments.begin(message, length)
            size = fragments.put_next()
            while size:
                reassembly.offer(fragments.frame, size, out)
                reassembly.offer(fragments.frame, size - 1, out)
                size = fragments.put_next()
        reassembly.offer(fragments.frame, 2, out)

    assert bytes_allocated(make_the_round) == 0


def addresses(config):
    """Every first two bytes that frames of a group may have."""
    count = config.CLIENT_COUNT
    made = []
    for transmitter in range(count):
        fragments = Fragments(config, transmitter)
        for target in range(-1, count):
            fragments.begin(b"x", 1, target)
            made.append(fragments.frame[0] | fragments.frame[1] << 8)
    return made


def test_only_who_is_meant_takes_a_frame():
    for group_id in (0, 1, 65535):
        config = Config(GROUP_ID=group_id)
        for target in range(-1, 5):
            for transmitter in range(5):
                fragments = Fragments(config, transmitter)
                fragments.begin(b"abc", 3, target)
                length = fragments.put_next()
                for own_id in range(5):
                    reassembly = Reassembly(config, own_id)
                    taken = reassembly.offer(fragments.frame, length, bytearray(1152)) == 3
                    meant = target in (-1, own_id) and transmitter != own_id
                    assert taken is meant and counted(reassembly) == {}


def test_groups_on_one_channel_do_not_hear_each_other():
    for clients, groups in ((5, 233), (8, 233), (26, 55)):
        span = clients * (clients + 1)
        assert sorted(addresses(Config(GROUP_ID=0, CLIENT_COUNT=clients))) == list(range(span))
        for apart in range(1, groups):
            distance = apart * 40503 & 0xFFFF
            assert span <= distance <= 65536 - span, (clients, apart)
