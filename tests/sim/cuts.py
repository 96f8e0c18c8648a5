"""F50: power is cut at every byte that a replica writes; it restarts, and the group runs on.

    python -m tests.sim.cuts                           every byte of every scene
    python -m tests.sim.cuts --scene slide --every 50  every 50th byte of one scene
    python -m tests.sim.cuts --double 5                second cuts, 5 writes behind each first one
    python -m tests.sim.cuts --steps                   between two writes: after every step (F40)
    python -m tests.sim.cuts --together 10000          several replicas at random bytes
    python -m tests.sim.cuts --scene slide --replica 2 --byte 77 --torn old --trace

A scene (scenes.py) runs once. At each write that one of its replicas does, power is cut amid
every byte, and the byte under way is left with its old value, its new one, or any: each time the
replica boots from the store as it is then (recoveries.py). An exception, or a boot that does not
trust a memory which it trusted before the write, is a violation. Cuts of one write after which
the replica recovers the same, down to the last byte that it will ever look at, go the same way:
the group is the same, and the time that the device is off is drawn for the write. The process
forks for the first of them: the device loses power there, starts again, and all oracles speak,
liveness included. The others are counted and not run, but for a random share (`--sample`): what
is on the air until the end, each message's time, sender, receivers and header, must be what it
was in the first one's run, or the cut is "astray".

With `--double`, such a run goes on to some write of the same replica (while it recovers, or soon
after) or of another one, and cuts power there, in the same manner, at some of its bytes; second
cuts are counted then.

A run is a function of what its command line says, and can be seen again alone.
"""

import argparse
import hashlib
import random
import sys
import time
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.table import Table

from hal.sim_parts import Random
from tests.sim.children import Children
from tests.sim.recoveries import Recoveries
from tests.sim.scenario import BOUND_MS, execute
from tests.sim.scenes import SCENES
from tinybft import wire
from tools.simulate.oracles import Violation
from tools.simulate.sim import Sim

_OFF_MS = (0, 1, 20, 200, 1500)
_SECOND_BYTES_MAX = 3000
_SECOND_WRITES_MAX = 60
_SECOND_CUTS_MAX = 400  # bytes of one write at which a second cut strikes
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
    second: int = 0  # the write that a second cut strikes is drawn from it; 0: there is none
    second_byte: int = -1  # the cut is amid this byte of it
    second_torn: str = "random"
    together: int = 0  # cuts of several replicas are drawn from this number instead

    def command(self):
        words = f"python -m tests.sim.cuts --scene {self.scene} --seed {self.seed}"
        words += f" --durable {self.durable}"
        if self.together:
            return f"{words} --number {self.together}"
        words += f" --replica {self.replica}"
        words += f" --step {self.step}" if self.step else f" --byte {self.byte} --torn {self.torn}"
        if self.second:
            words += f" --second {self.second}"
        if self.second_byte >= 0:
            words += f" --second-byte {self.second_byte} --second-torn {self.second_torn}"
        return words


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
        self.on_second = self._cut_second
        self._draw = None
        self._planned = 0  # cuts of several replicas that may still strike after the first one
        self._air = hashlib.sha256()
        self._on_sent = self.sim.world.on_sent
        self.sim.world.on_sent = self._note_sent
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
            sim.device(i).store.on_write = None
        sim.power_on_all()
        sim.check_liveness(BOUND_MS)
        for _ in range(sim.config.WINDOW):
            execute(sim)
        sim.check_liveness(BOUND_MS)
        sim.check()

    def _note_sent(self, hal, target, message):
        header = message[: wire.HEADER_LENGTH]
        self._air.update(b"%d %d %d %s" % (self.sim.world.now_us, hal.number, target, header))
        self._on_sent(hal, target, message)

    def air(self):
        """Digest of who said what kind of thing to whom and when."""
        return self._air.hexdigest()

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
            self.seed_torn(self.cut.replica, self.cut.byte)

    def seed_torn(self, replica, number):
        """What a byte that is left with any value is left with."""
        self.sim.device(replica).store._random = Random(number)

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

    def _plan_several(self):
        sim = self.sim
        self.strike(self.cut)
        self._draw = random.Random(str(self.cut))
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
        if self._draw is None:
            cut = replace(self.cut, byte=0, torn="", second_byte=-1, second_torn="")
            self._draw = random.Random(f"{cut} {hal.store.writes}")
            if cut.second:
                self._plan_second(hal)
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

    # --- the second cut

    def _plan_second(self, hal):
        """At some write from now on, of the same replica or of another one."""
        replica = hal.number
        if self._draw.random() < 0.3:
            replica = self._draw.choice([i for i in self.sim.replicas if i != replica])
        count = int(_SECOND_WRITES_MAX ** self._draw.random())

        def on_write(store, *write):
            nonlocal count
            count -= 1
            if count == 0:
                store.on_write = None
                self.on_second(replica, store, write)

        self.sim.device(replica).store.on_write = on_write

    def _cut_second(self, replica, store, write):
        if self.cut.second_byte >= 0:
            self.seed_torn(replica, self.cut.second_byte)
            self.sim.cut_power_after(replica, self.cut.second_byte, self.cut.second_torn)


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
class Run:
    """What a fork says that ran to the end."""

    outcome: list  # or None
    cut: Cut
    air: str = ""  # digest of what was sent
    print: bytes = b""  # of what was recovered after the cut


