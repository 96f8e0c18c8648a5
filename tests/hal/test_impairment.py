"""Injected faults: the shares, the order, the bound, and that a seed repeats."""

from hal.faults import Faults
from hal.impairment import DELAYED_COUNT_MAX, Impairment
from tests.hal.support import bytes_allocated, raises
from tests.portable import property_test

LENGTH = 10


def impairment(loss=0.0, duplicate=0.0, delay_ms=0, jitter_ms=0, seed=1):
    return Impairment(Faults(), LENGTH, loss, duplicate, delay_ms, jitter_ms, seed)


def taken(line, now):
    """All frames that are due, as bytes."""
    frames = []
    out = bytearray(LENGTH)
    length = line.take(now, out)
    while length:
        frames.append(bytes(out[:length]))
        length = line.take(now, out)
    return frames


def test_shares_are_about_what_was_asked():
    for loss in (0.05, 0.2, 0.5):
        for seed in (0, 1, 12345):
            line = impairment(loss=loss, seed=seed)
            passed = sum(line.admit(b"abc", 3, 0) for _ in range(4000))
            assert abs(passed / 4000 - (1 - loss)) < 0.04
            assert line._faults.injected_loss == 4000 - passed


def test_nothing_and_everything():
    assert all(impairment().admit(b"a", 1, 0) for _ in range(100))
    assert not any(impairment(loss=1.0).admit(b"a", 1, 0) for _ in range(100))
    line = impairment(duplicate=1.0)
    assert line.admit(b"ab", 2, 5) and taken(line, 5) == [b"ab"] and taken(line, 5) == []


def test_same_seed_same_fate():
    fates = []
    for seed in (7, 7, 8):
        line = impairment(loss=0.5, seed=seed)
        fates.append([line.admit(b"a", 1, 0) for _ in range(64)])
    assert fates[0] == fates[1] != fates[2]


def test_delay_keeps_the_order_and_the_time():
    line = impairment(delay_ms=10)
    assert line.due_in(0) == -1
    for now, frame in ((100, b"a"), (100, b"bc"), (103, b"def")):
        assert not line.admit(frame, len(frame), now)
    assert line.due_in(103) == 7 and taken(line, 109) == []
    assert taken(line, 110) == [b"a", b"bc"]
    assert line.due_in(110) == 3 and line.due_in(113) == 0
    assert taken(line, 113) == [b"def"] and line.due_in(113) == -1


def test_delay_over_the_wrap_of_the_clock():
    line = impairment(delay_ms=10)
    now = 0x3FFFFFFF - 4
    assert not line.admit(b"a", 1, now)
    assert line.due_in(now) == 10 and taken(line, 0x3FFFFFFF) == []
    assert line.due_in(4) == 1 and taken(line, 5) == [b"a"]


def test_jitter_reorders_within_its_bounds():
    line = impairment(delay_ms=5, jitter_ms=20)
    frames = [bytes((i,)) for i in range(60)]
    for frame in frames:
        line.admit(frame, 1, 0)
    assert taken(line, 4) == []
    come = []
    for now in range(5, 26):
        come += taken(line, now)
    assert sorted(come) == frames and come != frames


def test_full_ring_loses_and_counts():
    line = impairment(delay_ms=10)
    for _ in range(DELAYED_COUNT_MAX + 3):
        line.admit(b"a", 1, 0)
    assert line._faults.delay_full == 3 and len(taken(line, 10)) == DELAYED_COUNT_MAX


def test_impossible_values():
    for values in ({"loss": 1.1}, {"loss": -0.1}, {"duplicate": 2}, {"delay_ms": -1}):
        raises(ValueError, lambda values=values: impairment(**values))
    raises(ValueError, lambda: impairment(jitter_ms=32768))


@property_test(count=40)
def test_every_frame_is_delivered_or_counted(draw):
    loss, duplicate = draw.choice((0.0, 0.3)), draw.choice((0.0, 0.5))
    line = impairment(loss, duplicate, draw.integer(0, 9), draw.integer(0, 9), draw.integer(0, 99))
    now = draw.choice((0, 0x3FFFFFFF))
    come = 0
    for _ in range(40):
        come += line.admit(b"abc", 3, now)
        now = now + draw.integer(0, 2) & 0x3FFFFFFF
        come += len(taken(line, now))
    come += len(taken(line, now + 20 & 0x3FFFFFFF))
    faults = line._faults
    assert come == 40 - faults.injected_loss + faults.injected_duplicate - faults.delay_full
    assert line.due_in(now) == -1


def test_impairment_allocates_nothing():
    line = impairment(loss=0.2, duplicate=0.2, delay_ms=3, jitter_ms=5)
    frame, out = bytearray(LENGTH), bytearray(LENGTH)

    def use():
        for now in range(100):
            line.admit(frame, LENGTH, now)
            line.due_in(now)
            line.take(now, out)

    assert bytes_allocated(use) == 0
