"""What befalls a run: a replica is killed, or frozen, under load; it returns; its vote decides.

    SIGKILL of the primary  ->  the next operation is acknowledged: the gap
    restart, empty          ->  it has fetched the state and is in step: the return
    SIGSTOP of f others     ->  operations are acknowledged, which needs its vote: the vote
    SIGCONT                 ->  all are in step again: the next round may begin

What counts as acknowledged was submitted after the signal took effect (the dead one is reaped,
the frozen one reported stopped), so no message of the dead or silent can have helped. Times are
those of the clients (see times.py), but for the return: its end is seen in reports that come
every 50 ms, and it includes the start of the interpreter.

With --freeze the fault is SIGSTOP and the return SIGCONT, everything else is alike.
"""

import math
import time
from dataclasses import asdict, dataclass, field

from tools.cluster.driver import now_us
from tools.cluster.plans import has_victim, victim
from tools.cluster.times import Acknowledgements

WAIT_SECONDS = 20.0
VOTES = 50  # operations acknowledged with the deciding vote before the silent ones may go on
FIRST_SHARE = 4  # the first fault comes when one in so many operations is acknowledged


@dataclass
class Outage:
    """One round. Times in ms; None: it did not come so far."""

    round: int
    signal: str
    replica: int | None = None  # None: nobody was struck, the replicas were not in step before
    was_primary: bool = False
    view: int | None = None
    new_view: int | None = None
    primary: int | None = None  # of the new view
    gap_ms: float | None = None
    return_ms: float | None = None
    blocks_fetched: int | None = None
    silenced: list = field(default_factory=list)
    vote_ms: float | None = None
    failure: str = ""


class Late(Exception):
    """Something did not happen within WAIT_SECONDS; says what."""


class Outages:
    """`advance(views)` at every look at the group, until it returns False. `rounds` has what
    happened."""

    def __init__(self, course):
        self.rounds = []
        self.gone = set()  # replicas that stay dead: --no-restart
        self._course = course
        self._config = course.config
        self._options = course.options
        self._story = self._tell() if has_victim(course.options) else None
        self._acknowledged = Acknowledgements(
            {client: course.folder.node_file(client, "times") for client in course.clients}
        )
        if self._story:
            next(self._story)

    def advance(self, views):
        if self._story:
            try:
                self._story.send(views)
            except StopIteration:
                self._story = None
        return self._story is not None

    def as_rows(self):
        return [asdict(outage) for outage in self.rounds]

    def _tell(self):
        first = self._options.operations // FIRST_SHARE
        while sum(view.acknowledged for view in (yield)) < first:
            pass
        signal = "SIGKILL" if self._options.kill != "none" else "SIGSTOP"
        for number in range(1, self._options.rounds + 1):
            self.rounds.append(Outage(number, signal))
            try:
                views = yield from in_step()
                yield from self._round(self._begin(views))
            except Late as late:
                self.rounds[-1].failure = str(late)
                if not self._options.restart and self._options.kill != "none":
                    self.gone.add(self.rounds[-1].replica)
                yield from give_up(self._course, f"round {number}", number, late, self.gone)

    def _begin(self, views):
        view = view_of(views)
        primary = view % self._config.REPLICA_COUNT
        replica = victim(self._config, self._options, primary)
        outage = self.rounds[-1]
        outage.replica, outage.was_primary, outage.view = replica, replica == primary, view
        return outage

    # --- one round ---

    def _round(self, outage):
        yield from self._strike(outage)
        if self._options.kill != "none" and not self._options.restart:
            self.gone.add(outage.replica)
            self._course.bequeath(outage.replica)
            return
        yield from self._return(outage)
        yield from self._decide(outage)

    def _strike(self, outage):
        node = self._course.processes.nodes[outage.replica]
        role = f"the primary of view {outage.view}" if outage.was_primary else "a backup"
        self._course.say(f"replica {outage.replica}, {role}: {outage.signal}")
        before = now_us()
        if outage.signal == "SIGKILL":
            node.kill()
        else:
            node.freeze()
        self._acknowledged.begin(now_us())

        def found(_):
            return self._acknowledged.look(outage.replica)

        yield from until(found, f"no operation was acknowledged after {outage.signal}")
        outage.gap_ms = milliseconds(found(None)[0] - before)
        views = yield
        outage.new_view = view_of(views)
        outage.primary = outage.new_view % self._config.REPLICA_COUNT
        self._course.say(
            f"next operation after {outage.gap_ms:.0f} ms;"
            f" replica {outage.primary} is the primary of view {outage.new_view}"
        )

    def _return(self, outage):
        course = self._course
        frozen = outage.signal == "SIGSTOP"
        passed = outage.gap_ms if frozen else 0
        yield from pause((self._options.freeze_ms if frozen else self._options.down_ms) - passed)
        before = now_us()
        if frozen:
            course.processes.nodes[outage.replica].thaw()
            course.say(f"replica {outage.replica}: SIGCONT")
        else:
            course.restart(outage.replica)
            course.say(f"replica {outage.replica}: restarted with {memory_words(self._config)}")

        def back(views):
            return self._is_back(views, outage.replica, before)

        report = yield from until(back, f"replica {outage.replica} did not come back")
        outage.return_ms = milliseconds(report["clock_us"] - before)
        outage.blocks_fetched = report["status"]["blocks_fetched"]
        course.say(
            f"replica {outage.replica}: in step after {outage.return_ms:.0f} ms,"
            f" {outage.blocks_fetched} blocks fetched, {report['status']['role']}"
        )

    def _decide(self, outage):
        """Without f others only quorums with the returned one are left."""
        course = self._course
        views = yield
        primary = view_of(views) % self._config.REPLICA_COUNT
        others = [
            i for i in range(self._config.REPLICA_COUNT) if i not in (outage.replica, primary)
        ]
        first = outage.round % len(others)
        others = others[first:] + others[:first]
        outage.silenced = sorted(others[: self._config.FAULT_COUNT])
        words = ", ".join(map(str, outage.silenced))
        course.say(f"replica {words}: SIGSTOP, so the vote of {outage.replica} decides")
        before = now_us()
        for replica in outage.silenced:
            course.processes.nodes[replica].freeze()
        self._acknowledged.begin(now_us())
        yield from until(
            lambda _: len(self._acknowledged.look()) >= VOTES,
            f"no {VOTES} operations were acknowledged with the vote of {outage.replica}",
        )
        found = self._acknowledged.look()
        outage.vote_ms = milliseconds(found[0] - before)
        course.say(f"{len(found)} operations decided, the first after {outage.vote_ms:.0f} ms")
        for replica in outage.silenced:
            course.processes.nodes[replica].thaw()
        course.say(f"replica {words}: SIGCONT")

    # --- who is in step ---

    def _is_back(self, views, replica, since):
        """The report of a returned replica that takes part in the view and window of all."""
        running = [view for view in views if view.replica and view.condition == "running"]
        mine = [view for view in running if view.node_id == replica]
        others = [view for view in running if view.node_id != replica]
        if not mine or any(view.report["clock_us"] < since for view in running):
            return None
        status = mine[0].status
        floor = max(view.status["low_mark"] for view in others)
        if not _takes_part(status) or status["view"] != view_of(views):
            return None
        return mine[0].report if status["last_executed"] >= floor else None


