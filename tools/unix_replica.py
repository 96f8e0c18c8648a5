"""The program of one node process: a replica on MicroPython, or the external host client.

    micropython -X heapsize=512K -m tools.unix_replica PLAN.json
    python -m tools.unix_replica PLAN.json

PLAN.json (tools/cluster_plans.py writes it) says which node this is, where its keys and
files are, which faults its network injects and what its workload does. The node talks to its
supervisor in two ways. It reads words, one a line, from its standard input:

    go        the workload may start          more N   N further operations to do
    keep      do not end with the input       stop     end

and it replaces its report file every `report_ms`. Bad input ends it with exit code 2 and one
line `error: ...` in its log. The garbage collector runs before each report, so that the heap
figures show what is in use.
"""

import gc
import json
import os
import select
import sys
import time

import tinybft.config as config
from hal.crypto import Crypto
from hal.filestore import StoreError
from hal.keys import KeyFileError, load_keys
from hal.unix import Hal, HalError
from tinybft.apps.kv import KeyValueStore
from tinybft.node import Node
from tools.cluster_latency import Histogram
from tools.cluster_ledger import ACKNOWLEDGED, INCREMENTED, MISMATCHED, OUTSTANDING, Ledger
from tools.cluster_workload import Workload, layout_of

WARM_UP_OPERATIONS = 100  # after these, memory must not grow any more
WAIT_MS_MAX = 250  # a report or a word is late by at most this
START_MS_MAX = 5

if hasattr(time, "ticks_us"):
    now_us = time.ticks_us
    elapsed_us = time.ticks_diff
else:

    def now_us():
        return time.perf_counter_ns() // 1000

    def elapsed_us(later, earlier):
        return later - earlier


class Driver:
    """Keeps one operation of the workload outstanding until `left` are done."""

    def __init__(self, node, workload, ledger, left, seconds, latency_path):
        self.left = left
        self.going = False
        self.busy_us = 0  # from `go` to the latest reply
        self._limit_us = seconds * 1_000_000
        self._client = node.client
        self._now_ms = node.hal.now_ms
        self._workload = workload
        self._ledger = ledger
        self._histograms = [Histogram() for _ in range(workload.group_count)]
        self._file = open(latency_path, "wb", 0)  # noqa: SIM115 - lives as long as it
        self._operation = memoryview(bytearray(config.REQUEST_LENGTH_MAX))
        self._first = 0
        self._started = 0
        self._waiting = False

    def go(self):
        self.going = True
        self._first = now_us()

    def advance(self):
        """Take a reply and submit the next operation; True when it did either."""
        client = self._client
        if client.busy or not self.going:
            return False
        if self._waiting:
            self._waiting = False
            histogram = self._histograms[self._workload.group]
            now = now_us()
            histogram.add(elapsed_us(now, self._started))
            self.busy_us = elapsed_us(now, self._first)
            self._workload.accept(client.reply, client.reply_length)
            self.left = self.left - 1 if self.busy_us < self._limit_us else 0
        if self.left <= 0:
            return False
        length = self._workload.next_into(self._operation)
        self._ledger.write()
        self._started = now_us()
        self._waiting = client.submit(self._operation, length, self._now_ms())
        return True

    def done(self):
        return self.going and self.left <= 0 and not self._waiting

    def write(self):
        self._ledger.write()
        self._file.seek(0)
        for histogram in self._histograms:
            self._file.write(histogram.counts)


