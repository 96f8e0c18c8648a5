"""Patience: when a replica gives up its primary, and when it does not (PROTOCOL 7)."""

from tests.tinybft.bench import Bench, make_config, u32
from tests.tinybft.test_rules_repair import fetcher, give
from tinybft import faults, wire

REQUEST_MS = 64
VIEW_CHANGE_MS = 160
GRAIN_MS = 6  # an expired request may be noticed that much later
NULL = bytes(32)


def backup(**changed):
    """Replica 2: a backup of views 0 and 1."""
    values = {"REQUEST_MS": REQUEST_MS, "VIEW_CHANGE_MS": VIEW_CHANGE_MS, "CLIENT_COUNT": 6}
    values.update(changed)
    return Bench(2, make_config(**values))


def waits(bench, client=4, number=1):
    """A request of `client` begins to wait."""
    assert bench.feed(bench.request(client, number, b"\x04x")) == 0


def wants(bench, view, senders):
    for sender in senders:
        assert bench.feed(bench.view_change(sender, view)) == 0


def expires_after(bench, ms, grain=GRAIN_MS):
    """The view is left `ms` from now, not before."""
    view = bench.progress.view
    bench.tick(ms - 1)
    assert bench.progress.view == view, "too early"
    bench.tick(1 + grain)
    assert bench.progress.view == view + 1, "too late"


def stays(bench, ms=2000):
    view = bench.progress.view
    bench.tick(ms)
    assert bench.progress.view == view


# --- the request timer ---


def test_a_request_that_waits_too_long_ends_the_view():
    bench = backup()
    waits(bench)
    expires_after(bench, REQUEST_MS)
    assert not bench.progress.active
    sent = bench.sent(wire.VIEW_CHANGE, -1)
    assert [m[8:12] for m in sent] == [u32(1)]


def test_no_request_no_timer():
    stays(backup())


def test_a_request_without_a_good_tag_starts_no_timer():
    bench = backup()
    assert bench.feed(bench.request(4, 1, b"\x04x", 0, (2,))) == faults.MAC
    stays(bench)


def test_an_executed_request_starts_no_timer():
    bench = backup()
    bench.execute(1, 1)
    bench.tick(5)
    assert bench.feed(bench.request(4, 1, b"\x04x")) == 0
    stays(bench)


def test_the_timer_stops_when_the_request_executes():
    bench = backup()
    waits(bench)
    bench.tick(REQUEST_MS - 4)
    bench.execute(1, 1)
    stays(bench)


def test_a_proposal_alone_does_not_stop_the_timer():
    bench = backup()
    waits(bench)
    bench.pre_prepare(0, 1, bench.batch([bench.request(4, 1, b"\x04x")]))
    assert bench.sent(wire.PREPARE)
    expires_after(bench, REQUEST_MS)


def test_starving_one_client_is_enough():
    """F07: others are served all the time."""
    bench = backup()
    waits(bench)
    for seqno in (1, 2, 3):
        bench.tick(20)
        waits(bench, 5, seqno)
        bench.execute(seqno, seqno, client=5)
    assert bench.progress.last_executed == 3
    expires_after(bench, REQUEST_MS - 60)


def test_every_request_has_its_own_time():
    bench = backup()
    waits(bench, 4)
    bench.tick(40)
    waits(bench, 5)
    bench.tick(10)
    bench.execute(1, 1, client=4)
    expires_after(bench, REQUEST_MS - 10)


def test_the_primary_is_impatient_with_itself():
    bench = Bench(0, make_config(REQUEST_MS=REQUEST_MS))
    waits(bench)
    assert bench.sent(wire.PRE_PREPARE)
    expires_after(bench, REQUEST_MS)


