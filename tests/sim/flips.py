"""F55: one bit of the non-volatile memory of a replica flips, while it is off or while it runs.

    python -m tests.sim.flips                     every bit of every area, off and on
    python -m tests.sim.flips --every 100         every 100th
    python -m tests.sim.flips --bit 4711 --on     one of them again; --trace tells its story

The group has changed its view, has a stable checkpoint and one that is not, a batch that
executed and one that prepared, when the bit flips. Then the replica starts; or it runs on,
then restarts. Whatever it makes of that, votes on or rejoins: all oracles hold.
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

from tests.sim.children import Children
from tests.sim.scenario import BOUND_MS, CLIENT, execute, without_proposals
from tests.sim.scenes import settle, withhold
from tinybft.layout import area_rows
from tools.simulate import operations
from tools.simulate.oracles import Violation
from tools.simulate.sim import Sim

_SHOWN = 5


@dataclass(frozen=True)
class Flip:
    """Bit `bit` of the store of `replica`: number bit & 7 of byte bit >> 3."""

    bit: int = 0
    is_on: bool = False
    seed: int = 1
    durable: str = "mirror"
    replica: int = 2

    def command(self):
        words = f"python -m tests.sim.flips --seed {self.seed} --durable {self.durable}"
        words += f" --replica {self.replica} --bit {self.bit}"
        return words + (" --on" if self.is_on else "")


def group(flip, trace=None):
    """A group in which much has been said that must not be forgotten."""
    sim = Sim(flip.seed, durable=flip.durable, command=flip.command(), trace=trace)
    execute(sim)
    sim.on_frame(without_proposals)
    execute(sim)
    sim.on_frame(None)
    for i in range(4):
        execute(sim, op=operations.put(b"k%d" % i, b"v" * 100))
    settle(sim)
    if sim.executed(0) % 2 == 0:
        execute(sim)
    sim.on_frame(withhold("CHECKPOINT"))
    execute(sim)
    sim.on_frame(withhold("CHECKPOINT", "COMMIT"))
    sim.submit(CLIENT, operations.increment("n"))
    sim.run(10)
    return sim


def run_on(sim, flip):
    """The bit flips. None, or [oracle, words, command]; what became of the replica."""
    sim.command = flip.command()
    i = flip.replica
    mask = 1 << (flip.bit & 7)
    if not flip.is_on:
        sim.crash(i)
    sim.corrupt_store(i, flip.bit >> 3, mask)
    sim.on_frame(None)
    try:
        if flip.is_on:
            for _ in range(2):
                execute(sim)
        sim.restart(i)
        assert sim.is_up(i), "it does not start"
        became = "abstains" if sim.abstains(i) else "votes"
        sim.check_liveness(BOUND_MS)
        for _ in range(sim.config.WINDOW):
            execute(sim)
        sim.check_liveness(BOUND_MS)
        sim.check()
    except Violation as violation:
        return [violation.oracle, violation.words, flip.command()], ""
    except AssertionError as error:
        return ["L1", str(error), flip.command()], ""
    return None, became


class Flips:
    """`run(bits)`: all of these flip, each in a group of its own."""

    def __init__(self, flip, jobs=None):
        self.violations = []
        self.became = Counter()
        self._flip = flip
        self._sim = group(flip)
        self._children = Children(self._add, jobs)
        self.config = self._sim.config
        self.bit_count = 8 * self._sim.device(flip.replica).store.size
        self._area_of = _area_of(self.config)

    def run(self, bits):
        for bit in bits:
            flip = replace(self._flip, bit=bit)
            self._children.run(lambda flip=flip: (flip.bit, *run_on(self._sim, flip)))
        self._children.wait()
        return self

    def _add(self, result):
        bit, violation, became = result
        if violation:
            self.violations.append(violation)
        else:
            self.became[self._area_of(bit >> 3), became] += 1


def _area_of(config):
    rows = area_rows(config)

    def area_of(address):
        for name, length, _ in rows:
            if address < length:
                return name
            address -= length
        return "behind"

    return area_of


def main(arguments=None):
    """Exit code 1 if there was a violation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durable", default="mirror", help="see tools/simulate/configs.py")
    parser.add_argument("--replica", type=int, default=2, help="whose memory it is")
    parser.add_argument("--every", type=int, default=1, help="every N-th bit only")
    parser.add_argument("--jobs", type=int, default=None, help="processes; default: one per core")
    parser.add_argument("--bit", type=int, help="this one alone")
    parser.add_argument("--on", action="store_true", help="flip it while the replica runs")
    parser.add_argument("--trace", action="store_true", help="tell the story of one bit")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error("--every starts at 1")
    flip = Flip(options.bit or 0, options.on, options.seed, options.durable, options.replica)
    if options.bit is not None:
        violation, became = run_on(group(flip, print if options.trace else None), flip)
        print(": ".join(violation[:2]) if violation else f"no violation, it {became}")
        return 1 if violation else 0
    failed = 0
    for is_on in (False, True):
        begin = time.perf_counter()
        flips = Flips(replace(flip, is_on=is_on), options.jobs)
        flips.run(range(0, flips.bit_count, options.every))
        failed += len(flips.violations)
        print(
            f"while {'on' if is_on else 'off'}: {sum(flips.became.values())} bits harmless,"
            f" {len(flips.violations)} violations, {time.perf_counter() - begin:.0f} s"
        )
        for (area, became), count in sorted(flips.became.items()):
            print(f"  {area}: {became} after {count}")
        for oracle, words, command in flips.violations[:_SHOWN]:
            print(f"  {oracle}: {words}\n  {command}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
