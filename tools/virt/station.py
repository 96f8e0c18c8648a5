"""The HAL of a node that runs inside the host's own program: an external client at the radio."""

import os
import threading
from collections import deque

from hal import BROADCAST
from hal.faults import Faults
from hal.frames import Fragments, Reassembly
from hal.unix import cycles, now_ms

_INBOX_COUNT_MAX = 256


class Station:
    """The contract of `hal` over a Radio."""

    def __init__(self, radio, config, node_id, crypto, store):
        self.node_id = node_id
        self.crypto = crypto
        self.store = store
        self.faults = Faults()
        self.now_ms = now_ms
        self.cycles = cycles
        self._radio = radio
        self._inbox = deque(maxlen=_INBOX_COUNT_MAX)
        self._heard = threading.Event()
        self._reassembly = Reassembly(config, node_id, self.faults)
        self._fragments = Fragments(config, node_id, None, os.urandom(1)[0])
        radio.stations[node_id] = self

    def hear(self, frame):
        self._inbox.append(frame)
        self._heard.set()

    def receive_into(self, buf):
        while self._inbox:
            frame = self._inbox.popleft()
            length = self._reassembly.offer(frame, len(frame), buf)
            if length:
                return length
        return 0

    def send(self, target, buf, length):
        fragments = self._fragments
        fragments.begin(buf, length, target)
        while frame_length := fragments.put_next():
            frame = bytes(fragments.frame[:frame_length])
            self._radio.send(self.node_id, None if target == BROADCAST else target, frame)
        return True

    def wait(self, ms):
        self._heard.clear()
        if not self._inbox:
            self._heard.wait(ms / 1000)

    def entropy(self, buf):
        buf[:] = os.urandom(len(buf))

    def close(self):
        self._radio.stations.pop(self.node_id, None)
