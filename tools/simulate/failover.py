"""Crash of the primary under load, its return with empty memory, and its deciding vote.

    crash of the primary      ->  the next operation is acknowledged: the gap
    restart, empty            ->  it has fetched the state and is in step: the return
    freeze of f others        ->  an operation is acknowledged, which needs its vote: the vote
    thaw                      ->  all are in step again: the next round may begin

The simulated half of `tinybft bench --failover`. Seed s is one group at one loss rate, which
lives through all rounds. Each node that runs has one operation outstanding, the next follows at
once. What counts as acknowledged was submitted after the crash, or after the others froze, so
nothing that the dead or silent said can have helped. Times are virtual.

Before its vote is asked for, a stable checkpoint covers what the crashed one had said: until
then it is one of the f faulty ones, and f more must not be silent. A round that fails is told,
everybody is brought back, and the next one follows; the run counts as violated at its end.
"""

import random
from dataclasses import asdict, dataclass, field

from tools.cluster.failover import quantiles
from tools.simulate.oracles import Violation

WORDS = "The primary crashes again and again: gap, return, deciding vote."
RADIO = 1  # Mbit/s, unless another medium is chosen

LOSSES = (0, 10, 30)  # per cent; on the radio per frame and receiver
ROUNDS = 20
WAIT_MS = 60000  # what is to happen happens within this time, or the round has failed
_DOWN_MS = 500
_BEFORE_MS = 2000  # of load before the first crash; a random part of it before the others
_GAP_TARGET = 1.5  # times request_ms: what the median gap is to stay below
_TIMES = ("REQUEST_MS", "VIEW_CHANGE_MS", "RETRY_MS", "RETRY_MAX_MS", "REPAIR_MS", "STATUS_MS")


@dataclass
class Outage:
    """One round. Times in ms; None: it did not come so far."""

    round: int
    replica: int | None = None  # None: nobody crashed, the replicas were not in step before
    view: int | None = None
    new_view: int | None = None
    gap_ms: float | None = None
    return_ms: float | None = None
    blocks_fetched: int | None = None
    covered_ms: float | None = None  # from the restart until it is no longer a faulty one
    silenced: list = field(default_factory=list)
    vote_ms: float | None = None
    at_ms: float = 0.0  # when it ended
    failure: str = ""


class Late(Exception):
    """Something did not happen within WAIT_MS. `oracle`: which one that violates."""

    def __init__(self, oracle, words):
        super().__init__(words)
        self.oracle = oracle


