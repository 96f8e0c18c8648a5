"""F31, F40, F50, F52, F53, F55 to F58 with durable regions: who lost power stays correct.

A group keeps its regions in non-volatile memory; nobody waits until a replica that came back is
trusted again, for it never ceased to be. Exhaustive: `python -m tests.sim.cuts`, and
`python -m tests.sim.flips`.
"""

import pytest

from tests.sim.cuts import Course, Cut, Explorer, run_together
from tests.sim.flips import Flip, Flips
from tests.sim.load import Load, blocks_fetched, caught_up, execute, highest
from tests.sim.scenario import CLIENT, SEEDS, submit_some
from tests.sim.scenes import SCENES, settle
from tests.sim.soak import Soak
from tinybft.layout import areas
from tools.simulate import operations
from tools.simulate.campaign import Job
from tools.simulate.sim import Sim, Violation
from tools.simulate.swarm import Plan, play

LIVENESS_MS = 60000
AWAY = 2
MODES = ("mirror", "nvm", "protocol")


def make(seed, durable="mirror", **changed):
    return Sim(seed, durable=durable, **changed)


def finish(sim, load=None):
    if load:
        load.stop()
    result = sim.check_liveness(LIVENESS_MS)
    execute(sim, count=sim.config.WINDOW)
    sim.check_liveness(LIVENESS_MS)
    sim.check()
    return result


def fill(sim):
    """Most blocks of the state differ from genesis; a checkpoint is stable."""
    for i in range(6):
        execute(sim, op=operations.put(b"k%d" % i, bytes([65 + i]) * 60))
    settle(sim)


def values(sim, keys=6):
    return [execute(sim, op=operations.get(b"k%d" % i)).reply for i in range(keys)]


def assert_found(violations):
    assert not violations, "\n".join(": ".join(found) for found in violations[:5])


# --- cuts at bytes and between steps (all of them: tests/sim/cuts.py)

_LONG = ("batch", "client_table", "handover", "rejoin", "transfer", "outage")


@pytest.mark.parametrize("scene", SCENES)
def test_f50_f31_cut_at_some_bytes_of_each_scene(scene):
    tally = Explorer(Cut(scene), every=401 if scene in _LONG else 101).run()
    assert_found(tally.violations + tally.astray)
    assert tally.points >= 4 and tally.cuts >= 2 * tally.points
    assert 0 < tally.different < tally.runs


@pytest.mark.parametrize("scene", ["view_change", "handover"])
def test_f40_cut_of_each_replica_at_some_steps_of_a_view_change(scene):
    tally = Explorer(Cut(scene), every=17, steps=True).run()
    assert_found(tally.violations)
    assert tally.points > 15


@pytest.mark.parametrize("scene", ["batch", "slide", "handover", "outage"])
def test_f50_several_cut_at_random_bytes(scene):
    assert_found(run_together(Cut(scene), range(1, 13)).violations)


def test_f50_a_second_cut_during_recovery_or_after():
    tally = Explorer(Cut("slide"), every=801, seconds=2).run()
    assert_found(tally.violations + tally.astray)
    assert tally.cuts > 30


def test_cuts_that_recover_the_same_go_the_same_way():
    """Every byte of a scene, all of them run: what is left out elsewhere is nothing new."""
    tally = Explorer(Cut("operation"), every=13, sample=1).run()
    assert_found(tally.violations + tally.astray)
    assert tally.runs == tally.cuts + 1 and 0 < tally.different < tally.cuts


def test_one_cut_is_what_the_explorer_saw():
    """The command of a cut shows that very run: the air is the same, byte by byte."""
    digests = []
    for _ in range(2):
        course = Course(Cut("slide", replica=1, byte=300))
        course.plan()
        course.run()
        digests.append(course.sim.air_digest())
    assert digests[0] == digests[1]


# --- all off, one off after the other


@pytest.mark.parametrize("seed", range(2 * len(SEEDS)))
def test_f52_all_off_at_random_points_on_in_random_order(seed):
    sim = make(seed)
    load = Load(sim)
    for _ in range(6):
        sim.run_until(lambda: False, sim.random.random() * 60)
        sim.outage()
        sim.run(sim.random.choice((0, 5, 3000)))
        for i in sim.random.sample(sim.replicas, 4):
            sim.restart(i)
            sim.run(sim.random.choice((0, 0, 1, 40, 700)))
    finish(sim, load)


@pytest.mark.parametrize("seed", range(2 * len(SEEDS)))
def test_f52_of_seven(seed):
    sim = make(seed, replicas=7)
    load = Load(sim, pause_ms=20)
    for _ in range(3):
        sim.run(sim.random.randrange(1, 60))
        for i in sim.random.sample(sim.replicas, sim.random.randint(3, 7)):
            sim.crash(i)
        sim.run(sim.random.choice((1, 50, 1500)))
        sim.power_on_all(sim.random.sample(sim.replicas, 7))
    finish(sim, load)


