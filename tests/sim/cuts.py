"""F50: power is cut at every byte that a replica writes; it restarts, and the group runs on.

    python -m tests.sim.cuts                           every byte of every scene
    python -m tests.sim.cuts --scene slide --every 50  every 50th byte of one scene
    python -m tests.sim.cuts --double 5                beside each cut a second one, 5 times
    python -m tests.sim.cuts --steps                   between two writes: after every step (F40)
    python -m tests.sim.cuts --together 10000          several replicas at random bytes
    python -m tests.sim.cuts --scene slide --replica 2 --byte 77 --torn old --trace

A scene (scenes.py) runs once. Before each write that one of its replicas does, the process
forks once per byte of it and per value that the byte under way may be left with: the child's
device loses power there, is off for some time, starts again, and all oracles speak, liveness
included. Two cuts that leave the same bytes in the store are the same: the second is counted,
not run. A run is a function of what its command line says, and can be seen again alone.

A second cut strikes the same replica while it recovers, or soon after, or another replica.
"""

import argparse
import random
import sys
import time
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.table import Table

from tests.sim.children import Children
from tests.sim.scenario import BOUND_MS, execute
from tests.sim.scenes import SCENES
from tools.simulate.oracles import Violation
from tools.simulate.sim import Sim

_OFF_MS = (0, 1, 20, 200, 1500)
_SECOND_BYTES_MAX = 3000
_SHOWN = 5


@dataclass(frozen=True)
class Cut:
    """Where power is cut, and all that the rest depends on."""

    scene: str
    seed: int = 1
    durable: str = "mirror"
    replica: int = 0
    byte: int = 0  # so many bytes of the scene it has written
    step: int = 0  # after so many of its steps instead, between two writes; 0: see `byte`
    torn: str = "random"
    second: int = 0  # the second cut is drawn from this number; 0: there is none
    together: int = 0  # cuts of several replicas are drawn from this number instead

    def command(self):
        words = f"python -m tests.sim.cuts --scene {self.scene} --seed {self.seed}"
        words += f" --durable {self.durable}"
        if self.together:
            return f"{words} --sample {self.together}"
        words += f" --replica {self.replica}"
        words += f" --step {self.step}" if self.step else f" --byte {self.byte} --torn {self.torn}"
        return words + (f" --second {self.second}" if self.second else "")


class Course:
    """One scene in one group, with one cut in it or, at first, none."""

    def __init__(self, cut, trace=None, **changed):
        self.cut = cut
        self.sim = Sim(
            cut.seed, durable=cut.durable, command=cut.command(), trace=trace, **changed
        )
        self.scene = SCENES[cut.scene](self.sim)
        self.scene.prepare()
        for i in self.sim.replicas:
            self.sim.device(i).store.reset_counts()
        self._draw = None
        self._planned = 0  # cuts that may still strike after the first one
        self._inner = self.sim.world.on_power_cut
        self.sim.world.on_power_cut = self._on_power_cut

    def run(self):
        """The scene, then the end of all faults, then liveness. Raises Violation."""
        sim = self.sim
        self.scene.begin()
        is_over = sim.run_until(self.scene.is_over, self.scene.ms)
        assert is_over or self._draw, "without a cut, the scene has no end"
        sim.on_frame(None)
        sim.run(max(_OFF_MS))
        for i in sim.replicas:
            sim.cut_power_after(i, -1)
        sim.power_on_all()
        sim.check_liveness(BOUND_MS)
        for _ in range(sim.config.WINDOW):
            execute(sim)
        sim.check_liveness(BOUND_MS)
        sim.check()

    def plan(self):
        """The cut that `self.cut` says, from the beginning of the scene."""
        if self.cut.together:
            self._plan_several()
            return
        self.strike(self.cut)
        if self.cut.step:
            self.on_step(lambda hal, count: self._is_the_step(hal, count) and self.lose_power(hal))
        else:
            self.sim.cut_power_after(self.cut.replica, self.cut.byte, self.cut.torn)

    def _is_the_step(self, hal, count):
        return hal.number == self.cut.replica and count == self.cut.step

    def on_step(self, function):
        """Call function(hal, how many steps of the scene it has done) after steps of replicas."""
        inner = self.sim.world.on_stepped
        counts = [0] * self.sim.replica_count

        def on_stepped(hal):
            inner(hal)
            if hal.number < len(counts):
                counts[hal.number] += 1
                function(hal, counts[hal.number])

        self.sim.world.on_stepped = on_stepped

    def lose_power(self, hal):
        """Now, between two steps."""
        self.sim.crash(hal.number)
        self._come_back(hal)

    def strike(self, cut):
        """From now on a cut is no part of the scene but what is tested."""
        self.cut = cut
        self.sim.command = cut.command()
        self._draw = random.Random(str(cut))
        self._planned = 1 if cut.second else 0

    def _plan_several(self):
        sim = self.sim
        self.strike(self.cut)
        for i in self._draw.sample(sim.replicas, self._draw.randint(2, sim.replica_count)):
            self._cut_some_time(i)
        self._planned = 1

    def _cut_some_time(self, i):
        count = int(_SECOND_BYTES_MAX ** self._draw.random())
        self.sim.cut_power_after(i, count - 1, self._draw.choice(("old", "new", "random")))

    def _on_power_cut(self, hal):
        self._inner(hal)
        self._come_back(hal)

    def _come_back(self, hal):
        self.sim.after(self._draw.choice(_OFF_MS), lambda: self._start(hal.number))
        if self._planned and self._draw.random() < 0.3:
            self._planned = 0
            others = [i for i in self.sim.replicas if i != hal.number]
            self._cut_some_time(self._draw.choice(others))

    def _start(self, i):
        sim = self.sim
        if sim.is_up(i):
            return
        if self._planned:
            self._planned = 0
            self._cut_some_time(i)
        sim.restart(i)