@dataclass
class Tally:
    """What became of a scene, or of a write of it."""

    scene: str
    written: tuple = ()  # bytes, by each replica
    points: int = 0  # bytes amid which power was cut
    cuts: int = 0  # with all values of the torn byte
    different: int = 0  # recoveries from them that differ from each other, write by write
    runs: int = 0
    sampled: int = 0  # runs of those that should go the way of another one
    wall_s: float = 0.0
    violations: list = field(default_factory=list)
    astray: list = field(default_factory=list)  # sampled, and they did not

    def add(self, result):
        if isinstance(result, Tally):
            for name in ("points", "cuts", "different", "runs", "sampled"):
                setattr(self, name, getattr(self, name) + getattr(result, name))
            self.violations += result.violations
            self.astray += result.astray
        else:
            self.runs += 1
            if result.outcome:
                self.violations.append(result.outcome)


class Explorer:
    """Every `every`-th byte of a scene, each with all values of the torn byte; or every step.

    seconds: so many writes behind each cut are cut too; sample: share of the cuts that are run
    although they recover the same.
    """

    def __init__(  # noqa: PLR0913
        self, cut, every=1, seconds=0, steps=False, jobs=None, sample=0.02, **changed
    ):
        self._first = cut
        self._steps = steps
        self._every = every
        self._seconds = seconds
        self._sample = sample
        self._course = Course(cut, **changed)
        self._recoveries = Recoveries(self._course.sim)
        self.tally = Tally(cut.scene)
        self._children = Children(self.tally.add, jobs)
        self._leave = self._children.leave  # of the innermost fork
        self._print = b""
        self._is_child = False
        self._is_over = False
        self._count = 0

    def run(self):
        begin = time.perf_counter()
        sim = self._course.sim
        numbers = {id(sim.device(i).store): i for i in sim.replicas}
        if self._steps:
            self._course.on_step(self._on_step)
        else:
            for i in sim.replicas:
                store = sim.device(i).store
                store.on_write = lambda store, *write: self._on_write(
                    numbers[id(store)], store, write
                )
        result = self._guarded()
        self._children.wait()
        self.tally.add(result)
        self.tally.wall_s = time.perf_counter() - begin
        return self.tally

    def _guarded(self):
        """The scene; a fork never comes out of it."""
        try:
            return self._scene()
        except BaseException as error:
            if self._is_child:
                cut = self._course.cut
                self._leave(Run(["S10", repr(error), cut.command()], cut))
            raise

    def _scene(self):
        course = self._course
        inner = course.scene.is_over

        def is_over():
            over = inner()
            if over:
                self._stop()
            return over

        course.scene.is_over = is_over
        result = Run(outcome(course), course.cut, course.air(), self._print)
        if self._is_child:
            self._leave(result)
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
            self.tally.cuts += 1
            if self._children.fork():
                self._is_child = True
                self._course.strike(replace(self._first, replica=hal.number, step=count))
                self._course.lose_power(hal)

    # --- a write

    def _on_write(self, replica, store, write):
        if self._is_over:
            return
        first = self._count
        self._count += write[2]
        chosen = [j for j in range(write[2]) if (first + j) % self._every == 0]
        if not chosen or not self._children.fork():
            return
        self._is_child = True
        begin = store.written

        def strike(byte, torn):
            cut = replace(self._first, replica=replica, byte=begin + byte, torn=torn)
            return cut, begin + byte

        self._explore(replica, store, write, chosen, strike, self._seconds)

    def _on_second(self, replica, store, write):
        """In a fork, after the first cut: another one is to come at this write."""
        if self._course.cut.second_byte >= 0:
            self._course._cut_second(replica, store, write)
            return
        first = self._course.cut
        chosen = range(write[2])
        if write[2] > _SECOND_CUTS_MAX:
            chosen = sorted(random.Random(str(first)).sample(chosen, _SECOND_CUTS_MAX))

        def strike(byte, torn):
            return replace(first, second_byte=byte, second_torn=torn), byte

        self._explore(replica, store, write, chosen, strike, 0)

    def _explore(self, replica, store, write, chosen, strike, seconds):  # noqa: PLR0913
        """Cut power amid these bytes of the write. Comes back in forks only, which are to run
        on: power is going to be lost there.

        strike(byte, torn): the Cut, and the seed of the torn byte.
        """
        sim = self._course.sim
        leave = self._leave
        tally = Tally(self._first.scene)
        met = {}  # print: digest of the air, when its run is over
        draw = random.Random(f"{self._first} {replica} {store.writes}")
        children = Children(lambda result: _compare(tally, met, result), 1)
        # Untouched: what was to be trusted before the write is to be trusted after a cut.
        was_trusted = self._recoveries.of(replica, store.octets).is_trusted
        tally.points = 0 if seconds else len(chosen)
        for byte in chosen:
            for torn in ("old", "random", "new") if byte == write[2] - 1 else ("old", "random"):
                cut, seed = strike(byte, torn)
                found = self._recoveries.of_cut(replica, store, write, (byte, torn, seed))
                tally.cuts += not seconds
                if found.error or was_trusted and not found.is_trusted:
                    words = found.error or "a write that did not finish, and it trusts no more"
                    tally.violations.append(["boot", words, cut.command()])
                is_new = found.print not in met
                if is_new:
                    met[found.print] = None
                    tally.different += not seconds
                elif draw.random() >= self._sample or seconds:
                    continue
                for second in range(1, 1 + seconds) if seconds else (0,):
                    if not children.fork():
                        continue
                    self._leave = children.leave
                    self._print = found.print
                    for i in sim.replicas:
                        sim.device(i).store.on_write = None
                    self._course.strike(replace(cut, second=second) if second else cut)
                    self._course.on_second = self._on_second
                    self._course.seed_torn(replica, seed)
                    sim.cut_power_after(replica, byte, torn)
                    return
        children.wait()
        leave(tally)


