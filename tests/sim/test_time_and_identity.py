"""F52 and F53 as far as memory is volatile, F59, F61, F62, F64, F66: restarts, clocks, numbers
at the ends of their ranges, two devices with one identity, and everything together.

Regions are RAM: a replica that lost power has forgotten what it said and counts as the faulty
one until a checkpoint covers it. So here at most f of them are off or catching up at once. All
off at once (F52), cuts at every byte of the regions (F50, F31) and power lost by more than f
without waiting need non-volatile memory.
"""

import pytest

from tests.sim.load import Load, caught_up, covered, execute, highest, isolate, said
from tests.sim.soak import Soak
from tinybft.octets import put_u32
from tools.simulate import operations
from tools.simulate.campaign import Job
from tools.simulate.sim import Sim
from tools.simulate.swarm import Plan, play

_TICKS = 2**30
LIVENESS_MS = 60000


def finish(sim, load, ms=LIVENESS_MS):
    load.stop()
    result = sim.check_liveness(ms)
    sim.check()
    return result


# --- power


@pytest.mark.parametrize("seed", range(6))
def test_f52_one_at_a_time_off_and_on_at_random_points(seed):
    """Off in the midst of anything, on after a random time, at once too; the next one when
    this one has caught up."""
    sim = Sim(seed=seed)
    load = Load(sim)
    for _ in range(8):
        sim.run_until(lambda: False, sim.random.random() * 40)
        i = sim.random.choice(sim.replicas)
        before = said(sim, i)
        if before[1] > max(sim.view(k) for k in sim.replicas if k != i):
            continue  # alone in a view that may never come
        sim.crash(i)
        sim.run(sim.random.choice((0, 1, 20, 300, 2500)))
        sim.restart(i, wipe=sim.random.random() < 0.3)
        assert covered(sim, i, before), f"R{i} stands at {sim.stable(i)}, said {before}"
    finish(sim, load)


def test_f52_two_of_seven_off_and_on():
    """The same with f = 2 of 7 at once."""
    sim = Sim(seed=52, replicas=7)
    load = Load(sim, pause_ms=20)
    for _ in range(4):
        sim.run(sim.random.randrange(1, 60))
        victims = sim.random.sample(sim.replicas, 2)
        before = {i: said(sim, i) for i in victims}
        for i in victims:
            sim.crash(i)
        sim.run(sim.random.choice((1, 50, 1500)))
        for i in victims:
            sim.restart(i)
        for i in victims:
            assert covered(sim, i, before[i])
    finish(sim, load)


@pytest.mark.parametrize("seed", [53, 54, 55])
def test_f53_rolling_restarts(seed):
    """Every 0.5 s the next replica restarts, the primary too, twice round; it is waited for
    until it has caught up. Requests go on all the time."""
    sim = Sim(seed=seed)
    load = Load(sim, clients=[4])
    for turn in range(8):
        i = turn % 4
        before = said(sim, i)
        sim.restart(i)
        sim.run(500)
        assert covered(sim, i, before), f"R{i} stands at {sim.stable(i)}, said {before}"
    assert len(sim.handles) > 200
    finish(sim, load)


# --- clocks


@pytest.mark.parametrize("before_ms", [1, 100, 500, 900, 999, 1500, 2500])
def test_f59_ticks_wrap_during_an_armed_timer(before_ms):
    """The primary is silent; the ticks of all wrap while request timer, retry timer or the
    timer of the view change run. Nothing is early or late by more than without a wrap."""
    expected = _silent_primary(None)
    took = _silent_primary(before_ms)
    assert 900 < expected < 4000
    assert abs(took - expected) <= 400


def _silent_primary(before_ms):
    """Virtual ms until a request is answered in view 1."""
    sim = Sim(seed=59)
    execute(sim, count=3)
    isolate(sim, 0)
    if before_ms is not None:
        for i in range(5):
            sim.set_ticks(i, _TICKS - before_ms)
    handle = sim.submit(4, operations.put("a", "b"))
    begin = sim.now_ms
    assert sim.run_until(lambda: handle.done, 10000)
    took = sim.now_ms - begin
    if before_ms is not None:
        sim.run(3000)
        assert all(sim.device(i).now_ms() < 10**6 for i in range(5)), "no wrap"
    assert sim.view(1) == 1
    sim.heal()
    sim.check_liveness(LIVENESS_MS)
    return took


def test_f59_start_just_before_the_wrap():
    """All devices begin at 2**30 - 1000 and are loaded and idle over the wrap."""
    sim = Sim(seed=60)
    for i in range(5):
        sim.set_ticks(i, _TICKS - 1000)
    load = Load(sim, pause_ms=10)
    sim.run(900)
    before = highest(sim)
    sim.run(400)
    assert all(sim.device(i).now_ms() < 1000 for i in range(5))
    assert highest(sim) > before + 20
    load.stop()
    sim.crash(2)
    for i in (0, 1, 3, 4):
        sim.set_ticks(i, _TICKS - 1000)
    sim.restart(2)
    sim.set_ticks(2, _TICKS - 1000)
    sim.run(1500)
    assert caught_up(sim, 2, 5000)
    finish(sim, load)