def outcome(course):
    """None, or [oracle, words, command]."""
    try:
        course.run()
    except Violation as violation:
        return [violation.oracle, violation.words, course.cut.command()]
    except AssertionError as error:
        return ["L1", str(error), course.cut.command()]
    return None


def run_one(cut, trace=None):
    """A single cut again; its outcome."""
    course = Course(cut, trace)
    course.plan()
    return outcome(course)


# --- in many processes


@dataclass
class Tally:
    """What became of a scene."""

    scene: str
    written: tuple = ()  # bytes, by each replica
    points: int = 0  # bytes at which power was cut
    runs: int = 0
    same: int = 0  # cuts that leave the store as the one before
    wall_s: float = 0.0
    violations: list = field(default_factory=list)

    def add(self, result):
        self.runs += 1
        if result:
            self.violations.append(result)


class Explorer:
    """Every `every`-th byte of a scene, each with all values of the torn byte; or every step."""

    def __init__(  # noqa: PLR0913
        self, cut, every=1, seconds=0, steps=False, jobs=None, **changed
    ):
        self._first = cut
        self._steps = steps
        self._every = every
        self._seconds = seconds
        self._course = Course(cut, **changed)
        self.tally = Tally(cut.scene)
        self._children = Children(self.tally.add, jobs)
        self._is_child = False
        self._is_over = False
        self._count = 0

    def run(self):
        begin = time.perf_counter()
        sim = self._course.sim
        numbers = {id(sim.device(i).store): i for i in sim.replicas}
        if self._steps:
            self._course.on_step(self._on_step)
        for i in sim.replicas:
            sim.device(i).store.on_write = lambda *write: self._on_write(numbers, *write)
        sim.world.on_power_cut = self._course._on_power_cut
        result = self._guarded()
        self._children.wait()
        self.tally.add(result)
        self.tally.wall_s = time.perf_counter() - begin
        return self.tally

    def _guarded(self):
        """The scene; a child never comes out of it."""
        try:
            return self._scene()
        except BaseException as error:
            if self._is_child:
                self._children.leave(["S10", repr(error), self._course.cut.command()])
            raise

    def _scene(self):
        inner = self._course.scene.is_over

        def is_over():
            over = inner()
            if over:
                self._stop()
            return over

        self._course.scene.is_over = is_over
        result = outcome(self._course)
        if self._is_child:
            self._children.leave(result)
        self._stop()
        return result

    def _stop(self):
        """What is written from now on does not belong to the scene."""
        if not self._is_child and not self._is_over:
            self._is_over = True
            sim = self._course.sim
            self.tally.written = tuple(sim.device(i).store.written for i in sim.replicas)

    def _on_step(self, hal, count):
        if self._is_child or self._is_over:
            return
        self._count += 1
        if self._count % self._every == 0:
            self.tally.points += 1
            if self._fork(replace(self._first, replica=hal.number, step=count)):
                self._course.lose_power(hal)

    def _on_write(self, numbers, store, address, buf, length):
        if self._steps or self._is_over:
            return
        old = store.octets[address : address + length]
        replica = numbers[id(store)]
        for j in range(length):
            self._count += 1
            if self._every > 1 and self._count % self._every:
                continue
            self.tally.points += 1
            if j and old[j - 1] == buf[j - 1] and self._every == 1:
                self.tally.same += 1
            elif self._cut(store, replica, j, "old"):
                return
            if self._cut(store, replica, j, "random"):
                return
            if j == length - 1 and self._cut(store, replica, j, "new"):
                return

    def _cut(self, store, replica, j, torn):
        """True in a child, in which power will be cut at byte j of the write under way."""
        cut = replace(self._first, replica=replica, byte=store.written + j, torn=torn)
        if not self._fork(cut):
            return False
        self._course.sim.cut_power_after(replica, j, torn)
        return True

    def _fork(self, first):
        """True in a child that is to strike now."""
        for second in range(1, 1 + self._seconds) if self._seconds else (0,):
            if self._children.fork():
                self._is_child = True
                for i in self._course.sim.replicas:
                    self._course.sim.device(i).store.on_write = None
                self._course.strike(replace(first, second=second))
                return True
        return False


