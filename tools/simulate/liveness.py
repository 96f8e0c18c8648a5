"""Oracles L1 to L3: what must come true once faults have stopped.

L1  every pending operation of a correct client is answered
L2  all correct replicas that are on reach one seqno, and can cast the deciding vote: for each
    of them an operation completes while all that the group can spare are silent. Who abstains
    for want of memory that it can trust is given the operations that it needs to rejoin
L3  at most f + 1 view changes happen on the way

And S8: what clients accepted is executed by all of them.
"""

from tools.simulate.oracles import Violation


class Liveness:
    def __init__(self, sim):
        self._sim = sim
        self.operations_to_settle = 0
        self.operations_to_rejoin = 0

    def check(self, ms):
        """See Sim.check_liveness; {"answered_ms", "settled_ms", "view_changes", ...}."""
        sim = self._sim
        begin = sim.now_ms
        view = max((sim.view(i) for i in sim.correct_replicas()), default=0)
        handles = [h for h in sim.handles if not h.done and self._counts(h)]
        late = [h for h in handles if sim.abstains(h.client)]
        handles = [h for h in handles if h not in late]
        if not handles:
            handles = [sim.submit(self._some_client(), sim.sample_operation(), False)]
        self._answers(handles, ms)
        answered_ms = sim.now_ms - begin
        self._settle(ms)
        settled_ms = sim.now_ms - begin
        views = max(sim.view(i) for i in sim.correct_replicas()) - view
        limit = sim.fault_count + 1
        if sim.config.DURABLE:
            # Who lost power cannot tell an own request of before from one that a primary made
            # up: two of them in one batch, and only a new view goes on (batches.py).
            limit += 1
        if views > limit:
            self._fail("L3", f"{views} view changes after faults stopped, at most {limit} are due")
        self._rejoin(ms)
        self._answers(late, ms)
        self._deciding_votes(ms)
        if not sim.run_until(lambda: not sim.oracles.linear.early, ms):
            sim.oracles.linear.check_survival()
        self._settle(ms)
        sim.oracles.check_survival()
        return {
            "operations": len(handles),
            "answered_ms": answered_ms,
            "settled_ms": settled_ms,
            "operations_to_settle": self.operations_to_settle,
            "operations_to_rejoin": self.operations_to_rejoin,
            "view_changes": views,
            "latencies_ms": [h.latency_ms for h in handles if h.done],
        }

    def _answers(self, handles, ms):
        if not self._sim.run_until(lambda: all(h.done or h.lost for h in handles), ms):
            left = [h for h in handles if not (h.done or h.lost)]
            self._fail("L1", f"{len(left)} operations unanswered after {ms} ms, as {left[0]}")

    def _counts(self, handle):
        client = handle.client
        return not handle.lost and self._sim.is_up(client) and self._sim.is_correct_client(client)

    def _some_client(self):
        """An external client if there is one, else a correct replica that is on."""
        sim = self._sim
        ids = [*range(sim.replica_count, sim.client_count), *sim.replicas]
        sound = (i for i in ids if sim.is_up(i) and sim.is_correct_client(i))
        return next(i for i in sound if not sim.abstains(i))

    def _settle(self, ms):
        """All correct replicas at one seqno: at once, or with the next checkpoint.

        A replica alone in a higher view, to which the faulty primary of the others says nothing,
        has 2f COMMITs of their last batches and never more; it comes back by the checkpoint that
        some more operations bring.
        """
        sim = self._sim
        ids = sim.correct_replicas()

        def is_level():
            return len({sim.executed(i) for i in ids}) == 1

        if sim.run_until(is_level, ms // 4):
            return
        for _ in range(2 * sim.config.CHECKPOINT_INTERVAL):
            self.operations_to_settle += 1
            handle = sim.submit(self._some_client(), sim.sample_operation(), False)
            if sim.run_until(lambda h=handle: h.done, ms) and sim.run_until(is_level, ms // 8):
                return
        where = ", ".join(f"R{i} {sim.executed(i)}" for i in ids)
        self._fail("L2", f"replicas stay apart after {ms} ms: {where}")

    def _rejoin(self, ms):
        """Nobody abstains any more once two windows are filled, and peers told of that."""
        sim = self._sim

        def is_done():
            return not any(sim.abstains(i) for i in sim.correct_replicas())

        for _ in range(2 * sim.config.WINDOW + 2 * sim.config.CHECKPOINT_INTERVAL):
            if sim.run_until(is_done, 2 * sim.config.STATUS_MS):
                break
            self.operations_to_rejoin += 1
            handle = sim.submit(self._some_client(), sim.sample_operation(), False)
            sim.run_until(lambda handle=handle: handle.done, ms)
            self._settle(ms)
        if not sim.run_until(is_done, 2 * sim.config.STATUS_MS):
            abstaining = [i for i in sim.correct_replicas() if sim.abstains(i)]
            count = self.operations_to_rejoin
            self._fail("L2", f"{abstaining} abstain after {count} operations")

    def _deciding_votes(self, ms):
        """Each correct replica in turn stays while as many others as possible are silent."""
        sim = self._sim
        ids = sim.correct_replicas()
        quorum = sim.config.QUORUM
        spare = len(ids) - quorum
        if spare <= 0:
            return
        client = self._some_client()
        for silent in self._silences(ids, spare, client):
            before = set(sim.world.cut)
            for i in silent:
                for other in range(len(sim.world.hals)):
                    if other != i:
                        sim.world.cut |= {(i, other), (other, i)}
            handle = sim.submit(client, sim.sample_operation(), False)
            done = sim.run_until(lambda handle=handle: handle.done, ms)
            sim.world.cut = before
            if not done:
                rest = [i for i in ids if i not in silent]
                self._fail("L2", f"{rest} do not decide while {sorted(silent)} are silent")
        self._settle(ms)

    def _silences(self, ids, spare, client):
        """Sets of replicas to silence, so that each other one is needed at least once.

        The primary is left alone: a new view is not what is measured here.
        """
        sim = self._sim
        primary = sim.view(ids[0]) % sim.replica_count
        free = [i for i in ids if i not in (primary, client)]
        spare = min(spare, len(free) - 1)
        if spare <= 0:
            return []
        first = free[:spare]
        last = free[-spare:]
        return [set(first)] if set(first) == set(last) else [set(first), set(last)]

    def _fail(self, oracle, words):
        raise Violation(self._sim, oracle, words)