@pytest.mark.parametrize(
    "jump_ms", [-(2**29), -100000, -1500, 900, 1500, 100000, 2**29 - 1, 2**29]
)
@pytest.mark.parametrize("who", ["primary", "backup", "all"])
def test_f59_jumps(jump_ms, who):
    """Clocks jump under load, forward and back, again and again."""
    sim = Sim(seed=61)
    load = Load(sim, pause_ms=10)
    devices = {"primary": [0], "backup": [2], "all": range(5)}[who]
    for _ in range(3):
        sim.run(150)
        for i in devices:
            sim.clock_jump(i, jump_ms)
    sim.run(300)
    assert highest(sim) > 20
    finish(sim, load)


@pytest.mark.parametrize("ms", [50, 900, 1500, 6000])
@pytest.mark.parametrize("who", [0, 2])
def test_f59_freezes(ms, who):
    """A processor stands still while its clock goes on, the primary's or a backup's."""
    sim = Sim(seed=62)
    load = Load(sim, clients=(1, 3, 4), pause_ms=10)
    for _ in range(2):
        sim.run(200)
        before = highest(sim)
        sim.freeze(who)
        sim.run(ms)
        sim.thaw(who)
        sim.run(500)
        assert highest(sim) > before
    finish(sim, load)


@pytest.mark.parametrize("percent", [(5, -5, 5, -5, 0), (-5, 5, 5, 5, 5), (5, 0, 0, 0, -5)])
def test_f59_drift(percent):
    """Clocks run 5 % fast and slow for a minute; agreed times stay plausible to everybody, so
    nobody leaves the view."""
    sim = Sim(seed=63)
    for i, share in enumerate(percent):
        sim.drift(i, share)
    load = Load(sim, clients=(1, 4), pause_ms=400)
    sim.run(60000)
    assert abs(sim.device(0).now_ms() - sim.device(1).now_ms()) > 2000
    assert highest(sim) > 100 and {sim.view(i) for i in sim.replicas} == {0}
    finish(sim, load)


# --- numbers


def begin_seqnos_at(sim, seqno):
    """Every replica has executed up to `seqno`, a stable checkpoint; so have the oracles."""
    sim.oracles.height = seqno
    for i in sim.replicas:
        core = sim.core(i)
        core.state.take_checkpoint(seqno)
        core.state.release_below(seqno)
        core.progress.low_mark = core.progress.last_executed = seqno
        core.checkpoints.last_taken = seqno
        mark = sim.oracles._mark(sim.device(i))
        mark.executed = mark.low = seqno


@pytest.mark.parametrize("limit", [2**30, 2**31])
@pytest.mark.parametrize("below", [2, 6])
def test_f61_seqnos(limit, below):
    """Load over the limit with a lossy network, a view change and a transfer on the way."""
    sim = Sim(seed=61)
    begin_seqnos_at(sim, limit - below)
    sim.network(loss=0.1)
    execute(sim, count=3)
    isolate(sim, 3)
    execute(sim, count=14)
    sim.heal()
    assert caught_up(sim, 3, 10000)
    isolate(sim, 0)
    execute(sim, count=3)
    sim.heal()
    sim.network(loss=0)
    assert min(sim.stable(i) for i in (1, 2, 3)) > limit and sim.view(1) >= 1
    sim.check_liveness(LIVENESS_MS)


def test_f61_last_seqnos_of_all():
    """2**32 - 1 batches: the group stops there, unharmed."""
    sim = Sim(seed=61)
    begin_seqnos_at(sim, 2**32 - 8)
    handles = [sim.submit(4, operations.increment("n")) for _ in range(12)]
    sim.run(8000)
    assert [h.done for h in handles] == [True] * 7 + [False] * 5
    assert [h.reply for h in handles[:7]] == [b"\0%d" % i for i in range(1, 8)]
    assert {sim.executed(i) for i in sim.replicas} == {2**32 - 1}
    assert sum(sim.faults(i)["seqno_exhausted"] for i in sim.replicas)
    sim.check()


def enter(sim, i, view):
    """Replica `i` asks for a view, as if it had lost patience that often."""
    hal = sim.device(i)

    def leave():
        change = hal.node.replica.core.view_change
        change.enter(view)
        change.settle()

    hal.act(leave)


