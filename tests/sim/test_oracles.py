"""Every oracle can fail: a group that works is spoilt in one place, and the oracle says so."""

import pytest

from tinybft import wire
from tinybft.structure import Wire
from tools.simulate import operations
from tools.simulate.oracles import canonical_digest
from tools.simulate.sim import Sim, Violation


@pytest.fixture
def sim():
    return Sim(seed=4)


def execute(sim, count=1, client=4, ms=5000):
    handles = [sim.submit(client, operations.increment("n")) for _ in range(count)]
    assert sim.run_until(lambda: handles[-1].done, ms)
    return handles


def expect(oracle, action):
    with pytest.raises(Violation) as found:
        action()
    assert found.value.oracle == oracle, str(found.value)
    return found.value


def settle(sim):
    sim.run(50)
    sim.check()


def test_a_sound_group_has_no_violation(sim):
    execute(sim, 9)
    settle(sim)
    assert sim.check_liveness(2000)["operations"] == 1


def test_message_says_how_to_see_it_again(sim):
    violation = Violation(sim, "S1", "words")
    assert str(violation).startswith("S1 violated at 0.000 ms, seed 4: words")
    assert "tinybft simulate --seed 4" in str(violation)


def test_s1_another_batch(sim):
    slots = sim.core(2).slots
    run = sim.core(2).execution._execute_batch

    def spoilt(base):
        slots.buf[slots.digest_at(base)] ^= 1
        run(base)

    sim.core(2).execution._execute_batch = spoilt
    expect("S1", lambda: execute(sim) and sim.run(50))


def test_s1_two_byzantine_replicas_break_a_group_of_four(sim):
    """By the scenario interface alone: R0 and R1 speak for batch A to R2, for batch B to R3."""
    for i in (0, 1):
        sim.byzantine(i)
        sim.filter_from(i, lambda frame: None)
    for victim, name in ((2, b"A"), (3, b"B")):
        request = sim.seal(0, sim.message("REQUEST", 0, 0, 1, operations.put("k", name)))
        body = bytes((0, 0, 0, 0, 0, 0, 1, 0)) + b"\x01" + request
        proposal = sim.seal(0, sim.message("PRE-PREPARE", 0, 0, 1, body))
        digest = canonical_digest(proposal, Wire(sim.config))
        sim.send_as(0, victim, proposal)
        sim.send_as(1, victim, sim.seal(1, sim.message("PREPARE", 1, 0, 1, digest)))
        for liar in (0, 1):
            sim.send_as(liar, victim, sim.seal(liar, sim.message("COMMIT", liar, 0, 1, digest)))
    expect("S1", lambda: sim.run(50))


def test_s2_going_back(sim):
    execute(sim, 3)
    sim.run(20)
    sim.core(1).progress.last_executed -= 1
    expect("S2", sim.check)


def test_s2_a_gap(sim):
    """A replica is where no correct one has been."""
    execute(sim, 3)
    sim.run(20)
    sim.core(1).progress.last_executed += 3
    expect("S2", sim.check)


def test_s3_executed_twice(sim):
    execution = sim.core(3).execution
    once = execution._execute

    def twice(*arguments):
        once(*arguments)
        once(*arguments)

    execution._execute = twice
    expect("S3", lambda: execute(sim) and sim.run(50))


def test_s3_not_submitted(sim):
    sim.oracles._submitted = {}
    submitted = sim.oracles.submitted
    sim.oracles.submitted = lambda handle: None
    expect("S3", lambda: execute(sim))
    sim.oracles.submitted = submitted


def test_s4_a_replica_replies_something_else(sim):
    service = sim.device(1).witness._service
    right = service.execute

    def wrong(state, op, length, reply, ctx):
        length = right(state, op, length, reply, ctx)
        reply[0] ^= 1
        return length

    service.execute = wrong
    expect("S4", lambda: execute(sim) and sim.run(50))


def test_s4_a_client_accepts_something_else(sim):
    handle = execute(sim)[0]
    handle.reply = b"\x00never"
    expect("S4", lambda: sim.oracles.answered(handle))
    handle.request_id += 1
    expect("S4", lambda: sim.oracles.answered(handle))


@pytest.mark.parametrize("kind", [wire.PREPARE, wire.COMMIT])
def test_s5_two_votes(sim, kind):
    votes = [sim.message(kind, 1, 0, 1, bytes((i,)) * 32) for i in (1, 2)]
    sim.send_as(1, -1, sim.seal(1, votes[0]))
    sim.send_as(1, -1, sim.seal(1, votes[0]))
    expect("S5", lambda: sim.send_as(1, -1, sim.seal(1, votes[1])))


def test_s5_two_checkpoints_in_whatever_view(sim):
    sim.send_as(1, -1, sim.seal(1, sim.message(wire.CHECKPOINT, 1, 0, 2, bytes(32))))
    other = sim.seal(1, sim.message(wire.CHECKPOINT, 1, 5, 2, b"\x01" * 32))
    expect("S5", lambda: sim.send_as(1, -1, other))


def test_s5_a_lower_view(sim):
    sim.send_as(1, -1, sim.seal(1, sim.message(wire.PREPARE, 1, 3, 1, bytes(32))))
    lower = sim.seal(1, sim.message(wire.COMMIT, 1, 2, 1, bytes(32)))
    expect("S5", lambda: sim.send_as(1, -1, lower))


