"""The course of one run: start, go, watch, kill, read back, come to rest.

Every step waits for facts in the nodes' reports. A node that ends by itself before the start
is bad input (a port in use, a wrong key file) and is refused with its own words; later it is
a failure of the run, named in the result.
"""

import time

from tools.cluster.plans import client_ids, plan, shares, victim
from tools.cluster.reports import Reports
from tools.refusal import Refusal

POLL_SECONDS = 0.2
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
        self.victim = victim(config, options)
        self.reports = Reports(folder, config, processes)
        self.failures = []
        self.started = time.monotonic()
        self.seconds = 0.0  # from `go` to the last acknowledgement
        self.phase = "starting"
        self._show = show
        self._patience = 20 if options.wrappers else 1

    def start(self):
        """Start all nodes and wait until each has reported once; raises Refusal."""
        share = shares(self.options.operations, self.clients)
        replicas = range(self.config.REPLICA_COUNT)
        for node_id in sorted({*replicas, *self.clients}):
            document = plan(self.folder, self.options, node_id, share.get(node_id))
            wrapper = self.options.wrappers.get(node_id, ())
            self.processes.start(node_id, document, node_id in replicas, wrapper)
        deadline = time.monotonic() + START_SECONDS * self._patience
        while any(view.report is None for view in self._look()):
            for node in self.processes.unexpectedly_ended():
                raise Refusal(self._refusal(node.last_words()))
            if time.monotonic() > deadline:
                raise Refusal(
                    f"the nodes did not start within {START_SECONDS:.0f} s;"
                    f" see {self.folder.path}/node-*.log"
                )

    def _refusal(self, words):
        """A node's last words, with the remedy that only this command knows."""
        if str(self.folder.keys) in words:
            words += f". Or remove {self.folder.keys}: the next run makes new keys"
        return words

    def work(self):
        """Let the clients go, kill the victim half-way, wait until all are done."""
        self.phase = "working"
        self.processes.tell("go")
        self.started = time.monotonic()
        progress = Progress(STALL_SECONDS * self._patience)
        while True:
            views = self._look()
            total = sum(view.acknowledged for view in views)
            if self.victim is not None and total >= self.options.operations // 2:
                self._kill(self.victim)
            if self._ended() or all(self._done(view) for view in views):
                break
            if progress.stalled(total):
                self.failures.append(f"no operation was acknowledged for {progress.seconds:.0f} s")
                break
        self.seconds = time.monotonic() - self.started

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
        time.sleep(POLL_SECONDS)
        views = self.reports.views()
        self._show(self, views)
        return views

    def _done(self, view):
        return view.workload is None or view.workload["done"] or view.condition == "killed"

    def _ended(self):
        """Record nodes that ended by themselves; True if there are any."""
        ended = self.processes.unexpectedly_ended()
        for node in ended:
            self.failures.append(f"node {node.node_id} ended by itself: {node.last_words()}")
        return bool(ended)

    def _kill(self, node_id):
        """Kill a replica and give what its client had left to the others."""
        self.processes.nodes[node_id].kill()
        self.victim = None
        if node_id not in self.clients:
            return
        view = next(view for view in self.reports.views() if view.node_id == node_id)
        share = shares(self.options.operations, self.clients)[node_id]
        heirs = [client_id for client_id in self.clients if client_id != node_id]
        if heirs:
            for heir, more in shares(max(0, share - view.acknowledged), heirs).items():
                self.processes.nodes[heir].tell(f"more {more}")


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