def run_together(cut, samples, jobs=None, **changed):
    """Power cuts of several replicas at random bytes, from the beginning of the scene on."""
    begin = time.perf_counter()
    course = Course(cut, **changed)
    tally = Tally(cut.scene)
    children = Children(tally.add, jobs)
    for sample in samples:
        tally.points += 1
        course.cut = replace(cut, together=sample)
        children.run(lambda: course.plan() or outcome(course))
    children.wait()
    tally.wall_s = time.perf_counter() - begin
    return tally


# --- command line


def table_of(tallies):
    table = Table(title="power cuts")
    table.add_column("scene")
    columns = (
        "bytes written by R0 R1 R2 R3",
        "cut at",
        "same",
        "runs",
        "violations",
        "s",
    )
    for name in columns:
        table.add_column(name, justify="right")
    for tally in tallies:
        written = " ".join(str(count) for count in tally.written)
        counts = (tally.points, tally.same, tally.runs, len(tally.violations))
        table.add_row(
            tally.scene, written, *(str(count) for count in counts), f"{tally.wall_s:.0f}"
        )
    return table


def options_of(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scene", choices=list(SCENES), help="one scene; default: all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durable", default="mirror", help="see tools/simulate/configs.py")
    parser.add_argument("--every", type=int, default=1, help="cut at every N-th byte only")
    parser.add_argument("--double", type=int, default=0, help="second cuts beside each first one")
    parser.add_argument("--steps", action="store_true", help="cut between two writes instead")
    parser.add_argument("--together", type=int, default=0, help="samples of cuts of several")
    parser.add_argument("--jobs", type=int, default=None, help="processes; default: one per core")
    parser.add_argument("--replica", type=int, help="one cut alone: of this replica,")
    parser.add_argument("--byte", type=int, help="when it has written so many bytes,")
    parser.add_argument("--step", type=int, default=0, help="or has done so many steps,")
    parser.add_argument("--torn", default="random", choices=("old", "new", "random"))
    parser.add_argument("--second", type=int, default=0, help="with this second cut;")
    parser.add_argument("--sample", type=int, default=0, help="or this sample of --together")
    parser.add_argument("--trace", action="store_true", help="tell the story of one cut")
    options = parser.parse_args(arguments)
    single = is_single(options)
    if single and not options.scene:
        parser.error("one cut alone: name its --scene")
    if single and not options.sample and options.replica is None:
        parser.error("--byte, --step: whose? name the --replica")
    if options.trace and not single:
        parser.error("--trace tells of one cut: name --replica and --byte, or --sample")
    if min(options.every, options.seed) < 1 or min(options.double, options.together) < 0:
        parser.error("--every and --seed start at 1, --double and --together at 0")
    return options


def is_single(options):
    """One cut is named."""
    return bool(options.sample or options.step or options.byte is not None)


def main(arguments=None):
    """Exit code 1 if there was a violation."""
    options = options_of(arguments)
    first = Cut(options.scene or "operation", options.seed, options.durable)
    console = Console()
    if is_single(options):
        cut = replace(
            first, replica=options.replica or 0, byte=options.byte or 0, step=options.step,
            torn=options.torn, second=options.second, together=options.sample,
        )  # fmt: skip
        result = run_one(cut, print if options.trace else None)
        console.print(": ".join(result[:2]) if result else "no violation")
        return 1 if result else 0
    tallies = []
    for name in [options.scene] if options.scene else SCENES:
        cut = replace(first, scene=name)
        if options.together:
            tally = run_together(cut, range(1, 1 + options.together), options.jobs)
        else:
            explorer = Explorer(cut, options.every, options.double, options.steps, options.jobs)
            tally = explorer.run()
        tallies.append(tally)
        words = f"{name}: {tally.runs} runs, {len(tally.violations)} violations"
        console.print(f"{words}, {tally.wall_s:.0f} s")
        for oracle, words, command in tally.violations[:_SHOWN]:
            console.print(f"  {oracle}: {words}\n  {command}", highlight=False, soft_wrap=True)
    console.print(table_of(tallies))
    return 1 if any(tally.violations for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
