"""Each call of the scenario interface does what it says."""

import pytest

from tinybft import wire
from tinybft.service import Service
from tools.simulate import byzantine, operations
from tools.simulate.sim import EVERYBODY, Sim


@pytest.fixture
def sim():
    return Sim(seed=2)


def execute(sim, client=4, ms=5000, op=None):
    handle = sim.submit(client, op or operations.put("lamp", "on"))
    assert sim.run_until(lambda: handle.done, ms)
    return handle


def frames_of(sim):
    seen = []
    sim.on_frame(lambda frame: seen.append(frame) or frame)
    return seen


# --- time and clients


def test_run_lets_time_pass(sim):
    sim.run(250)
    assert sim.now_ms == 250


def test_run_until_stops_at_once(sim):
    assert sim.run_until(lambda: sim.now_ms >= 100, 5000)
    assert 100 <= sim.now_ms < 1200
    before = sim.now_ms
    assert not sim.run_until(lambda: False, 50)
    assert sim.now_ms == before + 50


def test_submit_is_answered(sim):
    handle = sim.submit(1, operations.put("lamp", "on"))
    assert not handle.done and handle.reply is None
    assert sim.run_until(lambda: handle.done, 1000)
    assert handle.reply == b"\x00"
    assert execute(sim, op=operations.get("lamp")).reply == b"\x00on"


def test_submit_queues_behind_what_is_outstanding(sim):
    handles = [sim.submit(2, operations.increment("n")) for _ in range(5)]
    assert sim.run_until(lambda: handles[-1].done, 5000)
    assert [h.reply for h in handles] == [b"\x00%d" % i for i in range(1, 6)]


def test_submit_refuses_what_is_too_long_or_nobody(sim):
    with pytest.raises(ValueError, match="request_length_max"):
        sim.submit(0, bytes(10000))
    with pytest.raises(ValueError, match="ids are 0..4"):
        sim.submit(5, b"x")


def test_numbers_of_the_group():
    sim = Sim(seed=1, replicas=7)
    assert (sim.replica_count, sim.fault_count, sim.client_count) == (7, 2, 8)
    assert list(sim.replicas) == list(range(7))
    assert execute(sim).done


# --- devices


def test_crash_and_restart(sim):
    execute(sim)
    sim.crash(3)
    assert sim.executed(3) == sim.view(3) == sim.stable(3) == -1
    assert sim.state_digest(3) == "" and sim.faults(3) == {}
    for _ in range(6):
        execute(sim)
    sim.restart(3)
    assert sim.executed(3) == 0  # the regions are RAM
    assert sim.run_until(lambda: sim.executed(3) >= 6, 10000)
    assert sim.check_liveness(5000)


def test_a_client_that_restarts_goes_on_with_higher_ids(sim):
    before = execute(sim, client=4)
    lost = sim.submit(4, operations.get("lamp"))
    sim.restart(4)
    assert lost.lost and not lost.done
    assert execute(sim, client=4).request_id > before.request_id


def test_operations_wait_for_a_client_that_is_off(sim):
    sim.crash(4)
    handle = sim.submit(4, operations.get("lamp"))
    sim.run(100)
    assert not handle.done
    sim.restart(4)
    assert sim.run_until(lambda: handle.done, 1000)


def test_wipe_empties_the_store(sim):
    execute(sim, client=1)
    assert any(sim.device(1).store.octets)
    sim.restart(1)
    assert any(sim.device(1).store.octets)
    sim.restart(1, wipe=True)
    assert not any(sim.device(1).store.octets)


def test_power_cut_in_the_midst_of_a_write(sim):
    sim.cut_power_after(4, 3)
    handle = sim.submit(4, operations.get("lamp"))  # reserves request ids: 8 bytes
    assert not sim.is_up(4)
    assert sim.device(4).store.written == 3
    assert handle.lost
    sim.restart(4)
    assert execute(sim, client=4).done