def _compare(tally, met, result):
    """A fork of a write is over."""
    tally.add(result)
    if isinstance(result, Tally) or result.cut.second and result.cut.second_byte < 0:
        return
    if met[result.print] is None:
        met[result.print] = result.air
        return
    tally.sampled += 1
    if met[result.print] != result.air:
        tally.astray.append(result.cut.command())


def run_together(cut, samples, jobs=None, **changed):
    """Power cuts of several replicas at random bytes, from the beginning of the scene on."""
    begin = time.perf_counter()
    course = Course(cut, **changed)
    tally = Tally(cut.scene)
    children = Children(tally.add, jobs)
    for sample in samples:
        tally.cuts += 1
        course.cut = replace(cut, together=sample)
        children.run(lambda: course.plan() or Run(outcome(course), course.cut))
    children.wait()
    tally.wall_s = time.perf_counter() - begin
    return tally


# --- command line


def table_of(tallies):
    table = Table(title="power cuts")
    table.add_column("scene")
    columns = (
        "bytes written",
        "cut at",
        "cuts",
        "recoveries that differ",
        "runs",
        "of them sampled",
        "astray",
        "violations",
        "s",
    )
    for name in columns:
        table.add_column(name, justify="right")
    rows = [_row(tally) for tally in tallies]
    for tally, row in zip(tallies, rows, strict=True):
        table.add_row(tally.scene, *(str(count) for count in row))
    if len(rows) > 1:
        table.add_row("all", *(str(sum(column)) for column in zip(*rows, strict=True)))
    return table


