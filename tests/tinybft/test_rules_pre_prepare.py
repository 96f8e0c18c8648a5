"""Normal case: what a backup accepts, keeps in doubt, or refuses."""

from tests.tinybft.bench import BUDGET, Bench, Declared, make_config
from tinybft import faults, wire


def seven(own_id=1):
    return Bench(own_id, make_config(FAULT_COUNT=2, CLIENT_COUNT=9))


def one_request(bench, operation=b"\x04x", number=1, bad_for=()):
    return bench.request(bench.config.CLIENT_COUNT - 1, number, operation, 0, bad_for)


def prepares(bench):
    return [m[16:48] for m in bench.sent(wire.PREPARE)]


def test_second_batch_for_one_seqno_is_ignored():
    bench = Bench()
    first = bench.batch([one_request(bench, b"\x04a")])
    second = bench.batch([one_request(bench, b"\x04b")])
    assert bench.pre_prepare(0, 1, first) == 0
    assert bench.pre_prepare(0, 1, second) == faults.NOT_NEEDED
    assert prepares(bench) == [first.digest]
    bench.prepare(2, 1, second.digest)
    bench.prepare(3, 1, second.digest)
    assert not bench.sent(wire.COMMIT)


def test_second_batch_is_ignored_while_the_first_is_in_doubt():
    bench = Bench()
    first = bench.batch([one_request(bench, b"\x04a", bad_for=(1,))])
    bench.pre_prepare(0, 1, first)
    second = bench.batch([one_request(bench, b"\x04b")])
    assert bench.pre_prepare(0, 1, second) == faults.NOT_NEEDED
    assert prepares(bench) == []


def test_window_bounds_of_a_pre_prepare():
    for seqno in (0, 5, 6, 2**30, 2**31, 2**32 - 1):
        bench = Bench()
        batch = bench.batch([one_request(bench)])
        assert bench.pre_prepare(0, seqno, batch) == faults.OUTSIDE_WINDOW
        assert bench.out == []
    for seqno in (1, 4):
        bench = Bench()
        bench.pre_prepare(0, seqno, bench.batch([one_request(bench)]))
        assert len(prepares(bench)) == 1


def test_pre_prepare_of_another_view_is_refused():
    bench = Bench()
    batch = bench.batch([one_request(bench)])
    for view in (1, 4, 2**32 - 1):
        assert bench.pre_prepare(0, 1, batch, view) == faults.STALE_VIEW
    assert bench.out == []


def test_pre_prepare_with_a_bad_tag_leaves_no_trace():
    bench = Bench()
    batch = bench.batch([one_request(bench)])
    assert bench.pre_prepare(0, 1, batch, bad_for=(1,)) == faults.MAC
    assert bench.core.slots.find(1) < 0
    assert bench.out == []


def test_primary_takes_no_pre_prepare():
    bench = Bench(own_id=0)
    batch = bench.batch([one_request(bench)])
    assert bench.pre_prepare(2, 1, batch) == faults.NOT_NEEDED
    assert bench.out == []


def test_batch_beyond_the_budget_of_pages_is_refused():
    """By the lengths in its entries, so a body need not be here for that."""
    for inline in (True, False):
        bench = Bench(1, make_config(**BUDGET), Declared)
        requests = [bench.request(client, 1, b"\x04x") for client in (2, 3, 4)]
        fits = bench.batch(requests[:2], inline)
        exceeds = bench.batch(requests, inline)
        assert bench.pre_prepare(0, 1, exceeds) == faults.BATCH
        assert bench.pre_prepare(0, 2, fits) == 0
        for sender in (2, 3):
            bench.prepare(sender, 1, exceeds.digest)  # nor if others vouch for it
            bench.commit(sender, 1, exceeds.digest)
        assert bench.pre_prepare(2, 1, exceeds) == faults.BATCH
        assert exceeds.digest not in prepares(bench) and bench.progress.last_executed == 0


def test_entry_too_short_for_any_request_costs_what_the_shortest_does():
    bench = Bench(1, make_config(**BUDGET), Declared)
    request = bench.request(4, 1, b"\x04x")
    batch = bench.batch([request], False)
    body = bytearray(batch.body)
    body[11:13] = b"\x01\0"  # its length
    batch.body = bytes(body)
    assert bench.pre_prepare(0, 1, batch) == 0
    assert bench.feed(request) != 0 or not prepares(bench)


# --- forwarded by somebody else than the primary ---


def test_forwarded_batch_needs_f_plus_1_votes():
    bench = seven()
    batch = bench.batch([one_request(bench)])
    assert bench.pre_prepare(2, 1, batch) == faults.UNVOUCHED
    bench.prepare(2, 1, batch.digest)
    bench.prepare(3, 1, batch.digest)
    assert prepares(bench) == []
    bench.prepare(4, 1, batch.digest)
    assert prepares(bench) == [batch.digest]


def test_forwarded_batch_is_believed_by_votes_that_came_before():
    bench = Bench()
    batch = bench.batch([one_request(bench)])
    bench.prepare(2, 1, batch.digest)
    bench.prepare(3, 1, batch.digest)
    assert bench.pre_prepare(3, 1, batch) == 0
    assert prepares(bench) == [batch.digest]


def test_prepare_and_commit_of_one_replica_are_one_voucher():
    bench = Bench()
    batch = bench.batch([one_request(bench)])
    bench.pre_prepare(2, 1, batch)
    bench.prepare(2, 1, batch.digest)
    bench.commit(2, 1, batch.digest)
    assert prepares(bench) == []


