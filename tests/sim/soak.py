"""F64: operations without end with every fault at a low rate, one at a time.

`python -m tests.sim.soak --operations 1000000 --seed 1` runs it for long; a test runs it for
some thousands. A replica that lost its memory has caught up before the next fault strikes; with
`--durable mirror` none loses it, and power is cut while they write, and for all of them at once.
"""

import argparse
import time
from collections import Counter

from tests.sim.load import Load, covered, highest, said
from tools.simulate.sim import Sim

_PAUSE_MS = 150  # on average, between the end of a fault and the next one


class Soak:
    """`run(operations)`; `struck` counts the faults by name."""

    def __init__(self, seed, replicas=4, durable=None):
        self.sim = Sim(seed=seed, replicas=replicas, durable=durable)
        self.struck = Counter()
        self._load = None

    def run(self, operations):
        """Until so many operations were executed; then everything heals. Raises Violation."""
        sim = self.sim
        faults = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("_fault_")]
        self._load = Load(sim)
        while sim.oracles.operations < operations:
            sim.run(sim.random.randrange(1, 2 * _PAUSE_MS))
            fault = sim.random.choice(faults)
            self.struck[fault.__name__[len("_fault_") :]] += 1
            fault(sim.random.randrange(sim.replica_count), sim.random.randrange(1, 400))
        self._load.stop()
        sim.run(1000)
        result = sim.check_liveness(60000)
        sim.check()
        return result

    # Each strikes replica `i` or the network, for some time.

    def _fault_loss(self, _i, ms):
        self.sim.network(loss=self.sim.random.choice((0.05, 0.3, 0.6)))
        self.sim.run(ms)
        self.sim.network(loss=0)

    def _fault_duplicates_and_jitter(self, _i, ms):
        self.sim.network(duplicate=0.5, jitter_ms=10)
        self.sim.run(ms)
        self.sim.network(duplicate=0, jitter_ms=1)

    def _fault_partition(self, i, ms):
        others = [k for k in self.sim.replicas if k != i]
        other = self.sim.random.choice(others)
        self.sim.partition([[i, other]] if ms % 2 else [[i]])
        self.sim.run(3 * ms)
        self.sim.heal()

    def _fault_one_way(self, i, ms):
        for other in self.sim.random.sample(range(self.sim.client_count), 2):
            self.sim.one_way(i, other)
        self.sim.run(3 * ms)
        self.sim.heal()

    def _fault_freeze(self, i, ms):
        self.sim.freeze(i)
        self.sim.run(4 * ms)
        self.sim.thaw(i)

    def _fault_clock(self, i, ms):
        self.sim.clock_jump(i, self.sim.random.choice((-1, 1, 20)) * ms)
        self.sim.drift(i, self.sim.random.choice((-5, 0, 5)))

    def _fault_power(self, i, ms):
        if self.sim.config.DURABLE:
            self._power_of_durable(i, ms)
            return
        before = said(self.sim, i)
        if before[1] > max(self.sim.view(k) for k in self.sim.replicas if k != i):
            return  # alone in a view that may never come: it could not get over its amnesia
        self.sim.crash(i)
        self.sim.run(ms)
        self.sim.restart(i)
        done = covered(self.sim, i, before)
        assert done, f"R{i} is at {said(self.sim, i)} after 60 s, had said {before}"

    def _power_of_durable(self, i, ms):
        """One replica amid a write, or some time; or all of them, one back after the other."""
        sim = self.sim
        if ms % 3 == 0:
            sim.cut_power_after(i, int(4000 ** sim.random.random()) - 1)
            sim.run(ms)
            sim.cut_power_after(i, -1)
        elif ms % 3 == 1:
            sim.crash(i)
            sim.run(ms)
        else:
            sim.outage()
        order = sim.random.sample(sim.replicas, sim.replica_count)
        for k in order:
            if not sim.is_up(k):
                sim.restart(k)
                sim.run(ms // 8)

    def _fault_bits(self, i, ms):
        """What one replica sends arrives damaged."""
        sim = self.sim

        def damaged(frame):
            octets = bytearray(frame.bytes)
            octets[sim.random.randrange(len(octets))] ^= 1 << sim.random.randrange(8)
            return frame.replaced(octets) if sim.random.random() < 0.5 else frame

        sim.filter_from(i, damaged)
        sim.run(ms)
        sim.filter_from(i, None)

    def _fault_replay(self, i, ms):
        """What one replica sends is heard once more, much later."""
        sim = self.sim
        sim.filter_from(i, lambda frame: [frame, frame.later(sim.random.randrange(1, 3000))])
        sim.run(ms)
        sim.filter_from(i, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--durable", help="see tools/simulate/configs.py")
    options = parser.parse_args()
    soak = Soak(options.seed, options.replicas, options.durable)
    begin = time.perf_counter()
    soak.run(options.operations)
    sim = soak.sim
    print(
        f"{sim.oracles.operations} operations, {highest(sim)} batches,"
        f" {sim.now_ms / 1000:.0f} s of virtual time, view {sim.view(0)},"
        f" {time.perf_counter() - begin:.0f} s"
    )
    print(", ".join(f"{count} x {name}" for name, count in soak.struck.most_common()))


if __name__ == "__main__":
    main()
