"""Read-only requests and tentative execution as options: what they save, what they survive.

F22 is in test_clients.py; what seeds find, in early_hunts.py.
"""

import pytest

from tests.sim.scenario import (
    BOUND_MS,
    CLIENT,
    OTHERS,
    SEEDS,
    Heard,
    all_done,
    assert_counted_once,
    execute,
    recover,
    submit_some,
    views,
    without_proposals,
)
from tests.sim.scenes import settle
from tinybft import wire
from tinybft.execution import SERVICE_FAILED
from tinybft.service import Service
from tools.simulate import operations
from tools.simulate.sim import Sim

READS = {"READ_ONLY": True}
TENTATIVE = {"TENTATIVE": True}
BOTH = READS | TENTATIVE
OPTIONS = pytest.mark.parametrize("options", [READS, TENTATIVE, BOTH], ids=str)
WITH_READS = pytest.mark.parametrize("options", [READS, BOTH], ids=str)
WITH_TENTATIVE = pytest.mark.parametrize("options", [TENTATIVE, BOTH], ids=str)


def read(sim, client=CLIENT, key="lamp", ms=1000):
    handle = sim.submit(client, operations.get(key), read_only=True)
    assert sim.run_until(lambda: handle.done, ms), handle
    return handle


# --- reads ---


@WITH_READS
@pytest.mark.parametrize("client", [1, CLIENT])
def test_a_read_takes_one_round_trip_and_no_agreement(options, client):
    sim = Sim(3, **options)
    heard = Heard(sim)
    sim.network(delay_ms=5, jitter_ms=0)
    execute(sim, op=operations.put("lamp", "on"))
    settle(sim)
    before = len(heard.of("PRE-PREPARE"))
    handle = read(sim, client)
    assert handle.reply == b"\x00on" and handle.unordered
    assert handle.latency_ms in (10, 11)
    assert len(heard.of("PRE-PREPARE")) == before
    recover(sim)


@WITH_READS
def test_a_long_value_travels_once(options):
    sim = Sim(3, **options)
    heard = Heard(sim)
    execute(sim, op=operations.put("lamp", "x" * 150))
    settle(sim)
    start = len(heard)
    assert read(sim).unordered
    sim.run(5)
    replies = [m for _, m in heard[start:] if m[1] == wire.REPLY]
    assert sorted(len(m) > 150 for m in replies) == [False, False, False, True]
    start = len(heard)
    assert read(sim, client=2).reply == b"\x00" + b"x" * 150
    assert all(len(m) < 60 for _, m in heard[start:] if m[1] == wire.REPLY)


@WITH_READS
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acknowledged_is_shown_though_nobody_else_has_executed_it(options, seed):
    """The COMMITs of a write reach R3 alone; R2 confirms its reply. The others have prepared it,
    so they do not show what was before."""
    sim = Sim(seed, **options)
    execute(sim, op=operations.put("lamp", "old"))
    settle(sim)
    sim.byzantine(2)

    def route(frame):
        if frame.name == "COMMIT" and frame.dst != 3:
            return None
        if frame.name == "REPLY" and frame.src == 2:
            return None
        if frame.name == "REPLY" and frame.src == 3 and frame.dst == CLIENT:
            body = frame.bytes[16 : sim.wire_of_group.body_end(frame.bytes)]
            lie = sim.message("REPLY", 2, frame.view, frame.seqno, body)
            sim.device(CLIENT).deliver(sim.seal(2, lie, to=CLIENT))
        if {frame.src, frame.dst} & {3} and frame.name == "REQUEST" and stale:
            return None
        return frame

    stale = []
    sim.on_frame(route)
    assert execute(sim, op=operations.put("lamp", "new")).reply == b"\x00"
    sim.run(5)
    assert [sim.executed(i) for i in (0, 1, 3)] == [1, 1, 2]
    stale.append(True)
    old = sim.message("REPLY", 2, 0, 3, b"\x00old", flags=wire.FLAG_UNORDERED)
    handle = sim.submit(CLIENT, operations.get("lamp"), read_only=True)
    sim.run(5)
    sim.device(CLIENT).deliver(sim.seal(2, old, to=CLIENT))
    sim.run(5)
    assert not handle.done and sim.core(0).reads.waiting == 1
    sim.on_frame(None)
    assert sim.run_until(lambda: handle.done, BOUND_MS) and handle.reply == b"\x00new"
    recover(sim, (2,))


