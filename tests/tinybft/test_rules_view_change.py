"""Leaving a view: the join rule, the own VIEW-CHANGE, what is well-formed (PROTOCOL 6)."""

from tests.tinybft.bench import Bench, make_config, sha256, u16, u32
from tests.tinybft.views import (
    NULL,
    acknowledge,
    elect,
    join,
    one,
    pre_prepared,
    prepared,
    where,
)
from tinybft import faults, wire

OTHER = bytes(range(32))


def seven(own_id=1):
    return Bench(own_id, make_config(FAULT_COUNT=2, CLIENT_COUNT=8, VIEW_CHANGE_MS=200))


# --- the join rule ---


def test_f_plus_1_higher_views_are_joined_at_the_smallest():
    bench = seven()
    for sender, view in ((2, 5), (3, 9)):
        assert bench.feed(bench.view_change(sender, view)) == 0
        assert where(bench) == (0, True)
    assert bench.feed(bench.view_change(4, 4)) == 0
    assert where(bench) == (4, False)
    assert [m[8:12] for m in bench.sent(wire.VIEW_CHANGE, -1)] == [u32(4)]


def test_one_replica_with_many_views_is_one():
    """F37: a storm for ever higher views changes nothing."""
    bench = seven()
    bench.feed(bench.view_change(2, 5))
    for view in (6, 7, 2**32 - 1):
        assert bench.feed(bench.view_change(3, view)) == 0
    assert where(bench) == (0, True)
    assert bench.sent(wire.VIEW_CHANGE) == []


def test_the_own_wish_is_not_one_of_f_plus_1():
    bench = Bench(2)
    join(bench, 1)
    bench.feed(bench.view_change(0, 2))
    assert where(bench) == (1, False)
    bench.feed(bench.view_change(3, 2))
    assert where(bench) == (2, False)


def test_the_present_view_is_no_higher_view():
    bench = seven()
    for sender in (2, 3, 4):
        bench.feed(bench.view_change(sender, 4))
    for sender in (5, 6):
        bench.feed(bench.view_change(sender, 5))
    assert where(bench) == (4, False)


def test_a_view_change_with_a_bad_tag_does_not_count():
    bench = Bench(2)
    bench.feed(bench.view_change(0, 1))
    assert bench.feed(bench.view_change(3, 1, bad_for=(2,))) == faults.MAC
    assert where(bench) == (0, True)


def test_an_active_view_is_left_too():
    bench = Bench(2)
    bench.begin_view(1)
    join(bench, 5)


# --- the own VIEW-CHANGE ---


def test_layout_of_the_own_view_change():
    bench = Bench(2)
    digest = prepared(bench, 1)
    join(bench, 1)
    message = bench.sent(wire.VIEW_CHANGE, -1)[0]
    total = 16 + 4 + 36 + 37 + 37 + 3 * 8
    assert message[:16] == b"\x10\x07\x02\x00\x01\x00" + u16(total) + u32(1) + u32(0)
    claim = b"\x01" + u32(0) + digest
    assert message[16:-24] == b"\x01\x01\x01\x00" + u32(0) + bench.genesis + claim * 2
    assert len(message) == total


def test_p_and_q_of_every_phase():
    bench = Bench(2)
    first = pre_prepared(bench, 1)
    second = prepared(bench, 2)
    assert bench.pre_prepare(0, 3, one(bench, 3, (2,))) == 0  # in doubt
    assert bench.pre_prepare(0, 4, one(bench, 4, inline=False)) == 0  # without its body
    _, p, q = join(bench, 1)
    assert p == [(2, 0, second)]
    assert q == [(1, 0, first), (2, 0, second)]


def test_votes_alone_are_no_claim():
    bench = Bench(2)
    for sender in (1, 3):
        bench.prepare(sender, 1, OTHER)
        bench.commit(sender, 1, OTHER)
    assert join(bench, 1)[1:] == ([], [])


def test_what_was_executed_above_the_low_mark_is_claimed():
    bench = Bench(2)
    digests = [bench.execute(seqno, seqno).digest for seqno in (1, 2, 3)]
    c, p, q = join(bench, 1)
    assert c == [(0, bench.genesis), (2, bench.own_checkpoint(2))]
    assert p == q == [(seqno, 0, digests[seqno - 1]) for seqno in (1, 2, 3)]


