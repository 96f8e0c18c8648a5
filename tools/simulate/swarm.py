"""A random scenario from a seed: who fails how, what the network does, when (FAULTS.md, F66).

    plan = Plan.of(sim)             drawn from the seed alone, and from the size of the group
    outcome = play(sim, job, plan)  faults and load; then heal, and liveness is required

A plan is a list of faults. Each can be left out (`plan.kept`), which is how a failing seed is
shrunk: the others and the load stay what they are, the network's luck does not.

At most f replicas are faulty in one run: Byzantine, or switched off and back on (without
memory, while regions are RAM). The others may be slow, cut off, or have a wild clock. After the
faults a random choice of the faulty ones stays off.

Where memory is durable, power comes and goes as the weather does: any replica that is not
Byzantine may lose it, at any byte that it writes, all of them at once too.
"""

import random
from dataclasses import dataclass, field

from tools.simulate.byzantine import behaviours

LIVENESS_MS = 60000
SAFETY_MS = 4000
# Mean time between two operations of one client: some tens of operations under each fault.
_THINK_MS = 60


@dataclass
class Fault:
    """From `begin_ms` to `end_ms` (0 = for ever) `kind` strikes with `arguments`."""

    kind: str
    begin_ms: int
    end_ms: int
    arguments: tuple

    def __str__(self):
        until = f"..{self.end_ms}" if self.end_ms else ".."
        return f"{self.kind}{self.arguments} {self.begin_ms}{until} ms"


