"""Listens at the modelled radio to what emulated replicas say, over all their lives.

The same oracle as for real processes (tools/cluster/sniffer.py), fed from frames.
"""

from hal.faults import Faults
from hal.frames import Reassembly
from tinybft.octets import put_u16
from tools.cluster.sniffer import Statements
from tools.cluster.tap import KINDS


class Ear:
    """`contradictions` has one line for each; `live(node_id)` begins another life."""

    def __init__(self, config, group):
        self.contradictions = []
        count = config.REPLICA_COUNT
        self._statements = [Statements(config, i) for i in range(count)]
        self._boots = [0] * count
        self._config = config
        self._message = bytearray(config.MESSAGE_LENGTH_MAX)
        self._reassemblies = [self._fresh() for _ in range(count)]
        group.radio.on_frame = self._hear

    def _fresh(self):
        """As if of the last external client, who hears all replicas."""
        return Reassembly(self._config, self._config.CLIENT_COUNT - 1, Faults())

    def _to_all(self, node_id, frame):
        """The same frame, as if it were for everybody (hal/frames.py: target -1)."""
        octets = bytearray(frame)
        if len(octets) >= 2:
            put_u16(octets, 0, self._config.GROUP_ID * 40503 + node_id & 0xFFFF)
        return octets

    def live(self, node_id):
        self._boots[node_id] += 1
        self._reassemblies[node_id] = self._fresh()

    def heard(self):
        return sum(statements.heard for statements in self._statements)

    def lives(self):
        return sum(self._boots) + len(self._boots)

    def _hear(self, node_id, frame):
        if node_id >= len(self._boots):
            return
        octets = self._to_all(node_id, frame)
        length = self._reassemblies[node_id].offer(octets, len(octets), self._message)
        if length:
            message = bytearray(self._message[:length])
            if message[1] not in KINDS:
                return
            words = self._statements[node_id].hear(message, self._boots[node_id])
            if words:
                self.contradictions.append(words)
