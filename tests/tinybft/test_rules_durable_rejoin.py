"""Standing aside: a replica that lost its memory says nothing that binds until it may again."""

from tests.tinybft.bench import u32
from tests.tinybft.durable import MIRROR, MODES, PROTOCOL, Device, leave, tempt
from tests.tinybft.test_rules_new_view_backup import fetch_all
from tests.tinybft.views import acknowledge, join, one, pre_prepared, prepared, where
from tinybft import wire

BINDING = (
    wire.PRE_PREPARE,
    wire.PREPARE,
    wire.COMMIT,
    wire.VIEW_CHANGE,
    wire.VIEW_CHANGE_ACK,
    wire.NEW_VIEW,
)
SEVEN = {"FAULT_COUNT": 2, "CLIENT_COUNT": 8, "MESSAGE_LENGTH_MAX": 2048}


def wiped(own_id=2, mode=MIRROR, **changed):
    bench = Device(own_id, mode, **changed)
    lose_memory(bench)
    return bench


def lose_memory(bench):
    bench.store.wipe()
    bench.restart()
    assert is_aside(bench)


def is_aside(bench):
    return bool(bench.core.durability.abstains)


def bound(bench):
    return [m for _, m in bench.out if m[1] in BINDING and m[2] == bench.own_id]


def told(bench, lows, executed=None):
    """STATUS of others: {peer: low_mark}; `executed`: the same, if not the low marks."""
    for peer in sorted(lows):
        number = (executed or lows)[peer]
        assert bench.status(peer, None, True, lows[peer], number) == 0


def follow(bench, first, last, number=None):
    """Batches that the others agree on; every checkpoint is stable."""
    for seqno in range(first, last + 1):
        bench.execute(seqno, seqno if number is None else number)
        if seqno % 2 == 0:
            bench.stabilise(seqno)


# --- nothing that binds ---


def test_backup_says_nothing_that_binds_and_follows():
    for mode in MODES + (PROTOCOL,):
        bench = wiped(2, mode)
        for seqno in (1, 2):
            bench.execute(seqno, seqno)
        assert bench.ran() == [b"\x04x"] * 2
        assert bench.sent(wire.CHECKPOINT, -1) and bench.sent(wire.REPLY)
        for sender in (0, 1, 3):
            bench.status(sender)
        bench.tick(1000)
        assert bench.sent(wire.STATUS, -1)
        assert bound(bench) == []


def test_primary_says_nothing_that_binds():
    bench = wiped(0)
    bench.feed(bench.request(4, 1, b"\x041"))
    bench.tick(20)
    assert bench.core.agreement.last_proposed == 0
    digest = one(bench, 1).digest
    for sender in (1, 2):
        bench.prepare(sender, 1, digest)
    for sender in (1, 2, 3):
        bench.status(sender)
    assert bound(bench) == []


def test_view_changes_are_followed_and_nothing_is_said():
    """It is the new primary; it acks nothing, and begins no view."""
    bench = wiped(1)
    members = [bench.view_change(sender, 1) for sender in (0, 2, 3)]
    for message in members:
        bench.feed(message)
    acknowledge(bench, members)
    for sender in (0, 2, 3):
        bench.status(sender, 1, False)
    bench.tick(50)
    assert bound(bench) == [] and where(bench) == (1, False)
    bench = wiped(2)
    bench.begin_view(1)
    assert where(bench) == (1, True)
    pre_prepared_by(bench, 1)
    for sender in (0, 1, 3):
        bench.status(sender, 1)
        bench.status(sender, 1, False)
    assert bound(bench) == []


def pre_prepared_by(bench, view):
    batch = one(bench, 1)
    assert bench.pre_prepare(view % 4, 1, batch, view) == 0
    for sender in bench.others():
        bench.prepare(sender, 1, batch.digest, view)


def test_own_timer_asks_for_no_view():
    bench = wiped(2)
    bench.feed(bench.request(4, 1, b"\x041"))
    bench.tick(3 * bench.config.REQUEST_MS)
    assert where(bench) == (0, True)
    assert bound(bench) == []


def test_what_it_said_before_is_never_contradicted():
    """Its words of before the loss count: before it votes again, and afterwards."""
    bench = Device(2, PIPELINE=4)
    for seqno in (1, 2):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    for seqno in (3, 4, 5, 6):
        prepared(bench, seqno)
    spoken = dict(bench.words.spoken)
    assert max(seqno for _, seqno in spoken) == 6
    lose_memory(bench)
    tempt(bench, False)
    lose_memory(bench)
    told(bench, {0: 2, 1: 2, 3: 2})
    follow(bench, 1, 2)
    follow(bench, 3, 6, 50)
    told(bench, {0: 6, 1: 6, 3: 6})
    assert not is_aside(bench)
    assert bench.progress.low_mark == 6
    tempt(bench)


