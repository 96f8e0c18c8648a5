"""The agreed time: monotone, bounded lead, wrap of the ticks."""

from tests.portable import ON_MICROPYTHON, property_test
from tests.tinybft.bench import make_config
from tinybft.clock import GroupClock, elapsed

SKEW = 1000
_WRAP = 2**30


def clock_at(now, skew=SKEW):
    clock = GroupClock(make_config(CLOCK_SKEW_MS=skew))
    clock.start(now)
    clock.agree(0, 0)  # the group's first batch: clocks stand still before
    return clock


def ms_of(clock):
    return clock.time_s * 1000 + clock.time_ms


def plausible(clock, ms):
    return clock.is_plausible(ms // 1000, ms % 1000)


def agree(clock, ms):
    clock.agree(ms // 1000, ms % 1000)


def test_elapsed_across_the_wrap():
    assert elapsed(5, 3) == 2
    assert elapsed(3, _WRAP - 2) == 5
    assert elapsed(0, _WRAP - 1) == 1
    assert elapsed(7, 7) == 0


def test_estimate_follows_the_ticks():
    clock = clock_at(500)
    clock.advance(1750)
    assert (clock.time_s, clock.time_ms) == (1, 250)


def test_estimate_follows_the_ticks_across_the_wrap():
    clock = clock_at(_WRAP - 700)
    clock.advance(_WRAP - 1)
    clock.advance(801)
    assert ms_of(clock) == 1501


def test_agreed_time_pulls_a_slow_estimate_forward():
    clock = clock_at(0)
    agree(clock, 5300)
    assert ms_of(clock) == 5300
    clock.advance(10)
    assert ms_of(clock) == 5310


def test_old_agreed_time_does_not_turn_the_estimate_back():
    clock = clock_at(0)
    clock.advance(9000)
    agree(clock, 100)
    assert ms_of(clock) == 9000


def test_time_before_the_agreed_one_is_not_plausible():
    clock = clock_at(0)
    clock.advance(9000)
    agree(clock, 5500)
    assert not plausible(clock, 5499)
    assert not plausible(clock, 4600)
    assert plausible(clock, 5500)
    assert plausible(clock, 9000)


def test_delayed_batch_is_plausible_however_late():
    clock = clock_at(0)
    clock.advance(10_000_000)
    assert plausible(clock, 0)


def test_lead_is_bounded_by_the_skew():
    clock = clock_at(0)
    assert plausible(clock, SKEW)
    assert not plausible(clock, SKEW + 1)
    assert not plausible(clock, 2**32 * 1000 - 1)


def test_lead_that_was_gained_counts_against_the_bound():
    clock = clock_at(0)
    agree(clock, SKEW)
    assert not plausible(clock, SKEW + 1)
    clock.advance(16)
    assert plausible(clock, SKEW + 16 + 1)
    assert not plausible(clock, SKEW + 16 + 2)


def drive_ahead(clock, draw, steps):
    """A primary that always proposes the latest plausible time; returns (time passed, agreed)."""
    now = agreed = 0
    for _ in range(steps):
        now += draw.integer(0, 400)
        clock.advance(now & (_WRAP - 1))
        low, high = agreed, agreed + 10 * SKEW + 1000
        while low < high:  # plausibility is monotone in the time proposed
            middle = (low + high + 1) // 2
            if plausible(clock, middle):
                low = middle
            else:
                high = middle - 1
        agree(clock, low)
        agreed = low
    return now, agreed


@property_test(count=10 if ON_MICROPYTHON else 40)
def test_faulty_primary_gains_no_more_than_the_skew_and_a_sixteenth(draw):
    clock = clock_at(0)
    passed, agreed = drive_ahead(clock, draw, 60)
    assert agreed <= passed + SKEW + passed // 16 + 1


@property_test(count=10 if ON_MICROPYTHON else 40)
def test_correct_primary_with_a_fast_crystal_is_never_doubted(draw):
    """Two crystals that differ by 2 % (real ones by far less)."""
    backup = clock_at(0)
    primary = clock_at(0)
    now = 0
    for _ in range(100):
        now += draw.integer(1, 5000)
        primary.advance(now * 102 // 100 & (_WRAP - 1))
        backup.advance(now & (_WRAP - 1))
        assert backup.is_plausible(primary.time_s, primary.time_ms)
        primary.agree(primary.time_s, primary.time_ms)
        backup.agree(primary.time_s, primary.time_ms)


@property_test(count=50)
def test_estimate_is_monotone(draw):
    clock = clock_at(_WRAP - 5000)
    now = _WRAP - 5000
    before = 0
    for _ in range(30):
        if draw.choice((True, False)):
            now += draw.integer(0, 2000)
            clock.advance(now & (_WRAP - 1))
        else:
            agree(clock, draw.integer(0, 20000))
        assert ms_of(clock) >= before
        before = ms_of(clock)


def test_held_clock_goes_on_with_the_next_primary():
    """A faulty primary stamps old times for long; its correct successor is plausible at once."""
    clock = clock_at(0)
    successor = clock_at(0)
    for step in range(1, 200):
        clock.advance(step * 1000)
        successor.advance(step * 1000)
        assert plausible(clock, 0)
        agree(clock, 0)
        agree(successor, 0)
    assert clock.is_plausible(successor.time_s, successor.time_ms)


def test_seconds_beyond_30_bits():
    for second in (2**30 - 1, 2**31 - 1, 2**32 - 2):
        clock = clock_at(0)
        clock.agree(second, 999)
        clock.advance(2)
        assert (clock.time_s, clock.time_ms) == (second + 1, 1)
        assert not clock.is_plausible(second, 998)
