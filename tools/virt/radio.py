"""The air between emulated boards and stations of the host: loss per receiver, airtime.

A frame goes from `turn` to `turn`: whoever waits for anything calls it often. With a rate the
channel carries one frame at a time, as long as ESP-NOW's airtime (hal/sim_radio.py has the
formula; access to the channel takes its mean); with none it is as fast as the host.
"""

import heapq
import random
import time
from collections import Counter

from hal.sim_radio import airtime_us

ACCESS_US = 50 + 31 * 20 // 2  # DIFS and half of the slots, 1 Mbit/s


class Radio:
    """Boards (by node id, with a mailbox) and stations (by node id, with `hear(frame)`)."""

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

    def send(self, source, target, frame):
        """A frame of node `source` to node `target`, or to all (None)."""
        self.frames[source] += 1
        if self.on_frame:
            self.on_frame(source, frame)
        now = time.monotonic()
        if self.rate:
            begin = max(now, self._free_at)
            now = self._free_at = begin + (ACCESS_US + airtime_us(len(frame), self.rate)) / 1e6
        self._order += 1
        heapq.heappush(self._air, (now, self._order, source, target, frame))

    def turn(self):
        """Carry what is under way; True if anything was."""
        moved = False
        for node_id, board in self.boards.items():
            while (sent := board.mailbox.take()) is not None:
                self.send(node_id, *sent)
                moved = True
        now = time.monotonic()
        while self._air and self._air[0][0] <= now:
            _, _, source, target, frame = heapq.heappop(self._air)
            self._deliver(source, target, frame)
            moved = True
        return moved

    def _deliver(self, source, target, frame):
        for node_id in (*self.boards, *self.stations):
            if node_id == source or target not in (None, node_id):
                continue
            if self._random.random() < self.loss:
                self.lost += 1
            elif node_id in self.stations:
                self.stations[node_id].hear(frame)
            elif self.boards[node_id].has_power():
                self.boards[node_id].mailbox.put(frame)
