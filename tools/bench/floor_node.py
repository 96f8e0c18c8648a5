"""The floor of this machine: the MACs, digests and datagrams of some operations, and no protocol.

    micropython -X heapsize=640K -m tools.bench.floor_node PLAN.json

The plan's program (tools/bench/recording.py) is repeated as it stands: wait for so many
datagrams, compute so many tags and digests, send so many datagrams. What a datagram says is not
looked at, but for its sender, since multicast comes back to who sent it. Keys, MACs, digests,
sockets and the fixed length of datagrams are those of the library. Loss would stop the group: who
waits in vain for STALL_MS goes on and counts it.

Words on standard input: `go`, `stop`. The report file says {"ready"}, at the end {"cycles",
"busy_us", "cpu_us" (time of the processor), "stalls"}.
"""

import json
import os
import select
import sys
import time

from hal import HalError
from hal.crypto import Crypto
from hal.faults import Faults
from hal.keys import KeyFileError, load_keys
from hal.udp import UdpAir
from tinybft import config
from tinybft.compat import const, micropython

WAIT = 0
TAG = 1
CHECK = 2
HASH = 3
SEND = 4
TAGS = 5

_WAIT = const(0)
_TAG = const(1)
_CHECK = const(2)
_HASH = const(3)
_TAGS = const(5)
STALL_MS = 1000


class Floor:
    """One node: its program, its keys, its sockets."""

    def __init__(self, node_id, keys, program):
        crypto = Crypto(node_id, keys, config.TAG_LENGTH)
        self._mac_into = crypto.mac_into
        self._macs_into = crypto.macs_into
        self._mac_equal = crypto.mac_equal
        self._digest_into = crypto.digest_into
        self._air = UdpAir(config, node_id, Faults())
        self._node_id = node_id
        self._air.frame_out[0] = node_id
        self._program = tuple([tuple(action) for action in program])
        self._message = bytearray(max(config.MESSAGE_LENGTH_MAX, config.BLOCK_LENGTH) + 64)
        self._digest = bytearray(32)
        self._tags = bytearray(16 * config.REPLICA_COUNT)
        self._words = select.poll()
        self._words.register(sys.stdin, select.POLLIN)
        self.stalls = 0
        self.over = False  # told to stop

    @micropython.native
    def play(self):
        """The whole program once."""
        message = self._message
        for action, first, second in self._program:
            if action == _WAIT:
                self._await(first)
            elif action == _TAG:
                self._mac_into(first, message, second, self._tags, 0)
            elif action == _TAGS:
                self._macs_into(0, config.REPLICA_COUNT, message, second, self._tags, 0)
            elif action == _CHECK:
                self._mac_equal(first, message, second, self._tags, 0)
            elif action == _HASH:
                self._digest_into(message, 0, first, self._digest, 0)
            else:
                while second:
                    self._air.send(first, config.FRAME_LENGTH)
                    second -= 1

    @micropython.native
    def _await(self, count):
        air = self._air
        while count and not self.over:
            length = air.receive()
            if length > 0:
                if air.frame_in[0] != self._node_id:
                    count -= 1
            elif length == 0 and not self._something_came():
                # Who was told to stop before this one sends nothing any more.
                self.stalls += not self.look()
                return

    def look(self):
        """Whether it was told to stop."""
        self.over = bool(self._words.poll(0))
        return self.over

    def _something_came(self):
        started = time.ticks_ms()
        self._air.wait(STALL_MS)
        return time.ticks_diff(time.ticks_ms(), started) < STALL_MS


def written(path, report):
    with open(path + ".new", "w") as file:
        json.dump(report, file)
    os.rename(path + ".new", path)


def main(plan_path):
    with open(plan_path) as file:
        plan = json.load(file)
    floor = Floor(plan["node_id"], load_keys(plan["key_path"], config)[1], plan["program"])
    written(plan["report_path"], {"ready": True})
    if sys.stdin.readline().strip() != "go":
        return
    cycles = 0
    first = time.ticks_us()
    busy_us = 1
    cpu_first = time.clock()
    while not floor.look():
        floor.play()
        if not floor.over:
            cycles += 1
            busy_us = time.ticks_diff(time.ticks_us(), first)
    report = {"ready": True, "cycles": cycles, "busy_us": busy_us, "stalls": floor.stalls}
    report["cpu_us"] = int((time.clock() - cpu_first) * 1e6)
    written(plan["report_path"], report)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (HalError, KeyFileError) as error:
        print("error: " + str(error))
        sys.exit(2)
