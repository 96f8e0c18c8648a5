"""View changes under attack and under loss: F33 to F35, F37, F38, F68 to F70.

R1 is the primary of view 1. That view is asked for because of a link fault: nothing that R0
proposes in view 0 arrives, and R0 stays a correct replica that takes part.
"""

import random

import pytest

from tests.sim.scenario import (
    BOUND_MS,
    CLIENT,
    NULL,
    OTHERS,
    SEEDS,
    Choice,
    Claims,
    Heard,
    all_done,
    assert_counted_once,
    edited,
    execute,
    is_active,
    recover,
    resealed,
    submit_some,
    views,
    without_proposals,
)
from tools.simulate import operations
from tools.simulate.sim import EVERYBODY, Sim

AWAY = bytes(range(100, 132))  # a digest of nothing


def with_a_committed_batch(seed):
    """A group in which seqno 2 is prepared everywhere, and committed and executed by R3 alone;
    the client has too few replies for it. Returns sim, its handle."""
    sim = Sim(seed)
    execute(sim)
    assert sim.run_until(lambda: all(sim.executed(i) == 1 for i in OTHERS), 100)

    def commits_to_one(frame):
        if frame.view == 0 and frame.type == "COMMIT" and frame.dst != 3:
            return None
        if frame.view == 0 and frame.type == "CHECKPOINT":
            return None
        return frame

    sim.on_frame(commits_to_one)
    handle = sim.submit(CLIENT, operations.increment("n"))
    assert sim.run_until(lambda: sim.executed(3) == 2, 500)
    sim.run(50)
    assert [sim.executed(i) for i in OTHERS] == [1, 1, 1, 2] and not handle.done
    return sim, handle


def lie_in_new_view(sim, edit, victims=OTHERS):
    """R1 turns Byzantine: each NEW-VIEW of view 1 is edited for the `victims`; the lies."""
    lies = []
    sim.byzantine(1)

    def lie(frame):
        if frame.type == "NEW-VIEW" and frame.view == 1 and frame.dst in victims:
            frame = resealed(sim, 1, frame, edited(Choice, edit))
            lies.append(frame)
        return frame

    sim.filter_from(1, lie)
    return lies


def _drops_it(choice):
    choice.batches.pop()


def _puts_null(choice):
    choice.batches[-1] = NULL


def _changes_digest(choice):
    choice.batches[-1] = AWAY


def _adds_a_batch(choice):
    choice.batches.append(AWAY)


def _moves_it(choice):
    choice.batches.insert(0, NULL)


def _invents_a_checkpoint(choice):
    choice.head[12:16] = (2).to_bytes(4, "little")
    choice.batches.clear()
    choice.checkpoint = AWAY


def _spoils_the_checkpoint(choice):
    choice.checkpoint = AWAY


CHOICES = [
    _drops_it, _puts_null, _changes_digest, _adds_a_batch, _moves_it, _invents_a_checkpoint,
    _spoils_the_checkpoint,
]  # fmt: skip


@pytest.mark.parametrize("edit", CHOICES)
@pytest.mark.parametrize("seed", SEEDS)
def test_f33_new_view_that_is_not_permitted(seed, edit):
    """Everybody sees that R1 lies, goes to view 2 at once, and what was committed is kept."""
    sim, handle = with_a_committed_batch(seed)
    heard = Heard(sim)
    lies = lie_in_new_view(sim, edit)
    digest = sim.oracles.chain[2][0].digest
    assert sim.run_until(lambda: handle.done, sim.config.REQUEST_MS + 500)
    assert lies and all(heard.of("NEW-VIEW", i, 1) for i in (0, 2, 3))
    assert sum(sim.faults(i)["new_view"] for i in (0, 2, 3)) >= 2
    assert views(sim) == [2, 2, 2]
    assert sim.oracles.chain[2][0].digest == digest and handle.reply == b"\x002"
    recover(sim, (1,))


