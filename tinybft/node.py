"""A node of the group: the loop that joins core and HAL, and what a person calls.

    node = Node(hal, config, service)        a replica if hal.node_id < REPLICA_COUNT
    node = Node(hal, config)                 an external client
    node.run()                               blocking loop; or
    asyncio.create_task(node.serve())        the same beside other tasks, and then
    reply = await node.submit(operation)     bytes in, bytes out
    node.background()                        on a device: beside whatever runs, the REPL too
    reply = node.call(operation)             the same, blocking

In the background a step runs between two bytecodes of something else. So whoever looks at the
node, or changes it, holds it meanwhile: `with node.hold:`, short, for a step that comes then
is left out. Ctrl-C does not cut a step in two. An exception that escapes from one stops the
node for good (`stopped` says why): half a step done is no state to go on from, a restart finds
in non-volatile memory what it needs.

`step`, `run` and the background allocate nothing outside hashing; `serve`, `submit`, `call` and
`status` do, they are for applications and people.
"""

import sys

import tinybft  # for its errors: they are there once one is raised
from tinybft import attached, wire
from tinybft.auth import Authenticator
from tinybft.client import Client
from tinybft.compat import const, micropython, set_interrupt_char
from tinybft.faults import Faults
from tinybft.jitter import Jitter
from tinybft.memory import ClientMemory, Memory
from tinybft.octets import get_u32
from tinybft.replica import Replica
from tinybft.request_ids import RequestIds
from tinybft.structure import Wire

_MESSAGES_PER_STEP = const(32)
_POLL_MS = const(1000)  # longest sleep: nothing on the unix port interrupts it earlier


class Hold:
    """While at least one `with` of it is open, the node takes no step in the background."""

    def __init__(self, node):
        self._node = node

    # No jump between the count and the body: MicroPython looks for Ctrl-C at jumps only.
    def __enter__(self):
        self._node.held += 1

    def __exit__(self, *error):
        self._node.held -= 1


