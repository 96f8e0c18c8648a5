"""Runs the floor (floor_node.py): as many MicroPython processes as there are replicas."""

import time

from tools.bench.recording import record
from tools.cluster.processes import Processes
from tools.refusal import Refusal

PROGRAM = "tools.bench.floor_node"
HEAP = "4M"  # the program of actions takes more than the regions of a replica
START_SECONDS = 30.0


class FloorGroup:
    """The floor of one workload. Requires: the folder is prepared for the configuration."""

    def __init__(self, folder, config, clients, size, mix="put"):
        self.recording = record(config, clients, size, mix)
        self._folder = folder
        self._client = clients[0]

    def measure(self, seconds):
        """{rate: operations per second, cpu_us per operation and node, stalls}.

        Raises Refusal when it does not run.
        """
        folder = self._folder
        folder.clear()
        processes = Processes(folder, HEAP, PROGRAM)
        with processes.guarded():
            for node_id, program in self.recording.programs.items():
                processes.start(node_id, self._plan(node_id, program), True)
            reports = awaited(folder, processes, "ready")
            processes.tell("go")
            time.sleep(seconds)
            processes.tell("stop")
            reports = awaited(folder, processes, "cycles")
        mine = reports[self._client]
        operations = max(1, mine["cycles"] * self.recording.operations)
        return {
            "rate": operations / (mine["busy_us"] / 1e6),
            "cpu_us": mean_of(reports, "cpu_us") / operations,
            "stalls": max(report["stalls"] for report in reports.values()),
        }

    def _plan(self, node_id, program):
        return {
            "node_id": node_id,
            "boot": 0,
            "tap": None,
            "key_path": str(self._folder.key_file(node_id)),
            "report_path": str(self._folder.node_file(node_id, "json")),
            "program": program,
        }


def mean_of(reports, name):
    """Of one figure in the reports of all nodes."""
    return sum(report[name] for report in reports.values()) / len(reports)


def awaited(folder, processes, name):
    """{node_id: report} when the reports of all nodes have `name`; raises Refusal."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        reports = {
            node_id: folder.read_json(folder.node_file(node_id, "json"))
            for node_id in processes.nodes
        }
        if all(report and name in report for report in reports.values()):
            return reports
        for node in processes.nodes.values():
            if not node.alive() and name not in (reports[node.node_id] or {}):
                raise Refusal(node.last_words())
        if time.monotonic() > deadline:
            raise Refusal(
                f"the processes were not {name} within {START_SECONDS:.0f} s;"
                f" see {folder.path}/node-*.log"
            )
        time.sleep(0.02)
