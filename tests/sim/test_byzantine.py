"""Each behaviour does on the air what it claims, and the group stays safe and live beside it.

F67, the negative control: with more than f faulty replicas the oracles must find something.
"""

import pytest

from tinybft import wire
from tools.simulate import operations
from tools.simulate.byzantine import behaviours
from tools.simulate.fields import Fields, claim_offset
from tools.simulate.sim import Sim, Violation

PATIENCE_MS = 20000


class Air:
    """Frames as receivers get them, behind all filters; and what scripts inject, as it leaves."""

    def __init__(self, sim):
        self.sim = sim
        self.frames = []
        self.injected = []
        sim.on_frame(self.see)
        send_as = sim.send_as

        def sent(i, dst, message):
            self.injected.append((i, dst, message))
            send_as(i, dst, message)

        sim.send_as = sent

    def see(self, frame):
        self.frames.append(frame)
        return frame

    def of(self, sender, *kinds):
        return [f for f in self.frames if f.src == sender == f.sender and f.type in kinds]

    def to(self, receiver, sender, *kinds):
        return [f for f in self.of(sender, *kinds) if f.dst == receiver]


def beside(name, i, seed=1, replicas=4):
    sim = Sim(seed, replicas)
    sim.byzantine(i, name)
    return sim, Air(sim)


def load(sim, ms=400, clients=None):
    """Operations of all correct clients, one after the other."""
    ids = [c for c in range(sim.client_count) if sim.is_correct(c)]
    return sim.throughput(ms, clients or ids)


def cut_off(sim, i, ms=1500):
    """Nobody hears `i`, long enough for a view change; there is load the while."""
    sim.partition([[i], [j for j in sim.replicas if j != i]])
    for client in range(sim.client_count):
        if sim.is_correct(client) and client != i:
            sim.submit(client, operations.increment("n"))
    sim.run(ms)
    sim.heal()


# --- what each one does


def test_mute():
    sim, air = beside("mute", 2)
    assert load(sim)
    assert not [f for f in air.frames if f.src == 2]


def test_mute_as_primary():
    sim, air = beside("mute_as_primary", 0)
    load(sim, 1200)
    assert not air.of(0, wire.PRE_PREPARE) and air.of(0, wire.STATUS)
    assert sim.view(1) == 1
    assert load(sim)


def test_withhold():
    sim, air = beside("withhold", 0)
    assert load(sim)
    assert {f.dst for f in air.frames if f.src == 0} == set(range(5)) - {0} - victims(air)
    assert len(victims(air)) == 1


def victims(air):
    return {1, 2, 3} - {f.dst for f in air.frames if f.src == 0}


def test_slow():
    sim, _ = beside("slow", 0)
    handle = sim.submit(4, operations.increment("n"))
    assert sim.run_until(lambda: handle.done, 1000)
    assert 890 < handle.latency_ms < 1000
    assert sim.view(1) == 0, "not late enough to be replaced"


def test_starve():
    sim, air = beside("starve", 0)
    handles = [sim.submit(c, operations.increment("n")) for c in range(1, 5)]
    sim.run(500)
    starved = [h for h in handles if not h.done]
    assert len(starved) == 1
    assert sim.run_until(lambda: starved[0].done, 3000)
    assert sim.view(1) >= 1, "replaced for the sake of one client"
    relayed = [f for f in air.frames if f.src == 0 and f.type == wire.REQUEST]
    assert starved[0].client not in {f.sender for f in relayed}


def test_equivocate():
    sim, air = beside("equivocate", 0)
    load(sim, 500)
    batches, votes = {}, {}
    for frame in air.of(0, wire.PRE_PREPARE):
        batches.setdefault((frame.view, frame.seqno), set()).add(body(sim, frame))
    for _, target, message in air.injected:
        votes.setdefault((wire.view(message), wire.seqno(message)), set()).add(message[16:48])
        assert target in (1, 2, 3) and message[1] == wire.COMMIT
    assert max(len(b) for b in batches.values()) == 2
    assert max(len(v) for v in votes.values()) == 2


def body(sim, frame):
    return frame.bytes[16 : sim.wire_of_group.body_end(frame.bytes)]


def test_odd_one_of_an_equivocation_follows():
    """It was given another batch than the others: it executes theirs, and never says PREPARE
    twice (S5 looks at that)."""
    sim = Sim(seed=1)
    sim.byzantine(0)

    def tell_apart(frame):
        if frame.type == wire.PRE_PREPARE and frame.dst == 3:
            fields = Fields(sim, frame.bytes)
            fields.fixed = fields.fixed[:4] + b"\x07\x00"
            return frame.replaced(sim.seal(0, fields.octets()))
        return frame

    sim.filter_from(0, tell_apart)
    handle = sim.submit(4, operations.increment("n"))
    assert sim.run_until(lambda: handle.done, 500)
    sim.run(100)
    assert [sim.executed(i) for i in (1, 2, 3)] == [1, 1, 1]
    assert sim.view(3) == 0
    sim.check()


