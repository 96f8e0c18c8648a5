"""Load for simulated groups, and what many scenarios ask about them."""

from collections import Counter

from tinybft import wire
from tools.simulate import operations


class FixedCosts:
    """What SimHal.costs wants: the same time for every message, none for anything else."""

    EXECUTED_US = 0
    CHECKPOINT_US = 0

    def __init__(self, message_us):
        self._message_us = message_us

    def message_us(self, _hal, _message):
        return self._message_us

    def submit_us(self, _length):
        return 0


class Load:
    """From now on each of `clients` has an operation outstanding, until `stop()`.

    make: called with the client's id, returns the operation; default: one of the sample.
    """

    def __init__(self, sim, clients=None, make=None, pause_ms=1):
        self._sim = sim
        self._clients = range(sim.client_count) if clients is None else clients
        self._make = make or (lambda _client: sim.sample_operation())
        self._pause_ms = pause_ms
        self._runs = True
        self._submit()

    def stop(self):
        self._runs = False

    def _submit(self):
        if self._runs:
            for client in self._clients:
                if not self._sim.pending(client):
                    self._sim.submit(client, self._make(client))
            self._sim.after(self._pause_ms, self._submit)


def execute(sim, client=4, count=1, op=None, ms=10000):
    """Have `count` operations executed one after the other; the last handle."""
    for i in range(count):
        handle = sim.submit(client, op or operations.put(b"k%d" % (i % 8), b"v%d" % sim.now_ms))
        assert sim.run_until(lambda handle=handle: handle.done, ms), f"{handle} after {ms} ms"
    return handle


def highest(sim):
    """The highest seqno that a correct replica has executed."""
    return max(sim.executed(i) for i in sim.correct_replicas())


def run_checkpoints(sim, count, ms=600000):
    """Let time pass until the group has executed `count` checkpoint intervals more."""
    goal = highest(sim) + count * sim.config.CHECKPOINT_INTERVAL
    assert sim.run_until(lambda: highest(sim) >= goal, ms), f"stands at {highest(sim)}, not {goal}"


def blocks_fetched(sim, i):
    return sim.core(i).transfer.fetched


def caught_up(sim, i, ms):
    """True once replica `i` has executed what the group has executed by now."""
    goal = highest(sim)
    return sim.run_until(lambda: sim.executed(i) >= goal, ms)


def said(sim, i):
    """(seqno, view) up to which replica `i` may have voted: what it forgets without power."""
    core = sim.core(i)
    return max(core.agreement.last_seen, core.progress.last_executed), core.progress.view


def covered(sim, i, before, ms=60000):
    """True once a restarted replica `i` is correct again: a stable checkpoint covers what it
    had `said` before, and the view in which it said it is its own again, or over. (With the
    next one off when merely what was executed is covered, S1 breaks: two have forgotten.)"""
    seqno, view = before
    return sim.run_until(lambda: sim.stable(i) >= seqno and sim.view(i) >= view, ms)


def isolate(sim, i):
    """Cut device `i` off from everybody, external clients included."""
    for other in range(len(sim.world.hals)):
        if other != i:
            sim.one_way(i, other)
            sim.one_way(other, i)


def trust_again(sim, i):
    """Count replica `i` as correct again: it has got rid of what made it faulty."""
    sim.faulty.discard(i)
    hal = sim.device(i)
    sim.oracles.forget(hal)
    mark = sim.oracles._mark(hal)
    mark.executed, mark.low = sim.executed(i), sim.stable(i)


class Air:
    """Counts what devices send: `air.count["DATA"]`; `air.of(i)["DATA"]` for one of them."""

    def __init__(self, sim):
        self.count = Counter()
        self.length = Counter()
        self._of = {}
        self._before = sim.world.on_sent
        sim.world.on_sent = self._on_sent

    def of(self, number):
        return self._of.setdefault(number, Counter())

    def _on_sent(self, hal, target, message):
        name = wire.TYPE_NAMES[message[1]] if 0 < message[1] <= wire.TYPE_MAX else "garbage"
        self.count[name] += 1
        self.length[name] += len(message)
        self.of(hal.number)[name] += 1
        self._before(hal, target, message)
