"""What the supervisor knows of its nodes: their latest reports, and rates between them."""

import time
from array import array
from dataclasses import dataclass, field
from functools import cached_property

from tools.cluster.latency import BUCKET_COUNT, Histogram


@dataclass
class View:
    """One node as it is shown: `report` is its latest, None before the first."""

    node_id: int
    replica: bool
    condition: str  # starting, running, frozen, killed, finished, ended
    report: dict | None  # of its last life while it is starting again
    rate: float  # acknowledged operations per second, of late
    folder: object = field(repr=False)

    @cached_property
    def latency(self):
        """All its latencies; read only when it is looked at, which costs the host time."""
        return merged(load_latencies(self.folder, self.node_id))

    @property
    def status(self):
        return self.report["status"] if self.report and self.condition != "starting" else None

    @property
    def workload(self):
        return self.report["workload"] if self.report else None

    @property
    def acknowledged(self):
        return self.workload["acknowledged"] if self.workload else 0

    def faults(self):
        """Faults counted by protocol and HAL, but for those injected on purpose."""
        air = self.report["air"]["faults"]
        met = sum(count for name, count in air.items() if not name.startswith("injected"))
        return met + sum(self.status["faults"].values())

    def injected(self, name):
        return self.report["air"]["faults"].get(name, 0)


class Reports:
    """Reads the report files of all nodes, and smooths their rates over RATE_SECONDS."""

    RATE_SECONDS = 1.0

    def __init__(self, folder, config, processes):
        self._folder = folder
        self._config = config
        self._processes = processes
        self._marks = {}  # node_id: (time, acknowledged, rate)

    def views(self):
        return [self._view(node) for node in self._processes.nodes.values()]

    def _view(self, node):
        node_id = node.node_id
        report = self._folder.read_json(self._folder.node_file(node_id, "json"))
        view = View(
            node_id,
            node_id < self._config.REPLICA_COUNT,
            _condition(node, report),
            report,
            0.0,
            self._folder,
        )
        view.rate = self._rate(node_id, view.acknowledged) if node.alive() else 0.0
        return view

    def _rate(self, node_id, acknowledged):
        now = time.monotonic()
        then, before, rate = self._marks.setdefault(node_id, (now, acknowledged, 0.0))
        if now - then >= self.RATE_SECONDS:
            rate = max(0, acknowledged - before) / (now - then)
            self._marks[node_id] = (now, acknowledged, rate)
        return rate


def _condition(node, report):
    if node.killed or node.finished:
        return "killed" if node.killed else "finished"
    if not node.alive():
        return "ended"
    if node.frozen:
        return "frozen"
    return "running" if report and report["boot"] == node.boot else "starting"


def load_latencies(folder, node_id):
    """The histograms of a node's groups of operations, [] when it has no workload."""
    try:
        content = folder.node_file(node_id, "latency").read_bytes()
    except OSError:
        return []
    histograms = []
    for at in range(0, len(content), 4 * BUCKET_COUNT):
        histogram = Histogram()
        counts = array("I", content[at : at + 4 * BUCKET_COUNT])
        histogram.counts[: len(counts)] = counts
        histograms.append(histogram)
    return histograms


def merged(histograms):
    whole = Histogram()
    for histogram in histograms:
        whole.merge(histogram.counts)
    return whole