class Node:
    """`held`: how many hold it; `stopped`: "", or in words why it does nothing any more, and
    then `error` is the exception; `in_background`: whether it is stepped there.

    `memory`: regions allocated before (on a device, first thing at boot), or None."""

    def __init__(self, hal, config, service=None, memory=None):
        self.hal = hal
        self.config = config
        self.node_id = hal.node_id
        is_replica = self._is_replica = self.node_id < config.REPLICA_COUNT
        if is_replica and service is None:
            raise ValueError("a replica needs a service to execute")
        if memory is None:
            memory = Memory(config) if is_replica else ClientMemory(config)
        self.memory = memory
        self.held = 0
        self.hold = Hold(self)
        self.stopped = ""
        self.error = None
        self.in_background = False
        self._wire = None if is_replica else Wire(config)
        self.auth = Authenticator(config, self.node_id, hal.crypto)
        seed = bytearray(4)
        hal.entropy(seed)
        jitter = Jitter(get_u32(seed, 0))
        ids = RequestIds(hal.store, is_replica and config.DURABLE)
        client = Client
        if config.READ_ONLY or config.TENTATIVE:
            from tinybft.early import EarlyClient as client
        self.client = client(config, self.node_id, memory, self.auth, hal.send, ids, jitter)
        self.replica = None
        if is_replica:
            self.replica = Replica(
                config, self.node_id, memory, self.auth, hal.send, service, jitter, hal.store
            )
            self.client.replica = self.replica
            self.replica.core.client = self.client
            if self.replica.core.durability.abstains:
                self.client.forget_ids()  # before anybody can begin a request
            self.replica.start(hal.now_ms())
            self.faults = self.replica.core.faults
        else:
            self.faults = Faults()
        take = self.replica.receive if is_replica else self._receive
        # For `step`: to unpack a tuple costs less than to look up one attribute.
        self._stepping = (memory.received, hal.receive_into, hal.now_ms, take, self.client)

    # --- the loop ---

    @micropython.viper
    def step(self) -> bool:
        """Handle what is waiting, and timers that are due. True if a message was handled.

        The time is asked for once a message, and an object never whether it is there: on rv32
        each of both costs as much as two calls.
        """
        received, receive_into, now_ms, take, client = self._stepping
        length = int(receive_into(received))
        now = now_ms()
        take(received, length, now)  # no message: time passes
        handled = length
        left = _MESSAGES_PER_STEP - 1
        while length and left:
            length = int(receive_into(received))
            if length:
                now = now_ms()
                take(received, length, now)
            left -= 1
        if client.busy:
            client.tick(now)
        return handled != 0

    @micropython.native
    def _receive(self, buf, length, now):
        """What a node that is a client only does with a message; none: `length` 0."""
        if not length:
            return
        fault = self._wire.check(buf, length)
        if not fault and wire.message_type(buf) == wire.REPLY:
            fault = self.client.on_reply(buf, now)
        if fault:
            self.faults.count(fault)

    @micropython.viper
    def idle_ms(self) -> int:
        """Milliseconds until the next timer of this node is due."""
        _, _, now_ms, _, client = self._stepping
        now = now_ms()
        idle = _POLL_MS
        if client.busy:
            left = int(client.remaining_ms(now))
            idle = left if left < idle else idle
        if self._is_replica:
            left = int(self.replica.remaining_ms(now))
            idle = left if left < idle else idle
        return idle

    def run(self, until=None):
        """Loop until `until()` is true; sleeps while there is nothing to handle."""
        while True:
            self._turn()
            if until and until():
                return
            self.hal.wait(self.idle_ms())

    async def serve(self):
        """`run` for asyncio: gives other tasks their turn."""
        while True:
            self._turn()
            await self.hal.wait_async(self.idle_ms())

    def _turn(self):
        """A step, if the background does not take it."""
        if self.stopped:
            raise tinybft.Stopped(self.stopped)
        if not self.in_background:
            try:
                self.step()
            except BaseException as error:  # Ctrl-C too
                self._stop(error)
                raise

    # --- the background ---

    def background(self, on=True):
        """Step from now on beside whatever runs, or no longer. Requires: hal.background."""
        attached.attach(self)
        if self.stopped:
            raise tinybft.Stopped(self.stopped)
        self.in_background = on
        self.hal.background(self._step_in_background if on else None)

    @micropython.native
    def _step_in_background(self):
        """Never raises: MicroPython would print the exception and call again."""
        if self.held or self.stopped:
            return
        char = set_interrupt_char(-1)
        try:
            self.step()
        except BaseException as error:
            self._stop(error)
        set_interrupt_char(char)

    def _stop(self, error):
        """Nothing of what was half done is gone on with."""
        self.error = error
        self.stopped = "an exception"  # to name it takes memory, which may be what is lacking
        if self.in_background:
            self.in_background = False
            self.hal.background(None)
        self.stopped = type(error).__name__ + ": " + str(error)
        print("tinybft: this node has stopped, restart it: " + self.stopped)
        if hasattr(sys, "print_exception"):
            sys.print_exception(error)

    # --- requests ---

    def start(self, operation, read_only=False):
        """Begin a request without waiting; then look at `client.busy`, or set `on_done`."""
        if self.stopped:
            raise tinybft.Stopped(self.stopped)
        if len(operation) > self.config.REQUEST_LENGTH_MAX:
            raise tinybft.RequestTooLarge(
                "the operation has "
                + str(len(operation))
                + " bytes, request_length_max is "
                + str(self.config.REQUEST_LENGTH_MAX)
            )
        if self.client.has_lost_ids:
            raise tinybft.Rejoining(
                "this replica lost its memory; it can request when it has rejoined"
            )
        with self.hold:
            if not self._submit(operation, read_only):
                raise tinybft.Busy("a request of this client is outstanding; wait for its reply")

    def _submit(self, operation, read_only):
        """As whole as a step in the background."""
        beside = self.in_background
        char = set_interrupt_char(-1) if beside else -1
        try:
            return self.client.submit(operation, len(operation), self.hal.now_ms(), read_only)
        except BaseException as error:
            self._stop(error)
            raise
        finally:
            if beside:
                set_interrupt_char(char)

    async def submit(self, operation, read_only=False, timeout_ms=30000):
        """Have `operation` executed by the group; returns the reply as bytes.

        Requires: a task runs `serve()`, or the node runs in the background. Raises
        RequestTooLarge, Busy, Stopped or Timeout. After Timeout the client keeps retrying: a
        new request is refused (Busy) until this one is answered.
        """
        self.start(operation, read_only)
        waited = 0
        while self._is_awaited(waited, timeout_ms):
            before = self.hal.now_ms()
            await self.hal.wait_async(min(5, timeout_ms - waited))
            waited += (self.hal.now_ms() - before) & 0x3FFFFFFF
        return self._reply()

    def call(self, operation, read_only=False, timeout_ms=30000):
        """`submit` for who has no asyncio: waits here, the node goes on in the background or
        else is stepped here. Ctrl-C ends the waiting, not the request."""
        self.start(operation, read_only)
        waited = 0
        while self._is_awaited(waited, timeout_ms):
            before = self.hal.now_ms()
            self._turn()
            if self.client.busy:
                self.hal.wait(min(5, timeout_ms - waited))
            waited += (self.hal.now_ms() - before) & 0x3FFFFFFF
        return self._reply()

    def _is_awaited(self, waited, timeout_ms):
        if self.client.busy and self.stopped:
            raise tinybft.Stopped(self.stopped)
        if self.client.busy and waited >= timeout_ms:
            raise tinybft.Timeout("no f + 1 matching replies within " + str(timeout_ms) + " ms")
        return self.client.busy

    def _reply(self):
        return bytes(self.client.reply[: self.client.reply_length])

    # --- for people ---

    def status(self):
        """State of this node as a JSON-able dict. Allocates."""
        with self.hold:
            return self._status()

    def _status(self):
        table = {"node_id": self.node_id, "role": "client", "faults": self.faults.as_dict()}
        table["memory"] = self.memory.bytes_reserved()
        table["acknowledged"] = self.client.acknowledged
        table["retries"] = self.client.retries
        table["stopped"] = self.stopped
        if self.replica:
            table.update(_replica_status(self.replica.core, self.hal.now_ms()))
        return table