def test_what_is_stable_is_not_claimed():
    bench = Bench(2)
    for seqno in (1, 2, 3, 4):
        digest = bench.execute(seqno, seqno).digest
    bench.stabilise(2)
    fifth = prepared(bench, 5)
    c, p, _ = join(bench, 1)
    assert bench.sent(wire.VIEW_CHANGE)[-1][12:16] == u32(2)
    assert c == [(2, bench.own_checkpoint(2)), (4, bench.own_checkpoint(4))]
    assert p[1:] == [(4, 0, digest), (5, 0, fifth)]
    assert p[0][0] == 3


def test_claims_end_with_their_window():
    """The ring place of a seqno serves the one W later."""
    bench = Bench(2)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    assert len(join(bench, 1)[1]) == 2
    bench.stabilise(2)
    assert bench.progress.low_mark == 2
    assert join(bench, 5) == ([(2, bench.own_checkpoint(2))], [], [])


def test_claims_of_the_primary():
    bench = Bench(0)
    bench.feed(bench.request(4, 1, b"\x04a"))
    bench.feed(bench.request(3, 1, b"\x04b"))
    first = bench.batch([bench.request(4, 1, b"\x04a")]).digest
    bench.tick(1)
    for sender in (1, 2):
        bench.prepare(sender, 1, first)
    _, p, q = join(bench, 1)
    assert p == [(1, 0, first)]
    assert q[0] == (1, 0, first)


def test_claims_outlive_views_without_a_new_view():
    bench = Bench(2)
    first = pre_prepared(bench, 1)
    second = prepared(bench, 2)
    claims = join(bench, 1)
    assert join(bench, 5) == claims
    assert claims[1:] == ([(2, 0, second)], [(1, 0, first), (2, 0, second)])


def test_a_batch_that_prepares_again_is_claimed_with_the_later_view():
    bench = Bench(2)
    digest = prepared(bench, 1)
    claim = ((1, 0, digest),)
    bench.begin_view(1, (digest,), claim, claim)
    assert join(bench, 3)[1:] == ([(1, 0, digest)], [(1, 1, digest)])
    bench.begin_view(4, (digest,), claim, claim)
    for sender in (1, 3):
        bench.prepare(sender, 1, digest, 4)
    assert join(bench, 5)[1:] == ([(1, 4, digest)], [(1, 4, digest)])


def test_p_of_a_lower_view_stays_until_something_else_prepares():
    bench = Bench(2)
    digest = prepared(bench, 1)
    bench.begin_view(1, (NULL,))
    assert join(bench, 3)[1:] == ([(1, 0, digest)], [(1, 0, digest), (1, 1, NULL)])


def test_a_null_that_prepared_is_claimed_like_a_batch():
    bench = Bench(2)
    prepared(bench, 1)
    bench.begin_view(1, (NULL,))
    bench.prepare(3, 1, NULL, 1)
    assert join(bench, 3)[1] == [(1, 1, NULL)]


def test_q_keeps_the_latest_f_plus_2():
    bench = Bench(3)
    digests = {0: pre_prepared(bench, 1, 1)}
    for view in (1, 2, 4):
        bench.begin_view(view)
        digests[view] = pre_prepared(bench, 1, view + 1, view)
    _, p, q = join(bench, 5)
    assert p == []
    assert q == [(1, view, digests[view]) for view in (1, 2, 4)]


def test_q_has_a_digest_once():
    bench = Bench(3)
    first = pre_prepared(bench, 1, 1)
    bench.begin_view(1)
    second = pre_prepared(bench, 1, 2, 1)
    bench.begin_view(2)
    assert pre_prepared(bench, 1, 1, 2) == first
    assert join(bench, 5)[2] == sorted([(1, 1, second), (1, 2, first)])


# --- what a view change takes, and what it leaves ---


def test_messages_of_the_old_view_are_refused():
    bench = Bench(2)
    join(bench, 1)
    del bench.out[:]
    batch = one(bench, 1)
    for view in (1, 3):
        assert bench.pre_prepare(view, 1, batch, view) == faults.STALE_VIEW
        assert bench.commit(3, 1, batch.digest, view) == faults.STALE_VIEW
    for view in (0, 1, 3):
        assert bench.prepare(3, 1, batch.digest, view) == faults.STALE_VIEW
    assert bench.out == []