class Failover:
    """`run(rounds)`; `outages` has what happened, as far as it came."""

    def __init__(self, sim):
        self.outages = []
        self._sim = sim
        self._draw = random.Random(f"failover {sim.seed} {sim.replica_count}")
        self._latest = {}  # client: (handle, the period in which it was submitted)
        self._period = 0
        self._acknowledged_us = []  # when, those that were submitted in this period

    def run(self, rounds):
        """Raises Violation, that of the first round that failed when all are over."""
        first = None
        self._pass(_BEFORE_MS)
        for number in range(1, rounds + 1):
            outage = Outage(number)
            self.outages.append(outage)
            try:
                self._round(outage)
            except Late as late:
                outage.failure = str(late)
                self._sim.log(f"round {number} failed: {late}")
                first = first or Violation(self._sim, late.oracle, f"round {number}: {late}")
                self._bring_back()
            outage.at_ms = self._sim.world.now_us / 1000
        self._sim.check()
        if first:
            raise first

    def _round(self, outage):
        self._pass(self._draw.randrange(_BEFORE_MS))
        self._until(self._all_in_step, "L2", "the replicas were not in step")
        said = self._crash(outage)
        self._return(outage, said)
        self._decide(outage)

    def _bring_back(self):
        for i in self._sim.replicas:
            if not self._sim.is_up(i):
                self._sim.restart(i)
            elif self._sim.device(i).frozen:
                self._sim.thaw(i)

    # --- one round ---

    def _crash(self, outage):
        """Returns (seqno, view) up to which the crashed one may have voted."""
        sim = self._sim
        outage.view = self._view()
        outage.replica = victim = outage.view % sim.replica_count
        core = sim.core(victim)
        said = max(core.agreement.last_seen, core.progress.last_executed), core.progress.view
        sim.log(f"round {outage.round}: the primary of view {outage.view} crashes")
        before = sim.world.now_us
        sim.crash(victim)
        self._begin_period()
        self._until(self._is_acknowledged, "L1", "no operation was acknowledged after the crash")
        outage.gap_ms = self._ms_since(before)
        outage.new_view = self._view()
        sim.log(f"next operation after {outage.gap_ms:.0f} ms, in view {outage.new_view}")
        self._pass(max(0, _DOWN_MS - outage.gap_ms))
        return said

    def _return(self, outage, said):
        sim, replica = self._sim, outage.replica
        before = sim.world.now_us
        sim.restart(replica)
        words = f"R{replica} did not come back"
        self._until(lambda: self._is_in_step(replica), "L2", words)
        outage.return_ms = self._ms_since(before)
        outage.blocks_fetched = sim.core(replica).transfer.fetched
        blocks = f"{outage.blocks_fetched} blocks fetched"
        sim.log(f"R{replica} is in step after {outage.return_ms:.0f} ms, {blocks}")
        seqno, view = said

        def is_covered():
            return sim.stable(replica) >= seqno and sim.view(replica) >= view

        self._until(is_covered, "L2", f"no checkpoint of R{replica} covered {seqno}")
        outage.covered_ms = self._ms_since(before)

    def _decide(self, outage):
        """Without f others only quorums with the returned one are left."""
        sim = self._sim
        primary = self._view() % sim.replica_count
        others = [i for i in sim.replicas if i not in (outage.replica, primary)]
        first = outage.round % len(others)
        outage.silenced = sorted((others[first:] + others[:first])[: sim.fault_count])
        before = sim.world.now_us
        for i in outage.silenced:
            sim.freeze(i)
        self._begin_period()
        words = f"no operation was acknowledged with the vote of R{outage.replica}"
        self._until(self._is_acknowledged, "L2", words)
        outage.vote_ms = self._ms_since(before)
        sim.log(f"the vote of R{outage.replica} decided after {outage.vote_ms:.0f} ms")
        for i in outage.silenced:
            sim.thaw(i)

    # --- load and time ---

    def _refill(self):
        """Take note of the answers, and let every client that runs submit its next operation."""
        sim = self._sim
        for client in range(sim.client_count):
            handle, period = self._latest.get(client, (None, 0))
            if handle and not (handle.done or handle.lost):
                continue
            if handle and handle.done and period == self._period:
                self._acknowledged_us.append(sim.world.now_us)
            self._latest.pop(client, None)
            if sim.is_up(client) and not sim.device(client).frozen:
                handle = sim.submit(client, sim.sample_operation(self._draw))
                self._latest[client] = handle, self._period

    def _begin_period(self):
        self._period += 1
        self._acknowledged_us = []

    def _is_acknowledged(self):
        return bool(self._acknowledged_us)

    def _pass(self, ms):
        self._sim.run_until(self._refill, ms)

    def _until(self, condition, oracle, words):
        """Load until condition() holds; Late if that takes too long."""

        def holds():
            self._refill()
            return condition()

        if not self._sim.run_until(holds, WAIT_MS):
            raise Late(oracle, f"{words} within {WAIT_MS / 1000:g} s")

    def _ms_since(self, before_us):
        return round((self._sim.world.now_us - before_us) / 1000, 1)

    # --- who is in step ---

    def _running(self):
        sim = self._sim
        return [i for i in sim.replicas if sim.is_up(i) and not sim.device(i).frozen]

    def _view(self):
        """The latest view that is active somewhere."""
        progresses = [self._sim.core(i).progress for i in self._running()]
        return max((p.view for p in progresses if p.active), default=0)

    def _is_in_step(self, i):
        """It takes part in the view and in the window of all."""
        sim = self._sim
        core = sim.core(i)
        progress = core.progress
        if not progress.active or core.transfer.running or progress.view != self._view():
            return False
        floor = max((sim.stable(k) for k in self._running() if k != i), default=0)
        return progress.last_executed >= floor

    def _all_in_step(self):
        return all(self._is_in_step(i) for i in self._sim.replicas)