def _replica_status(core, now):
    progress = core.progress
    root = bytearray(32)
    core.state.root_into(progress.low_mark, root, 0)
    peers = {}
    for peer, heard_at in enumerate(core.status.heard_at):
        if peer != progress.replica_id and heard_at >= 0:
            peers[str(peer)] = (now - heard_at) & 0x3FFFFFFF
    return {
        "role": "primary" if progress.is_primary() else "backup",
        "view": progress.view,
        "active": progress.active,
        "low_mark": progress.low_mark,
        "high_mark": progress.high_mark(),
        "last_executed": progress.last_executed,
        "operations": core.execution.operations(),
        "stable_digest": "".join("%02x" % b for b in root),
        "slots": _slot_states(core),
        "peers": peers,
        "transfer": core.transfer.running,
        "durability": core.durability.report(),
        "blocks_fetched": core.transfer.fetched,
    }


def _slot_states(core):
    """{seqno: "pre-prepared" | ... } of the open slots."""
    names = ((8, "committed"), (4, "prepared"), (2, "accepted"), (1, "pre-prepared"))
    table = {}
    for seqno in range(core.progress.last_executed + 1, core.progress.high_mark() + 1):
        base = core.slots.find(seqno)
        if base >= 0:
            word = "votes only"
            for flag, name in names:
                if core.slots.has(base, flag):
                    word = name
                    break
            table[str(seqno)] = word
    return table