def test_commits_of_the_view_left_still_commit():
    """The others may have gone on without this replica; it says nothing there any more."""
    bench = Bench(2)
    digest = prepared(bench, 1)
    join(bench, 1)
    del bench.out[:]
    bench.commit(1, 1, digest)
    assert bench.progress.last_executed == 0
    bench.commit(3, 1, digest)
    assert bench.progress.last_executed == 1
    assert not bench.sent(wire.PREPARE) and not bench.sent(wire.COMMIT)


def test_a_batch_of_the_view_left_is_taken_with_a_good_tag_until_commits_name_it():
    bench = Bench(2)
    join(bench, 1)
    batch = one(bench, 1)
    for sender in (0, 1):
        assert bench.commit(sender, 1, batch.digest) == 0
    assert bench.pre_prepare(3, 1, batch, 0, (2,)) == faults.MAC
    assert bench.pre_prepare(3, 1, one(bench, 7)) == 0
    assert bench.pre_prepare(3, 1, batch) == 0
    assert bench.pre_prepare(3, 1, one(bench, 7)) == faults.NOT_NEEDED
    assert bench.commit(3, 1, batch.digest) == 0
    assert bench.ran() == [b"\x041"]


def test_nothing_is_voted_for_in_the_view_left():
    bench = Bench(2)
    join(bench, 1)
    del bench.out[:]
    batch = one(bench, 1)
    bench.pre_prepare(0, 1, batch)
    for sender in (1, 3):
        bench.prepare(sender, 1, batch.digest)
        bench.commit(sender, 1, batch.digest)
    assert not bench.sent(wire.PREPARE) and not bench.sent(wire.COMMIT)
    assert bench.progress.last_executed == 0
    assert join(bench, 5)[1:] == ([], [])


def test_votes_of_the_old_view_are_dropped():
    bench = Bench(2)
    digest = prepared(bench, 1)
    bench.commit(1, 1, digest)
    del bench.out[:]
    bench.begin_view(1, (digest,), ((1, 0, digest),), ((1, 0, digest),))
    assert bench.sent(wire.COMMIT) == []
    bench.prepare(3, 1, digest, 1)
    assert len(bench.sent(wire.COMMIT)) == 1
    bench.commit(0, 1, digest, 1)
    assert bench.progress.last_executed == 0
    bench.commit(3, 1, digest, 1)
    assert bench.progress.last_executed == 1


def test_votes_that_came_before_their_pre_prepare_are_dropped_too():
    bench = Bench(2)
    batch = one(bench, 1)
    for sender in (1, 3):
        bench.prepare(sender, 1, batch.digest)
        bench.commit(sender, 1, batch.digest)
    bench.begin_view(1)
    assert bench.pre_prepare(1, 1, batch, 1) == 0
    assert bench.sent(wire.PREPARE)
    assert bench.sent(wire.COMMIT) == []


def test_batches_are_kept():
    """Nobody need send them again: one that prepared here and one that did not."""
    bench = Bench(2)
    digests = (pre_prepared(bench, 1), prepared(bench, 2))
    claims = [(seqno, 0, digests[seqno - 1]) for seqno in (1, 2)]
    bench.begin_view(1, digests, claims, claims)
    sent = [m[12:48] for m in bench.sent(wire.PREPARE, -1) if m[8:12] == u32(1)]
    assert sent == [u32(seqno) + digests[seqno - 1] for seqno in (1, 2)]


def test_requests_that_come_during_the_change_are_proposed_in_the_new_view():
    """F68."""
    bench = Bench(1)
    early = bench.request(5 - 1, 1, b"\x04early")
    members = elect(bench)
    assert bench.feed(early) == 0
    assert bench.sent(wire.PRE_PREPARE) == []
    acknowledge(bench, members)
    sent = bench.sent(wire.PRE_PREPARE, -1)
    assert [m[8:16] for m in sent] == [u32(1) + u32(1)]
    assert early in sent[0]


def test_requests_of_the_old_view_are_proposed_again():
    bench = Bench(1)
    batch = one(bench, 1)
    bench.feed(bench.request(4, 1, b"\x041"))
    assert bench.pre_prepare(0, 1, batch) == 0
    members = elect(bench)
    acknowledge(bench, members)
    assert [m[8:16] for m in bench.sent(wire.PRE_PREPARE, -1)] == [u32(1) + u32(1)]


