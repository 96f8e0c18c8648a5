"""What a simulated group spent on the operations of a closed loop: channel, processors, messages.

`Meter` is made before and read after; everything is per operation, or a share of the time that
passed. Deterministic: no wall time enters.
"""

from collections import Counter
from statistics import mean, median

from tinybft import wire

CYCLES_PER_US = 160
CYCLES_PER_INSTRUCTION = 1.4  # tools/virt/summary.py has the same, and where it comes from


def quantile(ordered, share):
    """The value below which `share` (0..1) of the sorted values lie; None of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def latency(times_us):
    """{mean, p50, p95, p99, max} in ms."""
    ordered = sorted(times_us)
    if not ordered:
        return None
    row = {"mean": mean(ordered), "p50": median(ordered)}
    row |= {"p95": quantile(ordered, 0.95), "p99": quantile(ordered, 0.99), "max": ordered[-1]}
    return {name: round(value / 1000, 2) for name, value in row.items()}


class Meter:
    """Counts from its making on; it stays the observer of the Sim's `on_sent`."""

    def __init__(self, sim):
        self._sim = sim
        self._messages = Counter()
        self._before = sim.world.on_sent
        sim.world.on_sent = self._on_sent
        self._begin = self._totals()
        self._busy = self._processors()

    def _on_sent(self, hal, target, octets):
        self._messages[wire.TYPE_NAMES[octets[1]]] += 1
        self._before(hal, target, octets)

    def _totals(self):
        radio = self._sim.world.medium
        totals = {name: getattr(radio, name) for name in ("frame_count", "busy_us")}
        totals["collisions"] = radio.collision_count
        totals["retries"] = sum(hal.node.client.retries for hal in self._sim.world.hals)
        return totals

    def _processors(self):
        return [hal.processor_us for hal in self._sim.world.hals]

    def row(self, count, passed_us):
        """Figures per operation, of `count` that took `passed_us` together."""
        spent = {name: value - self._begin[name] for name, value in self._totals().items()}
        busy = [now - was for now, was in zip(self._processors(), self._busy, strict=True)]
        replicas = busy[: self._sim.replica_count]
        primary = self._sim.view(0) % self._sim.replica_count
        others = [us for i, us in enumerate(replicas) if i != primary]
        instructions = mean(replicas) / count * CYCLES_PER_US / CYCLES_PER_INSTRUCTION
        return {
            "frames": round(spent["frame_count"] / count, 2),
            "airtime_ms": round(spent["busy_us"] / count / 1000, 2),
            "collisions": round(spent["collisions"] / count, 3),
            "retries": round(spent["retries"] / count, 3),
            "channel": round(spent["busy_us"] / passed_us, 3),
            "processor": {
                "primary": round(replicas[primary] / passed_us, 3),
                "backups": round(mean(others) / passed_us, 3),
            },
            "instructions": round(instructions),
            "messages": {
                name: round(number / count, 2) for name, number in sorted(self._messages.items())
            },
        }
