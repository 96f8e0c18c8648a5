"""Runs PySyncObj beside the library: as many nodes, the same puts, the same machine.

It is what one gets from the package index without Byzantine faults in mind: Raft in CPython, over
TCP, 2f + 1 of it would do. All clients are nodes, as here; a single one is a follower, as a
single client here is a backup.
"""

import importlib.util
import socket
import sys
import time

from tools.bench.floor import awaited, mean_of
from tools.cluster.files import ROOT
from tools.cluster.processes import Processes
from tools.cluster.reports import load_latencies, merged
from tools.refusal import Refusal

PROGRAM = "tools.bench.raft_node"
HOST = "127.0.0.1"


def require_pysyncobj():
    """Raises Refusal when it is not installed."""
    if importlib.util.find_spec("pysyncobj") is None:
        raise Refusal(
            "pysyncobj is not installed; `pip install -e '.[bench]'` brings it, or leave it out:"
            " --systems tinybft,floor"
        )


class RaftProcesses(Processes):
    """CPython processes that run from the project's own folder."""

    def command(self, _replica):
        return [sys.executable, "-m", PROGRAM], ROOT


class RaftGroup:
    """`count` nodes, of which so many as wanted put values of `size` bytes."""

    def __init__(self, folder, count, client_count, size):
        require_pysyncobj()
        self._folder = folder
        self._count = count
        self._client_count = client_count
        self._size = size

    def measure(self, seconds):
        """{rate, cpu_us per operation and node, p50_ms, p99_ms, failed}; or raises Refusal."""
        folder = self._folder
        folder.clear()
        processes = RaftProcesses(folder, "0")
        with processes.guarded():
            addresses = [f"{HOST}:{port}" for port in free_ports(self._count)]
            for node_id in range(self._count):
                processes.start(node_id, self._plan(node_id, addresses), False)
            reports = awaited(folder, processes, "ready")
            clients = self._clients(reports)
            for client_id in clients:
                processes.nodes[client_id].tell("go")
            time.sleep(seconds)
            processes.tell("stop")
            reports = awaited(folder, processes, "operations")
        return self._figures(reports, clients)

    def _plan(self, node_id, addresses):
        return {
            "node_id": node_id,
            "boot": 0,
            "tap": None,
            "own": addresses[node_id],
            "others": [address for i, address in enumerate(addresses) if i != node_id],
            "size": self._size,
            "report_path": str(self._folder.node_file(node_id, "json")),
            "latency_path": str(self._folder.node_file(node_id, "latency")),
        }

    def _clients(self, reports):
        """Followers first."""
        order = sorted(reports, key=lambda node_id: (reports[node_id]["leader"], node_id))
        return order[: self._client_count]

    def _figures(self, reports, clients):
        seconds = max(reports[client_id]["busy_us"] for client_id in clients) / 1e6
        operations = sum(report["operations"] for report in reports.values())
        if not operations:
            raise Refusal(
                f"PySyncObj committed nothing within the time; see {self._folder.path}/node-*.log"
            )
        latency = merged([h for node in clients for h in load_latencies(self._folder, node)])
        return {
            "rate": operations / seconds,
            "cpu_us": mean_of(reports, "cpu_us") / operations,
            "p50_ms": latency.quantile(0.5) / 1000,
            "p99_ms": latency.quantile(0.99) / 1000,
            "failed": sum(report["failed"] for report in reports.values()),
        }


def free_ports(count):
    """TCP ports that nobody uses now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