@pytest.mark.parametrize("victims", [(0,), (2,), (3,), (0, 2), (0, 3), (2, 3)])
@pytest.mark.parametrize("edit", [_puts_null, _changes_digest])
@pytest.mark.parametrize("seed", SEEDS)
def test_f33_wrong_for_some_only(seed, edit, victims):
    """A NEW-VIEW that is right for some and wrong for others: nothing is lost, all come together
    again, in view 1 or the next."""
    sim, handle = with_a_committed_batch(seed)
    lies = lie_in_new_view(sim, edit, victims)
    assert sim.run_until(lambda: handle.done, 2 * BOUND_MS)
    assert lies and handle.reply == b"\x002"
    assert any(sim.faults(i)["new_view"] for i in victims)
    handles = submit_some(sim, (0, 2, 3))
    assert sim.run_until(all_done(handles), 2 * BOUND_MS)
    recover(sim, (1,))


@pytest.mark.parametrize("alone", [0, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_f33_alone_in_view_2_keeps_up_with_view_1(seed, alone):
    """One was told a wrong NEW-VIEW, the others are content in view 1, and then idle between two
    checkpoints: it executes what they commit in a view of which it was never a part."""
    sim, handle = with_a_committed_batch(seed)
    lie_in_new_view(sim, _puts_null, (alone,))
    assert sim.run_until(lambda: handle.done, BOUND_MS)
    execute(sim)
    assert sim.run_until(lambda: sim.executed(alone) == 3, 2000)
    assert [sim.view(i) for i in OTHERS] == [2 if i == alone else 1 for i in OTHERS]
    assert not is_active(sim, alone)
    recover(sim, (1,))


def _two_members(choice):
    del choice.members[2:]


def _one_twice(choice):
    choice.members[-1] = choice.members[0]


def _one_that_is_none(choice):
    choice.members[-1] = (7, choice.members[-1][1])


def _wrong_digest(choice):
    choice.members[0] = (choice.members[0][0], AWAY)


def _swapped_digests(choice):
    (a, first), (b, second) = choice.members[:2]
    choice.members[:2] = [(a, second), (b, first)]


@pytest.mark.parametrize("is_seen", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_f34_new_view_without_a_quorum(seed, is_seen):
    """From 2f VIEW-CHANGEs, with one of them twice or of nobody: malformed. With digests that no
    VIEW-CHANGE has: waited for in vain. Nobody begins view 1; view 2 serves."""
    edits = [_two_members, _one_twice, _one_that_is_none]
    if not is_seen:
        edits = [_wrong_digest, _swapped_digests]
    for edit in edits:
        sim, handle = with_a_committed_batch(seed)
        lies = lie_in_new_view(sim, edit)
        began = []

        def look(sim=sim, began=began, handle=handle):
            began += [i for i in (0, 2, 3) if sim.view(i) == 1 and is_active(sim, i)]
            return handle.done

        assert sim.run_until(look, sim.config.REQUEST_MS + sim.config.VIEW_CHANGE_MS + 500)
        assert lies and not began
        for i in (0, 2, 3):
            assert (sim.faults(i)["field"] > 0) == is_seen
        assert views(sim) == [2, 2, 2] and handle.reply == b"\x002"
        recover(sim, (1,))


@pytest.mark.parametrize("seed", SEEDS)
def test_f34_view_changes_of_another_view(seed):
    """V names VIEW-CHANGEs that were sent for view 2: nobody takes them for view 1."""
    sim, handle = with_a_committed_batch(seed)
    heard = Heard(sim)
    taken = {}

    def name_later_ones(choice):
        for k, (replica, _) in enumerate(choice.members):
            if replica in taken:
                choice.members[k] = (replica, taken[replica])

    lies = lie_in_new_view(sim, name_later_ones)
    # R3 is made to say something for view 2 that can be named: R1 knows its digest from there.
    sim.run(sim.config.REQUEST_MS - 200)
    core = sim.core(3)
    crypto = sim.device(3).crypto
    later = sim.message("VIEW-CHANGE", 3, 2, core.progress.low_mark, bytes(4))
    digest = bytearray(32)
    sealed = sim.seal(3, later)
    crypto.digest_into(sealed, 0, len(later), digest, 0)
    taken[3] = bytes(digest)
    assert sim.run_until(lambda: handle.done, 2 * BOUND_MS)
    named = [Choice(m).members for m in heard.of("NEW-VIEW", sender=1)]
    assert lies and named
    if any((3, bytes(digest)) in members for members in named):
        assert min(views(sim)) >= 2
    assert handle.reply == b"\x002"
    recover(sim, (1,))


def _claims_falsely_prepared(claims, view):
    claims.p[:] = [(offset, view - 1, AWAY) for offset in range(1, 5)]
    claims.q[:] = list(claims.p)


def _claims_nothing(claims, view):
    claims.p.clear()
    claims.q.clear()


def _claims_null(claims, view):
    claims.p[:] = [(offset, view - 1, NULL) for offset in range(1, 5)]


def _claims_later_view(claims, view):
    claims.p[:] = [(offset, view, digest) for offset, _, digest in claims.p]


def _claims_twice(claims, view):
    claims.p += [(claims.p[0][0], 0, AWAY)]


def _claims_same_pre_prepared_twice(claims, view):
    claims.q += claims.q[:1]


def _claims_too_many_pre_prepared(claims, view):
    claims.q += [(1, 0, bytes([k]) * 32) for k in range(4)]


def _claims_outside(claims, view):
    claims.q += [(5, 0, AWAY)]


def _claims_below(claims, view):
    claims.p += [(0, 0, AWAY)]


def _claims_false_checkpoint(claims, view):
    claims.checkpoints[:] = [(seqno, AWAY) for seqno, _ in claims.checkpoints]


def _claims_high_checkpoint(claims, view):
    claims.checkpoints += [(4, AWAY)]


def _claims_far_low_mark(claims, view):
    claims.head[12:16] = (400).to_bytes(4, "little")
    claims.checkpoints[:] = [(400, AWAY)]


def _claims_odd_low_mark(claims, view):
    claims.head[12:16] = (1).to_bytes(4, "little")


WELL_FORMED = [
    _claims_falsely_prepared, _claims_nothing, _claims_null, _claims_false_checkpoint,
    _claims_high_checkpoint, _claims_far_low_mark,
]  # fmt: skip
MALFORMED = [
    _claims_later_view, _claims_twice, _claims_same_pre_prepared_twice,
    _claims_too_many_pre_prepared, _claims_outside, _claims_below, _claims_odd_low_mark,
]  # fmt: skip


def lie_in_view_change(sim, liar, edit, heard_by=OTHERS):
    """Each VIEW-CHANGE of `liar` is edited for some receivers; the lies."""
    lies = []
    sim.byzantine(liar)

    def lie(frame):
        if frame.type == "VIEW-CHANGE" and frame.sender == liar and frame.dst in heard_by:
            change = edited(Claims, lambda claims: edit(claims, frame.view))
            frame = resealed(sim, liar, frame, change)
            lies.append(frame)
        return frame

    sim.filter_from(liar, lie)
    return lies


@pytest.mark.parametrize("liar", [0, 2, 3])
@pytest.mark.parametrize("edit", WELL_FORMED + MALFORMED)
@pytest.mark.parametrize("seed", SEEDS)
def test_f35_false_claims(seed, edit, liar):
    """One liar among 2f + 1 neither makes a batch up nor makes one forgotten (R3, who executed
    it, may be the liar itself); what is malformed is refused; view 1 begins in time."""
    sim, handle = with_a_committed_batch(seed)
    heard = Heard(sim)
    lies = lie_in_view_change(sim, liar, edit)
    assert sim.run_until(lambda: handle.done, sim.config.REQUEST_MS + 500)
    assert lies and heard.of("VIEW-CHANGE", 1, liar)
    if edit in MALFORMED:
        assert sim.faults(1)["field"] > 0
    assert set(views(sim)) == {1} and handle.reply == b"\x002"
    recover(sim, (liar,))


@pytest.mark.parametrize("heard_by", [(0,), (1,), (2,), (0, 1), (1, 2)])
@pytest.mark.parametrize("seed", SEEDS)
def test_f35_contradicting_claims(seed, heard_by):
    """R3 tells some that it prepared nothing, the others the truth: what the NEW-VIEW names is
    found out about, and view 1 begins, if not with R3's VIEW-CHANGE then without."""
    sim, handle = with_a_committed_batch(seed)
    lies = lie_in_view_change(sim, 3, _claims_nothing, heard_by)
    assert sim.run_until(lambda: handle.done, BOUND_MS)
    assert lies and handle.reply == b"\x002"
    assert views(sim) == [1, 1, 1]
    recover(sim, (3,))


def storm(sim, i, step=1):
    """Replica `i` asks for ever higher views, once a millisecond; a function that ends it."""
    state = {"view": 1, "on": True}

    def next_one():
        if state["on"]:
            low = sim.stable(i)
            root = bytearray(32)
            sim.core(i).state.root_into(low, root, 0)
            body = b"\1\0\0\0" + low.to_bytes(4, "little") + root
            message = sim.message("VIEW-CHANGE", i, state["view"], low, body)
            sim.send_as(i, EVERYBODY, sim.seal(i, message))
            state["view"] = min(state["view"] + step, 2**32 - 1)
            sim.after(1, next_one)

    def end():
        state["on"] = False
        return state["view"]

    sim.byzantine(i)
    next_one()
    return end


@pytest.mark.parametrize("step", [1, 1000003, 2**31])
@pytest.mark.parametrize("who", [0, 1, 3])
@pytest.mark.parametrize("seed", SEEDS[:1])
def test_f37_storm_of_view_changes(seed, who, step):
    """One replica alone moves nobody. When a view change is due, the storm (still on) does not
    take the others further than one view."""
    sim = Sim(seed)
    heard = Heard(sim)
    end = storm(sim, who, step)
    clients = [i for i in (0, 1, 3, CLIENT) if i != who]
    handles = submit_some(sim, clients, 10)
    assert sim.run_until(all_done(handles), 500)
    sim.run(100)
    assert views(sim) == [0, 0, 0]
    assert len(heard.of("VIEW-CHANGE", 2, who)) > 100  # far more than the f + 1 that count
    sim.on_frame(without_proposals)
    more = submit_some(sim, clients, 2)
    limit = sim.config.REQUEST_MS + 500 + (sim.config.VIEW_CHANGE_MS if who == 1 else 0)
    assert sim.run_until(all_done(more), limit)
    assert end() > 100
    assert set(views(sim)) == ({2} if who == 1 else {1})
    assert_counted_once(handles + more)
    recover(sim, (who,))


@pytest.mark.parametrize("seed", range(1, 4 * len(SEEDS) + 1))
def test_f38_time_outs_apart_under_loss(seed):
    """The primary is off, clocks jump, 30 % of everything is lost: views do not race ahead."""
    sim = Sim(seed)
    draw = random.Random(f"clocks {seed}")
    execute(sim)
    sim.network(loss=30, jitter_ms=3)
    sim.crash(0)
    handles = submit_some(sim, (1, 2, 3, CLIENT), 2)
    for i in (1, 2, 3):
        sim.after(draw.randrange(900), lambda i=i: sim.clock_jump(i, draw.randrange(1200)))
    assert sim.run_until(all_done(handles), 20000)
    assert 1 <= max(views(sim)) <= 3
    sim.restart(0)
    recover(sim)


@pytest.mark.parametrize("primary", ["off", "unheard"])
@pytest.mark.parametrize("seed", SEEDS)
def test_f68_requests_during_a_view_change(seed, primary):
    """They arrive once, while nobody is active, and are served by the new view without another
    word of their clients and without another time-out."""
    sim = Sim(seed)
    execute(sim)
    if primary == "off":
        sim.crash(0)
    first = sim.submit(1, operations.increment("n"))
    state = {"new_view": None}

    def hold(frame):
        if frame.type == "REQUEST" and frame.src in (2, 3, CLIENT) and state.get("told"):
            return frame if frame.sender != frame.src else None
        if frame.type == "NEW-VIEW":
            return frame.later(300)
        return without_proposals(frame)

    sim.on_frame(hold)
    alive = [i for i in OTHERS if sim.is_up(i)]
    backups = [i for i in alive if i != 1]
    assert sim.run_until(lambda: all(sim.view(i) == 1 for i in alive), 2000)
    sim.run(20)
    assert not any(is_active(sim, i) for i in backups)
    handles = [sim.submit(i, operations.increment("n")) for i in (2, 3, CLIENT)]
    sim.run(10)
    state["told"] = True  # from here on no retry arrives
    assert sim.run_until(all_done([*handles, first]), 700)
    assert max(h.latency_ms for h in handles) <= 600
    assert set(views(sim)) - {-1} == {1}
    if primary == "off":
        sim.restart(0)
    recover(sim)


@pytest.mark.parametrize("alone", OTHERS)
@pytest.mark.parametrize("under_load", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_f69_alone_in_a_higher_view_comes_back(seed, under_load, alone):
    """It heard the request and nothing of its execution; the others go on. Back among them it
    gets their state, and its vote decides (check_liveness silences another one)."""
    sim = Sim(seed)
    execute(sim)

    def deaf(frame):
        if frame.dst == alone and frame.src in OTHERS:
            return None
        if alone == 0 and frame.src == 0 and frame.type != "PRE-PREPARE":
            return None
        return frame

    sim.on_frame(deaf)
    handles = submit_some(sim, (CLIENT,), 1)
    assert sim.run_until(lambda: sim.view(alone) == 1, 2 * sim.config.REQUEST_MS)
    assert not is_active(sim, alone)
    if under_load:
        others = [i for i in OTHERS if i != alone]
        handles += submit_some(sim, [*others, CLIENT], 5)
    if alone != 0:
        assert sim.run_until(all_done(handles), BOUND_MS)
        assert {sim.view(i) for i in OTHERS if i != alone} == {0}
    sim.on_frame(None)
    assert sim.run_until(all_done(handles), BOUND_MS)
    assert sim.run_until(lambda: len({sim.executed(i) for i in OTHERS}) == 1, BOUND_MS)
    recover(sim)
    # And with it as one of just 2f + 1 that are left:
    silent = (alone + 2) % 4
    sim.crash(silent)
    handle = sim.submit(CLIENT, operations.increment("n"))
    assert sim.run_until(lambda: handle.done, BOUND_MS)
    assert is_active(sim, alone)
    assert_counted_once([h for h in sim.handles if h.op == handle.op])


@pytest.mark.parametrize("ms", [300, 1500, 2500, 6000])
@pytest.mark.parametrize("link", [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("seed", SEEDS)
def test_f70_a_link_fails_during_the_first_view_change(seed, link, ms):
    """R0 is off and one link of the three left is down one way from before the time-out: all is
    well within the bound after it comes back, if not before."""
    sim = Sim(seed)
    execute(sim)
    sim.crash(0)
    handles = submit_some(sim, (2, CLIENT), 2)
    sim.run(900)
    lost = []

    def fail(frame):
        if (frame.src, frame.dst) == link:
            lost.append(frame.name)
            return None
        return frame

    sim.on_frame(fail)
    sim.run(ms)
    assert "VIEW-CHANGE" in lost and max(views(sim)) >= 1
    sim.on_frame(None)
    assert sim.run_until(all_done(handles), 2 * BOUND_MS)
    assert max(views(sim)) <= 2 + ms // 1000
    sim.restart(0)
    recover(sim)


@pytest.mark.parametrize("name", ["VIEW-CHANGE", "VIEW-CHANGE-ACK", "NEW-VIEW", "STATUS"])
@pytest.mark.parametrize("victim", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_f70_one_type_of_message_is_lost(seed, victim, name):
    """All that one replica would hear of one type is lost for the first second of the view
    change. R0 is off."""
    sim = Sim(seed)
    execute(sim)
    sim.crash(0)
    lost = []
    handles = submit_some(sim, (2, CLIENT), 2)

    def lose(frame):
        if frame.type == name and frame.dst == victim:
            lost.append(frame)
            return None
        return frame

    sim.on_frame(lose)
    assert sim.run_until(lambda: max(views(sim)) == 1, 2000)
    sim.run(1000)
    assert lost or (name == "NEW-VIEW" and victim == 1)
    sim.on_frame(None)
    assert sim.run_until(all_done(handles), BOUND_MS)
    assert max(views(sim)) <= 2
    sim.restart(0)
    recover(sim)