def _row(tally):
    return (
        sum(tally.written),
        tally.points,
        tally.cuts,
        tally.different,
        tally.runs,
        tally.sampled,
        len(tally.astray),
        len(tally.violations),
        round(tally.wall_s),
    )


def options_of(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scene", choices=list(SCENES), help="one scene; default: all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durable", default="mirror", help="see tools/simulate/configs.py")
    parser.add_argument("--every", type=int, default=1, help="cut at every N-th byte only")
    parser.add_argument("--double", type=int, default=0, help="writes to cut behind each cut")
    parser.add_argument("--sample", type=float, default=0.02, help="of the same, run this share")
    parser.add_argument("--steps", action="store_true", help="cut between two writes instead")
    parser.add_argument("--together", type=int, default=0, help="samples of cuts of several")
    parser.add_argument("--jobs", type=int, default=None, help="processes; default: one per core")
    parser.add_argument("--replica", type=int, help="one cut alone: of this replica,")
    parser.add_argument("--byte", type=int, help="when it has written so many bytes,")
    parser.add_argument("--step", type=int, default=0, help="or has done so many steps,")
    parser.add_argument("--torn", default="random", choices=("old", "new", "random"))
    parser.add_argument("--second", type=int, default=0, help="with this second cut;")
    parser.add_argument("--second-byte", type=int, default=0, help="at this byte of a write,")
    parser.add_argument("--second-torn", default="random", choices=("old", "new", "random"))
    parser.add_argument("--number", type=int, default=0, help="or this one of --together")
    parser.add_argument("--trace", action="store_true", help="tell the story of one cut")
    options = parser.parse_args(arguments)
    single = is_single(options)
    if single and not options.scene:
        parser.error("one cut alone: name its --scene")
    if single and not options.number and options.replica is None:
        parser.error("--byte, --step: whose? name the --replica")
    if options.trace and not single:
        parser.error("--trace tells of one cut: name --replica and --byte, or --number")
    if min(options.every, options.seed) < 1 or min(options.double, options.together) < 0:
        parser.error("--every and --seed start at 1, --double and --together at 0")
    return options


def is_single(options):
    """One cut is named."""
    return bool(options.number or options.step or options.byte is not None)


def main(arguments=None):
    """Exit code 1 if there was a violation."""
    options = options_of(arguments)
    first = Cut(options.scene or "operation", options.seed, options.durable)
    console = Console()
    if is_single(options):
        cut = replace(
            first, replica=options.replica or 0, byte=options.byte or 0, step=options.step,
            torn=options.torn, second=options.second, second_byte=options.second_byte,
            second_torn=options.second_torn, together=options.number,
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
            tally = Explorer(
                cut, options.every, options.double, options.steps, options.jobs, options.sample
            ).run()
        tallies.append(tally)
        words = f"{name}: {tally.cuts} cuts, {tally.runs} runs, {len(tally.astray)} astray"
        words += f", {len(tally.violations)} violations"
        console.print(f"{words}, {tally.wall_s:.0f} s")
        for oracle, words, command in tally.violations[:_SHOWN]:
            console.print(f"  {oracle}: {words}\n  {command}", highlight=False, soft_wrap=True)
        for command in tally.astray[:_SHOWN]:
            console.print(f"  astray: {command}", highlight=False, soft_wrap=True)
    console.print(table_of(tallies))
    return 1 if any(tally.violations or tally.astray for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
