"""One device of the simulator: the HAL contract for the node on it, its processor, its power.

Messages wait for the processor while it is busy: by its costs (hal.sim_costs), if it has any, and
while its store takes time. One thing at a time: what is executed in a step delays what is handled
next. What a step sends leaves in its order: before an execution what was sent before it, a reply
when its batch is executed, a CHECKPOINT when it was taken.
"""

from hal.sim_parts import STORE_LENGTH, PowerCut, Store, make_crypto
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
        executed = self._executed_in_step()
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

    def _executed_in_step(self):
        """Batches so far. More than a window were not executed, but fetched as a state, whose
        messages have paid for it."""
        executed = self._executed() - self._executed_before
        return executed if executed <= self.world.config.WINDOW else 0

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
        executed = self._executed_in_step()
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
