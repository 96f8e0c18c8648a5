"""The generator of small delays."""

from tests.portable import property_test
from tinybft.jitter import Jitter


@property_test(count=100)
def test_values_stay_below_the_bound_from_any_seed(draw):
    jitter = Jitter(draw.integer(0, 2**32 - 1))
    for _ in range(20):
        bound = draw.integer(1, 2**20)
        assert 0 <= jitter.below(bound) < bound


def test_state_never_leaves_the_small_integers_nor_sticks_at_zero():
    for seed in (0, 1, 2**29, 2**29 - 1, 2**31, 2**32 - 1):
        jitter = Jitter(seed)
        for _ in range(2000):
            jitter.below(3)
            assert 0 < jitter._x < 2**29


def test_same_seed_same_delays():
    one, two = Jitter(77), Jitter(77)
    assert [one.below(100) for _ in range(50)] == [two.below(100) for _ in range(50)]


def test_neighbouring_seeds_spread():
    first = {Jitter(seed).below(1000) for seed in range(1, 101)}
    assert len(first) > 50


def test_values_are_spread_evenly_enough():
    jitter = Jitter(12345)
    counts = [0] * 10
    for _ in range(5000):
        counts[jitter.below(10)] += 1
    assert min(counts) > 350 and max(counts) < 650
