"""Power cuts of a whole run: SIGKILL at random moments, of random replicas or of all at once.

    a pause of random length, under load
    one, several or all replicas lose power at once; at times others follow before they are back;
    or the primary does, and others in the midst of the view change that follows
    power returns to one after the other, in random order; at times it goes again during the boot
    an operation that was submitted after that is acknowledged: the gap
    all take part in one view and have caught up: in step

The last round cuts off all at once. Restarted replicas have what their stores hold and nothing
else. sniffer.py listens to what they say all the while.
"""

import random
import time
from dataclasses import asdict, dataclass, field

from tools.cluster.driver import now_us
from tools.cluster.outage import Late, give_up, in_step, milliseconds, pause, until, view_of
from tools.cluster.times import Acknowledgements

FAILURES_MAX = 3
TOLD_ROUNDS_MAX = 10  # of more rounds only the number is told
MOMENT_MS = 300
DOWN_MS = 300
BOOT_MS = 100
VIEW_MS = 250
VIEW_SHARE = 0.15  # of the rounds: the primary stays away until the others change the view
MORE_SHARE = 0.3  # of the other rounds: more replicas lose power before it returns
AGAIN_SHARE = 0.25  # of all rounds: power goes again while replicas boot
LAST_SHARE = 0.9  # of the operations, before the last cut
_TICK_MS = 50  # how often a story goes on; see run.POLL_SECONDS_OUTAGE


@dataclass
class Cut:
    """One round. Times in ms; None: it did not come so far."""

    round: int
    struck: list = field(default_factory=list)  # a list of replica ids for each cut
    gap_ms: float | None = None
    step_ms: float | None = None
    failure: str = ""

    @property
    def kills(self):
        return sum(map(len, self.struck))


class PowerCuts:
    """`advance(views)` at every look at the group, until it returns False."""

    def __init__(self, course):
        self.rounds = []
        self.wanted = course.options.power_cuts
        self._course = course
        self._random = random.Random(course.options.seed)
        self._acknowledged = Acknowledgements(
            {client: course.folder.node_file(client, "times") for client in course.clients}
        )
        self._story = self._tell()
        next(self._story, None)

    def advance(self, views):
        try:
            self._story.send(views)
            return True
        except StopIteration:
            return False

    def as_rows(self):
        return [asdict(cut) for cut in self.rounds]

    def _tell(self):
        yield
        failures = 0
        for number in range(1, self.wanted + 1):
            cut = Cut(number)
            self.rounds.append(cut)
            try:
                yield from self._round(cut, is_last=number == self.wanted)
            except Late as late:
                cut.failure = str(late)
                yield from give_up(self._course, f"power cut {number}", number, late, self._off())
                failures += 1
            if failures == FAILURES_MAX:
                return

    def _round(self, cut, is_last):
        rng = self._random
        if is_last:
            yield from self._near_the_end()
        yield from self._moment(MOMENT_MS)
        if is_last:
            self._strike(cut, self._living())
            yield from self._moment(DOWN_MS)
        elif rng.random() < VIEW_SHARE:
            yield from self._while_the_view_changes(cut)
        else:
            self._strike(cut, self._some())
            yield from self._moment(DOWN_MS)
            if rng.random() < MORE_SHARE:
                self._strike(cut, self._some())
        yield from self._return()
        if not is_last and rng.random() < AGAIN_SHARE:
            yield from self._moment(BOOT_MS)
            self._strike(cut, self._some())
            yield from self._return()
        yield from self._go_on(cut)

    def _near_the_end(self):
        """The last cut comes when most of the operations are acknowledged."""
        wanted = self._course.options.operations * LAST_SHARE
        while sum(view.acknowledged for view in (yield)) < wanted:
            pass

    def _while_the_view_changes(self, cut):
        """The primary stays away until the others replace it; they may be struck as they do."""
        views = yield
        config = self._course.config
        primary = view_of(views) % config.REPLICA_COUNT
        self._strike(cut, [primary] if primary in self._living() else self._some())
        yield from pause(config.REQUEST_MS - 2 * _TICK_MS)
        yield from self._moment(VIEW_MS)
        if self._random.random() < 0.5:
            self._strike(cut, self._some())

    def _go_on(self, cut):
        before = now_us()
        self._acknowledged.begin(before)
        yield from until(
            lambda _: self._acknowledged.look(), "no operation was acknowledged after a power cut"
        )
        cut.gap_ms = milliseconds(self._acknowledged.look()[0] - before)
        yield from in_step(self._off())
        cut.step_ms = milliseconds(now_us() - before)
        self._say(
            f"next operation after {cut.gap_ms:.0f} ms, all in step after {cut.step_ms:.0f} ms"
        )

    # --- who ---

    def _replicas(self):
        nodes = self._course.processes.nodes
        return [nodes[i] for i in range(self._course.config.REPLICA_COUNT)]

    def _off(self):
        """Replicas that are to stay off: killed before (--no-restart)."""
        return self._course.outages.gone

    def _count(self):
        return self._course.config.REPLICA_COUNT - len(self._off())

    def _living(self):
        return [node.node_id for node in self._replicas() if not node.killed]

    def _some(self):
        """One, or any number of those that have power."""
        rng = self._random
        living = self._living()
        count = rng.choice((1, 1, 1, rng.randint(1, len(living) or 1), len(living)))
        return sorted(rng.sample(living, min(count, len(living))))

    # --- what is done to them ---

    def _strike(self, cut, replicas):
        """SIGKILL of all of them, before the first one is waited for."""
        nodes = self._course.processes.nodes
        for replica in replicas:
            nodes[replica].strike()
        for replica in replicas:
            nodes[replica].kill()
        if replicas:
            cut.struck.append(replicas)
            who = "all replicas" if len(replicas) == self._count() else _listed(replicas)
            self._say(f"power cut {cut.round}: SIGKILL of {who}")

    def _return(self):
        dead = [node.node_id for node in self._replicas() if node.killed]
        dead = [replica for replica in dead if replica not in self._off()]
        self._random.shuffle(dead)
        for replica in dead:
            yield from self._moment(DOWN_MS / len(dead))
            self._course.restart(replica)
        if dead:
            self._say(f"power returns to {_listed(dead)}, in this order")

    def _moment(self, most_ms):
        """A random time, not in steps of the story's ticks."""
        wait_ms = self._random.uniform(0, most_ms)
        if wait_ms > _TICK_MS:
            yield from pause(wait_ms - _TICK_MS)
        time.sleep(min(wait_ms, _TICK_MS) / 1000)

    def _say(self, words):
        if self.wanted <= TOLD_ROUNDS_MAX:
            self._course.say(words)


def _listed(replicas):
    return "replica " + ", ".join(map(str, replicas))
