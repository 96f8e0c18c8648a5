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
                views = yield from self._in_step()
                yield from self._round(self._begin(views))
            except Late as late:
                yield from self._fail(self.rounds[-1], late)

    def _begin(self, views):
        view = _view_of(views)
        primary = view % self._config.REPLICA_COUNT
        replica = victim(self._config, self._options, primary)
        outage = self.rounds[-1]
        outage.replica, outage.was_primary, outage.view = replica, replica == primary, view
        return outage

    def _fail(self, outage, late):
        """Keep what can tell why, and bring everybody back for the next round."""
        course = self._course
        outage.failure = str(late)
        kept = course.folder.keep_evidence(outage.round)
        course.failures.append(f"round {outage.round}: {late}; see {kept}")
        course.say(f"round {outage.round} failed: {late}")
        for node in list(course.processes.nodes.values()):
            if node.frozen:
                node.thaw()
            elif node.killed and self._options.restart:
                course.restart(node.node_id)
        yield

    # --- one round ---

    def _round(self, outage):
        yield from self._strike(outage)
        if self._options.kill != "none" and not self._options.restart:
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

        yield from _until(found, f"no operation was acknowledged after {outage.signal}")
        outage.gap_ms = _ms(found(None)[0] - before)
        views = yield
        outage.new_view = _view_of(views)
        outage.primary = outage.new_view % self._config.REPLICA_COUNT
        self._course.say(
            f"next operation after {outage.gap_ms:.0f} ms;"
            f" replica {outage.primary} is the primary of view {outage.new_view}"
        )

    def _return(self, outage):
        course = self._course
        frozen = outage.signal == "SIGSTOP"
        passed = outage.gap_ms if frozen else 0
        yield from _pause((self._options.freeze_ms if frozen else self._options.down_ms) - passed)
        before = now_us()
        if frozen:
            course.processes.nodes[outage.replica].thaw()
            course.say(f"replica {outage.replica}: SIGCONT")
        else:
            course.restart(outage.replica)
            course.say(f"replica {outage.replica}: restarted with empty memory")

        def back(views):
            return self._is_back(views, outage.replica, before)

        report = yield from _until(back, f"replica {outage.replica} did not come back")
        outage.return_ms = _ms(report["clock_us"] - before)
        outage.blocks_fetched = report["status"]["blocks_fetched"]
        course.say(
            f"replica {outage.replica}: in step after {outage.return_ms:.0f} ms,"
            f" {outage.blocks_fetched} blocks fetched, {report['status']['role']}"
        )

    def _decide(self, outage):
        """Without f others only quorums with the returned one are left."""
        course = self._course
        views = yield
        primary = _view_of(views) % self._config.REPLICA_COUNT
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
        yield from _until(
            lambda _: len(self._acknowledged.look()) >= VOTES,
            f"no {VOTES} operations were acknowledged with the vote of {outage.replica}",
        )
        found = self._acknowledged.look()
        outage.vote_ms = _ms(found[0] - before)
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
        if not _takes_part(status) or status["view"] != _view_of(views):
            return None
        return mine[0].report if status["last_executed"] >= floor else None

    def _in_step(self):
        """Wait until all take part in one view, beyond where the first of them is now.

        Reports differ in age by up to a period, in which the group goes on: hence "now".
        """
        replicas = [view for view in (yield) if view.replica and view.status]
        floor = max(view.status["low_mark"] for view in replicas)

        def reached(views):
            replicas = [view for view in views if view.replica]
            if any(view.condition != "running" for view in replicas):
                return None
            statuses = [view.status for view in replicas]
            if len({status["view"] for status in statuses}) > 1:
                return None
            there = all(_takes_part(s) and s["last_executed"] >= floor for s in statuses)
            return views if there else None

        return (yield from _until(reached, "the replicas were not in step"))


def _takes_part(status):
    return status["active"] and not status["transfer"]


def _view_of(views):
    """The latest view that is active somewhere."""
    return max(
        (
            view.status["view"]
            for view in views
            if view.replica and view.condition == "running" and view.status["active"]
        ),
        default=0,
    )


def _until(condition, words):
    """Wait until condition(views) is true and return its value; Late if it takes too long."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = condition((yield))
        if found:
            return found
        if time.monotonic() > deadline:
            raise Late(f"{words} within {WAIT_SECONDS:.0f} s")


def _pause(milliseconds):
    deadline = time.monotonic() + milliseconds / 1000
    while time.monotonic() < deadline:
        yield


def _ms(microseconds):
    return round(microseconds / 1000, 1)