def test_corrupt_store_flips_bits(sim):
    execute(sim, client=4)
    before = bytes(sim.device(4).store.octets)
    sim.corrupt_store(4, 2, 0x81)
    after = bytes(sim.device(4).store.octets)
    assert after[2] == before[2] ^ 0x81
    assert after[:2] + after[3:] == before[:2] + before[3:]
    with pytest.raises(ValueError, match="store has"):
        sim.corrupt_store(4, 10**6, 1)


def test_a_node_that_distrusts_its_store_does_not_start(sim):
    for address in (0, 8):
        sim.corrupt_store(4, address, 1)
    sim.restart(4)
    assert not sim.is_up(4)
    sim.run(100)


def test_freeze_keeps_memory(sim):
    execute(sim)
    sim.run(50)
    executed = sim.executed(3)
    sim.freeze(3)
    for _ in range(8):
        execute(sim)
    assert sim.executed(3) == executed
    sim.thaw(3)
    assert sim.check_liveness(10000)


def test_clocks(sim):
    hal = sim.device(2)
    sim.run(100)
    assert hal.now_ms() == 100
    sim.clock_jump(2, 5000)
    assert hal.now_ms() == 5100
    sim.set_ticks(2, 2**30 - 10)
    assert hal.now_ms() == 2**30 - 10
    sim.run(20)
    assert hal.now_ms() == 10
    sim.clock_jump(2, -20)
    assert hal.now_ms() == 2**30 - 10
    sim.drift(2, 5)
    sim.run(1000)
    assert hal.now_ms() == 1040
    execute(sim)


def test_timers_run_on_after_the_ticks_wrapped(sim):
    for i in range(5):
        sim.set_ticks(i, 2**30 - 50)
    sim.network(loss=30)
    for _ in range(10):
        execute(sim, ms=20000)


# --- network


def test_partition_cuts_and_heal_mends(sim):
    sim.partition([[0, 1], [2, 3]])
    handle = sim.submit(4, operations.get("lamp"))
    assert not sim.run_until(lambda: handle.done, 300)
    sim.heal()
    assert sim.run_until(lambda: handle.done, 10000)


def test_partition_of_those_not_named(sim):
    """Unnamed replicas are a group of their own; unnamed clients reach everybody."""
    seen = frames_of(sim)
    sim.partition([[0, 1, 2]])
    execute(sim)
    sim.run(600)
    crossing = {(f.src, f.dst) for f in seen}
    assert (4, 3) in crossing and (4, 0) in crossing
    assert not any(3 in pair and 4 not in pair for pair in crossing)


def test_one_way(sim):
    sim.one_way(0, 3)
    seen = frames_of(sim)
    execute(sim)
    assert not [f for f in seen if (f.src, f.dst) == (0, 3)]
    assert [f for f in seen if (f.src, f.dst) == (3, 0)]
    sim.one_way(0, 3, blocked=False)
    execute(sim)
    assert [f for f in seen if (f.src, f.dst) == (0, 3)]


def test_network_delay_loss_duplicates(sim):
    sim.network(delay_ms=20, jitter_ms=0)
    assert 80 <= execute(sim).latency_ms <= 200
    sim.network(loss=1.0)
    handle = sim.submit(4, operations.get("lamp"))
    assert not sim.run_until(lambda: handle.done, 500)
    sim.network(loss=0, duplicate=100, delay_ms=1)
    assert sim.run_until(lambda: handle.done, 10000)
    sim.run(100)
    assert sim.faults(1)["not_needed"] > 0


def test_network_takes_shares_and_per_cent(sim):
    sim.network(loss=0.25, duplicate=40)
    assert (sim.world.medium.loss, sim.world.medium.duplicate) == (0.25, 0.4)
    with pytest.raises(ValueError, match="share"):
        sim.network(loss=101)
    with pytest.raises(ValueError, match="negative"):
        sim.network(delay_ms=-1)


