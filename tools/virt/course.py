"""The course of one run of emulated boards: load, watching, kills, power cuts, and what it shows.

the first tenth of the operations undisturbed; in the next one all boards are asked for
their state, over and over, as `tinybft monitor` does; then the primary loses power, an
operation is acknowledged without it, it returns; then random boards do (--power-cuts);
at last, where the state survives it, all at once. Everything is read back at the end.
"""

import random
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tinybft.apps.kv_format import encode_get
from tools.cluster.checks import counted, written
from tools.cluster.driver import Driver, now_us
from tools.cluster.ledger import ACKNOWLEDGED, MISMATCHED, Ledger
from tools.cluster.plans import victim
from tools.cluster.result import check
from tools.cluster.times import Acknowledgements
from tools.cluster.workload import Workload, layout_of
from tools.refusal import Refusal
from tools.virt.client import Client
from tools.virt.ear import Ear

GAP_SECONDS = 30.0  # an operation must be acknowledged so soon after anything
REST_SECONDS = 20.0
SHARE = 10  # of the operations: undisturbed, watched
MOMENT_SECONDS = 0.5
HEAP_SLACK = 2048
CUT_SHARE = 0.7  # of the operations, before all lose power
WARM_UP = 30


class Late(Exception):
    """Something did not happen in time; says what."""


@dataclass
class Round:
    """What happened, and how long after it (or after power had returned) the next operation that
    was submitted then was acknowledged."""

    what: str
    gap_ms: float


