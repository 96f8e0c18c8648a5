"""Checkpoints, their certificates, the window."""

from tests.tinybft.bench import Bench, make_config, u32
from tinybft import faults, wire

WRONG = bytes(range(1, 33))


def executed(count, own_id=1, config=None):
    bench = Bench(own_id, config)
    client = bench.config.CLIENT_COUNT - 1
    for seqno in range(1, count + 1):
        if own_id == 0:
            bench.feed(bench.request(client, seqno, b"\x04x"))
        bench.execute(seqno, seqno, b"\x04x", client)
    assert bench.progress.last_executed == count
    return bench


def seven():
    return make_config(FAULT_COUNT=2, CLIENT_COUNT=8)


def low_mark(bench):
    return bench.progress.low_mark


def test_checkpoint_is_multicast_every_k_batches():
    bench = executed(4)
    assert [m[12:16] for m in bench.sent(wire.CHECKPOINT, -1)] == [u32(2), u32(4)]


def test_correct_replicas_report_the_same_digest():
    digests = {executed(4, own_id).own_checkpoint(4) for own_id in (1, 2, 3)}
    assert len(digests) == 1


def test_checkpoint_digest_covers_the_application_state():
    other = Bench()
    other.execute(1, 1)
    other.execute(2, 2, b"\x04y")
    assert other.own_checkpoint(2) != executed(2).own_checkpoint(2)


def test_stable_needs_2f_plus_1_with_the_own():
    bench = executed(2, 1, seven())
    digest = bench.own_checkpoint(2)
    for sender in (0, 2, 3):
        assert bench.checkpoint(sender, 2, digest) == 0
        assert low_mark(bench) == 0
    bench.checkpoint(4, 2, digest)
    assert low_mark(bench) == 2


def test_nothing_is_stable_without_the_own_checkpoint():
    digest = executed(2).own_checkpoint(2)
    bench = executed(1)
    for sender in (0, 2, 3):
        bench.checkpoint(sender, 2, digest)
    assert low_mark(bench) == 0
    bench.execute(2, 2)
    assert low_mark(bench) == 2


def test_checkpoints_that_came_before_the_own_count():
    digest = executed(2).own_checkpoint(2)
    bench = executed(1)
    bench.checkpoint(0, 2, digest)
    bench.execute(2, 2)
    assert low_mark(bench) == 0
    bench.checkpoint(3, 2, digest)
    assert low_mark(bench) == 2


def test_a_replica_has_one_vote_per_checkpoint():
    bench = executed(2)
    digest = bench.own_checkpoint(2)
    assert bench.checkpoint(0, 2, digest) == 0
    assert bench.checkpoint(0, 2, digest) == faults.NOT_NEEDED
    assert low_mark(bench) == 0


def test_first_vote_of_a_replica_counts():
    bench = executed(2)
    assert bench.checkpoint(0, 2, WRONG) == faults.CHECKPOINT_MISMATCH
    assert bench.checkpoint(0, 2, bench.own_checkpoint(2)) == faults.NOT_NEEDED
    bench.checkpoint(2, 2, bench.own_checkpoint(2))
    assert low_mark(bench) == 0


def test_another_digest_does_not_count():
    bench = executed(2)
    bench.checkpoint(0, 2, bench.own_checkpoint(2))
    assert bench.checkpoint(2, 2, WRONG) == faults.CHECKPOINT_MISMATCH
    assert low_mark(bench) == 0


def test_votes_for_another_seqno_do_not_count():
    bench = executed(4)
    bench.checkpoint(0, 2, bench.own_checkpoint(2))
    bench.checkpoint(2, 4, bench.own_checkpoint(4))
    bench.checkpoint(3, 4, bench.own_checkpoint(2))
    assert low_mark(bench) == 0


def test_bad_tag_does_not_count():
    bench = executed(2)
    digest = bench.own_checkpoint(2)
    bench.checkpoint(0, 2, digest)
    assert bench.checkpoint(2, 2, digest, 0, (1,)) == faults.MAC
    assert low_mark(bench) == 0


def test_checkpoint_between_the_intervals_is_refused():
    bench = executed(3)
    for seqno in (0, 1, 3, 2**32 - 1):
        assert bench.checkpoint(0, seqno, WRONG) == faults.FIELD


def test_checkpoint_at_or_below_the_stable_one_is_of_no_use():
    bench = executed(4)
    digest = bench.own_checkpoint(2)
    bench.stabilise(4)
    assert low_mark(bench) == 4
    assert bench.checkpoint(0, 2, digest) == faults.OUTSIDE_WINDOW
    assert bench.checkpoint(0, 4, digest) == faults.OUTSIDE_WINDOW


def test_window_moves_with_the_stable_checkpoint_only():
    bench = executed(4)
    batch = bench.batch([bench.request(4, 5, b"\x04x")])
    assert bench.pre_prepare(0, 5, batch) == faults.OUTSIDE_WINDOW
    bench.stabilise(2)
    assert bench.pre_prepare(0, 2, batch) == faults.OUTSIDE_WINDOW
    assert bench.pre_prepare(0, 7, batch) == faults.OUTSIDE_WINDOW
    assert bench.pre_prepare(0, 5, batch) == 0


