"""Thresholds: prepared and committed; replicas are counted, never messages."""

from tests.tinybft.bench import Bench, make_config
from tinybft import faults, wire

OTHER = bytes(range(32))


def seven(own_id=1):
    return Bench(own_id, make_config(FAULT_COUNT=2, CLIENT_COUNT=8))


def proposed(bench, number=1, seqno=1):
    """The bench has accepted a batch of one request and sent its PREPARE."""
    client = bench.config.CLIENT_COUNT - 1
    batch = bench.batch([bench.request(client, number, b"\x04x")])
    assert bench.pre_prepare(0, seqno, batch) == 0
    assert bench.sent(wire.PREPARE)[-1][16:48] == batch.digest
    return batch


def commits(bench):
    return len(bench.sent(wire.COMMIT))


def test_prepare_names_view_seqno_and_batch_digest():
    bench = Bench()
    batch = proposed(bench)
    assert bench.out[-1][0] == -1
    message = bench.sent(wire.PREPARE)[0]
    assert message[:16] == b"\x10\x03\x01\x00\x01\x00\x48\x00" + bytes(4) + b"\x01\x00\x00\x00"
    assert message[16:48] == batch.digest


def test_prepared_needs_2f_prepares_of_backups():
    bench = seven()
    batch = proposed(bench)
    for sender in (2, 3):
        assert bench.prepare(sender, 1, batch.digest) == 0
        assert commits(bench) == 0
    bench.prepare(4, 1, batch.digest)
    assert commits(bench) == 1
    assert bench.sent(wire.COMMIT)[0][16:48] == batch.digest


def test_prepare_of_the_primary_never_counts():
    bench = Bench()
    batch = proposed(bench)
    assert bench.prepare(0, 1, batch.digest) == faults.SENDER
    assert commits(bench) == 0


def test_prepare_of_the_primary_does_not_count_early_either():
    bench = Bench()
    batch = bench.batch([bench.request(4, 1, b"\x04x")])
    assert bench.prepare(0, 1, batch.digest) == faults.SENDER
    bench.pre_prepare(0, 1, batch)
    assert commits(bench) == 0


def test_primary_needs_2f_prepares_of_backups_too():
    bench = Bench(own_id=0)
    bench.feed(bench.request(4, 1, b"\x04x"))
    digest = bench.batch([bench.request(4, 1, b"\x04x")]).digest
    bench.prepare(1, 1, digest)
    assert commits(bench) == 0
    bench.prepare(2, 1, digest)
    assert commits(bench) == 1


def test_a_replica_is_counted_once():
    bench = seven()
    batch = proposed(bench)
    assert bench.prepare(2, 1, batch.digest) == 0
    for _ in range(3):
        assert bench.prepare(2, 1, batch.digest) == faults.NOT_NEEDED
    assert commits(bench) == 0


def test_prepare_for_another_digest_does_not_count():
    bench = Bench()
    proposed(bench)
    assert bench.prepare(2, 1, OTHER) == 0
    assert commits(bench) == 0


def test_prepare_of_another_view_does_not_count():
    bench = Bench()
    batch = proposed(bench)
    assert bench.prepare(2, 1, batch.digest, view=4) == faults.STALE_VIEW
    assert commits(bench) == 0


def test_prepare_for_another_seqno_does_not_count():
    bench = Bench()
    batch = proposed(bench)
    bench.prepare(2, 2, batch.digest)
    assert commits(bench) == 0


def test_prepare_with_a_bad_tag_does_not_count():
    bench = Bench()
    batch = proposed(bench)
    assert bench.prepare(2, 1, batch.digest, bad_for=(1,)) == faults.MAC
    assert commits(bench) == 0


def test_bad_tag_for_others_is_not_our_concern():
    bench = Bench()
    batch = proposed(bench)
    assert bench.prepare(2, 1, batch.digest, bad_for=(0, 3)) == 0
    assert commits(bench) == 1


def test_first_prepare_of_a_sender_counts_later_ones_do_not():
    bench = Bench()
    batch = proposed(bench)
    bench.prepare(2, 1, OTHER)
    assert bench.prepare(2, 1, batch.digest) == faults.NOT_NEEDED
    assert commits(bench) == 0


def test_first_prepare_counts_also_before_the_pre_prepare():
    bench = Bench()
    batch = bench.batch([bench.request(4, 1, b"\x04x")])
    bench.prepare(2, 1, OTHER)
    assert bench.prepare(2, 1, batch.digest) == faults.NOT_NEEDED
    bench.pre_prepare(0, 1, batch)
    assert commits(bench) == 0


def test_prepares_before_the_pre_prepare_count():
    bench = Bench()
    batch = bench.batch([bench.request(4, 1, b"\x04x")])
    bench.prepare(2, 1, batch.digest)
    assert commits(bench) == 0
    bench.pre_prepare(0, 1, batch)
    assert commits(bench) == 1


def test_commits_before_the_pre_prepare_count():
    bench = Bench()
    batch = bench.batch([bench.request(4, 1, b"\x04x")])
    bench.commit(0, 1, batch.digest)
    bench.commit(3, 1, batch.digest)
    bench.prepare(2, 1, batch.digest)
    assert bench.progress.last_executed == 0
    bench.pre_prepare(0, 1, batch)
    assert bench.progress.last_executed == 1


def prepared(bench):
    batch = proposed(bench)
    f = bench.config.FAULT_COUNT
    for sender in range(2, 2 * f + 1):
        bench.prepare(sender, 1, batch.digest)
    assert commits(bench) == 1
    return batch


