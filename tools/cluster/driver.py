"""The requests of one client: reply, judge, next operation; and how long each took.

    closed loop    the next request follows the reply, or `pause_ms` after the one before
    open loop      requests fall due every `interval_us`, whatever the group does. A client has one
                   outstanding: what falls due meanwhile waits, and its latency counts from when
                   it fell due. One that falls due while the client sleeps counts from when it is
                   sent, up to a millisecond later.

Runs on MicroPython and CPython. Allocates nothing per operation.
"""

import time

from tinybft.compat import micropython
from tools.cluster.latency import Histogram
from tools.cluster.ledger import (
    ACKNOWLEDGED,
    INCREMENTED,
    MISMATCHED,
    OUTSTANDING,
    reopened,
)
from tools.cluster.times import TimesFile

if hasattr(time, "clock"):

    def cpu_us():
        """Time of the processor that this process has taken."""
        return int(time.clock() * 1e6)
else:

    def cpu_us():
        return time.process_time_ns() // 1000


if hasattr(time, "ticks_us"):
    now_us = time.ticks_us
    elapsed_us = time.ticks_diff
else:

    def now_us():
        return time.monotonic_ns() // 1000

    def elapsed_us(later, earlier):
        return later - earlier


class Driver:
    """Has the operations of the workload executed until `left` are done.

    The ledger is written before each request. Requires of the node `client`, `hal` and `config`;
    what the plan says of files and workload is used.
    """

    def __init__(self, node, workload, ledger, plan):
        work = plan["workload"]
        self.left = work["operations"]
        self.going = False
        self.busy_us = 0  # from `go` to the latest reply
        self._limit_us = work["seconds"] * 1_000_000
        self._pause_us = work["pause_ms"] * 1000
        self._interval_us = work["interval_us"]
        self._due_us = work["offset_us"]  # when the next request falls due, from `go` on
        self._late = False  # it fell due before the one before was answered
        self._reads_unordered = getattr(node.config, "READ_ONLY", False)
        self._client = node.client
        self._now_ms = node.hal.now_ms
        self._workload = workload
        self._ledger = ledger
        self._histograms = [Histogram() for _ in range(workload.group_count)]
        self._file = reopened(plan["latency_path"])
        for histogram in self._histograms:
            self._file.readinto(histogram.counts)
        self._times = TimesFile(plan["times_path"]) if plan["times_path"] else None
        self._operation = memoryview(bytearray(node.config.REQUEST_LENGTH_MAX))
        self._first = 0
        self._started = 0
        self._waiting = False

    def go(self):
        self.going = True
        self._first = now_us()

    @micropython.native
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
            self._late = self.busy_us > self._due_us
            if self._times:
                self._times.add(self._started, now)
            self._workload.accept(client.reply, client.reply_length)
            self.left = self.left - 1 if self.busy_us < self._limit_us else 0
        if self.left <= 0 or self.wait_left_us() > 0:
            return False
        length = self._workload.next_into(self._operation)
        self._ledger.write()
        self._started = now_us()
        if self._interval_us:
            if self._late:
                self._started -= elapsed_us(self._started, self._first) - self._due_us
            self._due_us += self._interval_us
        read_only = self._reads_unordered and self._workload.reads
        self._waiting = client.submit(self._operation, length, self._now_ms(), read_only)
        return self._waiting

    @micropython.native
    def wait_left_us(self):
        """How long to wait before the next request; 0 in a closed loop without pauses."""
        if not self.going or self.left <= 0 or self._client.busy:
            return 0
        if self._interval_us:
            return max(0, self._due_us - elapsed_us(now_us(), self._first))
        if not self._pause_us:
            return 0
        return max(0, self._pause_us - elapsed_us(now_us(), self._started))

    def done(self):
        return self.going and self.left <= 0 and not self._waiting

    def report(self):
        """What a report says of the workload; writes the books, too."""
        self._write()
        ledger = self._ledger
        return {
            "acknowledged": ledger.get(ACKNOWLEDGED),
            "incremented": ledger.get(INCREMENTED),
            "mismatched": ledger.get(MISMATCHED),
            "outstanding": ledger.get(OUTSTANDING),
            "mismatch": self._workload.mismatch,
            "busy_us": self.busy_us,
            "done": self.done(),
        }

    def _write(self):
        self._ledger.write()
        self._file.seek(0)
        for histogram in self._histograms:
            self._file.write(histogram.counts)