def give_up(course, name, number, late, gone):
    """Keep what can tell why a round failed; bring all but `gone` back for the next one."""
    kept = course.folder.keep_evidence(number)
    course.failures.append(f"{name}: {late}; see {kept}")
    course.say(f"{name} failed: {late}")
    for node in list(course.processes.nodes.values()):
        if node.frozen:
            node.thaw()
        elif node.killed and node.node_id not in gone:
            course.restart(node.node_id)
    yield


def in_step(gone=()):
    """Wait until all but `gone` take part in one view, beyond where the first of them is now.

    Reports differ in age by up to a period, in which the group goes on: hence "now".
    """

    def expected(views):
        return [view for view in views if view.replica and view.node_id not in gone]

    floor = max((view.status["low_mark"] for view in expected((yield)) if view.status), default=0)

    def reached(views):
        replicas = expected(views)
        if any(view.condition != "running" for view in replicas):
            return None
        statuses = [view.status for view in replicas]
        if len({status["view"] for status in statuses}) > 1:
            return None
        there = all(_takes_part(s) and s["last_executed"] >= floor for s in statuses)
        return views if there else None

    return (yield from until(reached, "the replicas were not in step"))


def memory_words(config):
    """What a replica has when it starts again."""
    return "what its store holds" if config.DURABLE else "empty memory"


def quantiles(values):
    """min, median, p90 and max of sorted values, by nearest rank; None when there are none."""
    if not values:
        return None
    shares = {"min": 0, "median": 0.5, "p90": 0.9, "max": 1}
    return {
        name: values[max(0, math.ceil(share * len(values)) - 1)] for name, share in shares.items()
    }


def _takes_part(status):
    abstains = status.get("durability", {}).get("mode") == "rejoining"
    return status["active"] and not status["transfer"] and not abstains


def view_of(views):
    """The latest view that is active somewhere."""
    return max(
        (
            view.status["view"]
            for view in views
            if view.replica and view.condition == "running" and view.status["active"]
        ),
        default=0,
    )


def until(condition, words):
    """Wait until condition(views) is true and return its value; Late if it takes too long."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = condition((yield))
        if found:
            return found
        if time.monotonic() > deadline:
            raise Late(f"{words} within {WAIT_SECONDS:.0f} s")


def pause(milliseconds):
    deadline = time.monotonic() + milliseconds / 1000
    while time.monotonic() < deadline:
        yield


def milliseconds(microseconds):
    return round(microseconds / 1000, 1)