@WITH_READS
@pytest.mark.parametrize("seed", SEEDS)
def test_a_read_that_f_plus_1_do_not_answer_is_ordered(options, seed):
    """Under the same id: it is executed once, and the next request of the client is served."""
    sim = Sim(seed, **options)
    heard = Heard(sim)
    execute(sim, op=operations.put("lamp", "on"))
    settle(sim)
    mute = wire.FLAG_UNORDERED
    sim.on_frame(
        lambda f: None if f.name == "REPLY" and f.src in (2, 3) and f.bytes[0] & mute else f
    )
    handle = read(sim)
    assert handle.reply == b"\x00on" and not handle.unordered
    requests = {m[0] & 15 for m in heard.of("REQUEST", sender=CLIENT)}
    assert requests >= {wire.FLAG_READ_ONLY, wire.FLAG_READ_ONLY | wire.FLAG_UNORDERED}
    ids = {wire.seqno(m) for m in heard.of("REQUEST", sender=CLIENT) if m[0] & 15}
    assert ids == {handle.request_id}
    assert sim.device(CLIENT).node.client.fallbacks == 1
    assert execute(sim, op=operations.put("lamp", "off")).request_id == handle.request_id + 1
    assert read(sim, client=1).reply == b"\x00off"
    recover(sim)


@WITH_READS
@pytest.mark.parametrize("seed", SEEDS)
def test_reads_without_a_quorum_end_with_the_view_change(options, seed):
    """The primary is dead: what a read is ordered as waits for the next one."""
    sim = Sim(seed, **options)
    execute(sim, op=operations.put("lamp", "on"))
    settle(sim)
    sim.crash(0)
    handle = read(sim)
    assert handle.unordered  # 2f + 1 are left
    sim.on_frame(lambda f: None if f.name == "REPLY" and f.bytes[0] & wire.FLAG_UNORDERED else f)
    handle = sim.submit(CLIENT, operations.get("lamp"), read_only=True)
    assert sim.run_until(lambda: handle.done, BOUND_MS) and not handle.unordered
    assert views(sim) == [1, 1, 1]
    sim.restart(0)
    recover(sim)


@WITH_READS
def test_nobody_loses_patience_over_a_read(options):
    """A read that waits for ever is its client's affair, not the primary's."""
    sim = Sim(3, **options)
    sim.crash(CLIENT)
    sim.on_frame(lambda f: None if f.name == "COMMIT" else f)
    message = sim.message("REQUEST", CLIENT, 0, 9, operations.get("lamp"), flags=5)
    sim.send_as(CLIENT, -1, sim.seal(CLIENT, message))
    sim.run(3 * sim.config.REQUEST_MS)
    assert views(sim) == [0, 0, 0, 0]


class Careless(Service):
    """Counts its operations, reads too."""

    name = "careless"
    state_length = 64

    def execute(self, state, op, length, reply, ctx):
        state.put_u32(0, state.get_u32(0) + 1)
        state.read(0, reply, 0, 4)
        return 4


@WITH_READS
@pytest.mark.parametrize("quick", [True, False])
def test_a_service_cannot_write_in_a_read(options, quick):
    sim = Sim(3, service=Careless, **options)
    if not quick:
        sim.on_frame(
            lambda f: None if f.name == "REPLY" and f.bytes[0] & wire.FLAG_UNORDERED else f
        )
    assert execute(sim, op=b"count").reply == b"\x01\0\0\0"
    for _ in range(3):
        handle = sim.submit(CLIENT, b"count", read_only=True)
        assert sim.run_until(lambda handle=handle: handle.done, 1000)
        assert handle.reply == bytes((SERVICE_FAILED,)) and handle.unordered == quick
    assert execute(sim, op=b"count").reply == b"\x02\0\0\0"
    recover(sim)