# --- when it votes again ---


def test_votes_again_when_a_checkpoint_one_window_beyond_the_bound_is_stable():
    for mode in MODES + (PROTOCOL,):
        bench = wiped(2, mode)
        told(bench, {0: 0, 1: 0, 3: 0})
        assert is_aside(bench)
        follow(bench, 1, 3)
        told(bench, {0: 2, 1: 2, 3: 2})
        assert is_aside(bench), "W = 4 and the bound is 0"
        bench.execute(4, 4)
        told(bench, {0: 4, 1: 4, 3: 4})
        assert is_aside(bench), "the checkpoint is not stable here"
        bench.stabilise(4)
        told(bench, {0: 4})
        assert not is_aside(bench)
        assert bound(bench) == []
        pre_prepared(bench, 5)
        assert [m[12:16] for m in bench.sent(wire.PREPARE, -1)] == [u32(5)]
        assert bench.core.durability.report()["mode"] == "member"


def test_member_again_stays_one_and_its_words_are_kept():
    bench = wiped(2)
    told(bench, {0: 0, 1: 0, 3: 0})
    follow(bench, 1, 4)
    told(bench, {0: 4})
    fifth = prepared(bench, 5)
    bench.restart()
    assert not is_aside(bench) and bench.core.durability.trusted_at_boot
    assert (bench.progress.low_mark, bench.progress.last_executed) == (4, 4)
    assert leave(bench)[1:] == ([(5, 0, fifth)], [(5, 0, fifth)])


def test_bound_is_what_2f_plus_1_do_not_exceed():
    """Two are at 4, one is at 2: 4 may have been stable for the replica that was."""
    bench = wiped(2)
    told(bench, {0: 4, 1: 2, 3: 4})
    follow(bench, 1, 6)
    told(bench, {0: 6, 1: 6, 3: 6})
    assert is_aside(bench)
    follow(bench, 7, 8)
    told(bench, {0: 8})
    assert not is_aside(bench)


def test_two_of_three_peers_give_no_bound():
    bench = wiped(2)
    told(bench, {0: 0, 1: 0})
    follow(bench, 1, 8)
    told(bench, {0: 8, 1: 8})
    assert is_aside(bench)


def test_bound_is_taken_once():
    """What becomes stable later does not move it."""
    bench = wiped(2)
    told(bench, {0: 0, 1: 0, 3: 0})
    follow(bench, 1, 4)
    told(bench, {0: 400, 1: 400, 3: 400})
    assert not is_aside(bench)


def test_checkpoint_that_nobody_else_executed_gives_no_bound():
    """One peer alone is that far: f others must have executed it."""
    bench = wiped(2)
    told(bench, {0: 2, 1: 0, 3: 0}, {0: 2, 1: 0, 3: 1})
    follow(bench, 1, 6)
    assert bench.core.durability._recovery.rejoin._bound < 0
    told(bench, {3: 0}, {3: 2})
    assert bench.core.durability._recovery.rejoin._bound == 2
    told(bench, {0: 2, 1: 2, 3: 2})
    assert not is_aside(bench)


def test_f_liars_cannot_end_it_too_early():
    """The correct ones are at 4; two of seven say 0. It voted up to 8."""
    bench = wiped(2, MIRROR, **SEVEN)
    lows = {0: 0, 1: 0, 3: 4, 4: 4, 5: 4, 6: 4}
    told(bench, lows)
    follow(bench, 1, 6)
    told(bench, lows)
    assert is_aside(bench)
    follow(bench, 7, 8)
    told(bench, lows)
    assert not is_aside(bench)


def test_one_liar_of_four_cannot_end_it_too_early():
    for liar in (0, 1, 3):
        bench = wiped(2)
        lows = {0: 4, 1: 4, 3: 4}
        lows[liar] = 0
        for _ in range(3):
            told(bench, lows)
        follow(bench, 1, 6)
        told(bench, lows)
        assert is_aside(bench)


