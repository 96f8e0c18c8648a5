"""F55: one bit of the non-volatile memory of a replica flips, while it is off or while it runs.

    python -m tests.sim.flips                     every bit of every area, off and on
    python -m tests.sim.flips --every 100         every 100th
    python -m tests.sim.flips --bit 4711 --on     one of them again; --trace tells its story

The group has changed its view, has a stable checkpoint and one that is not, a batch that
executed and one that prepared, when the bit flips. Then the replica starts; or it runs on,
then restarts. Whatever it makes of that, votes on or rejoins: all oracles hold.

Every bit flips, and the replica starts with it. Bits with which it recovers the same
(recoveries.py), after the same messages by then, go the same way: one of them is run to the end,
and a share of the others (`--sample`) to see that they do.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

from tests.sim.children import Children
from tests.sim.recoveries import Recoveries
from tests.sim.scenario import BOUND_MS, CLIENT, execute, without_proposals
from tests.sim.scenes import settle, withhold
from tinybft.layout import area_rows
from tools.simulate import operations
from tools.simulate.oracles import Violation
from tools.simulate.sim import Sim

_SHOWN = 5
_BITS_PER_FORK = 64


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


def flip_and_start(sim, flip):
    """The bit flips, and its replica starts with it."""
    sim.command = flip.command()
    i = flip.replica
    if not flip.is_on:
        sim.crash(i)
    sim.corrupt_store(i, flip.bit >> 3, 1 << (flip.bit & 7))
    sim.on_frame(None)
    if flip.is_on:
        for _ in range(2):
            execute(sim)
        sim.crash(i)
    image = sim.clone_store(i)
    sim.restart(i)
    assert sim.is_up(i), "it does not start"
    return image


def run_on(sim, flip):
    """To the end. None, or [oracle, words, command]; what became of the replica."""
    try:
        flip_and_start(sim, flip)
        became = "abstains" if sim.abstains(flip.replica) else "votes"
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
    """`run(bits)`: all of these flip, each in a group of its own. sample: share of those that
    are run although they should go the way of another one."""

    def __init__(self, flip, jobs=None, sample=0.01):
        self.violations = []
        self.became = Counter()
        self.runs = 0
        self.sampled = 0
        self.astray = []  # sampled, and they did not
        self._flip = flip
        self._jobs = jobs
        self._sample = sample
        self._sim = group(flip)
        self._recoveries = Recoveries(self._sim)
        self._prints = {}  # of what was recovered: bits
        self._ends = {}  # bit: what became of it in the end
        self.config = self._sim.config
        self.bit_count = 8 * self._sim.device(flip.replica).store.size
        self._area_of = _area_of(self.config)

    @property
    def different(self):
        return len(self._prints)

    def run(self, bits):
        children = Children(self._add_print, self._jobs)
        bits = list(bits)
        count = 1 if self._flip.is_on else _BITS_PER_FORK
        for first in range(0, len(bits), count):
            some = bits[first : first + count]
            children.run(lambda some=some: [(bit, self._recover(bit)) for bit in some])
        children.wait()
        draw = random.Random(str(self._flip))
        children = Children(self._add_end, self._jobs)
        for same in self._prints.values():
            others = [bit for bit in same[1:] if draw.random() < self._sample]
            self.sampled += len(others)
            for bit in same[:1] + others:
                children.run(lambda bit=bit: self._run_on(bit))
        children.wait()
        for same in self._prints.values():
            self._count(same)
        return self

    def _recover(self, bit):
        """How far the group is when the replica starts, and what it recovers."""
        flip = replace(self._flip, bit=bit)
        if flip.is_on:
            try:
                image = flip_and_start(self._sim, flip)
            except (Violation, AssertionError) as error:
                return repr(error)
        else:
            image = bytearray(self._sim.clone_store(flip.replica))
            image[bit >> 3] ^= 1 << (bit & 7)
        found = self._recoveries.of(flip.replica, image)
        return self._sim.air_digest(), found.print, found.error

    def _add_print(self, result):
        for bit, found in result:
            self._prints.setdefault(found, []).append(bit)

    def _run_on(self, bit):
        sim = self._sim
        violation, became = run_on(sim, replace(self._flip, bit=bit))
        end = (sim.now_ms, sim.message_count, became)
        return bit, violation, became, end

    def _add_end(self, result):
        bit, violation, became, end = result
        self.runs += 1
        self._ends[bit] = (became, end)
        if violation:
            self.violations.append(violation)

    def _count(self, same):
        became, end = self._ends[same[0]]
        for bit in same:
            if self._ends.get(bit, (became, end)) != (became, end):
                self.astray.append(replace(self._flip, bit=bit).command())
            if became:
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
    parser.add_argument("--sample", type=float, default=0.01, help="of the same, run this share")
    parser.add_argument("--jobs", type=int, default=None, help="processes; default: one per core")
    parser.add_argument("--bit", type=int, help="this one alone")
    parser.add_argument("--on", action="store_true", help="while the replica runs; else: both")
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
    for is_on in (True,) if options.on else (False, True):
        begin = time.perf_counter()
        flips = Flips(replace(flip, is_on=is_on), options.jobs, options.sample)
        flips.run(range(0, flips.bit_count, options.every))
        failed += len(flips.violations) + len(flips.astray)
        print(
            f"while {'on' if is_on else 'off'}: {sum(flips.became.values())} bits harmless,"
            f" {flips.different} recoveries that differ, {flips.runs} runs,"
            f" {flips.sampled} of them sampled, {len(flips.astray)} astray,"
            f" {len(flips.violations)} violations, {time.perf_counter() - begin:.0f} s"
        )
        for command in flips.astray[:_SHOWN]:
            print(f"  astray: {command}")
        for (area, became), count in sorted(flips.became.items()):
            print(f"  {area}: {became} after {count}")
        for oracle, words, command in flips.violations[:_SHOWN]:
            print(f"  {oracle}: {words}\n  {command}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