# --- frames


def test_frame_has_the_fields_of_the_message(sim):
    seen = frames_of(sim)
    execute(sim)
    frame = next(f for f in seen if f.type == wire.PREPARE)
    assert frame.name == "PREPARE"
    assert frame.type == "PREPARE" and frame.type != "COMMIT"
    assert frame.type in (wire.PREPARE, wire.COMMIT) and frame.type in ("PREPARE", "COMMIT")
    assert (frame.src, frame.view, frame.seqno) == (frame.sender, 0, 1)
    assert frame.src in (1, 2, 3) and frame.dst != frame.src
    assert len(frame.bytes) == 16 + 32 + 3 * 8
    assert any(f.type == "PRE_PREPARE" for f in seen)


def test_on_frame_drops(sim):
    sim.on_frame(lambda f: None if f.type == "COMMIT" else f)
    handle = sim.submit(4, operations.get("lamp"))
    assert not sim.run_until(lambda: handle.done, 500)
    sim.on_frame(None)
    assert sim.run_until(lambda: handle.done, 10000)


def test_on_frame_delays_duplicates_and_changes(sim):
    def hook(frame):
        if frame.type == "REQUEST":
            return [frame.later(100), frame.later(120)]
        if frame.type == "PREPARE" and frame.dst == 2:
            spoilt = bytearray(frame.bytes)
            spoilt[-9] ^= 1
            spoilt[-17] ^= 1
            spoilt[-1] ^= 1
            frame.bytes = bytes(spoilt)
        return frame

    sim.on_frame(hook)
    assert execute(sim).latency_ms >= 100
    sim.run(50)
    assert sim.faults(2)["mac"] > 0
    assert sim.faults(0)["old_request"] + sim.faults(0)["not_needed"] > 0


def test_crash_from_within_on_frame(sim):
    def hook(frame):
        if frame.type == "COMMIT" and frame.src == 3 and sim.is_up(3):
            sim.crash(3)
        return frame

    sim.on_frame(hook)
    execute(sim)
    sim.run(50)
    assert not sim.is_up(3)


def test_filter_from_one_device(sim):
    sim.filter_from(3, lambda frame: None)
    seen = frames_of(sim)
    execute(sim)
    assert 3 not in {f.src for f in seen}


# --- adversaries


def test_byzantine_is_not_counted_as_correct(sim):
    sim.byzantine(3)
    assert not sim.is_correct(3)
    assert sim.correct_replicas() == [0, 1, 2]


def test_byzantine_behaviours(sim, monkeypatch):
    monkeypatch.setitem(
        byzantine.behaviours, "mute", lambda s, i: s.filter_from(i, lambda f: None)
    )
    sim.byzantine(3, "mute")
    seen = frames_of(sim)
    execute(sim)
    assert 3 not in {f.src for f in seen}
    called = []
    sim.byzantine(3, lambda s, i: called.append((s, i)))
    assert called == [(sim, 3)]
    with pytest.raises(ValueError, match="no behaviour"):
        sim.byzantine(3, "kind")


def test_seal_and_send_as(sim):
    sim.byzantine(1)
    message = sim.message("PREPARE", 1, 0, 1, bytes(32))
    sim.send_as(1, EVERYBODY, sim.seal(1, message, bad_for=(3,)))
    sim.send_as(1, 2, sim.seal(1, message))
    sim.run(50)
    assert sim.faults(3)["mac"] == 1
    assert sim.faults(0)["mac"] == sim.faults(2)["mac"] == 0
    assert sim.faults(2)["not_needed"] == 1


def test_seal_takes_whole_messages_too(sim):
    message = sim.message("PREPARE", 1, 0, 1, bytes(32))
    sealed = sim.seal(1, message)
    assert len(sealed) == 16 + 32 + 3 * 8
    spoilt = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    assert sim.seal(1, spoilt) == sealed
    long = bytearray(message)
    wire.put_length(long, len(long))  # not what the field means, but what one may write
    assert sim.seal(1, long) == sealed


