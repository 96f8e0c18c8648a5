"""The course of one run: start, go, watch, read back, come to rest; outage.py strikes.

Every step waits for facts in the nodes' reports. A node that ends by itself before the start
is bad input (a port in use, a wrong key file) and is refused with its own words; later it is
a failure of the run, named in the result.
"""

import time

from tools.cluster.kept import remember
from tools.cluster.ledger import ACKNOWLEDGED
from tools.cluster.outage import Outages
from tools.cluster.plans import client_ids, plan, shares
from tools.cluster.powercuts import PowerCuts
from tools.cluster.provision import provision
from tools.cluster.reports import Reports
from tools.cluster.result import ledgers
from tools.cluster.sniffer import Sniffer
from tools.refusal import Refusal

POLL_SECONDS = 0.2
POLL_SECONDS_OUTAGE = 0.05
SHARE_MIN = 500  # operations that a client has before it until the last outage is over
START_SECONDS = 30.0
REST_SECONDS = 20.0
STALL_SECONDS = 30.0  # no operation acknowledged for so long: the group has stopped


class Course:
    """One run. Requires: the folder is prepared. `show(course, views)` is called often."""

    def __init__(self, folder, config, options, processes, show):
        self.folder = folder
        self.config = config
        self.options = options
        self.processes = processes
        self.clients = client_ids(config, options)
        self.given = shares(options.operations, self.clients)  # {client: operations}
        self.outages = Outages(self)
        self.power_cuts = PowerCuts(self)
        self.sniffer = Sniffer(config) if config.DURABLE else None
        self.events = []  # (seconds since `go`, words)
        self.reports = Reports(folder, config, processes)
        self.failures = []
        self.started = time.monotonic()
        self.seconds = 0.0  # from `go` to the last acknowledgement
        self.phase = "starting"
        self._show = show
        self._shown = 0.0
        self._has_fed = False
        self._poll_seconds = POLL_SECONDS
        self._patience = 20 if options.wrappers else 1

    def start(self, boot=0):
        """Start all nodes and wait until each has reported once; raises Refusal.

        boot: how often they were started before; 0 makes them a new group.
        """
        if self.config.DURABLE and not boot:
            provision(self.folder, self.config)
        replicas = range(self.config.REPLICA_COUNT)
        for node_id in sorted({*replicas, *self.clients}):
            document = self.plan_of(node_id, self.given.get(node_id), boot)
            self._launch(document, self.options.wrappers.get(node_id, ()))
        deadline = time.monotonic() + START_SECONDS * self._patience
        while any(view.report is None for view in self._look()):
            for node in self.processes.unexpectedly_ended():
                raise Refusal(self._refusal(node.last_words()))
            if time.monotonic() > deadline:
                raise Refusal(
                    f"the nodes did not start within {START_SECONDS:.0f} s;"
                    f" see {self.folder.path}/node-*.log"
                )
        remember(self.folder, self.processes.nodes.values())

    def plan_of(self, node_id, operations, boot):
        """What a node is told: plans.py."""
        return plan(self.folder, self.config, self.options, node_id, operations, boot)

    def _launch(self, document, wrapper=()):
        """Start a node; if it is a replica that may be held to its words, listen to it."""
        node_id = document["node_id"]
        is_replica = node_id < self.config.REPLICA_COUNT
        if not is_replica or self.sniffer is None:
            self.processes.start(node_id, document, is_replica, wrapper)
            return
        with self.sniffer.tap(node_id, document["boot"]) as pipe:
            self.processes.start(node_id, {**document, "tap": pipe}, True, wrapper)

    def _refusal(self, words):
        """A node's last words, with the remedy that only this command knows."""
        if str(self.folder.keys) in words:
            words += f". Or remove {self.folder.keys}: the next run makes new keys"
        return words

    def work(self):
        """Let the clients go, and the outages happen; wait until all is done."""
        self.phase = "working"
        self.processes.tell("go")
        self.started = time.monotonic()
        progress = Progress(STALL_SECONDS * self._patience)
        while True:
            views = self._look()
            total = sum(view.acknowledged for view in views)
            going_on = self.outages.advance(views) or self.power_cuts.advance(views)
            self._feed(views, total, going_on)
            if self._ended() or not going_on and all(self._done(view) for view in views):
                break
            if progress.stalled(total):
                self.failures.append(f"no operation was acknowledged for {progress.seconds:.0f} s")
                break
        self.seconds = time.monotonic() - self.started

    def say(self, words):
        """Note an event of the run; whoever shows the run shows it."""
        self.events.append((time.monotonic() - self.started, words))

    def _feed(self, views, total, going_on):
        """While outages go on the clients are to have work, and need not finish it later."""
        if going_on:
            self._poll_seconds = POLL_SECONDS_OUTAGE
            self._has_fed = True
            for view in views:
                left = self.given.get(view.node_id, SHARE_MIN) - view.acknowledged
                if left < SHARE_MIN and view.condition == "running":
                    self._give(view.node_id, SHARE_MIN)
        else:
            self._poll_seconds = POLL_SECONDS
            if self._has_fed and total >= self.options.operations:
                self.processes.tell("enough")
                self._has_fed = False

    def _give(self, client_id, operations):
        self.given[client_id] += operations
        self.processes.nodes[client_id].tell(f"more {operations}")

    def close_external(self):
        """End the external clients' processes, so that others can take their ids."""
        self.phase = "reading back"
        for client_id in self.clients:
            if client_id >= self.config.REPLICA_COUNT:
                self.processes.nodes[client_id].finish()

    def rest(self):
        """Wait until all live replicas report the same seqno and the same stable digest.

        Returns (seqno, digest); the digest is None while the last executed seqno is not a
        checkpoint, which covers what was executed since; None when they do not come to rest.
        """
        self.phase = "coming to rest"
        deadline = time.monotonic() + REST_SECONDS * self._patience
        floor = {view.node_id: view.report["report"] for view in self.live_replicas()}
        while time.monotonic() < deadline and not self._ended():
            self._look()
            views = self.live_replicas()
            fresh = all(view.report["report"] > floor[view.node_id] + 1 for view in views)
            marks = {mark(view.status) for view in views}
            if not fresh or len(marks) != 1:
                continue
            seqno, low_mark, digest = marks.pop()
            if seqno == low_mark:
                return seqno, digest
            if seqno % self.config.CHECKPOINT_INTERVAL:
                return seqno, None
        return None

    def live_replicas(self):
        return [
            view for view in self.reports.views() if view.replica and view.condition == "running"
        ]

    def _look(self):
        time.sleep(self._poll_seconds)
        views = self.reports.views()
        now = time.monotonic()
        if now - self._shown >= POLL_SECONDS:
            self._shown = now
            self._show(self, views)
        return views

    def _done(self, view):
        if view.condition == "starting":
            return False
        return view.workload is None or view.workload["done"] or view.condition == "killed"

    def _ended(self):
        """Record nodes that ended by themselves; True if there are any."""
        ended = self.processes.unexpectedly_ended()
        for node in ended:
            self.failures.append(f"node {node.node_id} ended by itself: {node.last_words()}")
        return bool(ended)

    def restart(self, node_id):
        """Start a killed replica again; its client goes on."""
        left = None
        if node_id in self.clients:
            left = max(1, self.given[node_id] - self._acknowledged(node_id))
        boot = self.processes.nodes[node_id].boot + 1
        self._launch(self.plan_of(node_id, left, boot))
        self.processes.nodes[node_id].tell("go")
        remember(self.folder, self.processes.nodes.values())

    def bequeath(self, node_id):
        """Give what the client of a killed replica had left to the others."""
        if node_id not in self.clients:
            return
        heirs = [client_id for client_id in self.clients if client_id != node_id]
        left = max(0, self.given[node_id] - self._acknowledged(node_id))
        for heir, more in shares(left, heirs).items():
            self._give(heir, more)

    def _acknowledged(self, client_id):
        """What a killed client's books say."""
        return ledgers(self.folder, self.config, self.options)[client_id].get(ACKNOWLEDGED)


def mark(status):
    return status["last_executed"], status["low_mark"], status["stable_digest"]


class Progress:
    """Notices that a growing total has stopped growing for `seconds`."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._total = -1
        self._since = time.monotonic()

    def stalled(self, total):
        if total != self._total:
            self._total = total
            self._since = time.monotonic()
        return time.monotonic() - self._since > self.seconds
