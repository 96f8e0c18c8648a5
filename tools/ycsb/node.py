"""One node of a YCSB run: replica of the records, and the client that performs a trace.

The same process as tools/cluster/replica.py, with another service and another driver. Runs on
MicroPython and CPython. An operation's latency is that of all its commands together.
"""

import json

from tinybft import config
from tools.cluster.driver import elapsed_us, now_us
from tools.cluster.latency import Histogram
from tools.cluster.ledger import reopened
from tools.cluster.replica import Inbox, Reporter, node_of, run, serve
from tools.ycsb.records import Books, Commands, Records

GROUPS = ("read", "update", "read command", "write command")


class TraceDriver:
    """Performs the commands of a trace one after the other, from `go` to its end.

    `left` is what an Inbox may set: 0 ends the trace early. Allocates nothing per operation.
    """

    def __init__(self, node, commands, path):
        self.going = False
        self.left = 1
        self.busy_us = 0  # from `go` to the latest reply
        self._node = node
        self._client = node.client
        self._commands = commands
        self._histograms = [Histogram() for _ in GROUPS]
        self._sums_us = [0] * len(GROUPS)
        self._file = reopened(path)
        self._operation = memoryview(bytearray(config.REQUEST_LENGTH_MAX))
        self._first = 0
        self._began = 0  # the operation
        self._started = 0  # its command
        self._waiting = False
        self._operations = 0

    def go(self):
        self.going = True
        self._first = now_us()

    def advance(self):
        """Take a reply and submit the next command; True when it did either."""
        client = self._client
        if client.busy or not self.going:
            return False
        if self._waiting:
            self._take(client)
        if self.left <= 0:
            return False
        begins = self._commands.begins
        length = self._commands.next_into(self._operation)
        if not length:
            self.left = 0
            return True
        self._started = now_us()
        if begins:
            self._began = self._started
        self._waiting = client.submit(self._operation, length, self._node.hal.now_ms())
        return self._waiting

    def _take(self, client):
        self._waiting = False
        now = now_us()
        self.busy_us = elapsed_us(now, self._first)
        self._add(2 if self._commands.begins else 3, elapsed_us(now, self._started))
        kind = self._commands.accept(client.reply, client.reply_length)
        if kind:
            self._operations += 1
            self._add(kind - 1, elapsed_us(now, self._began))

    def _add(self, group, took_us):
        self._histograms[group].add(took_us)
        self._sums_us[group] += took_us

    def wait_left_us(self):
        return 0

    def done(self):
        return self.going and self.left <= 0 and not self._waiting

    def report(self):
        self._file.seek(0)
        for histogram in self._histograms:
            self._file.write(histogram.counts)
        commands = self._commands
        return {
            "acknowledged": self._operations,
            "mismatched": commands.mismatched,
            "mismatch": commands.mismatch,
            "sums_us": self._sums_us,
            "own": commands.books.copy_own(),
            "busy_us": self.busy_us,
            "done": self.done(),
        }


def driver_of(node, plan):
    """The driver of the node's trace, None if the plan has none."""
    work = plan["trace"]
    if not work:
        return None
    with open(work["path"], "rb") as file:
        octets = file.read()
    books = Books(node.node_id, work["records"], config.CLIENT_COUNT)
    return TraceDriver(node, Commands(octets, books), plan["latency_path"])


def main(plan_path):
    with open(plan_path) as file:
        plan = json.load(file)
    node = node_of(plan, Records)
    driver = driver_of(node, plan)
    serve(node, node.hal, driver, Reporter(node, driver, plan), Inbox(driver))


if __name__ == "__main__":
    run(main)
