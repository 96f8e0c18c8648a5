"""A small run of a simulated group that says everything on the air in one digest.

Runs on CPython and on MicroPython: `micropython tests/sim/air_run.py ideal` prints the digest.
"""

import hashlib
import sys

from hal import sim_costs
from hal.sim import Network, World
from hal.sim_radio import Radio
from tinybft import config
from tinybft.apps.kv import KeyValueStore
from tinybft.node import Node

_OPERATIONS = 4


class Air:
    """SHA-256 over time, sender, target and bytes of every message."""

    def __init__(self, world):
        self._world = world
        self._hash = hashlib.sha256()
        self.count = 0

    def on_sent(self, hal, target, message):
        self.count += 1
        self._hash.update(b"%d %d %d " % (self._world.now_us, hal.number, target))
        self._hash.update(message)

    def digest(self):
        return "".join("%02x" % b for b in self._hash.digest())


def make_node(hal):
    is_replica = hal.node_id < config.REPLICA_COUNT
    return Node(hal, config, KeyValueStore() if is_replica else None)


def run(medium, seed=5):
    """(digest of the air, messages) of a few operations of every node with 10 % loss."""
    world = World(config, seed)
    if medium == "radio":
        world.medium = Radio(world, 11, loss=0.05)
    else:
        world.medium = Network(world, loss=0.1, duplicate=0.05)
    air = Air(world)
    world.on_sent = air.on_sent
    for node_id in range(config.CLIENT_COUNT):
        hal = world.add(node_id, make_node)
        hal.costs = sim_costs if medium == "radio" else None
        hal.power_on()
    for turn in range(_OPERATIONS):
        for hal in world.hals:
            hal.act(lambda hal=hal, turn=turn: hal.node.start(b"\x01\x01k" + bytes((48 + turn,))))
        answered = world.run(60000, lambda: not any(hal.node.client.busy for hal in world.hals))
        assert answered, "not everything was answered"
    return air.digest(), air.count


if __name__ == "__main__":
    print(*run(sys.argv[1]))