@pytest.mark.parametrize("seed", range(len(SEEDS) + 1))
def test_f53_rolling_restarts_every_half_second(seed):
    """Nobody waits for anybody; requests are answered all the time."""
    off_ms = (0, 20, 400)[seed % 3]
    sim = make(seed)
    load = Load(sim, clients=[CLIENT])
    for turn in range(8):
        sim.crash(turn % 4)
        sim.run(off_ms)
        sim.restart(turn % 4)
        sim.run(500 - off_ms)
    assert len(sim.handles) > 25
    finish(sim, load)


@pytest.mark.parametrize("seed", SEEDS)
def test_total_outage_loses_nothing_acknowledged(seed):
    sim = make(seed)
    fill(sim)
    before = values(sim)
    handles = submit_some(sim, (CLIENT,), 5)
    sim.run_until(lambda: handles[2].done, 1000)
    acknowledged = sum(handle.done for handle in handles)
    sim.outage()
    sim.run(10000)
    sim.power_on_all(sim.random.sample(sim.replicas, 4))
    assert min(sim.stable(i) for i in sim.replicas) >= 4
    assert all(blocks_fetched(sim, i) == 0 for i in sim.replicas)
    sim.run_until(lambda: all(handle.done for handle in handles), LIVENESS_MS)
    assert [int(handle.reply[1:]) for handle in handles] == [1, 2, 3, 4, 5]
    assert values(sim) == before and acknowledged >= 3
    finish(sim)


def test_a_long_reply_survives_an_outage():
    """The client heard nothing when the operation was executed, and asks again afterwards."""
    sim = make(13)
    execute(sim, op=operations.put("long", "x" * 100))
    sim.on_frame(lambda frame: None if frame.type == "REPLY" else frame)
    handle = sim.submit(CLIENT, operations.get("long"))
    sim.run(50)
    sim.on_frame(None)
    assert min(sim.stable(i) for i in sim.replicas) == 2 and not handle.done
    sim.outage()
    sim.power_on_all()
    assert sim.run_until(lambda: handle.done, 20000)


@pytest.mark.parametrize("mode", MODES)
def test_a_single_restart_remembers_marks_and_view(mode):
    sim = make(5, mode)
    sim.crash(0)
    fill(sim)
    view, low = sim.view(AWAY), sim.stable(AWAY)
    assert view >= 1 and low >= 4
    sim.restart(AWAY)
    sim.run(1)
    assert (sim.view(AWAY), sim.stable(AWAY)) == (view, low)
    sim.restart(0)
    sim.run(2000)
    assert (blocks_fetched(sim, AWAY) == 0) == (mode != "protocol")
    finish(sim)


def test_protocol_alone_is_durable_and_power_fails_one_after_the_other():
    """The state is RAM: while a quorum runs, who restarts fetches it and contradicts nobody."""
    sim = make(6, "protocol")
    load = Load(sim, clients=[CLIENT])
    for turn in range(8):
        sim.run(sim.random.randrange(1, 60))
        sim.restart(turn % 4)
        assert caught_up(sim, turn % 4, 20000)
    finish(sim, load)


def test_time_of_the_store_is_spent_before_the_message_leaves():
    fast, slow = make(7), make(7)
    slow.store_speed()
    took = [execute(sim, count=4).latency_ms for sim in (fast, slow)]
    store = slow.device(1).store
    assert store.written and took[1] > took[0]
    finish(slow)


# --- memory that cannot be trusted


@pytest.mark.parametrize("is_on", [False, True])
def test_f55_some_bits_of_each_area_flip(is_on):
    flips = Flips(Flip(is_on=is_on))
    table = areas(flips.config)
    starts = [8 * at for name, at in table.items() if name != "size"]
    bits = sorted({*starts, *(at + 19 for at in starts), *range(0, flips.bit_count, 1301)})
    flips.run(bits)
    assert_found(flips.violations + flips.astray)
    assert sum(flips.became.values()) == len(bits)


@pytest.mark.parametrize("value", [0x00, 0xFF])
@pytest.mark.parametrize("is_on", [False, True])
def test_f56_f58_wiped_store_rejoins_by_transfer(value, is_on):
    """It says nothing that binds it until a window has passed; then its vote decides."""
    sim = make(8)
    fill(sim)
    if not is_on:
        sim.crash(AWAY)
    sim.wipe(AWAY, value)
    execute(sim)
    sim.restart(AWAY)
    assert sim.abstains(AWAY)
    assert caught_up(sim, AWAY, 10000)
    assert sim.abstains(AWAY) and blocks_fetched(sim, AWAY) > 0
    handle = sim.submit(AWAY, operations.get("k1"))
    sim.run(1500)
    assert not handle.done  # its client has forgotten which request ids it has used
    for _ in range(sim.config.WINDOW + 2):
        execute(sim)
    assert sim.run_until(lambda: not sim.abstains(AWAY), 3000)
    assert sim.run_until(lambda: handle.done, 3000)
    finish(sim)
    low = sim.stable(AWAY)
    sim.restart(AWAY)
    assert not sim.abstains(AWAY) and sim.stable(AWAY) >= low
    finish(sim)