def test_s5_two_proposals(sim):
    """The same batch may travel inline or by digest; another one may not."""
    execute(sim, client=0)
    proposed = sim.message(wire.PRE_PREPARE, 0, 0, 1, bytes(8))
    expect("S5", lambda: sim.send_as(0, -1, sim.seal(0, proposed)))


def test_s5_two_view_changes_and_acks(sim):
    ack = [sim.message(wire.VIEW_CHANGE_ACK, 1, 4, 0, b"\x02" + bytes((i,)) * 32) for i in (1, 2)]
    sim.send_as(1, -1, sim.seal(1, ack[0]))
    about_another = sim.message(wire.VIEW_CHANGE_ACK, 1, 4, 0, b"\x03" + b"\x02" * 32)
    sim.send_as(1, -1, sim.seal(1, about_another))
    expect("S5", lambda: sim.send_as(1, -1, sim.seal(1, ack[1])))
    change = [sim.message(wire.VIEW_CHANGE, 2, 4, low, bytes(4)) for low in (0, 2)]
    sim.send_as(2, -1, sim.seal(2, change[0]))
    expect("S5", lambda: sim.send_as(2, -1, sim.seal(2, change[1])))


def test_s5_holds_no_restarted_replica_to_what_it_forgot(sim):
    sim.send_as(1, -1, sim.seal(1, sim.message(wire.PREPARE, 1, 0, 1, bytes(32))))
    sim.restart(1)
    sim.send_as(1, -1, sim.seal(1, sim.message(wire.PREPARE, 1, 0, 1, b"\x01" * 32)))


def test_s5_holds_no_byzantine_replica(sim):
    sim.byzantine(1)
    for i in (1, 2):
        sim.send_as(1, -1, sim.seal(1, sim.message(wire.PREPARE, 1, 0, 1, bytes((i,)) * 32)))


def test_s6_state_bytes(sim):
    execute(sim, 3)
    sim.run(20)
    sim.core(2).state.raw[500] ^= 1
    expect("S6", lambda: execute(sim, 3) and sim.run(50))


def test_s6_checkpoint_digest(sim):
    execute(sim, 4)
    sim.run(20)
    sim.oracles._root_at = {seqno: bytes(32) for seqno in sim.oracles._root_at}
    expect("S6", sim.check)


def test_s7_without_evidence(sim):
    sim.on_frame(lambda f: None if f.dst == 3 and f.type in ("CHECKPOINT", "STATUS") else f)
    execute(sim, 2)
    sim.run_until(lambda: sim.executed(3) == 2, 5000)
    assert sim.stable(3) == 0
    sim.core(3).progress.low_mark = 2
    expect("S7", sim.check)


def test_s7_evidence_of_f_plus_1_does_not_do(sim):
    """CHECKPOINTs of two others that match are not three."""
    sim.on_frame(lambda f: None if f.dst == 3 and f.type in ("CHECKPOINT", "STATUS") else f)
    execute(sim, 2)
    sim.run_until(lambda: sim.executed(3) == 2, 5000)
    digest = bytearray(32)
    sim.core(3).state.root_into(2, digest, 0)
    message = sim.message(wire.CHECKPOINT, 1, 0, 2, digest)
    sim.oracles.heard(sim.device(3), sim.seal(1, message))
    sim.core(3).progress.low_mark = 2
    expect("S7", sim.check)


def test_s7_a_window_that_moves_back_or_is_too_wide(sim):
    execute(sim, 6)
    sim.run(20)
    assert sim.stable(1) >= 4
    sim.core(1).progress.low_mark = 2
    expect("S7", sim.check)
    other = Sim(seed=5)
    other.core(1).progress.low_mark = 1
    expect("S7", other.check)


def test_s9_region_grows(sim):
    execute(sim)
    sim.device(2).node.memory.event = bytearray(17)
    expect("S9", sim.check)


def test_s10_exception_escapes(sim):
    def broken(*_):
        raise IndexError("far out")

    node = sim.device(2).node
    node._stepping = node._stepping[:3] + (broken,) + node._stepping[4:]
    violation = expect("S10", lambda: execute(sim))
    assert "IndexError" in violation.words and "R2" in violation.words


def test_l1_no_quorum(sim):
    sim.crash(2)
    sim.crash(3)
    sim.submit(4, operations.get("k"))
    expect("L1", lambda: sim.check_liveness(500))


def test_l2_one_stays_behind(sim):
    sim.partition([[0, 1, 2], [3]])
    expect("L2", lambda: sim.check_liveness(500))


def test_l2_votes_that_nobody_hears(sim):
    execute(sim, 4)
    sim.on_frame(lambda f: None if f.src == 3 and f.type in ("PREPARE", "COMMIT") else f)
    expect("L2", lambda: sim.check_liveness(500))


def test_l3_too_many_view_changes(sim):
    seen = []

    def view(i):
        seen.append(i)
        return 0 if len(seen) <= 4 else 3

    sim.view = view
    expect("L3", lambda: sim.check_liveness(500))


def test_l4_slower_than_the_share(sim):
    rate = sim.throughput(500)
    assert rate > 100
    assert sim.check_throughput(500, rate, 0.5) > rate / 2
    sim.network(delay_ms=20)
    expect("L4", lambda: sim.check_throughput(500, rate, 0.5))