class Course:
    """One run on a Group. `say(words)` is called when something happens."""

    def __init__(self, group, options, say):
        self.group = group
        self.config = group.config
        self.options = options
        self.ear = Ear(self.config, group)
        self.rounds = []
        self.heaps = {}  # board: bytes in use when warmed up
        self.undisturbed_ms = self.watched_ms = None  # medians of the client's latencies
        self.looks = 0
        self.seconds = 0.0
        self.heap_bytes = self.stack_bytes = None
        self._random = random.Random(options.seed)
        self._say = say
        self._unwatchable = ""
        self._started = time.monotonic()

    def run(self):
        """The checks, after everything that was to happen; raises Refusal on a bad start."""
        self.group.begin()
        self._tell(f"{len(self.group.boards)} boards serve")
        with ExitStack() as stack:
            client = Client(self.group)
            stack.callback(client.close)
            driver = self._driver(client)
            try:
                self._work(client, driver)
            except Late as late:
                self.seconds = 0.0
                return [check("running", False, str(late)), *self._ends()]
            checks = [self._answers()]
            checks += self._read_back(client)
            checks += [self._power(), self._memory(), self._words()]
            return [*self._ends(), *checks]

    def _tell(self, words):
        self._say(f"{time.monotonic() - self._started:6.1f} s  {words}")

    # --- load ---

    def _driver(self, client):
        options, folder = self.options, self.group.folder
        for kind in ("ledger", "latency", "times"):
            folder.node_file(client.client_id, kind).unlink(missing_ok=True)
        path = folder.node_file(client.client_id, "ledger")
        self.ledger = Ledger(len(layout_of(options.sizes)), path)
        length_max = self.config.REQUEST_LENGTH_MAX
        workload = Workload(
            client.client_id, options.sizes, options.mix, options.seed, self.ledger, length_max
        )
        times = folder.node_file(client.client_id, "times")
        self._acknowledged = Acknowledgements({client.client_id: times})
        plan = {
            "latency_path": folder.node_file(client.client_id, "latency"),
            "times_path": times,
            "workload": {
                "operations": options.operations,
                "seconds": 10**6,
                "pause_ms": 0,
                "interval_us": 0,
                "offset_us": 0,
            },
        }
        return Driver(client.node, workload, self.ledger, plan)

    def _work(self, client, driver):
        story = self._story()
        driver.go()
        begin = time.monotonic()
        last, since = -1, begin
        while not driver.done() or story:
            if driver.left <= 1 and story:
                driver.left += 10  # load goes on until everything has happened
            if not driver.advance():
                client.turn()
            if story and next(story, self) is self:
                story = None
            now = time.monotonic()
            if self.acknowledged() != last:
                last, since = self.acknowledged(), now
            elif now - since > GAP_SECONDS:
                raise Late(f"no operation was acknowledged for {GAP_SECONDS:.0f} s")
            self._refuse_the_dead()
        self.seconds = time.monotonic() - begin
        driver.report()  # writes the books

    def acknowledged(self):
        return self.ledger.get(ACKNOWLEDGED)

    def _refuse_the_dead(self):
        for board in self.group.boards:
            if board.has_ended():
                raise Late(f"board {board.node_id} ended by itself; see {board.log_path}")

    # --- what happens meanwhile: a generator, gone on with at every turn ---

    def _story(self):
        operations = self.options.operations
        yield from self._until(WARM_UP)
        for board in self.group.boards:
            self.group.status(board.node_id)  # imports what looking takes
            self.heaps[board.node_id] = self.group.heap_in_use(board.node_id)
        yield from self._watching(self.acknowledged(), operations // SHARE)
        if self.options.kill != "none":
            yield from self._kill_one()
        for _ in range(self.options.power_cuts - self.config.STATE_DURABLE):
            yield from self._cut(self._some())
        if self.options.power_cuts and self.config.STATE_DURABLE:
            yield from self._until(int(CUT_SHARE * operations))
            yield from self._cut(list(self.group.boards))

    def _until(self, count):
        while self.acknowledged() < count:
            yield

    def _pause(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield

    def _watching(self, first, share):
        """Median latencies of `share` operations undisturbed, and of `share` watched."""
        begin = now_us()
        yield from self._until(first + share)
        middle = now_us()
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        yield from self._until(first + 2 * share)
        end = now_us()
        stop.set()
        while watcher.is_alive():
            yield
        if self._unwatchable:
            raise Late(self._unwatchable)
        latencies = self._acknowledged.latencies()
        self.undisturbed_ms = median(took for at, took in latencies if begin < at < middle) / 1e3
        self.watched_ms = median(took for at, took in latencies if middle < at < end) / 1e3
        self._tell(
            f"median {self.undisturbed_ms:.1f} ms; {self.watched_ms:.1f} ms while the boards"
            f" were asked for their state {self.looks} times"
        )

    def _watch(self, stop):
        try:
            while not stop.is_set():
                for board in self.group.boards:
                    self.group.status(board.node_id)
                    self.looks += 1
        except Refusal as refusal:
            self._unwatchable = str(refusal)

    def _kill_one(self):
        replica = victim(self.config, self.options, self._primary())
        board = self.group.boards[replica]
        yield from self._strike([board])
        self._begin_gap()
        yield from self._gap(f"SIGKILL of board {replica}")
        yield from self._pause(self._random.uniform(0, MOMENT_SECONDS))
        yield from self._return([board])
        yield from self._in_step()

    def _cut(self, boards):
        yield from self._pause(self._random.uniform(0, MOMENT_SECONDS))
        yield from self._strike(boards)
        yield from self._pause(self._random.uniform(0, MOMENT_SECONDS))
        yield from self._return(boards)
        self._begin_gap()
        who = "all boards" if len(boards) == len(self.group.boards) else self._names(boards)
        yield from self._gap(f"power cut of {who}")

    def _strike(self, boards):
        for board in boards:
            board.strike()
        for board in boards:
            board.power_off()
        yield

    def _return(self, boards):
        for board in self._random.sample(boards, len(boards)):
            yield from self._pause(self._random.uniform(0, MOMENT_SECONDS))
            self.group.power_on(board)
            self.ear.live(board.node_id)
        for board in boards:
            self.group.await_start(board)

    def _begin_gap(self):
        self._begun = now_us()
        self._acknowledged.begin(self._begun)

    def _gap(self, words):
        end = time.monotonic() + GAP_SECONDS
        while not self._acknowledged.look():
            if time.monotonic() > end:
                raise Late(f"{words}: no operation was acknowledged after it")
            yield
        gap_ms = (self._acknowledged.look()[0] - self._begun) / 1000
        self.rounds.append(Round(words, gap_ms))
        self._tell(f"{words}: next operation acknowledged after {gap_ms:.0f} ms")

    def _in_step(self):
        """Until all boards are in one view and close to each other."""
        begin = time.monotonic()
        while True:
            found = [self.group.status(board.node_id) for board in self.group.boards]
            executed = [status["last_executed"] for status in found]
            views = {status["view"] for status in found}
            if len(views) == 1 and max(executed) - min(executed) <= self.config.WINDOW:
                self._tell(f"all in step again after {1000 * (time.monotonic() - begin):.0f} ms")
                return
            if time.monotonic() - begin > REST_SECONDS:
                raise Late(f"not in step: executed {executed}, views {sorted(views)}")
            yield from self._pause(0.1)

    def _some(self):
        boards = self.group.boards
        count = self._random.choice((1, 1, 1, self._random.randint(1, len(boards)), len(boards)))
        return self._random.sample(boards, count if self.config.STATE_DURABLE else 1)

    def _names(self, boards):
        return "board " + ", ".join(str(board.node_id) for board in boards)

    def _primary(self):
        return self.group.status(0)["view"] % self.config.REPLICA_COUNT

    # --- what it has shown ---

    def _answers(self):
        wrong = self.ledger.get(MISMATCHED)
        detail = f"{self.acknowledged()} acknowledged, each with the reply that the client expects"
        if wrong:
            detail = f"{wrong} replies were not what the client had written"
        return check(
            "operations", self.acknowledged() >= self.options.operations and not wrong, detail
        )

    def _read_back(self, client):
        books = {client.client_id: self.ledger}
        try:
            yield written(client, books, self.options)
            yield counted(client, books)
            yield self._digests(client)
        except Refusal as refusal:
            yield check("read back", False, str(refusal))

    def _digests(self, client):
        """All boards' digests at one checkpoint that covers everything."""
        operation = bytearray(self.config.REQUEST_LENGTH_MAX)
        deadline = time.monotonic() + REST_SECONDS
        while time.monotonic() < deadline:
            found = [self.group.status(board.node_id) for board in self.group.boards]
            marks = {(s["last_executed"], s["low_mark"], s["stable_digest"]) for s in found}
            if len(marks) == 1:
                seqno, low_mark, digest = marks.pop()
                if seqno == low_mark:
                    words = f"{len(found)} boards agree on state {digest[:16]} at seqno {seqno}"
                    return check("digests equal", True, words)
                client.ask(operation, encode_get(operation, b"shared"))
            self._idle(client, 0.2)
        return check("digests equal", False, f"the boards did not come to rest alike: {marks}")

    def _idle(self, client, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            client.turn()

    def _power(self):
        if not self.rounds:
            return check("power cuts", True, "none were wanted")
        gaps = sorted(entry.gap_ms for entry in self.rounds)
        kills = sum(board.boots - 1 for board in self.group.boards)
        detail = (
            f"{kills} SIGKILLs of emulators in {len(gaps)} rounds; next operation after"
            f" {median(gaps):.0f} ms (median; at most {gaps[-1]:.0f})"
        )
        return check("recovered", True, detail)

    def _memory(self):
        now = {board.node_id: self.group.heap_in_use(board.node_id) for board in self.group.boards}
        self.heap_bytes = max(now.values())
        self.stack_bytes = max(self.group.stack_used(node_id) for node_id in now)
        growth = max(now[board.node_id] - self.heaps[board.node_id] for board in self.group.boards)
        detail = (
            f"{self.heap_bytes} bytes of heap in use, {growth:+d} since operation {WARM_UP};"
            f" {self.stack_bytes} bytes of stack at most"
        )
        return check("memory constant", growth <= HEAP_SLACK, detail)

    def _words(self):
        found = self.ear.contradictions
        detail = f"{self.ear.heard()} votes in {self.ear.lives()} lives, none contradicts another"
        if found:
            detail = f"{len(found)}: {'; '.join(found[:3])}"
        return check("no contradiction", not found or not self.config.DURABLE, detail)

    def _ends(self):
        return [
            check("running", False, f"board {board.node_id} says: {line}")
            for board in self.group.boards
            for line in board.log().splitlines()
            if "has stopped" in line
        ]