# --- as a campaign ---


def seeds(_job):
    return range(1, 1 + len(LOSSES))


def loss_of(seed):
    """Per cent."""
    return LOSSES[(seed - 1) % len(LOSSES)]


def label(job):
    return f"{loss_of(job.seed)} % loss"


def plan(_sim, _job):
    return None


def play(sim, job, plan):  # noqa: ARG001
    """A Violation carries what was measured as `measured`."""
    rounds = job.rounds or ROUNDS
    sim.network(loss=loss_of(job.seed) / 100)
    failover = Failover(sim)
    try:
        failover.run(rounds)
    except Violation as violation:
        violation.measured = _measured(sim, job, rounds, failover)
        raise
    return _measured(sim, job, rounds, failover)


def _measured(sim, job, rounds, failover):
    views = [sim.view(i) for i in sim.replicas]
    return {
        "loss": loss_of(job.seed),
        "rounds": rounds,
        "view_changes": max(views),
        "times": {name.lower(): getattr(sim.config, name) for name in _TIMES},
        "outages": [asdict(outage) for outage in failover.outages],
    }


def figures(results):
    """One row per loss rate: {loss, rounds, recovered, returned, voted, quantiles, ...}."""
    rows = []
    for loss in LOSSES:
        runs = [r for r in results if r.liveness and r.liveness["loss"] == loss]
        if runs:
            rows.append(_row(loss, runs))
    return rows


def _row(loss, runs):
    outages = [outage for r in runs for outage in r.liveness["outages"]]
    gaps, returns, votes, blocks, covered = (
        sorted(outage[name] for outage in outages if outage[name] is not None)
        for name in ("gap_ms", "return_ms", "vote_ms", "blocks_fetched", "covered_ms")
    )
    times = runs[0].liveness["times"]
    return {
        "loss": loss,
        "radio": runs[0].job.radio,
        "times": times,
        "rounds": sum(r.liveness["rounds"] for r in runs),
        "operations": sum(r.operations for r in runs),
        "virtual_s": sum(r.virtual_ms for r in runs) / 1000,
        "recovered": len(gaps),
        "returned": len(returns),
        "voted": len(votes),
        "gap_ms": quantiles(gaps),
        "return_ms": quantiles(returns),
        "blocks_fetched": quantiles(blocks),
        "covered_ms": quantiles(covered),
        "vote_ms": quantiles(votes),
        "median_gap_target_ms": _GAP_TARGET * times["request_ms"],
        "outages": outages,
    }


def report(results):
    """A table per loss rate."""
    rows = figures(results)
    if rows:
        medium = f"radio at {rows[0]['radio']} Mbit/s" if rows[0]["radio"] else "ideal network"
        times = ", ".join(f"{name} {value}" for name, value in rows[0]["times"].items())
        yield f"{medium}; {times}"
    for row in rows:
        yield ""
        heading = f"{row['loss']} % loss"
        yield f"{heading:<34}{'k of n':>9}{'min':>8}{'median':>8}{'p90':>8}{'max':>8}"
        for words, count, name in (
            ("crash to next operation, ms", "recovered", "gap_ms"),
            ("restart, empty, to in step, ms", "returned", "return_ms"),
            ("  blocks fetched", "returned", "blocks_fetched"),
            ("first deciding vote, ms", "voted", "vote_ms"),
        ):
            share = f"{row[count]}/{row['rounds']}"
            quantities = (row[name] or {}).values()
            yield f"{words:<34}{share:>9}" + "".join(f"{value:>8.0f}" for value in quantities)
        if row["gap_ms"]:
            target = row["median_gap_target_ms"]
            met = "met" if row["gap_ms"]["median"] < target else "missed"
            yield f"target: a median gap below {target:.0f} ms: {met}"
        for outage in row["outages"]:
            if outage["failure"]:
                at = outage["at_ms"]
                yield f"round {outage['round']}, {at:.0f} ms: {outage['failure']}"