def test_lie_proposal():
    sim, air = beside("lie_proposal", 0, seed=2)
    load(sim, 1200)
    per_seqno = {}
    for frame in air.of(0, wire.PRE_PREPARE):
        per_seqno.setdefault((frame.view, frame.seqno), set()).add(body(sim, frame))
    assert any(len(bodies) > 1 for bodies in per_seqno.values())
    assert load(sim)


def test_lie_forwarded():
    sim, air = beside("lie_forwarded", 2)
    load(sim)
    sent = [m for source, _, m in air.injected if source == 2]
    assert sent and {m[1] for m in sent} == {wire.PRE_PREPARE}
    assert {wire.sender(m) for m in sent} == {2}
    assert sum(sim.faults(i)["mac"] for i in (0, 1, 3)) == 0


def test_lie_reply():
    sim, air = beside("lie_reply", 2)
    assert load(sim)
    client = [f for f in air.to(4, 2, wire.REPLY)]
    true = {f.seqno: body(sim, f) for f in air.to(4, 1, wire.REPLY)}
    assert client and all(body(sim, f) != true.get(f.seqno) for f in client)
    assert [m for _, target, m in air.injected if m[1] == wire.REPLY]


def test_big_mac():
    sim, _ = beside("big_mac", 2)
    sim.submit(2, operations.increment("n"))
    sim.run(1000)
    assert sum(sim.faults(i)["mac"] for i in (0, 1, 3)) > 0
    assert load(sim)


def test_lie_checkpoint():
    sim, air = beside("lie_checkpoint", 2)
    assert load(sim)
    true = {f.seqno: f.bytes[16:48] for f in air.of(1, wire.CHECKPOINT)}
    lies = [f for f in air.of(2, wire.CHECKPOINT) if f.seqno in true]
    assert lies and all(f.bytes[16:48] != true[f.seqno] for f in lies)
    far = [wire.seqno(m) for _, _, m in air.injected]
    assert max(far) > sim.stable(0) + 100
    assert sim.stable(0) > 0


def test_lie_transfer():
    sim, air = beside("lie_transfer", 1, seed=4)
    load(sim)
    sim.crash(3)
    load(sim)
    sim.restart(3)
    assert sim.run_until(lambda: sim.executed(3) >= sim.stable(0) > 0, 5000)
    assert sim.faults(3)["transfer"] + sim.faults(3)["not_needed"] > 0
    assert air.to(3, 1, wire.META_DATA, wire.DATA)
    sim.check()


def test_lie_view_change():
    lies = 0
    for seed in range(1, 6):
        sim, air = beside("lie_view_change", 2, seed)
        honest = {}
        own = sim.core(2).view_change

        def note(frame, air=air, own=own, honest=honest):
            stored = bytes(own.buf[own.at(2) : own.at(2) + wire.length_at(own.buf, own.at(2))])
            if frame.src == 2 and frame.type == wire.VIEW_CHANGE:
                honest[frame.view] = stored
            return air.see(frame)

        sim.on_frame(note)
        load(sim, 100)
        cut_off(sim, 0)
        for frame in air.of(2, wire.VIEW_CHANGE):
            lies += body(sim, frame) != honest[frame.view][16 : 16 + len(body(sim, frame))]
        assert sim.view(1) >= 1 and load(sim)
    assert lies > 5


def test_lies_in_p_name_batches_that_do_not_exist():
    from tools.simulate import byzantine_views
    from tools.simulate.adversary import Adversary

    sim, air = beside("mute", 2)
    load(sim, 50)
    cut_off(sim, 0)
    fields = Fields(sim, air.of(1, wire.VIEW_CHANGE)[0].bytes)
    adversary = Adversary(sim, 2)
    byzantine_views._false_batch(adversary, fields, adversary.random)
    known = {bytes(b.digest) for b, _ in sim.oracles.chain.values() if b}
    assert any(entry[5:] not in known for entry in fields.lists["p"])
    assert all(1 <= claim_offset(entry) <= sim.config.WINDOW for entry in fields.lists["p"])


def test_lie_new_view():
    lies = refused = 0
    for seed in range(1, 7):
        sim, air = beside("lie_new_view", 1, seed)
        load(sim, 100)
        cut_off(sim, 0)
        own = sim.core(1).new_view
        for frame in air.of(1, wire.NEW_VIEW):
            true = bytes(own._buf[own._at + 16 : own._at + 16 + len(body(sim, frame))])
            lies += body(sim, frame) != true
        refused += sum(sim.faults(i)["new_view"] + sim.faults(i)["field"] for i in (0, 2, 3))
        assert sim.check_liveness(PATIENCE_MS)
        sim.check()
    assert lies > 2 and refused > 0