# --- VIEW-CHANGEs of others: form ---


def refused(bench, fault, *arguments, **named):
    """It counts as `fault` and leaves no trace."""
    before = bytes(bench.memory.event), where(bench), len(bench.out)
    message = bench.view_change(*arguments, **named)
    assert bench.feed(message) == fault, arguments
    assert (bytes(bench.memory.event), where(bench), len(bench.out)) == before


def digest(number):
    return sha256(b"%d" % number)


def test_the_longest_view_change_is_accepted():
    bench = Bench(2)
    c = [(seqno, digest(seqno)) for seqno in (2, 4, 6)]
    p = [(seqno, 6, digest(seqno)) for seqno in (3, 4, 5, 6)]
    q = [(seqno, view, digest(seqno + view)) for seqno in (3, 4, 5, 6) for view in (0, 4, 6)]
    assert bench.feed(bench.view_change(0, 7, 2, c, p, q)) == 0


def test_low_mark_must_be_a_checkpoint():
    refused(Bench(2), faults.FIELD, 0, 1, 1, ((2, OTHER),))


def test_there_are_no_flags():
    refused(Bench(2), faults.FIELD, 0, 1, flags=1)


def test_the_zero_byte_is_zero():
    bench = Bench(2)
    body = b"\x00\x00\x00\x01"
    assert bench.feed(bench.message(wire.VIEW_CHANGE, 0, 1, 0, body)) == faults.FIELD


def test_checkpoints_lie_between_low_and_high_mark():
    for seqno in (0, 8, 3, 2**31, 2**32 - 2):
        refused(Bench(2), faults.FIELD, 0, 1, 2, ((2, OTHER), (seqno, OTHER)))


def test_a_checkpoint_is_listed_once():
    refused(Bench(2), faults.FIELD, 0, 1, 0, ((0, OTHER), (2, OTHER), (2, digest(1))))


def test_claims_lie_inside_the_window():
    for seqno in (2, 7, 1):
        claim = ((seqno, 0, OTHER),)
        refused(Bench(2), faults.FIELD, 0, 1, 2, ((2, OTHER),), claim)
        refused(Bench(2), faults.FIELD, 0, 1, 2, ((2, OTHER),), (), claim)


def test_claims_are_of_earlier_views():
    for view in (5, 6, 2**32 - 1):
        claim = ((1, view, OTHER),)
        refused(Bench(2), faults.FIELD, 0, 5, p=claim)
        refused(Bench(2), faults.FIELD, 0, 5, q=claim)


def test_p_has_a_seqno_once():
    refused(Bench(2), faults.FIELD, 0, 5, p=((1, 0, OTHER), (2, 0, OTHER), (1, 1, digest(1))))


def test_q_has_a_batch_once():
    refused(Bench(2), faults.FIELD, 0, 5, q=((1, 0, OTHER), (1, 1, digest(1)), (1, 2, OTHER)))


def test_q_has_at_most_f_plus_2_of_a_seqno():
    q = [(1, view, digest(view)) for view in (0, 1, 2, 3)]
    refused(Bench(2), faults.FIELD, 0, 5, q=q)
    assert Bench(2).feed(Bench(2).view_change(0, 5, q=q[:3])) == 0


def test_view_0_has_no_view_change():
    refused(Bench(2), faults.STALE_VIEW, 0, 0)


def test_a_bad_tag_leaves_no_trace():
    refused(Bench(2), faults.MAC, 0, 1, bad_for=(2,))


# --- one per sender and view ---


def test_the_first_of_a_view_counts():
    bench = Bench(2)
    join(bench, 1)
    refused(bench, faults.NOT_NEEDED, 0, 1)
    refused(bench, faults.NOT_NEEDED, 0, 1, p=((1, 0, OTHER),))


def test_a_higher_view_replaces_a_lower_one():
    bench = seven()
    for view in (3, 4):
        assert bench.feed(bench.view_change(2, view)) == 0
    refused(bench, faults.NOT_NEEDED, 2, 3)
    assert bench.feed(bench.view_change(3, 6)) == 0
    assert bench.feed(bench.view_change(4, 6)) == 0
    assert where(bench)[0] == 4


def test_views_below_the_own_are_refused():
    bench = Bench(2)
    join(bench, 5)
    refused(bench, faults.STALE_VIEW, 1, 4)