def test_timers_stand_still_during_a_state_transfer():
    bench, meta_data, blocks = fetcher()
    waits(bench, 4, 5)
    stays(bench)
    give(bench, wire.META_DATA, meta_data)
    for body in blocks:
        if bench.core.transfer.running:
            give(bench, wire.DATA, body)
    assert bench.progress.last_executed == 2
    expires_after(bench, bench.config.REQUEST_MS, bench.config.REQUEST_MS // 16)


def test_a_node_that_sleeps_until_the_next_timer_is_in_time():
    bench = backup()
    waits(bench)
    began = bench.now
    while bench.progress.view == 0:
        bench.now += max(1, bench.replica.remaining_ms(bench.now))
        bench.replica.tick(bench.now)
    assert REQUEST_MS <= bench.now - began <= REQUEST_MS + GRAIN_MS
    wants(bench, 1, (0, 3))
    began = bench.now
    while bench.progress.view == 1:
        bench.now += max(1, bench.replica.remaining_ms(bench.now))
        bench.replica.tick(bench.now)
    assert bench.now - began == VIEW_CHANGE_MS


# --- the new-view timer ---


def left():
    """View 1 is wanted by this replica alone."""
    bench = backup()
    waits(bench)
    bench.tick(REQUEST_MS + GRAIN_MS)
    assert bench.progress.view == 1
    return bench


def test_alone_in_a_higher_view_it_waits_for_company():
    bench = left()
    stays(bench)
    wants(bench, 1, (3,))
    stays(bench)


def test_new_view_timer_runs_from_2f_plus_1():
    bench = left()
    bench.tick(50)
    wants(bench, 1, (3,))
    bench.tick(50)
    wants(bench, 1, (0,))
    expires_after(bench, VIEW_CHANGE_MS, 1)


def test_those_who_want_a_later_view_count_too():
    bench = left()
    wants(bench, 1, (3,))
    wants(bench, 7, (0,))
    assert bench.progress.view == 1
    expires_after(bench, VIEW_CHANGE_MS, 1)


def test_new_view_timer_is_not_put_off_by_more_of_them():
    bench = left()
    wants(bench, 1, (3, 0))
    bench.tick(100)
    wants(bench, 1, (1,))
    expires_after(bench, VIEW_CHANGE_MS - 100, 1)


def test_new_view_timer_ends_with_the_new_view():
    bench = backup()
    bench.begin_view(1)
    stays(bench)


def test_new_view_timer_stands_still_during_a_state_transfer():
    bench = left()
    wants(bench, 1, (3, 0))
    bench.core.transfer.start(2, NULL, 0)
    stays(bench)


def test_new_view_timer_begins_anew_after_a_state_transfer():
    bench, meta_data, blocks = fetcher()
    wants(bench, 2, (0, 3))
    stays(bench, 5000)
    give(bench, wire.META_DATA, meta_data)
    for body in blocks:
        if bench.core.transfer.running:
            give(bench, wire.DATA, body)
    assert bench.progress.last_executed == 2
    expires_after(bench, bench.config.VIEW_CHANGE_MS, 1)


# --- the back-off ---


def test_each_further_view_change_has_twice_the_time():
    bench = left()
    patience = VIEW_CHANGE_MS
    for view in (1, 2, 3, 4):
        wants(bench, view, (3, 0))
        expires_after(bench, patience, 1)
        patience *= 2


def test_the_time_is_capped():
    bench = left()
    times = []
    for view in range(1, 9):
        wants(bench, view, (3, 0))
        times.append(bench.core.timers.remaining_ms(bench.now))
        bench.now += times[-1]
        bench.replica.tick(bench.now)
        assert bench.progress.view == view + 1
    assert times[-1] == times[-2] == max(times) >= 8 * VIEW_CHANGE_MS


def test_a_view_in_which_nothing_was_executed_does_not_end_the_back_off():
    bench = backup()
    bench.begin_view(1)
    waits(bench)
    expires_after(bench, REQUEST_MS)
    bench.begin_view(3)  # the second one that follows
    expires_after(bench, 4 * REQUEST_MS)


def agree_in(bench, view, seqno, digest):
    for sender in bench.others():
        if sender != view % 4:
            bench.prepare(sender, seqno, digest, view)
        bench.commit(sender, seqno, digest, view)


def test_the_back_off_ends_with_a_request_executed_in_the_new_view():
    bench = backup()
    bench.begin_view(1)
    waits(bench)
    bench.tick(REQUEST_MS + GRAIN_MS)
    bench.begin_view(3)
    batch = bench.batch([bench.request(4, 1, b"\x04x")])
    bench.pre_prepare(3, 1, batch, 3)
    agree_in(bench, 3, 1, batch.digest)
    assert bench.ran() == [b"\x04x"]
    waits(bench, 4, 2)
    expires_after(bench, REQUEST_MS)


def test_a_null_does_not_end_the_back_off():
    bench = backup()
    bench.begin_view(1)
    waits(bench)
    bench.tick(REQUEST_MS + GRAIN_MS)
    bench.begin_view(3, (NULL,))
    agree_in(bench, 3, 1, NULL)
    assert bench.progress.last_executed == 1
    expires_after(bench, 4 * REQUEST_MS)


def test_a_client_whose_requests_expire_has_a_back_off_of_its_own():
    """One that no primary can order must not end every view as soon as the last."""
    bench = backup()
    waits(bench, 4)
    bench.tick(REQUEST_MS + GRAIN_MS)
    bench.begin_view(3)
    batch = bench.batch([bench.request(5, 1, b"\x04x")])
    bench.pre_prepare(3, 1, batch, 3)
    agree_in(bench, 3, 1, batch.digest)
    assert bench.progress.last_executed == 1
    expires_after(bench, 2 * REQUEST_MS)


def test_a_repeated_request_does_not_end_the_back_off():
    bench = backup()
    batch = bench.execute(1, 1)
    claim = ((1, 0, batch.digest),)
    bench.begin_view(1, (batch.digest,), claim, claim)
    waits(bench, 5)
    bench.tick(REQUEST_MS + GRAIN_MS)
    bench.begin_view(3, (batch.digest,), claim, claim)
    again = bench.batch([bench.request(4, 1, b"\x04x")])
    bench.pre_prepare(3, 2, again, 3)
    for seqno, digest in ((1, batch.digest), (2, again.digest)):
        agree_in(bench, 3, seqno, digest)
    assert bench.progress.last_executed == 2
    assert len(bench.ran()) == 1
    expires_after(bench, 4 * REQUEST_MS)


def test_a_new_view_gives_every_request_the_whole_time():
    bench = backup()
    waits(bench)
    bench.tick(REQUEST_MS - 4)
    bench.begin_view(1)
    expires_after(bench, REQUEST_MS)


# --- neither frozen nor behind, nor alone ---


def test_a_replica_that_was_frozen_does_not_blame_the_primary():
    bench = backup()
    waits(bench)
    bench.tick(10)
    bench.now += 10 * REQUEST_MS
    bench.replica.tick(bench.now)
    assert bench.progress.view == 0
    expires_after(bench, REQUEST_MS)


def test_a_replica_that_is_behind_does_not_blame_the_primary():
    bench = backup()
    waits(bench)
    for sender in (0, 3):
        assert bench.feed(bench.message(wire.CHECKPOINT, sender, 0, 2, b"\x07" * 32)) == 0
    bench.tick(REQUEST_MS + GRAIN_MS)
    assert bench.progress.view == 0


COURTESY_MS = 8 * REQUEST_MS


def alive(bench, sender, view, ms):
    """Time passes, and the peer says every 50 ms that it is there, in `view` and not active."""
    for _ in range(ms // 50):
        bench.feed(bench.message(wire.STATUS, sender, view, 0, b"\0" * 9))
        bench.tick(50)


def courteous():
    bench = backup(STATUS_MS=60)
    wants(bench, 1, (3,))
    return bench


def test_a_peer_alone_in_a_higher_view_is_followed_after_a_while():
    bench = courteous()
    alive(bench, 3, 1, COURTESY_MS - 100)
    assert bench.progress.view == 0
    alive(bench, 3, 1, 300)
    assert bench.progress.view == 1


def test_the_next_courtesy_takes_twice_as_long():
    bench = courteous()
    alive(bench, 3, 1, COURTESY_MS + 200)
    assert bench.feed(bench.view_change(0, 1)) == 0
    bench.progress.active = True  # as if the view had begun
    wants(bench, 2, (3,))
    alive(bench, 3, 2, COURTESY_MS + 300)
    assert bench.progress.view == 1
    alive(bench, 3, 2, COURTESY_MS)
    assert bench.progress.view == 2


def test_no_courtesy_to_the_dead_nor_to_who_asks_for_too_much():
    bench = courteous()
    bench.tick(3 * COURTESY_MS)
    assert bench.progress.view == 0, "a peer that is silent"
    bench = backup(STATUS_MS=60)
    wants(bench, 5, (3,))
    alive(bench, 3, 5, 3 * COURTESY_MS)
    assert bench.progress.view == 0, "more than n views ahead"