def test_view_change_storm():
    sim, air = beside("view_change_storm", 2)
    assert load(sim)
    views = [wire.view(m) for _, _, m in air.injected]
    assert len(views) > 10 and max(views) > 10
    assert sim.view(0) == 0, "one alone changes no view"


def test_ack_liar():
    sim, air = beside("ack_liar", 1)
    load(sim, 100)
    cut_off(sim, 0)
    sim.run(200)
    acks = [m for _, _, m in air.injected if m[1] == wire.VIEW_CHANGE_ACK]
    assert {m[16] for m in acks} == {0, 1, 2, 3}
    assert [m for _, _, m in air.injected if m[1] == wire.NEW_VIEW]
    assert sim.check_liveness(PATIENCE_MS)


def test_lie_status():
    sim, air = beside("lie_status", 2)
    assert load(sim)
    marks = {(f.view, f.seqno) for f in air.of(2, wire.STATUS)}
    assert len(air.of(2, wire.STATUS)) > 3 * len(air.of(1, wire.STATUS)) / 2
    assert any(view > 0 or seqno > sim.stable(0) + 100 for view, seqno in marks)


def test_replay():
    sim, air = beside("replay", 2)
    load(sim)
    sent = {f.bytes for f in air.frames}
    assert len(air.injected) > 50
    assert all(m in sent for _, _, m in air.injected)


def test_flood():
    sim, air = beside("flood", 2)
    assert load(sim)
    kinds = {m[1] for _, _, m in air.injected}
    assert {wire.PREPARE, wire.COMMIT, wire.CHECKPOINT, wire.FETCH, wire.REQUEST} <= kinds
    assert len(air.injected) > 300
    assert all(wire.sender(m) == 2 for _, _, m in air.injected), "its own identity alone"


def test_mutate():
    lines = []
    sim = Sim(seed=4, trace=lines.append)
    sim.byzantine(2, "mutate")
    load(sim)
    assert [line for line in lines if "mutated" in line]
    assert sum(sim.faults(i)["mac"] for i in (0, 1, 3)) == 0, "good tags all of them"


def test_erratic():
    lines = []
    sim = Sim(seed=4, trace=lines.append)
    sim.byzantine(2, "erratic")
    sim.run(2600)
    assert len({line.split("behaves: ")[1] for line in lines if "behaves" in line}) > 2


def test_another_behaviour_ends_the_former():
    sim, air = beside("flood", 2)
    load(sim, 50)
    sim.byzantine(2, "mute")
    sim.run(10)
    air.injected.clear()
    air.frames.clear()
    load(sim, 50)
    assert not air.injected and not [f for f in air.frames if f.src == 2]


# --- what the group makes of it


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize("name", sorted(behaviours))
def test_safe_and_live_beside(name, i):
    """Load, a view change, load; then every correct client is answered."""
    sim, _ = beside(name, i, seed=10 + i)
    sim.on_frame(None)
    load(sim, 150)
    cut_off(sim, 2 if i == 0 else 0, 1200)
    load(sim, 150)
    assert sim.check_liveness(PATIENCE_MS)["operations"]
    sim.check()


def test_two_of_seven_and_three_of_ten_may_lie():
    for replicas, liars in ((7, (0, 3)), (10, (0, 1, 5))):
        sim = Sim(seed=2, replicas=replicas)
        for i in liars:
            sim.byzantine(i, "equivocate")
        for client in range(replicas, sim.client_count):
            sim.submit(client, operations.increment("n"))
        assert sim.check_liveness(PATIENCE_MS)["operations"]
        sim.check()


# --- F67: what may not work


def test_f67_two_of_four_break_safety():
    """An equivocating primary and a backup that votes for whatever each was told: S1 breaks."""
    found = set()
    for seed in range(1, 6):
        sim = Sim(seed=seed)
        sim.byzantine(0, "equivocate")
        sim.byzantine(3, "equivocate")
        try:
            load(sim, 300, clients=[1, 2, 4])
            sim.run(100)
            sim.check()
        except Violation as violation:
            found.add(violation.oracle)
    assert "S1" in found, found


def test_f67_one_of_four_does_not():
    for seed in range(1, 6):
        sim = Sim(seed=seed)
        sim.byzantine(0, "equivocate")
        load(sim, 300)
        sim.check()


def test_f67_more_than_f_crashed_stop_the_group_and_nothing_else():
    """f + 1 silent: no answer, no violation; as soon as one of them is back, both are well."""
    sim = Sim(seed=3)
    load(sim, 100)
    sim.freeze(2)
    sim.freeze(3)
    handles = [sim.submit(c, operations.increment("n")) for c in (0, 1, 4)]
    sim.run(3000)
    assert not any(h.done for h in handles)
    sim.check()
    sim.thaw(2)
    assert sim.run_until(lambda: all(h.done for h in handles), PATIENCE_MS)
    sim.thaw(3)
    assert sim.check_liveness(PATIENCE_MS)