@WITH_READS
@pytest.mark.parametrize("seed", SEEDS)
def test_who_was_wiped_answers_no_read_before_it_has_rejoined(options, seed):
    """S5 watches what it says; R1 is silent, so that the others cannot do without it."""
    sim = Sim(seed, durable="mirror", **options)
    execute(sim, op=operations.put("lamp", "on"))
    settle(sim)
    sim.crash(3)
    sim.restart(3, wipe=True)
    sim.run(300)
    assert sim.abstains(3)
    handle = read(sim)
    assert handle.unordered  # by the other three
    sim.partition([[0, 2, 3, CLIENT], [1]])
    late = sim.submit(CLIENT, operations.get("lamp"), read_only=True)
    sim.run(500)
    assert not late.done
    sim.heal()
    assert sim.run_until(lambda: late.done, BOUND_MS) and late.reply == b"\x00on"
    recover(sim)


# --- tentative execution ---


def test_a_tentative_reply_saves_a_step():
    latencies = {}
    for name, options in (("off", {}), ("on", TENTATIVE)):
        sim = Sim(3, **options)
        sim.network(delay_ms=10, jitter_ms=0)
        latencies[name] = execute(sim).latency_ms
    assert latencies["off"] - latencies["on"] in (9, 10, 11)


@WITH_TENTATIVE
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_told_early_survives_the_view(options, seed):
    """No COMMIT arrives in view 0: clients are served by 2f + 1 who prepared, once, and what they
    were told is what the next view commits."""
    sim = Sim(seed, **options)
    execute(sim, op=operations.put("lamp", "off"))
    settle(sim)
    sim.on_frame(lambda f: None if f.name == "COMMIT" and f.view == 0 else f)
    handle = execute(sim, op=operations.increment("n"), ms=100)
    assert handle.reply == b"\x001" and [sim.executed(i) for i in OTHERS] == [1] * 4
    assert [sim.core(i).tentative.ahead for i in OTHERS] == [2] * 4
    late = sim.submit(1, operations.increment("n"))
    assert sim.run_until(lambda: late.done, BOUND_MS) and late.reply == b"\x002"
    assert min(views(sim)) > 0
    recover(sim)


@WITH_TENTATIVE
@pytest.mark.parametrize("seed", SEEDS)
def test_what_one_replica_executed_alone_is_undone(options, seed):
    """R2 alone prepares; the next view orders another request first. R2 goes back and follows."""
    sim = Sim(seed, **options)
    execute(sim)
    settle(sim)
    alone = []
    others = (0, 1, 3)

    def route(frame):
        if frame.name == "COMMIT" and frame.view == 0:
            return None
        if frame.name == "PREPARE" and frame.dst != 2 and frame.view == 0:
            return None
        cut = alone and (2 in (frame.src, frame.dst) or CLIENT in (frame.src, frame.dst))
        return None if cut else frame

    sim.on_frame(route)
    first = sim.submit(CLIENT, operations.increment("n"))
    assert sim.run_until(lambda: sim.core(2).tentative.ahead == 2, 100)
    alone.append(True)
    second = sim.submit(1, operations.increment("n"))
    assert sim.run_until(lambda: second.done, BOUND_MS) and second.reply == b"\x002"
    assert not first.done and all(sim.view(i) > 0 for i in others)
    alone.clear()
    assert sim.run_until(lambda: first.done, BOUND_MS) and first.reply == b"\x003"
    assert sim.run_until(lambda: sim.executed(2) == sim.executed(1), BOUND_MS)
    recover(sim)
    assert len({sim.state_digest(i) for i in OTHERS}) == 1


@WITH_TENTATIVE
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_told_early_survives_an_outage(options, seed):
    """All lose power between their tentative replies and the first COMMIT that arrives."""
    sim = Sim(seed, durable="mirror", **options)
    execute(sim, op=operations.put("lamp", "off"))
    settle(sim)
    sim.on_frame(lambda f: None if f.name == "COMMIT" else f)
    assert execute(sim, op=operations.put("lamp", "on"), ms=200).reply == b"\x00"
    sim.outage()
    sim.on_frame(None)
    sim.power_on_all((3, 1, 0, 2))
    handle = sim.submit(CLIENT, operations.get("lamp"), read_only=False)
    assert sim.run_until(lambda: handle.done, BOUND_MS) and handle.reply == b"\x00on"
    recover(sim)