def test_committed_needs_2f_plus_1_commits_with_the_own():
    bench = seven()
    batch = prepared(bench)
    for sender in (0, 2, 3):
        assert bench.commit(sender, 1, batch.digest) == 0
        assert bench.progress.last_executed == 0
    bench.commit(4, 1, batch.digest)
    assert bench.progress.last_executed == 1


def test_commit_of_a_backup_says_what_its_prepare_would():
    """Who says COMMIT has accepted the batch, durably."""
    bench = seven()
    batch = proposed(bench)
    bench.prepare(2, 1, batch.digest)
    bench.commit(3, 1, batch.digest)
    assert commits(bench) == 0
    bench.commit(4, 1, batch.digest)
    assert commits(bench) == 1


def test_prepare_and_commit_of_a_replica_are_one_backup():
    bench = seven()
    batch = proposed(bench)
    for sender in (2, 3):
        bench.prepare(sender, 1, batch.digest)
        bench.commit(sender, 1, batch.digest)
    assert commits(bench) == 0


def test_commit_of_the_primary_is_no_prepare():
    bench = Bench()
    batch = proposed(bench)
    assert bench.commit(0, 1, batch.digest) == 0
    assert commits(bench) == 0
    bench.commit(2, 1, batch.digest)
    assert commits(bench) == 1


def test_commit_for_another_digest_is_no_prepare():
    bench = Bench()
    proposed(bench)
    bench.commit(2, 1, OTHER)
    assert commits(bench) == 0


def test_commit_must_match_in_digest():
    bench = Bench()
    batch = prepared(bench)
    bench.commit(0, 1, OTHER)
    bench.commit(2, 1, batch.digest)
    assert bench.progress.last_executed == 0


def test_commit_must_match_in_view():
    bench = Bench()
    batch = prepared(bench)
    assert bench.commit(0, 1, batch.digest, view=1) == faults.STALE_VIEW
    bench.commit(2, 1, batch.digest)
    assert bench.progress.last_executed == 0


def test_commit_must_match_in_seqno():
    bench = Bench()
    batch = prepared(bench)
    bench.commit(0, 2, batch.digest)
    bench.commit(2, 1, batch.digest)
    assert bench.progress.last_executed == 0


def test_first_commit_of_a_sender_counts_later_ones_do_not():
    bench = Bench()
    batch = prepared(bench)
    bench.commit(0, 1, OTHER)
    assert bench.commit(0, 1, batch.digest) == faults.NOT_NEEDED
    bench.commit(2, 1, batch.digest)
    assert bench.progress.last_executed == 0


def test_repeated_commit_is_counted_once():
    bench = Bench()
    batch = prepared(bench)
    bench.commit(0, 1, batch.digest)
    bench.commit(0, 1, batch.digest)
    assert bench.progress.last_executed == 0


def test_votes_outside_the_window_do_not_count():
    bench = Bench()
    for seqno in (0, 5, 2**30, 2**31, 2**32 - 1):
        assert bench.prepare(2, seqno, OTHER) == faults.OUTSIDE_WINDOW
        assert bench.commit(2, seqno, OTHER) == faults.OUTSIDE_WINDOW
    assert bench.prepare(2, 4, OTHER) == 0


def test_a_replica_without_active_view_takes_no_part():
    bench = Bench()
    bench.progress.view = 2
    bench.progress.active = False
    batch = bench.batch([bench.request(4, 1, b"\x04x")])
    assert bench.pre_prepare(2, 1, batch, view=2) == faults.STALE_VIEW
    assert bench.prepare(3, 1, batch.digest, view=2) == faults.STALE_VIEW
    assert bench.commit(3, 1, batch.digest, view=2) == faults.STALE_VIEW
    assert bench.prepare(3, 1, batch.digest, view=0) == faults.STALE_VIEW
    assert bench.out == []


def test_nobody_may_use_this_replicas_name():
    bench = Bench()
    batch = proposed(bench)
    assert bench.prepare(1, 1, batch.digest) == faults.SENDER


def test_two_full_places_of_false_votes_do_not_stop_the_slot():
    """Votes that found no place come again by repair and count then."""
    bench = seven()
    for sender in (5, 6):
        bench.prepare(sender, 1, bytes((sender,)) * 32)
        bench.commit(sender, 1, bytes((sender + 10,)) * 32)
    batch = proposed(bench)
    for sender in (2, 3, 4):
        assert bench.prepare(sender, 1, batch.digest) == 0
    for sender in (0, 2, 3, 4):
        assert bench.commit(sender, 1, batch.digest) == 0
    assert bench.progress.last_executed == 1


def test_no_more_than_pipeline_batches_are_prepared_beyond_the_last_executed():
    """Each would have to be kept over a view change; they follow as batches are executed."""
    bench = Bench()
    assert bench.config.PIPELINE == 2

    def said():
        return [message[12] for message in bench.sent(wire.COMMIT)]

    for seqno in (4, 3, 2):
        batch = bench.batch([bench.request(4, seqno, b"\x04x")])
        assert bench.pre_prepare(0, seqno, batch) == 0
        for sender in (2, 3):
            bench.prepare(sender, seqno, batch.digest)
        for sender in (0, 2, 3):
            bench.commit(sender, seqno, batch.digest)
    assert said() == [2]
    bench.execute(1, 1)
    assert bench.progress.last_executed == 4 and said() == [2, 1, 3, 4]
