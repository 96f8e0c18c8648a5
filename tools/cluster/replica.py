"""The program of one node process: a replica on MicroPython, or the external host client.

    micropython -X heapsize=640K -m tools.cluster.replica PLAN.json
    python -m tools.cluster.replica PLAN.json

PLAN.json (tools/cluster/plans.py writes it) says which node this is, where its keys and
files are, which faults its network injects and what its workload does. The node talks to its
supervisor in two ways. It reads words, one a line, from its standard input:

    go        the workload may start          more N   N further operations to do
    keep      do not end with the input       stop     end
    enough    no further operations

and it replaces its report file every `report_ms`, and when its view or a state transfer begins
or ends; a restarted one more often at first, so that its return can be timed. Bad input ends
it with exit code 2 and one line `error: ...` in its log. The garbage collector runs before each
report, so that the heap figures show what is in use.
"""

import gc
import json
import os
import select
import sys

from hal.crypto import Crypto
from hal.filestore import StoreError
from hal.keys import KeyFileError, load_keys
from hal.unix import Hal, HalError
from tinybft import config
from tinybft.apps.kv import KeyValueStore
from tinybft.compat import micropython
from tinybft.node import Node
from tinybft.request_ids import StoreError as UntrustedStore
from tools.cluster.driver import Driver, cpu_us, elapsed_us, now_us
from tools.cluster.ledger import Ledger
from tools.cluster.tap import Tap
from tools.cluster.workload import Workload, layout_of

WARM_UP_OPERATIONS = 100  # after these, memory must not grow any more
# How often words are looked for, and how long the loop sleeps at most; all clients are to
# start together, within a few milliseconds.
LOOK_US = 10000
WAIT_MS_MAX = 250
START_US = 0
START_MS_MAX = 5
RETURN_US = 3000000  # so long a restarted node reports every RETURN_REPORT_US
RETURN_REPORT_US = 50000


class Reporter:
    """Writes the node's report file, whole, when `period_ms` have passed."""

    def __init__(self, node, driver, plan):
        self._node = node
        self._driver = driver
        self._path = plan["report_path"]
        self._boot = plan["boot"]
        self._period_us = plan["report_ms"] * 1000
        self._first = self._last = now_us()
        self._cpu_first = cpu_us()
        self._said = 0
        self._number = 0
        self._heap_first = 0
        self._heap_most = 0

    def due(self, now):
        """Every period, and at once when something that is waited for begins or ends."""
        news = self._news()
        if news != self._said:
            self._said = news
            return True
        period_us = self._period_us
        if self._boot and elapsed_us(now, self._first) < RETURN_US:
            period_us = RETURN_REPORT_US
        return elapsed_us(now, self._last) >= period_us

    def _news(self):
        news = int(self._driver is not None and self._driver.done())
        replica = self._node.replica
        if replica:
            core = replica.core
            flags = 4 * core.progress.active + 2 * core.transfer.running
            news += 8 * core.progress.view + flags
        return news

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
            "boot": self._boot,
            "clock_us": now_us(),
            "cpu_us": cpu_us() - self._cpu_first,
            "heap": {"first": self._heap_first, "now": used, "most": self._heap_most},
            "status": status,
            "air": self._air(),
            "workload": self._driver.report() if self._driver else None,
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


class Inbox:
    """The supervisor's words. `open` turns False when this node is to end."""

    def __init__(self, driver):
        self.open = True
        self.started = False
        self._driver = driver
        self._kept = False
        self._ended = False
        self._input = open(0, "rb", 0)  # noqa: SIM115 - unbuffered, for poll to see all of it
        self._poll = select.poll()
        self._poll.register(self._input, select.POLLIN)

    def look(self):
        while self.open and not self._ended and self._poll.poll(0):
            line = self._input.readline()
            if not line:
                self._ended = True
                self._poll.unregister(self._input)
                self.open = self._kept
                return
            self._obey(line.decode().split() or ("",))

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
        elif words[0] == "enough" and self._driver:
            self._driver.left = 0


@micropython.native
def serve(node, hal, driver, reporter, inbox):
    """The loop of the process: protocol, workload, words, reports."""
    reporter.write()
    looked = now_us()
    while inbox.open:
        node.step()
        moved = driver is not None and driver.advance()
        now = now_us()
        if elapsed_us(now, looked) >= (LOOK_US if inbox.started else START_US):
            looked = now
            inbox.look()
            if reporter.due(now):
                reporter.write()
        # A step ends where nothing more is waiting, so there is no need of another to see that.
        if not moved:
            wait_ms_max = WAIT_MS_MAX if inbox.started else START_MS_MAX
            if driver is not None and driver.wait_left_us():
                wait_ms_max = min(wait_ms_max, 1 + driver.wait_left_us() // 1000)
            hal.wait(min(node.idle_ms(), wait_ms_max))
    reporter.write()


def node_of(plan, service_class=KeyValueStore):
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
    hal = Hal(
        config,
        node_id,
        crypto,
        store_path=plan["store_path"],
        store_length=plan["store_length"],
        **plan["network"],
    )
    if plan["tap"] is not None:
        hal.send = Tap(hal.send, plan["tap"]).send
    service = service_class() if node_id < config.REPLICA_COUNT else None
    try:
        return Node(hal, config, service)
    except UntrustedStore as error:
        raise StoreError(plan["store_path"] + ": " + str(error)) from None


def driver_of(node, plan):
    """The driver of the node's workload, None if the plan has none."""
    work = plan["workload"]
    if not work:
        return None
    sizes = work["sizes"]
    ledger = Ledger(len(layout_of(sizes)), plan["ledger_path"])
    length_max = config.REQUEST_LENGTH_MAX
    workload = Workload(node.node_id, sizes, work["mix"], work["seed"], ledger, length_max)
    workload.resume()
    return Driver(node, workload, ledger, plan)


def main(plan_path):
    with open(plan_path) as file:
        plan = json.load(file)
    node = node_of(plan)
    driver = driver_of(node, plan)
    serve(node, node.hal, driver, Reporter(node, driver, plan), Inbox(driver))


def run(program):
    """Call `program` with the path of the plan; what a person can mend becomes words."""
    try:
        program(sys.argv[1])
    except (HalError, KeyFileError, StoreError) as error:
        print("error: " + str(error))
        sys.exit(2)
    except MemoryError as error:
        print("error: the heap is too small (" + str(error) + "); choose a larger --heap")
        sys.exit(2)


if __name__ == "__main__":
    run(main)