# --- starving replicas of proposals (Berger, Reiser, Bessani) ---


@OPTIONS
@pytest.mark.parametrize("victim", [1, 2, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_starved_replica_does_not_stop_clients(options, victim, seed):
    """The primary proposes to all but one and tells clients nothing, so f + 1 correct replicas
    answer, and whom it starves. That one sees COMMITs for what it never got, asks, and gets
    proposals and batches from the other backups. No view change, nobody waits for ever."""
    sim = Sim(seed, **options)
    heard = Heard(sim)
    sim.byzantine(0)

    def starve(frame):
        if frame.name == "REPLY":
            return None
        return None if frame.dst == victim and frame.name in ("PRE-PREPARE", "REQUEST") else frame

    sim.filter_from(0, starve)
    handles = submit_some(sim, (1, 2, 3, CLIENT), 6)
    assert sim.run_until(all_done(handles), 2000)
    assert_counted_once(handles)
    helpers = {wire.sender(m) for m in heard.of("PRE-PREPARE", victim)}
    assert helpers and 0 not in helpers
    for k in range(4):
        execute(sim, victim, op=operations.put("lamp", str(k)), ms=500)
        assert read(sim).reply == b"\x00%d" % k
    assert views(sim) == [0, 0, 0]
    assert sim.run_until(lambda: len({sim.executed(i) for i in (1, 2, 3)}) == 1, 500)
    recover(sim, (0,))


@WITH_TENTATIVE
@pytest.mark.parametrize("seed", SEEDS)
def test_f_plus_1_replies_do_when_the_rest_cannot_answer(options, seed):
    """The same, and nobody can help R3: the retry of a client brings what is committed."""
    sim = Sim(seed, **options)
    sim.byzantine(0)
    sim.filter_from(0, lambda f: None if f.name == "REPLY" else f)
    sim.filter_to(3, lambda f: None if f.name in ("PRE-PREPARE", "META-DATA") else f)
    for k in range(3):
        assert execute(sim, ms=200).reply == b"\x00%d" % (k + 1)
    sim.filter_to(3, None)
    recover(sim, (0,))


@WITH_TENTATIVE
@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_state_transfer_clients_hear_of_it(options, seed):
    """R3 was away and fetches the state; who may still count replies gets one of R3, unasked."""
    sim = Sim(seed, **options)
    execute(sim)
    sim.partition([[0, 1, 2, CLIENT], [3]])
    for _ in range(7):
        execute(sim)
    heard = Heard(sim)
    sim.heal()
    assert sim.run_until(lambda: sim.executed(3) == sim.executed(0), 2000)
    sim.run(20)
    assert sim.core(3).transfer.fetched
    last = [wire.seqno(m) for m in heard.of("REPLY", CLIENT, 3)]
    assert last and last[-1] == sim.handles[-1].request_id
    recover(sim)


# --- all of it, in trouble ---


@OPTIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_under_loss_and_a_change_of_primary(options, seed):
    sim = Sim(seed, **options)
    sim.network(loss=0.1, duplicate=0.05, jitter_ms=3)
    handles = submit_some(sim, (1, 2, 3, CLIENT), 5)
    reads = [sim.submit(c, operations.get("n"), read_only=True) for c in (1, 2, 3, CLIENT)]
    sim.run(60)
    sim.crash(0)
    assert sim.run_until(all_done(handles + reads), 3 * BOUND_MS)
    assert_counted_once(handles)
    sim.restart(0)
    recover(sim)


@OPTIONS
@pytest.mark.parametrize("seed", SEEDS)
def test_a_view_begins_without_proposals_of_the_first(options, seed):
    sim = Sim(seed, **options)
    sim.on_frame(without_proposals)
    handles = submit_some(sim, (1, 2, CLIENT), 2)
    reads = [sim.submit(c, operations.get("n"), read_only=True) for c in (3, 0)]
    assert sim.run_until(all_done(handles + reads), BOUND_MS)
    recover(sim)
