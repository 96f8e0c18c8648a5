"""The HAL of a simulated node: virtual time, one queue of events, a medium. Deterministic.

    world = World(config, seed)
    world.medium = Network(world, delay_ms=1)         or hal.sim_radio.Radio(world)
    hal = world.add(node_id, lambda hal: Node(hal, config, service))
    hal.power_on()
    world.run(1000)                                   one second of virtual time

The same seed and the same calls give the same bytes on the air, on CPython and on MicroPython.
Time is kept in microseconds; events of one microsecond happen in the order in which they were
scheduled. A node is stepped when a message reaches it and when a timer of it is due, and only
then. What it sends during a step leaves when the step ends; later by the time that its store
needed before, if the store takes time, and the device is busy so long.

Not the radio's but the attacker's view: `world.route(source, receiver, message)` may replace
what one receiver gets, `world.cut` holds the links that are down. Observers (`on_built`,
`on_sent`, `on_heard`, `on_lost`, `on_stepped`, `on_failed`) see everything and change nothing.

Allocates at will: nothing of this runs on a device that serves anybody.
"""

from heapq import heappop, heappush

from hal.sim_device import SimHal
from hal.sim_parts import Random


def _raise(_hal, error):
    raise error


class World:
    """Virtual time, the devices, and what happens next."""

    def __init__(self, config, seed=1):
        self.config = config
        self.seed = seed
        self.now_us = 0
        self.step_count = 0
        self.random = Random(seed)
        self.hals = []
        self.medium = None
        self.cut = set()  # (source, receiver) device numbers: nothing passes
        self.route = None
        self.on_built = None  # (hal, message) by a step; it leaves when the processor is done
        self.on_sent = None  # (hal, target, message) as it leaves
        self.on_heard = None  # (hal, message) when a node takes it
        self.on_aired = None  # (hal, target, message, lost receivers, collided)
        self.on_stepped = None  # (hal) after each step
        self.on_power_cut = None  # (hal) amid a step, just before the node is gone
        self.on_failed = _raise  # (hal, error) that escaped from a step
        self._queue = []
        self._order = 0

    def add(self, node_id, make_node):
        """A device, switched off. `make_node(hal)` is called at each boot."""
        hal = SimHal(self, len(self.hals), node_id, make_node)
        self.hals.append(hal)
        return hal

    def at(self, at_us, action, argument):
        """Call action(argument) at a time that has not passed."""
        self._order += 1
        heappush(self._queue, (at_us, self._order, action, argument))

    def run(self, ms, until=None):
        """Let time pass. True as soon as `until()` holds, False when `ms` have passed."""
        return self.run_to(self.now_us + int(ms * 1000), until)

    def run_to(self, end_us, until=None):
        queue = self._queue
        if until and until():
            return True
        while queue and queue[0][0] <= end_us:
            event = heappop(queue)
            self.now_us = event[0]
            event[2](event[3])
            if until and until():
                return True
        self.now_us = max(self.now_us, end_us)
        return False

    def receivers(self, hal, target):
        """The devices that a message to `target` is meant for, in the order of numbers."""
        if target < 0:
            return [peer for peer in self.hals if peer is not hal]
        return [peer for peer in self.hals if peer.node_id == target and peer is not hal]

    def routed(self, hal, peer, message):
        """[(further delay in us, message), ...] that reach `peer` in place of one message."""
        if (hal.number, peer.number) in self.cut:
            return ()
        if self.route is None:
            return ((0, message),)
        return self.route(hal, peer, message)


class Network:
    """An ideal network: each receiver has its own loss, delay and duplicates.

    loss, duplicate: shares 0..1. Jitter (uniform, in microseconds) reorders.
    """

    def __init__(self, world, loss=0, duplicate=0, delay_ms=1, jitter_ms=1):
        self.world = world
        self.loss = loss
        self.duplicate = duplicate
        self.delay_ms = delay_ms
        self.jitter_ms = jitter_ms

    def send(self, hal, target, message):
        world = self.world
        random = world.random
        base = world.now_us + int(self.delay_ms * 1000)
        jitter = int(self.jitter_ms * 1000) + 1
        lost = []
        for peer in world.receivers(hal, target):
            arrived = False
            for later, octets in world.routed(hal, peer, message):
                if self.loss and random.chance(self.loss):
                    continue
                arrived = True
                world.at(base + later + random.below(jitter), peer.deliver, octets)
                if self.duplicate and random.chance(self.duplicate):
                    world.at(base + later + random.below(jitter), peer.deliver, octets)
            if not arrived:
                lost.append(peer.number)
        if world.on_aired:
            world.on_aired(hal, target, message, lost, False)

    def forget(self, hal):
        """The device lost power; what it sent is under way already."""
