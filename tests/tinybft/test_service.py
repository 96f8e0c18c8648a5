"""What an application sees: bounds in words, no allocation."""

from tests.tinybft.support import Config, allocated_by, digest_nothing
from tinybft.service import AppState, Context, Service
from tinybft.state import State
from tinybft.state_fields import allocate_state


def make():
    config = Config(STATE_LENGTH=256, BLOCK_LENGTH=64, CLIENT_COUNT=1)
    state = State(config, allocate_state(config), digest_nothing)
    state.take_checkpoint(0)
    return state, AppState(state.view, state.write)


def refused(action):
    try:
        action()
    except ValueError:
        return True
    return False


def test_only_the_application_part_can_be_written():
    state, app = make()
    assert app.length == 256 and len(app.view) == 256 and state.length == 320
    app.write(250, b"?abcdef", 1, 6)
    assert bytes(app.view[249:]) == b"\x00abcdef"
    before = bytes(state.raw)
    for offset, start, length in ((251, 0, 6), (-1, 0, 6), (256, 0, 1), (0, 0, -1)):
        assert refused(lambda: app.write(offset, b"abcdef", start, length))  # noqa: B023
    for start, length in ((1, 6), (-1, 1), (7, 0)):
        assert refused(lambda: app.write(0, b"abcdef", start, length))  # noqa: B023
    assert refused(lambda: app.put_u32(253, 1))
    assert refused(lambda: app.fill(200, 100, 1)) and not refused(lambda: app.fill(256, 0, 1))
    assert bytes(state.raw[256:]) == before[256:]


def test_short_forms():
    _, app = make()
    app.put_u16(1, 0xABCD)
    app.put_u32(3, 0x12345678)
    assert bytes(app.view[:8]) == b"\x00\xcd\xab\x78\x56\x34\x12\x00"
    app.fill(10, 200, 7)
    assert bytes(app.view[9:211]) == b"\x00" + b"\x07" * 200 + b"\x00"
    app.write(0, app.view, 3, 4)
    assert bytes(app.view[:4]) == b"\x78\x56\x34\x12"


def test_writes_are_seen_by_the_next_checkpoint():
    state, app = make()
    app.put_u16(70, 5)
    state.take_checkpoint(2)
    assert [state.tree.seqno_of(0, i) for i in range(5)] == [0, 2, 0, 0, 0]


def test_a_service_without_execute_says_so():
    try:
        Service().execute(None, b"", 0, bytearray(1), Context())
    except NotImplementedError:
        return
    raise AssertionError("silent")


def test_writing_allocates_nothing():
    state, app = make()
    octets = bytes(64)

    def writes():
        app.put_u16(2, 1)
        app.put_u32(0, 2**30 - 1)
        app.fill(0, 150, 3)
        app.write(30, octets, 0, 64)
        app.write(30, app.view, 0, 10)
        state.roll_back()

    assert allocated_by(writes) == 0