class Reporter:
    """Writes the node's report file, whole, when `period_ms` have passed."""

    def __init__(self, node, driver, plan):
        self._node = node
        self._driver = driver
        self._path = plan["report_path"]
        self._period_us = plan["report_ms"] * 1000
        self._last = now_us()
        self._number = 0
        self._heap_first = 0
        self._heap_most = 0

    def due(self):
        return elapsed_us(now_us(), self._last) >= self._period_us

    def write(self):
        gc.collect()
        self._number += 1
        used = gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0
        status = self._node.status()
        if not self._heap_first and status.get("operations", 0) >= WARM_UP_OPERATIONS:
            self._heap_first = used
        self._heap_most = max(self._heap_most, used)
        report = {
            "report": self._number,
            "heap": {"first": self._heap_first, "now": used, "most": self._heap_most},
            "status": status,
            "air": self._air(),
            "workload": self._workload(),
        }
        with open(self._path + ".new", "w") as file:
            json.dump(report, file)
        os.rename(self._path + ".new", self._path)
        self._last = now_us()

    def _air(self):
        hal = self._node.hal
        faults = {}
        for name in hal.faults.names():
            if getattr(hal.faults, name):
                faults[name] = getattr(hal.faults, name)
        return {"multicast": hal.multicast, "reason": hal.multicast_reason, "faults": faults}

    def _workload(self):
        driver = self._driver
        if driver is None:
            return None
        driver.write()
        ledger = driver._ledger
        return {
            "acknowledged": ledger.get(ACKNOWLEDGED),
            "incremented": ledger.get(INCREMENTED),
            "mismatched": ledger.get(MISMATCHED),
            "outstanding": ledger.get(OUTSTANDING),
            "mismatch": driver._workload.mismatch,
            "busy_us": driver.busy_us,
            "done": driver.done(),
        }


class Inbox:
    """The supervisor's words. `open` turns False when this node is to end."""

    def __init__(self, driver):
        self.open = True
        self.started = False
        self._driver = driver
        self._kept = False
        self._ended = False
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)

    def look(self):
        while self.open and not self._ended and self._poll.poll(0):
            line = sys.stdin.readline()
            if not line:
                self._ended = True
                self._poll.unregister(sys.stdin)
                self.open = self._kept
                return
            self._obey(line.split())

    def _obey(self, words):
        if words[0] == "keep":
            self._kept = True
        elif words[0] == "stop":
            self.open = False
        elif words[0] == "go":
            self.started = True
            if self._driver:
                self._driver.go()
        elif words[0] == "more" and self._driver:
            self._driver.left += int(words[1])


def serve(node, hal, driver, reporter, inbox):
    """The loop of the process: protocol, workload, reports, words."""
    reporter.write()
    while inbox.open:
        moved = node.step()
        if driver is not None and driver.advance():
            moved = True
        if reporter.due():
            inbox.look()
            reporter.write()
        elif not inbox.started:
            inbox.look()  # all clients are to start together, within a few milliseconds
        if not moved:
            hal.wait(min(node.idle_ms(), WAIT_MS_MAX if inbox.started else START_MS_MAX))
    reporter.write()


def node_of(plan):
    """The node that a plan describes; HalError, KeyFileError or StoreError."""
    key_id, keys = load_keys(plan["key_path"], config)
    node_id = plan["node_id"]
    if key_id != node_id:
        raise KeyFileError(
            plan["key_path"]
            + ": holds the keys of node "
            + str(key_id)
            + ", but this is node "
            + str(node_id)
            + "; each node needs its own file"
        )
    crypto = Crypto(node_id, keys, config.TAG_LENGTH)
    hal = Hal(config, node_id, crypto, store_path=plan["store_path"], **plan["network"])
    service = KeyValueStore() if node_id < config.REPLICA_COUNT else None
    return Node(hal, config, service)


def driver_of(node, plan):
    """The driver of the node's workload, None if the plan has none."""
    work = plan["workload"]
    if not work:
        return None
    sizes = work["sizes"]
    ledger = Ledger(len(layout_of(sizes)), plan["ledger_path"])
    length_max = config.REQUEST_LENGTH_MAX
    workload = Workload(node.node_id, sizes, work["mix"], work["seed"], ledger, length_max)
    left, seconds = work["operations"], work["seconds"]
    return Driver(node, workload, ledger, left, seconds, plan["latency_path"])


def main(plan_path):
    with open(plan_path) as file:
        plan = json.load(file)
    node = node_of(plan)
    driver = driver_of(node, plan)
    serve(node, node.hal, driver, Reporter(node, driver, plan), Inbox(driver))


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (HalError, KeyFileError, StoreError) as error:
        print("error: " + str(error))
        sys.exit(2)