@dataclass
class Plan:
    ms: int
    network: dict
    faults: list = field(default_factory=list)
    stay_off: tuple = ()

    @classmethod
    def of(cls, sim, ms=None, with_primary=True):
        """The plan of sim.seed. with_primary: any of it may strike replica 0."""
        draw = random.Random(f"swarm {sim.seed} {sim.replica_count}")
        length = draw.randrange(SAFETY_MS // 2, 3 * SAFETY_MS // 2)
        plan = cls(ms or length, _network(draw))
        ids = list(sim.replicas if with_primary else sim.replicas[1:])
        most = sim.fault_count
        victims = draw.sample(ids, draw.choice((most, most, draw.randint(0, most))))
        for victim in victims:
            plan.faults.append(_of_victim(draw, victim, length))
        for _ in range(draw.randint(0, 4)):
            kind = draw.choice(_KINDS)
            begin = draw.randrange(length)
            end = min(length, begin + draw.randrange(10, length // 2))
            plan.faults.append(Fault(kind, begin, end, _DRAWN[kind](draw, ids)))
        plan.stay_off = tuple(sorted(v for v in victims if draw.random() < 0.3))
        if sim.config.DURABLE:
            plan.faults += _power_faults(draw, ids, length, sim.config.STATE_DURABLE)
        return plan

    def kept(self, indices):
        """The same with only these of its faults."""
        faults = [fault for i, fault in enumerate(self.faults) if i in indices]
        return Plan(self.ms, self.network, faults, self.stay_off)


def _network(draw):
    """Mostly mild: what is lost all the time hides what single faults do."""
    return {
        "loss": draw.choice((0, 0, 0.01, 0.05, 0.1, 0.2)),
        "duplicate": draw.choice((0, 0, 0.02, 0.2)),
        "delay_ms": draw.choice((0.3, 1, 1, 3)),
        "jitter_ms": draw.choice((0, 1, 1, 5, 20)),
    }


def _of_victim(draw, victim, length):
    begin = draw.randrange(length)
    if behaviours and draw.random() < 0.6:
        return Fault("byzantine", begin // 2, 0, (victim, draw.choice(sorted(behaviours))))
    end = draw.choice((0, begin + draw.randrange(1, length)))
    return Fault("crash", begin, end, (victim, draw.random() < 0.3))


def _some_partition(draw, ids):
    ids = list(ids)
    draw.shuffle(ids)
    cut = draw.randrange(1, len(ids))
    groups = [ids[:cut], ids[cut:]]
    if draw.random() < 0.25 and len(groups[1]) > 1:
        groups[1:] = [groups[1][:1], groups[1][1:]]
    return (tuple(tuple(sorted(group)) for group in groups),)


def _power_faults(draw, ids, length, has_state):
    """has_state: the state is durable too; else a group keeps it as long as a quorum is on."""
    faults = []
    for _ in range(draw.randint(1, 5) if has_state else 1):
        kind = draw.choice(_POWER_KINDS) if has_state else "rolling_restarts"
        begin = draw.randrange(length)
        end = begin + int(2000 ** draw.random())
        faults.append(Fault(kind, begin, min(end, length), _POWER_DRAWN[kind](draw, ids)))
    return faults


def _some_cut(draw, ids):
    """(replica, bytes, torn): few bytes more often than many."""
    torn = draw.choice(("old", "new", "random"))
    return draw.choice(ids), int(4000 ** draw.random()) - 1, torn


def _some_cuts(draw, ids):
    victims = draw.sample(ids, draw.randint(2, len(ids)))
    return (tuple((i, *_some_cut(draw, ids)[1:]) for i in victims),)


_POWER_DRAWN = {
    "cuts": lambda draw, ids: ((_some_cut(draw, ids),),),
    "several_cuts": _some_cuts,
    "outage": lambda draw, ids: (tuple(draw.sample(ids, len(ids))),),
    "rolling_restarts": lambda draw, ids: (tuple(draw.sample(ids, len(ids))),),
}
_POWER_KINDS = tuple(_POWER_DRAWN)
_ROLLING_MS = 500

_DRAWN = {
    "partition": _some_partition,
    "one_way": lambda draw, ids: tuple(draw.sample(ids, 2)),
    "freeze": lambda draw, ids: (draw.choice(ids),),
    "clock_jump": lambda draw, ids: (draw.choice(ids), draw.randrange(-5000, 20000)),
    "drift": lambda draw, ids: (draw.choice(ids), draw.choice((-5, 5))),
    "burst": lambda draw, ids: (draw.choice((0.3, 0.5, 0.9, 1.0)),),
}
_KINDS = tuple(_DRAWN)


class _Course:
    """One run of a plan."""

    def __init__(self, sim, plan):
        self.sim = sim
        self.plan = plan
        self.loaded = True
        self._draw = random.Random(f"load {sim.seed}")

    # What begins a fault, and what ends it.

    def begin(self, fault):
        getattr(self, "_begin_" + fault.kind)(*fault.arguments)

    def end(self, fault):
        stop = getattr(self, "_end_" + fault.kind, None)
        if stop:
            stop(*fault.arguments)

    def _begin_byzantine(self, victim, name):
        self.sim.byzantine(victim, name)

    def _begin_crash(self, victim, _wipe):
        self.sim.crash(victim)

    def _end_crash(self, victim, wipe):
        if not self.sim.is_up(victim):
            self.sim.restart(victim, wipe=wipe)

    def _begin_partition(self, groups):
        self.sim.partition(groups)

    def _end_partition(self, _groups):
        self.sim.heal()

    def _begin_one_way(self, source, receiver):
        self.sim.one_way(source, receiver)

    def _end_one_way(self, source, receiver):
        self.sim.one_way(source, receiver, blocked=False)

    def _begin_freeze(self, victim):
        if self.sim.is_up(victim):
            self.sim.freeze(victim)

    def _end_freeze(self, victim):
        if self.sim.device(victim).frozen:
            self.sim.thaw(victim)

    def _begin_clock_jump(self, victim, ms):
        self.sim.clock_jump(victim, ms)

    def _begin_drift(self, victim, percent):
        self.sim.drift(victim, percent)

    def _begin_burst(self, loss):
        self.sim.network(loss=loss)

    def _end_burst(self, _loss):
        self.sim.network(loss=self.plan.network["loss"])

    def _begin_cuts(self, cuts):
        for i, count, torn in cuts:
            if self._has_weather(i):
                self.sim.cut_power_after(i, count, torn)

    def _end_cuts(self, cuts):
        for i, _, _ in cuts:
            self.sim.cut_power_after(i, -1)
        self._power_on(i for i, _, _ in cuts)

    _begin_several_cuts = _begin_cuts
    _end_several_cuts = _end_cuts

    def _begin_outage(self, order):
        self.sim.outage(i for i in order if self._has_weather(i))

    def _end_outage(self, order):
        self._power_on(order)

    def _begin_rolling_restarts(self, order):
        """The next one every half a second (F53), to the end of all faults."""
        if self.loaded:
            if self._may_forget_state(order[0]) and self._has_weather(order[0]):
                self.sim.restart(order[0])
            order = order[1:] + order[:1]
            self.sim.after(_ROLLING_MS, lambda: self._begin_rolling_restarts(order))

    def _may_forget_state(self, i):
        """Where the state is RAM, nobody restarts until all others have fetched it: it is lost
        when the last one that has it loses power, whatever the protocol does."""
        sim = self.sim
        if sim.config.STATE_DURABLE or not sim.config.DURABLE:
            return True
        others = [core for j in sim.replicas if j != i and (core := sim.core(j))]
        return not any(core.transfer.running for core in others)

    def _has_weather(self, i):
        """It is on and correct: who is Byzantine has a story of its own."""
        return self.sim.is_up(i) and self.sim.is_correct(i)

    def _power_on(self, ids):
        """Those that the weather took; the victim of a crash waits for the crash's end."""
        crashed = {fault.arguments[0] for fault in self.plan.faults if fault.kind == "crash"}
        for i in ids:
            if not self.sim.is_up(i) and i not in crashed:
                self.sim.restart(i)

    # Load: every client submits at random moments, one operation at a time.

    def load(self, client):
        sim = self.sim
        if self.loaded:
            if sim.is_correct_client(client) and not sim.pending(client):
                sim.submit(client, sim.sample_operation(self._draw))
            sim.after(self._draw.randrange(1, 2 * _THINK_MS), lambda: self.load(client))

    def heal(self):
        """Faults stop. Who is Byzantine stays so; some of those that are off stay off."""
        sim = self.sim
        self.loaded = False
        sim.heal()
        sim.network(loss=0, duplicate=0, delay_ms=1, jitter_ms=1)
        for i in sim.replicas:
            sim.cut_power_after(i, -1)
            if sim.device(i).frozen:
                sim.thaw(i)
            if not sim.is_up(i) and (i not in self.plan.stay_off):
                sim.restart(i)


def play(sim, job, plan):
    """Load and faults for plan.ms (or job.steps steps of nodes), then heal, then liveness.

    Returns what check_liveness measured. Raises Violation.
    """
    course = _Course(sim, plan)
    for i, fault in enumerate(plan.faults):
        sim.log(f"planned fault {i}: {fault}")
    sim.network(**plan.network)
    for client in range(sim.client_count):
        course.load(client)
    for fault in plan.faults:
        sim.after(fault.begin_ms, lambda fault=fault: course.loaded and course.begin(fault))
        if fault.end_ms:
            sim.after(fault.end_ms, lambda fault=fault: course.loaded and course.end(fault))
    if job.steps is None:
        sim.run(plan.ms)
    else:
        sim.run_until(lambda: sim.world.step_count >= job.steps, plan.ms)
    course.heal()
    result = sim.check_liveness(LIVENESS_MS)
    sim.check()
    return result


# --- as a campaign ---

WORDS = "Random behaviour of f replicas, random network, random crashes (F66)."


def seeds(_job):
    return range(1, 2)


def label(_job):
    return ""


def plan(sim, job):
    drawn = Plan.of(sim, job.ms, job.with_primary)
    return drawn if job.faults is None else drawn.kept(job.faults)


def report(_results):
    return ()
