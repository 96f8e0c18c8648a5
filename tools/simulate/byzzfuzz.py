"""Mutations and partitions of chosen rounds (ByzzFuzz, Winter et al., OOPSLA 2023).

A round is a communication step: all messages of one type, view and seqno. In a mutation round
the faulty replica's messages to some receivers are mutated; in a partition round nothing passes
between two groups of devices, however often it is sent again. Both are chosen by type and by
how many rounds of that type came before, so that rare types get their share.

Seed s is cell (s - 1) mod 18 of the grid: 0..2 mutation rounds x 0..2 partition rounds x small
or any scope. f replicas are faulty, the primary of view 0 in half of the runs; in half of the
runs one replica is cut off for longer than the time-out, or there would be no view changes and
transfers to mutate. Then all links open, and liveness is required.
"""

import random
from itertools import product

from tinybft import wire
from tools.simulate.fields import Fields
from tools.simulate.mutations import SCOPES, Seen, mutated
from tools.simulate.swarm import LIVENESS_MS, Fault, Plan

WORDS = "Structure-aware mutations and partitions in chosen rounds, the whole grid."

_CELLS = tuple(product(range(3), range(3), SCOPES))
_MS = 2500
_THINK_MS = 120
_ROUND_MAX = 12
_CUT_OFF_MS = (1100, 1700)  # the time-out for requests is 1000 ms


def seeds(_job):
    return range(1, 1 + 10 * len(_CELLS))


def cell(seed):
    """(mutation rounds, partition rounds, scope)"""
    return _CELLS[(seed - 1) % len(_CELLS)]


def label(job):
    mutations, partitions, scope = cell(job.seed)
    return f"{mutations} mutation rounds, {partitions} partition rounds, {scope} scope"


def plan(sim, job):
    draw = random.Random(f"byzzfuzz {sim.seed} {sim.replica_count}")
    mutations, partitions, scope = cell(sim.seed)
    ids = list(sim.replicas)
    faulty = set(draw.sample(ids[1:], sim.fault_count))
    if job.with_primary and draw.random() < 0.5:
        faulty = {0, *sorted(faulty)[1:]}
    made = Plan(job.ms or _MS, {"delay_ms": 1, "jitter_ms": draw.choice((0, 1, 5))})
    for _ in range(mutations):
        where = _round(draw, range(1, wire.TYPE_MAX + 1))
        some = tuple(sorted(draw.sample(ids, draw.randint(1, len(ids)))))
        made.faults.append(Fault("mutation", 0, 0, (*where, some, scope, tuple(sorted(faulty)))))
    for _ in range(partitions):
        group = tuple(sorted(draw.sample(ids, draw.randint(1, len(ids) - 1))))
        made.faults.append(Fault("partition_round", 0, 0, (*_round(draw, _PARTED), group)))
    if draw.random() < 0.5:
        begin = draw.randrange(made.ms // 3)
        victim = draw.choice((0, draw.choice(ids)))
        end = begin + draw.randrange(*_CUT_OFF_MS)
        made.faults.append(Fault("cut_off", begin, end, (victim,)))
    return made if job.faults is None else made.kept(job.faults)


# What is said again for ever if it does not arrive, or in another way.
_PARTED = (
    wire.REQUEST,
    wire.PRE_PREPARE,
    wire.PREPARE,
    wire.COMMIT,
    wire.CHECKPOINT,
    wire.VIEW_CHANGE,
    wire.VIEW_CHANGE_ACK,
    wire.NEW_VIEW,
)


def _round(draw, kinds):
    """(type, how many rounds of that type come before)"""
    kind = draw.choice(list(kinds))
    rare = kind in (wire.VIEW_CHANGE, wire.VIEW_CHANGE_ACK, wire.NEW_VIEW)
    return kind, draw.randrange(2 if rare else _ROUND_MAX)


class _Rounds:
    """Counts rounds as they begin, and does to each frame what is planned for its round."""

    def __init__(self, sim, faults):
        self._sim = sim
        self._numbers = {}  # (type, view, seqno): number among those of the type
        self._counts = {}
        self._mutations = [f.arguments for f in faults if f.kind == "mutation"]
        self._partitions = [f.arguments for f in faults if f.kind == "partition_round"]
        self._seen = Seen(sim)
        self.struck = 0

    def on_frame(self, frame):
        if self._sim.wire_of_group.check(frame.bytes, len(frame.bytes)):
            return frame
        where = (int(frame.type), self._number(frame))
        for kind, number, group in self._partitions:
            if (kind, number) == where and (frame.src in group) != (frame.dst in group):
                self.struck += 1
                return None
        self._seen.note(frame.bytes)
        for kind, number, receivers, scope, faulty in self._mutations:
            if (kind, number) == where and frame.src in faulty and frame.dst in receivers:
                frame = self._mutated(frame, scope)
        return frame

    def _number(self, frame):
        key = (int(frame.type), frame.view, frame.seqno)
        if key not in self._numbers:
            self._numbers[key] = self._counts.get(key[0], 0)
            self._counts[key[0]] = self._numbers[key] + 1
        return self._numbers[key]

    def _mutated(self, frame, scope):
        """The same mutation for all receivers of a message."""
        sim = self._sim
        if frame.sender != frame.src:
            return frame
        draw = random.Random(f"{sim.seed} {frame.src} {frame.bytes.hex()}")
        message, name = mutated(sim, frame.bytes, draw, self._seen, (scope,))
        if message is None:
            return frame
        self.struck += 1
        sim.log(f"{sim.name(frame.src)} to {sim.name(frame.dst)}: {frame.name}, {name} mutated")
        assert Fields(sim, frame.bytes).sender == frame.src
        receiver = sim.device(frame.dst).node_id
        return frame.replaced(sim.seal(frame.src, message, to=receiver))


def play(sim, job, plan):
    draw = random.Random(f"load {sim.seed}")
    for i, fault in enumerate(plan.faults):
        sim.log(f"planned fault {i}: {fault}")
    faulty = {i for f in plan.faults if f.kind == "mutation" for i in f.arguments[4]}
    for i in sorted(faulty):
        sim.byzantine(i)
    sim.network(**plan.network)
    rounds = _Rounds(sim, plan.faults)
    sim.on_frame(rounds.on_frame)
    for fault in plan.faults:
        if fault.kind == "cut_off":
            others = [i for i in sim.replicas if i not in fault.arguments]
            groups = [list(fault.arguments), others]
            sim.after(fault.begin_ms, lambda groups=groups: sim.partition(groups))
            sim.after(fault.end_ms, sim.heal)
    end_ms = sim.now_ms + plan.ms

    def load(client):
        if sim.now_ms < end_ms:
            if sim.is_correct_client(client) and not sim.pending(client):
                sim.submit(client, sim.sample_operation(draw))
            sim.after(draw.randrange(1, 2 * _THINK_MS), lambda: load(client))

    for client in range(sim.client_count):
        load(client)
    sim.run(plan.ms)
    sim.on_frame(None)
    sim.heal()
    sim.network(loss=0, duplicate=0, delay_ms=1, jitter_ms=1)
    measured = sim.check_liveness(LIVENESS_MS)
    sim.check()
    return measured | {"struck": rounds.struck}


def report(results):
    struck = sum(1 for r in results if r.liveness.get("struck"))
    return (f"in {struck} of {len(results)} runs at least one message was mutated or cut",)