def test_slot_below_the_stable_checkpoint_serves_a_higher_seqno():
    bench = executed(4)
    bench.stabilise(4)
    for seqno in (5, 6, 7, 8):
        bench.execute(seqno, seqno)
    assert len(bench.ran()) == 8
    bench.stabilise(8)
    assert low_mark(bench) == 8


def test_stable_checkpoint_skips_an_unstable_one():
    bench = executed(4)
    bench.stabilise(4)
    assert low_mark(bench) == 4
    assert bench.core.state.holds(4) and not bench.core.state.holds(2)


def test_quorum_against_the_own_digest_is_noticed_and_starts_a_transfer():
    bench = executed(2)
    bench.checkpoint(0, 2, WRONG)
    bench.checkpoint(2, 2, WRONG)
    assert not bench.core.transfer.running
    bench.checkpoint(3, 2, WRONG)
    assert bench.core.faults.counts[faults.DIVERGED] == 1
    assert bench.core.transfer.running
    assert bench.sent(wire.FETCH)[0][12:16] == u32(2)
    assert low_mark(bench) == 0


def test_nothing_is_executed_while_the_state_is_fetched():
    bench = executed(2)
    for sender in (0, 2, 3):
        bench.checkpoint(sender, 2, WRONG)
    bench.execute(3, 3)
    assert bench.progress.last_executed == 2


def test_behind_the_window_by_f_plus_1_checkpoints():
    bench = Bench()
    bench.checkpoint(0, 6, WRONG, wire.FLAG_STABLE)
    bench.tick(600)
    assert not bench.core.transfer.running
    bench.checkpoint(2, 6, WRONG, wire.FLAG_STABLE)
    bench.tick(600)
    assert bench.core.transfer.running
    assert bench.sent(wire.FETCH)[0][12:16] == u32(6)


def test_f_plus_1_checkpoints_that_differ_start_nothing():
    bench = Bench()
    bench.checkpoint(0, 6, WRONG)
    bench.checkpoint(2, 6, bytes(32))
    bench.checkpoint(3, 8, WRONG)
    bench.tick(2000)
    assert not bench.core.transfer.running


def test_stable_checkpoint_counts_though_its_sender_is_further():
    """R2 has executed more than R0; both have 6 stable, and that is where to go."""
    bench = Bench()
    bench.checkpoint(2, 8, bytes(32))
    bench.checkpoint(0, 6, WRONG, wire.FLAG_STABLE)
    bench.tick(600)
    assert not bench.core.transfer.running
    assert bench.checkpoint(2, 6, WRONG, wire.FLAG_STABLE) == 0
    bench.tick(600)
    assert bench.sent(wire.FETCH)[0][12:16] == u32(6)
    assert bench.checkpoint(2, 6, WRONG, wire.FLAG_STABLE) == faults.NOT_NEEDED


def test_one_replica_far_in_the_future_changes_nothing():
    """F25, at numbers that do not fit 30 and 31 bits either."""
    bench = executed(1)
    for seqno in (1000, 2**30, 2**31, 2**32 - 2):
        assert bench.checkpoint(3, seqno, WRONG, wire.FLAG_STABLE) == 0
    bench.tick(1500)
    assert not bench.core.transfer.running
    bench.execute(2, 2)
    bench.checkpoint(0, 2, bench.own_checkpoint(2))
    bench.checkpoint(2, 2, bench.own_checkpoint(2))
    assert low_mark(bench) == 2


def test_stable_checkpoint_is_repeated_with_the_flag_on_status():
    bench = executed(2)
    bench.stabilise(2)
    bench.tick(5)
    del bench.out[:]
    body = u32(0) + bytes((0, 0)) + bytes(3)
    bench.feed(bench.message(wire.STATUS, 3, 0, 0, body, wire.FLAG_ACTIVE))
    answer = bench.sent(wire.CHECKPOINT, 3)[0]
    assert answer[0] & wire.FLAG_STABLE
    assert answer[12:16] == u32(2)


def test_own_checkpoint_is_not_called_stable_before_it_is():
    bench = executed(2)
    assert not bench.sent(wire.CHECKPOINT)[0][0] & wire.FLAG_STABLE
    bench.tick(5)
    body = u32(0) + bytes((0, 0)) + bytes(3)
    bench.feed(bench.message(wire.STATUS, 3, 0, 0, body, wire.FLAG_ACTIVE))
    assert not bench.sent(wire.CHECKPOINT, 3)[0][0] & wire.FLAG_STABLE


def diverged_primary():
    bench = executed(2, 0)
    for sender in (1, 2, 3):
        bench.checkpoint(sender, 2, WRONG)
    assert bench.core.transfer.running
    bench.tick(5)
    del bench.out[:]
    return bench


def test_primary_proposes_nothing_while_it_fetches_the_state():
    """Its client table is a mixture: it would propose what was executed already."""
    bench = diverged_primary()
    assert bench.feed(bench.request(4, 3, b"\x04x")) == 0
    assert not bench.sent(wire.PRE_PREPARE)
    assert bench.core.requests.request_id(4) == 3


def test_no_reply_comes_from_a_state_that_is_a_mixture():
    bench = diverged_primary()
    assert bench.feed(bench.request(4, 2, b"\x04x")) == 0
    assert not bench.sent(wire.REPLY)
