"""F66, F46: a lying replica cannot break safety, nor stop the group unless it is the primary."""

from tests.portable import ON_MICROPYTHON
from tests.tinybft.byzantine import Trial

SEEDS = range(1, 3 if ON_MICROPYTHON else 9)


def test_lying_backup():
    for seed in SEEDS:
        Trial(seed, liar=3, lies_percent=(20, 50, 90)[seed % 3]).run(8, 8000)


def test_lying_primary_breaks_nothing():
    for seed in SEEDS:
        Trial(seed, liar=0, lies_percent=(5, 20, 50)[seed % 3]).run(8, 2000)