def test_liars_cannot_keep_it_out_where_2f_plus_1_peers_are_correct():
    bench = wiped(2, MIRROR, **SEVEN)
    lows = {0: 10**6, 1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    told(bench, lows)
    follow(bench, 1, 4)
    told(bench, {0: 10**6, 1: 4, 3: 4, 4: 4, 5: 4, 6: 4})
    assert not is_aside(bench)


def test_status_with_a_bad_tag_is_not_heard():
    bench = wiped(2)
    for sender in (0, 1, 3):
        bench.tick(5)
        body = u32(0) + bytes(5)
        bench.feed(bench.message(wire.STATUS, sender, 0, 0, body, wire.FLAG_ACTIVE, (2,)))
    follow(bench, 1, 4)
    told(bench, {0: 4})
    assert is_aside(bench)


def test_restart_while_aside_begins_anew():
    """What the peers said before is not known any more, and they may be further."""
    bench = wiped(2)
    told(bench, {0: 0, 1: 0, 3: 0})
    follow(bench, 1, 3)
    bench.restart()
    assert is_aside(bench) and not bench.core.durability.trusted_at_boot
    told(bench, {0: 2})
    follow(bench, 1, 4)
    told(bench, {0: 2})
    assert is_aside(bench)
    told(bench, {1: 2, 3: 2})
    follow(bench, 5, 6)
    told(bench, {0: 6})
    assert not is_aside(bench)


def test_identity_that_rots_meanwhile_is_not_mended_to_a_members():
    bench = wiped(2)
    bench.rot("identity", 5)
    for _ in range(60):
        bench.core.scrub.step()
    bench.restart()
    assert is_aside(bench)


def test_state_is_fetched_while_aside():
    bench = wiped(2)
    source = Device(1)
    follow(source, 1, 2)
    digest = source.own_checkpoint(2)
    for sender in (0, 1, 3):
        bench.checkpoint(sender, 2, digest, wire.FLAG_STABLE)
    bench.tick(2000)
    assert bench.core.transfer.running and bench.sent(wire.FETCH)
    fetch_all(bench)
    assert bench.own_checkpoint(2) == digest
    assert is_aside(bench)


def test_nothing_of_the_old_memory_is_left():
    """Whatever was rotten in it: who has rejoined can be restarted, and nothing needs mending."""
    stable = 4 + 3 + 8
    for mode in (MIRROR, PROTOCOL):
        for area, offset in (("stable", stable), ("view", 30), ("acks", 3 * 44 + 10)):
            rejoined(mode, area, offset)
        bench = Device(2)
        stride = (bench.map["stable"] - bench.map["slots"]) // bench.config.SLOT_COUNT
        for index in (0, 3, 7):
            rejoined(mode, "slots", index * stride + 20)


def rejoined(mode, area, offset):
    bench = Device(2, mode)
    for seqno in (1, 2, 3):
        bench.execute(seqno, seqno)
    bench.stabilise(2)
    prepared(bench, 3 + 1)
    for view in (1, 2):
        join(bench, view)
    for sender in (0, 1, 3):
        bench.feed(bench.view_change(sender, 2))
    bench.rot(area, offset)
    bench.restart()
    if not is_aside(bench):
        return  # that record was not in use
    del bench.writes[:]
    for _ in range(60):
        bench.core.scrub.step()
    assert bench.writes == [], (area, "remembered")
    told(bench, {0: 2, 1: 2, 3: 2})
    follow(bench, 1, 6)
    told(bench, {0: 6})
    assert not is_aside(bench)
    bench.restart()
    assert bench.core.durability.trusted_at_boot, (area, offset)
    assert (bench.progress.view, bench.progress.low_mark) == (0, 6)


# --- its own client ---


def test_client_asks_for_nothing_until_its_request_ids_are_known():
    bench = Device(2)
    assert bench.client.submit(b"\x04a", 2, bench.now)
    used = int.from_bytes(bench.sent(wire.REQUEST, -1)[0][12:16], "little")
    lose_memory(bench)
    assert bench.client.has_lost_ids
    assert not bench.client.submit(b"\x04a", 2, bench.now)
    told(bench, {0: 0, 1: 0, 3: 0})
    request = bench.request(4, 1, b"\x041")
    for seqno in (1, 2, 3, 4):
        bench.agree(seqno, bench.batch([request]))
        if seqno % 2 == 0:
            bench.stabilise(seqno)
    told(bench, {0: 4})
    assert not bench.client.has_lost_ids
    assert bench.client.submit(b"\x04b", 2, bench.now)
    assert int.from_bytes(bench.sent(wire.REQUEST, -1)[-1][12:16], "little") > used


def test_request_ids_go_on_behind_the_last_one_that_was_executed():
    bench = wiped(2)
    told(bench, {0: 0, 1: 0, 3: 0})
    core = bench.core
    for seqno in (1, 2, 3, 4):
        batch = bench.batch([bench.request(4, seqno, b"\x04x")])
        bench.agree(seqno, batch)
        if seqno % 2 == 0:
            bench.stabilise(seqno)
    executed = core.execution.last_request_id
    core.execution.last_request_id = lambda client: 70000 if client == 2 else executed(client)
    told(bench, {0: 4})
    core.execution.last_request_id = executed
    assert bench.client.submit(b"\x04b", 2, bench.now)
    assert int.from_bytes(bench.sent(wire.REQUEST, -1)[-1][12:16], "little") > 70000 + 65535
    bench.restart()
    assert bench.client.submit(b"\x04c", 2, bench.now)