@pytest.mark.parametrize("seed", SEEDS)
def test_f58_power_fails_while_it_rejoins(seed):
    sim = make(seed)
    fill(sim)
    sim.crash(AWAY)
    sim.wipe(AWAY)
    load = Load(sim, clients=[CLIENT], pause_ms=20)
    for _ in range(12):
        sim.cut_power_after(AWAY, sim.random.randrange(1, 4000))
        sim.restart(AWAY)
        sim.run(sim.random.randrange(1, 400))
        sim.crash(AWAY)
    sim.restart(AWAY)
    assert sim.run_until(lambda: not sim.abstains(AWAY), 20000)
    finish(sim, load)


def test_f56_the_store_of_another_replica_is_refused():
    sim = make(9)
    fill(sim)
    for i in (1, 2):
        sim.crash(i)
    sim.swap_stores(1, 2)
    sim.restart(1)
    assert not sim.is_up(1)
    sim.swap_stores(1, 2)
    sim.power_on_all()
    assert sim.is_up(1) and not sim.abstains(1)
    finish(sim)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("primary", [False, True])
def test_f56_an_old_clone_is_one_faulty_replica(seed, primary):
    """No replica can know that its memory is an old one: it counts as faulty, and the others
    take no harm, whatever it says a second time."""
    sim = make(seed)
    victim = 0 if primary else AWAY
    fill(sim)
    image = sim.clone_store(victim)
    execute(sim, count=7)
    sim.crash(victim)
    sim.put_back(victim, image)
    assert not sim.is_correct(victim)
    sim.restart(victim)
    load = Load(sim, clients=[CLIENT, 1, 3])
    sim.run(1500)
    sim.crash(1)
    sim.run(20)
    sim.restart(1)
    finish(sim, load)


def test_f56_putting_back_what_is_there_changes_nothing():
    sim = make(10)
    fill(sim)
    sim.crash(AWAY)
    sim.put_back(AWAY, sim.clone_store(AWAY))
    assert sim.is_correct(AWAY)
    sim.restart(AWAY)
    finish(sim)


@pytest.mark.parametrize("victim", [0, AWAY])
@pytest.mark.parametrize("number", range(0, 24, 24 // (2 * len(SEEDS)) or 1))
def test_f57_an_acknowledged_write_is_lost(victim, number):
    sim = make(11)
    fill(sim)
    sim.lose_write(victim, number)
    execute(sim, count=5)
    sim.restart(victim)
    load = Load(sim, clients=[CLIENT, 1, 3])
    sim.run(400)
    sim.restart(3)
    finish(sim, load)


# --- everything together


@pytest.mark.parametrize("seed", range(1, 4 * len(SEEDS) + 1))
def test_f66_power_fails_as_the_weather_changes(seed):
    job = Job(seed=seed, durable="mirror")
    sim = make(seed, command=job.command())
    play(sim, job, Plan.of(sim))


def test_f64_soak():
    soak = Soak(seed=70, durable="mirror")
    soak.run(1500)
    assert soak.struck["power"] and highest(soak.sim) > 500


# --- the oracles over boots can fail


def test_oracle_s5_holds_a_restarted_replica_to_what_it_said():
    sim = make(12)
    first, second = (sim.message("PREPARE", 1, 0, 1, bytes((i,)) * 32) for i in (1, 2))
    sim.send_as(1, -1, sim.seal(1, first))
    sim.restart(1)
    with pytest.raises(Violation, match="S5"):
        sim.send_as(1, -1, sim.seal(1, second))


def test_oracle_s5_hears_who_should_abstain():
    sim = make(12)
    sim.restart(1, wipe=True)
    with pytest.raises(Violation, match="abstains"):
        sim.send_as(1, -1, sim.seal(1, sim.message("COMMIT", 1, 0, 1, bytes(32))))


def test_oracle_s7_sees_a_window_that_moves_back_over_a_restart():
    sim = make(12)
    fill(sim)
    sim.crash(1)
    sim.put_back(1, Sim(12, durable="mirror").clone_store(1))
    sim.faulty.discard(1)
    with pytest.raises(Violation, match="moved back"):
        sim.restart(1)


def test_oracle_s8_misses_what_a_client_accepted():
    sim = make(12)
    fill(sim)
    sim.oracles.linear.told = highest(sim) + 1
    with pytest.raises(Violation, match="S8"):
        sim.oracles.check_survival()
