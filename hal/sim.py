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

from hal.sim_parts import STORE_LENGTH, PowerCut, Random, Store, make_crypto
from tinybft.compat import const

_TICKS_MASK = const(0x3FFFFFFF)
_MILLION = const(1000000)
_REPLY = b"\x05"  # message type
# What a node on a small device can hold while it is busy; what comes on top is lost.
INBOX_COUNT_MAX = 64


class SimHal:
    """One device: the HAL contract for the node on it, and the switches of who tests it.

    `number` tells devices apart, `node_id` is the identity: two devices may share one (twins).
    """

    def __init__(self, world, number, node_id, make_node):
        self.world = world
        self.number = number
        self.node_id = node_id
        self.crypto = make_crypto(world.config, node_id, world.seed)
        config = world.config
        self.store = Store(config.NVM_LENGTH or STORE_LENGTH, world.seed * 1000 + number)
        self.node = None
        self.up = False
        self.frozen = False
        self.boots = 0
        self.costs = None  # of the processor: hal.sim_costs, or what has its functions
        self.inbox_full = 0  # messages lost because too many waited
        self._make_node = make_node
        self._inbox = []
        self._outbox = []
        self._waiting = []  # for the processor, when there are costs
        self._is_handling = False  # the oldest of those that wait
        self._busy_until = 0  # with a message, or with the transfers of the last step
        self._executed_before = 0  # the step that is under way
        self.processor_us = 0  # that it was busy so far, by the costs
        self._wake_at = -1
        self._origin_us = 0  # local time was _local_us at world time _origin_us
        self._local_us = 0
        self._rate = _MILLION  # local microseconds per million of the world's

    # --- the HAL contract ---

    def now_ms(self):
        return self._local() // 1000 & _TICKS_MASK

    def cycles(self):
        return self._local() & _TICKS_MASK

    def receive_into(self, buf):
        if not self._inbox:
            return 0
        message = self._inbox.pop(0)
        length = len(message)
        buf[:length] = message
        return length

    def send(self, target, buf, length):
        message = bytes(memoryview(buf)[:length])
        executed = self._executed() - self._executed_before
        self._outbox.append((int(self.store.busy_us), executed, target, message))
        return True

    def entropy(self, buf):
        random = self.world.random
        for i in range(len(buf)):
            buf[i] = random.below(256)

    def wait(self, ms):
        raise NotImplementedError("a simulated node is stepped by its world; see World.run")

    def close(self):
        self.power_off()

    # --- the device ---

    def power_on(self):
        """Boot: a new node with empty volatile memory, from the store as it is."""
        assert not self.up, "the device is on"
        self.up = True
        self.frozen = False
        self.boots += 1
        self._busy_until = 0
        self._is_handling = False
        self.act(self._boot)

    def _boot(self):
        self.node = self._make_node(self)

    def power_off(self):
        """At once; what is in volatile memory is gone, the store is kept."""
        self.up = False
        self.frozen = False
        self.node = None
        self._inbox = []
        self._outbox = []
        self._waiting = []
        self._wake_at = -1
        self.store.bytes_left = -1
        self.world.medium.forget(self)

    def freeze(self):
        """Stop the processor; memory stays, and the clock runs on."""
        self.frozen = True

    def thaw(self):
        self.frozen = False
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self.deliver(message)
        if self.up:
            self.step()

    def set_local_us(self, local_us):
        """Set the clock; timers are looked at anew."""
        self._origin_us = self.world.now_us
        self._local_us = local_us
        if self.up and not self.frozen:
            self.step()

    def set_rate(self, ppm):
        """Let the clock run `ppm` millionths faster (or slower, below 0)."""
        self._local_us = self._local()
        self._origin_us = self.world.now_us
        self._rate = _MILLION + ppm
        self._wake_at = -1
        if self.up:
            self._rearm()

    def _local(self):
        passed = self.world.now_us - self._origin_us
        if self._rate != _MILLION:
            passed = passed * self._rate // _MILLION
        return self._local_us + passed

    def local_us(self):
        return self._local()

    def free_at_us(self):
        """When the processor is done with what it was given; now, if it is idle."""
        return max(self.world.now_us, self._busy_until)

    # --- stepping ---

    def deliver(self, message):
        """A whole message arrives."""
        if not self.up or len(message) > self.world.config.MESSAGE_LENGTH_MAX:
            return
        if self.frozen or self.costs or self._busy_until > self.world.now_us:
            if len(self._waiting) >= INBOX_COUNT_MAX:
                self.inbox_full += 1
                return
            self._waiting.append(message)
            self._begin_next()
            return
        self._take(message)

    def _begin_next(self):
        """Let the processor take up the oldest message that waits, unless it has one."""
        if self._is_handling or self.frozen or not self._waiting:
            return
        self._is_handling = True
        took = self.costs.message_us(self, self._waiting[0]) if self.costs else 0
        self.processor_us += took
        self._busy_until = max(self.world.now_us, self._busy_until) + took
        self.world.at(self._busy_until, self._handle_next, self.boots)

    def _handle_next(self, boot):
        """The processor is done with the oldest message, unless something came in between."""
        if not self.up or boot != self.boots or not self._is_handling:
            return
        if self._busy_until > self.world.now_us:
            self.world.at(self._busy_until, self._handle_next, boot)
            return
        self._is_handling = False
        if not self.frozen and self._waiting:
            self._take(self._waiting.pop(0))
            if self.up and boot == self.boots:
                self._begin_next()

    def _take(self, message):
        if self.world.on_heard:
            self.world.on_heard(self, message)
        self._inbox.append(message)
        self.step()

    def step(self):
        self.act(self.node.step)

    def _executed(self):
        replica = getattr(self.node, "replica", None)
        return replica.progress.last_executed if replica else 0

    def act(self, action, took_us=0):
        """Call something of the node, then send what it sent and look at its timers.

        took_us: of the processor; what is executed meanwhile comes on top."""
        world = self.world
        self._executed_before = self._executed()
        failure = None
        cut = False
        world.step_count += 1
        self.store.busy_us = 0
        try:
            action()
        except PowerCut:
            cut = True
        except Exception as error:  # noqa: BLE001 - that one escapes is what is looked for
            failure = error
        begin = max(world.now_us, self._busy_until) + took_us
        executed = self._executed() - self._executed_before
        executing_us = self._executing_us(executed, executed)
        self.processor_us += took_us + executing_us
        self._busy_until = begin + executing_us + int(self.store.busy_us)
        if self._outbox:
            self._flush(begin, executed, cut)  # before a power cut, what was sent has left
        if cut:
            if world.on_power_cut:
                world.on_power_cut(self)
            self.power_off()
        elif failure is not None:
            world.on_failed(self, failure)
        elif self.up:
            self._rearm()
            if world.on_stepped:
                world.on_stepped(self)

    def _executing_us(self, batches, checkpointed):
        """Of the processor, to execute the first `batches` of a step, with the checkpoints
        among the first `checkpointed`."""
        if not self.costs or batches <= 0:
            return 0
        interval = self.world.config.CHECKPOINT_INTERVAL
        before = self._executed_before
        checkpoints = (before + checkpointed) // interval - before // interval
        return self.costs.EXECUTED_US * batches + self.costs.CHECKPOINT_US * checkpoints

    def _flush(self, begin, executed, at_once):
        """Send what the step that began at `begin` sent, each message when the transfers and
        executions before it are done, and unless the device loses power in between."""
        outbox, self._outbox = self._outbox, []
        world = self.world
        for after, before, target, message in outbox:
            if world.on_built:
                world.on_built(self, message)
            batches = before + (message[1:2] == _REPLY)  # it leaves before its batch is counted
            after += self._executing_us(min(batches, executed), before)
            sent = (self.boots, target, message)
            if at_once or begin + after <= world.now_us:
                self._send(sent)
            else:
                world.at(begin + after, self._send, sent)

    def _send(self, sent):
        boot, target, message = sent
        if self.up and boot == self.boots:
            if self.world.on_sent:
                self.world.on_sent(self, target, message)
            self.world.medium.send(self, target, message)

    def _rearm(self):
        """Be woken when the next timer of the node is due."""
        idle = self.node.idle_ms()
        if idle < 1:
            idle = 1
        local = self._local()
        passing = (local // 1000 + idle) * 1000 - local
        if self._rate != _MILLION:
            passing = -(-passing * _MILLION // self._rate)
        wake_at = self.world.now_us + passing
        if self._wake_at < 0 or wake_at < self._wake_at:
            self._wake_at = wake_at
            self.world.at(wake_at, self._wake, wake_at)

    def _wake(self, wake_at):
        if wake_at != self._wake_at or not self.up:
            return
        if self._busy_until > self.world.now_us:
            self.world.at(self._busy_until, self._wake, wake_at)
            return
        self._wake_at = -1
        if self.frozen:
            return
        if self.node.idle_ms() > 0:
            self._rearm()
        else:
            self.step()


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