def test_seal_for_one_receiver(sim):
    message = sim.message("FETCH", 1, 0, 2, bytes(6))
    with pytest.raises(ValueError, match="to=receiver"):
        sim.seal(1, message)
    assert sim.seal(1, message, to=0) != sim.seal(1, message, to=2)
    assert len(sim.seal(1, message, to=0)) == 16 + 6 + 8


def test_resealed_lie_is_believed(sim):
    """A message that is changed and sealed again with the sender's keys passes its tag."""
    sim.byzantine(3)

    def lie(frame):
        if frame.type == "PREPARE":
            message = bytearray(frame.bytes)
            message[20] ^= 1
            frame.bytes = sim.seal(3, message)
        return frame

    sim.filter_from(3, lie)
    execute(sim)
    assert sum(sim.faults(i)["mac"] for i in (0, 1, 2)) == 0


def test_twin_shares_identity_not_memory(sim):
    execute(sim)
    twin = sim.twin(3)
    assert twin == 5
    assert sim.executed(twin) == 0
    assert not sim.is_correct(3)
    seen = frames_of(sim)
    sim.partition([[0, 3], [1, 2, twin]])
    handle = sim.submit(1, operations.get("lamp"))
    sim.run(800)
    assert any(f.src == twin and f.sender == 3 for f in seen)
    assert not any({f.src, f.dst} == {0, twin} for f in seen)
    sim.heal()
    assert sim.run_until(lambda: handle.done, 10000)


# --- looking


def test_numbers_and_digests(sim):
    for _ in range(4):
        execute(sim)
    sim.run(50)
    assert [sim.executed(i) for i in sim.replicas] == [4] * 4
    assert [sim.stable(i) for i in sim.replicas] == [4] * 4
    assert [sim.view(i) for i in sim.replicas] == [0] * 4
    assert len({sim.state_digest(i) for i in sim.replicas}) == 1
    assert len(sim.state_digest(0)) == 64
    assert sim.faults(0)["mac"] == 0


def test_check_and_liveness(sim):
    handles = [sim.submit(i, operations.increment("n")) for i in range(5)]
    measured = sim.check_liveness(5000)
    assert all(h.done for h in handles)
    assert measured["operations"] == 5 and measured["view_changes"] == 0
    sim.check()


class Sum(Service):
    """Adds the first byte of every operation."""

    name = "sum"
    state_length = 4

    def execute(self, state, op, length, reply, ctx):
        if length == 0:
            raise ValueError("nothing to add")
        total = state.view[0] + op[0] & 255
        state.write(0, bytes((total,)), 0, 1)
        reply[0] = total
        return 1


def test_other_services():
    sim = Sim(seed=1, service=Sum)
    assert execute(sim, op=b"\x05").reply == b"\x05"
    assert execute(sim, op=b"\x07").reply == b"\x0c"
    assert sim.submit(0, b"") and sim.check_liveness(5000)


def test_on_the_radio():
    sim = Sim(seed=1, radio=11)
    handles = [sim.submit(i, operations.increment("n")) for i in range(5)]
    assert sim.run_until(lambda: all(h.done for h in handles), 10000)
    assert sim.check_liveness(10000)
    assert sim.world.medium.frame_count > 20


def test_trace_is_a_story():
    lines = []
    sim = Sim(seed=1, trace=lines.append)
    sim.log("here it begins")
    sim.network(loss=0.3)
    for _ in range(3):
        execute(sim, ms=20000)
    sim.crash(2)
    sim.restart(2)
    text = "\n".join(lines)
    for words in (
        "here it begins", "PRE-PREPARE v0 #1", "lost: ", "executed 0 -> 1", "stable 0 -> 2",
        "R2 loses power", "R2 starts",
    ):  # fmt: skip
        assert words in text
