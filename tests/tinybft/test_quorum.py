"""Thresholds, for every mask of small groups and up to n = 31."""

from tests.portable import property_test
from tests.tinybft.support import Config
from tinybft.quorum import Quorum, vote_count


def quorum_of(f):
    return Quorum(Config(FAULT_COUNT=f, CLIENT_COUNT=3 * f + 1))


def count(mask):
    return bin(mask).count("1")


def test_thresholds_of_every_mask_of_small_groups():
    for f in (1, 2):
        quorum = quorum_of(f)
        for mask in range(1 << (3 * f + 1)):
            votes = count(mask)
            assert quorum.count(mask) == votes
            assert quorum.is_prepared(mask) == (votes >= 2 * f)
            assert quorum.is_quorum(mask) == (votes >= 2 * f + 1)
            assert quorum.is_weak(mask) == (votes >= f + 1)


@property_test(count=200)
def test_thresholds_of_large_groups(draw):
    f = draw.integer(3, 10)
    quorum = quorum_of(f)
    mask = draw.integer(0, (1 << (3 * f + 1)) - 1)
    votes = count(mask)
    assert quorum.count(mask) == vote_count(mask) == votes
    assert quorum.is_prepared(mask) == (votes >= 2 * f)
    assert quorum.is_quorum(mask) == (votes >= 2 * f + 1)
    assert quorum.is_weak(mask) == (votes >= f + 1)


def test_thirty_first_replica_counts():
    quorum = quorum_of(10)
    low = (1 << 20) - 1
    assert not quorum.is_quorum(low)
    assert quorum.is_quorum(low | 1 << 30)
    assert vote_count((1 << 31) - 1) == 31


def test_two_quorums_share_a_correct_replica():
    for f in range(1, 11):
        quorum = quorum_of(f)
        n = 3 * f + 1
        assert 2 * quorum.quorum - n >= f + 1
        assert n - f >= quorum.quorum
