"""One node of a PySyncObj group: Raft, which stands crashes and no lies, in CPython.

    python -m tools.bench.raft_node PLAN.json

A dictionary is replicated over TCP, its log in memory. The node runs PySyncObj's loop itself
(autoTick off: no second thread, no lock), and sends entries at once (appendEntriesUseBatch off):
batches would wait for the next period of 100 ms, and a closed loop with them.

Words on standard input: `go` (begin requests), `stop`. The report file says {"ready", "leader"}
when the group has a leader, at the end {"operations", "failed", "busy_us", "cpu_us"}; the
latencies are a histogram as in a replica's.
"""

import json
import os
import select
import sys
import time
from pathlib import Path

from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated

from tools.cluster.latency import Histogram
from tools.cluster.workload import key_name

WAIT_SECONDS = 0.01
LOOK_SECONDS = 0.01
KEYS = 2


class Store(SyncObj):
    """The replicated dictionary."""

    def __init__(self, own, others):
        self.values = {}
        super().__init__(own, others, SyncObjConf(autoTick=False, appendEntriesUseBatch=False))

    @replicated
    def put(self, key, value):
        self.values[key] = value


class ClosedLoop:
    """A client: the next put follows when one was committed and applied here."""

    def __init__(self, store, node_id, size):
        self.operations = 0
        self.failed = 0
        self.busy_us = 0
        self.histogram = Histogram()
        self.open = False
        self._store = store
        self._names = [key_name(node_id, size, i).decode() for i in range(KEYS)]
        self._value = "v" * (size - 8)
        self._first = self._started = 0

    def go(self):
        self.open = True
        self._first = time.monotonic_ns()
        self._put()

    def _put(self):
        name = self._names[self.operations % KEYS]
        self._started = time.monotonic_ns()
        self._store.put(name, f"{self.operations:08}" + self._value, callback=self._answered)

    def _answered(self, _result, reason):
        now = time.monotonic_ns()
        if reason == FAIL_REASON.SUCCESS:
            self.operations += 1
            self.busy_us = (now - self._first) // 1000
            self.histogram.add((now - self._started) // 1000)
        else:
            self.failed += 1
        if self.open:
            self._put()


class Node:
    """The loop of the process: Raft, and the words of the supervisor."""

    def __init__(self, plan):
        self._plan = plan
        self._store = Store(plan["own"], plan["others"])
        self._client = ClosedLoop(self._store, plan["node_id"], plan["size"])
        self._ready = None  # (leader's name, whether it is this node) as it was reported
        self._ended = False
        self._cpu_first = 0

    def run(self):
        looked = time.monotonic()
        while not self._ended:
            self._store.doTick(WAIT_SECONDS)
            now = time.monotonic()
            if now - looked >= LOOK_SECONDS:
                looked = now
                self._report_leader()
                self._look()
        client = self._client
        counts = client.histogram.counts
        Path(self._plan["latency_path"]).write_bytes(counts.tobytes())
        self._write(
            {
                "operations": client.operations,
                "failed": client.failed,
                "busy_us": client.busy_us,
                "cpu_us": (time.process_time_ns() - self._cpu_first) // 1000,
            }
        )

    def _report_leader(self):
        leader = self._store._getLeader()
        if self._client.open or leader is None or not self._store.isReady():
            return
        if self._ready != leader.id:
            self._ready = leader.id
            self._cpu_first = time.process_time_ns()
            self._write({"ready": True, "leader": leader.id == self._plan["own"]})

    def _look(self):
        if not select.select([sys.stdin], [], [], 0)[0]:
            return
        word = sys.stdin.readline().strip()
        if word == "go":
            self._client.go()
        else:
            self._ended = True

    def _write(self, report):
        path = self._plan["report_path"]
        Path(path + ".new").write_text(json.dumps(report), encoding="utf-8")
        os.rename(path + ".new", path)


if __name__ == "__main__":
    Node(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))).run()