def test_primary_overrides_a_forged_forwarded_batch():
    bench = Bench()
    forged = bench.batch([one_request(bench, b"\x04f")])
    true = bench.batch([one_request(bench, b"\x04t")])
    bench.pre_prepare(2, 1, forged)
    assert bench.pre_prepare(0, 1, true) == 0
    assert prepares(bench) == [true.digest]


def test_votes_survive_a_forged_forwarded_batch():
    bench = Bench()
    forged = bench.batch([one_request(bench, b"\x04f")])
    true = bench.batch([one_request(bench, b"\x04t")])
    bench.prepare(3, 1, true.digest)
    bench.pre_prepare(2, 1, forged)
    bench.prepare(2, 1, forged.digest)
    bench.pre_prepare(0, 1, true)
    assert [m[16:48] for m in bench.sent(wire.COMMIT)] == [true.digest]


# --- authenticity of the requests (F14, F15) ---


def test_request_with_a_bad_tag_waits_for_f_prepares():
    bench = seven()
    batch = bench.batch([one_request(bench, bad_for=(1,))])
    assert bench.pre_prepare(0, 1, batch) == 0
    bench.prepare(2, 1, batch.digest)
    assert prepares(bench) == []
    bench.prepare(3, 1, batch.digest)
    assert prepares(bench) == [batch.digest]


def test_prepare_of_the_primary_vouches_for_nothing():
    bench = Bench()
    batch = bench.batch([one_request(bench, bad_for=(1,))])
    bench.pre_prepare(0, 1, batch)
    bench.prepare(0, 1, batch.digest)
    bench.commit(0, 1, batch.digest)
    assert prepares(bench) == []


def test_prepares_for_another_batch_do_not_vouch():
    bench = Bench()
    batch = bench.batch([one_request(bench, bad_for=(1,))])
    bench.pre_prepare(0, 1, batch)
    bench.prepare(2, 1, bytes(32))
    assert prepares(bench) == []


def test_prepares_that_came_before_vouch_too():
    bench = Bench()
    batch = bench.batch([one_request(bench, bad_for=(1,))])
    bench.prepare(2, 1, batch.digest)
    bench.pre_prepare(0, 1, batch)
    assert prepares(bench) == [batch.digest]


def test_doubt_ends_when_the_client_authenticates_the_same_request():
    bench = Bench()
    batch = bench.batch([one_request(bench, bad_for=(1,))])
    bench.pre_prepare(0, 1, batch)
    assert prepares(bench) == []
    bench.feed(one_request(bench))
    assert prepares(bench) == [batch.digest]


def test_another_request_of_the_client_does_not_end_the_doubt():
    bench = Bench()
    bench.pre_prepare(0, 1, bench.batch([one_request(bench, b"\x04a", bad_for=(1,))]))
    bench.feed(one_request(bench, b"\x04b"))
    bench.feed(one_request(bench, b"\x04a", number=2))
    assert prepares(bench) == []


def test_one_doubtful_request_holds_the_whole_batch():
    bench = Bench()
    good = bench.request(3, 1, b"\x04g")
    batch = bench.batch([good, one_request(bench, bad_for=(1,))])
    bench.pre_prepare(0, 1, batch)
    assert prepares(bench) == []


def test_held_request_authenticates_the_same_digest_in_a_batch():
    bench = Bench()
    bench.feed(one_request(bench))
    batch = bench.batch([one_request(bench, bad_for=(1,))])
    bench.pre_prepare(0, 1, batch)
    assert prepares(bench) == [batch.digest]


def test_batch_digest_is_the_same_inline_or_by_digest():
    for inline in (True, False):
        bench = Bench()
        bench.feed(one_request(bench))
        batch = bench.batch([one_request(bench)], inline)
        bench.pre_prepare(0, 1, batch)
        assert prepares(bench) == [batch.digest]


# --- batches over the limits ---


def test_too_many_requests_are_refused():
    config = make_config(CLIENT_COUNT=6)
    bench = Bench(1, config)
    five = [bench.request(c, 1, b"\x04x") for c in (0, 2, 3, 4, 5)]
    assert bench.pre_prepare(0, 1, bench.batch(five, False)) == faults.FIELD
    assert bench.pre_prepare(0, 1, bench.batch(five[:4], False)) == 0


def test_bodies_beyond_the_room_of_a_slot_are_refused():
    for inline in (True, False):
        bench = Bench()
        long = [bench.request(c, 1, bytes(200)) for c in (3, 4)]
        assert bench.pre_prepare(0, 1, bench.batch(long, inline)) == faults.BATCH
        assert bench.out == []
        fitting = bench.batch([one_request(bench)])
        assert bench.pre_prepare(0, 1, fitting) == 0
        assert prepares(bench) == [fitting.digest]


def test_request_of_an_unknown_client_is_refused():
    bench = Bench()
    alien = bytearray(one_request(bench))
    alien[2] = 5
    assert bench.feed(bytes(alien)) == faults.SENDER
    for inline in (True, False):
        assert bench.pre_prepare(0, 1, bench.batch([bytes(alien)], inline)) == faults.FIELD
    assert bench.out == []


def test_empty_batch_of_a_primary_is_refused():
    """Only a NEW-VIEW may order nothing: a primary would burn seqnos with it."""
    bench = Bench()
    batch = bench.batch([])
    assert bench.pre_prepare(0, 1, batch) == faults.BATCH
    assert bench.sent(wire.PREPARE) == []