@pytest.mark.parametrize("view", [2**30 - 2, 2**31 - 2, 2**32 - 8])
def test_f61_views(view):
    """The group comes to a view just below the limit by VIEW-CHANGEs, then changes view over
    it, under load, and with one replica that must be fetched up."""
    sim = Sim(seed=61)
    execute(sim, count=5)
    for i in (0, 1, 2):
        enter(sim, i, view)
    assert sim.run_until(lambda: all(sim.view(i) == view for i in sim.replicas), 5000)
    execute(sim, count=3)
    for _ in range(4):
        primary = max(sim.view(i) for i in sim.replicas) % 4
        isolate(sim, primary)
        execute(sim, client=4, count=5, ms=20000)
        sim.heal()
        assert sim.run_until(lambda: len({sim.view(i) for i in sim.replicas}) == 1, 10000)
    assert min(sim.view(i) for i in sim.replicas) >= view + 4
    sim.check_liveness(LIVENESS_MS)


def test_f61_last_view_of_all():
    """2**32 - 1 is a view like any other, only that no other follows."""
    sim = Sim(seed=61)
    execute(sim)
    for i in sim.replicas:
        enter(sim, i, 2**32 - 1)
    execute(sim, count=5)
    assert all(sim.view(i) == 2**32 - 1 for i in sim.replicas)
    isolate(sim, 3)  # its primary
    handle = sim.submit(4, operations.increment("n"))
    sim.run(20000)
    assert not handle.done and all(sim.view(i) == 2**32 - 1 for i in sim.replicas)
    sim.heal()
    sim.check_liveness(LIVENESS_MS)


@pytest.mark.parametrize("limit", [2**30 - 5, 2**31 - 5, 2**32 - 300])
def test_f61_request_ids(limit):
    """Every client has used all ids up to `limit`, says its store."""
    sim = Sim(seed=61)
    for i in range(sim.client_count):
        sim.crash(i)
        record = bytearray(8)
        put_u32(record, 0, limit)
        put_u32(record, 4, limit ^ 0xFFFFFFFF)
        sim.device(i).store.octets[:8] = record
        sim.restart(i)
    sim.network(loss=0.1)
    handles = [sim.submit(c, operations.increment(f"n{c}")) for c in range(5) for _ in range(10)]
    assert sim.run_until(lambda: all(h.done for h in handles), 20000)
    assert {h.request_id for h in handles} == set(range(limit + 1, limit + 11))
    sim.network(loss=0)
    sim.check_liveness(LIVENESS_MS)


# --- twins


def _some_partition(sim, devices):
    groups = [[], [], []]
    for device in devices:
        groups[sim.random.choice((0, 0, 0, 1, 1, 2))].append(device)
    return [group for group in groups if group]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("identity", [0, 3])
def test_f62_twins(identity, seed):
    """Two devices are one replica, the primary or a backup. Each round draws who hears whom, and
    often each twin is with other replicas. Safety holds all the time; afterwards the rest is
    live beside both of them."""
    sim = Sim(seed=620 + seed)
    twin = sim.twin(identity)
    voted = {identity: 0, twin: 0}

    def count(frame):
        if frame.src in voted and frame.type in ("PREPARE", "COMMIT", "PRE-PREPARE"):
            voted[frame.src] += 1
        return frame

    sim.on_frame(count)
    load = Load(sim, clients=[i for i in range(5) if i != identity], pause_ms=20)
    for _ in range(6):
        sim.partition(_some_partition(sim, [0, 1, 2, 3, twin]))
        sim.run(sim.random.choice((200, 800, 2500)))
    assert all(voted.values())
    sim.heal()
    sim.on_frame(None)
    finish(sim, load)


@pytest.mark.parametrize("identity", [0, 3])
def test_f62_twins_in_opposite_halves(identity):
    """Each twin has its own part, one of them a quorum of identities with only 2 f correct ones:
    nothing is due there, and what the parts do must never contradict."""
    sim = Sim(seed=62)
    twin = sim.twin(identity)
    rest = [i for i in sim.replicas if i != identity]
    load = Load(sim, clients=rest, pause_ms=20)
    for k in range(6):
        alone = rest[k % 3]
        others = [i for i in rest if i != alone]
        with_two, with_one = (identity, twin) if k % 2 else (twin, identity)
        sim.partition([[*others, with_two], [alone, with_one]])
        sim.run(3500)
    assert all(max(sim.view(i), sim.executed(i)) > 0 for i in (identity, twin))
    sim.heal()
    finish(sim, load)


# --- everything


@pytest.mark.parametrize("seed", [1, 2])
def test_f64_soak(seed):
    """Some thousands of operations with every fault in turn; `tests.sim.soak` runs more."""
    soak = Soak(seed)
    soak.run(1500)
    assert len(soak.struck) >= 4


@pytest.mark.parametrize("seed, replicas", [(101, 4), (102, 4), (103, 4), (103, 7)])
def test_f66_swarm(seed, replicas):
    """Some seeds of the swarm; `tinybft simulate --seeds A..B` runs more."""
    sim = Sim(seed=seed, replicas=replicas)
    play(sim, Job(seed), Plan.of(sim))
