"""The air between emulated boards and stations of the host: loss per receiver, airtime.

A thread carries the frames. With a rate the channel carries one frame at a time, as long as
ESP-NOW's airtime (hal/sim_radio.py has the formula; access to the channel takes its mean); with
none it is as fast as the host.
"""

import heapq
import random
import threading
import time
from collections import Counter

from hal.sim_radio import airtime_us

ACCESS_US = 50 + 31 * 20 // 2  # DIFS and half of the slots, 1 Mbit/s
_PAUSE_SECONDS = 0.0002


class Radio:
    """Boards (by node id, with a mailbox) and stations (by node id, with `hear(frame)`).

    Use as a context manager: the thread runs inside of it.
    """

    def __init__(self, seed=1, loss=0.0, rate=None):
        self.loss = loss
        self.rate = rate
        self.boards = {}
        self.stations = {}
        self.frames = Counter()  # sent, by node id
        self.lost = 0
        self.on_frame = None  # (transmitter's node id, frame)
        self._random = random.Random(seed)
        self._free_at = 0.0
        self._order = 0
        self._air = []  # (when, order, source, target, frame)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._on = True

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._on = False
        self._thread.join()

    def _carry(self):
        while self._on:
            if not self._turn():
                time.sleep(_PAUSE_SECONDS)

    def send(self, source, target, frame):
        """A frame of node `source` to node `target`, or to all (None)."""
        self.frames[source] += 1
        if self.on_frame:
            self.on_frame(source, frame)
        now = time.monotonic()
        if self.rate:
            begin = max(now, self._free_at)
            now = self._free_at = begin + (ACCESS_US + airtime_us(len(frame), self.rate)) / 1e6
        with self._lock:
            self._order += 1
            heapq.heappush(self._air, (now, self._order, source, target, frame))

    def _turn(self):
        """Carry what is under way; True if anything was."""
        moved = False
        for node_id, board in self.boards.items():
            while board.on and (sent := board.mailbox.take()) is not None:
                self.send(node_id, *sent)
                moved = True
        now = time.monotonic()
        while (due := self._next_due(now)) is not None:
            self._deliver(*due)
            moved = True
        return moved

    def _next_due(self, now):
        with self._lock:
            if not self._air or self._air[0][0] > now:
                return None
            return heapq.heappop(self._air)[2:]

    def _deliver(self, source, target, frame):
        for node_id, station in (*self.boards.items(), *self.stations.items()):
            if node_id == source or target not in (None, node_id):
                continue
            if self._random.random() < self.loss:
                self.lost += 1
            else:
                station.hear(frame)
