"""A whole group in one machine: every node on the HAL of this board, with rings of its own.

What a node does is counted step by step: one frame of one message is put into its ring, then
`node.step()` runs, from taking the frame to handing the last answer to the radio. The radio
itself costs nothing here; time stands still while a message causes others.
"""

import gc

import machine
from counting.collector import tidy
from virt import instructions

from hal import virt, virt_map
from hal.crypto import Crypto
from tinybft import wire
from tinybft.apps.kv import KeyValueStore
from tinybft.identity import format_store
from tinybft.layout import areas
from tinybft.node import Node
from tinybft.octets import copy, get_u16, put_u16

MASK = 0x3FFFFFFF
_MTIME = 0x0200BFF8
_TICKS_PER_MS = 10000
_RING_LENGTH = virt_map.RING_COUNT * virt_map.ENTRY_LENGTH
_RING_MASK = virt_map.RING_COUNT - 1


_STEPS_PER_COLLECTION = 64


def nothing():
    pass


def overhead():
    """Instructions that a span around an empty function counts, besides calling it."""
    step = nothing
    begin = instructions()
    step()
    end = instructions()
    called = end - begin & MASK
    begin = instructions()
    step()
    step()
    end = instructions()
    return called - ((end - begin & MASK) - called)


class RamStore:
    """Non-volatile memory without a bus."""

    def __init__(self, size):
        self.size = size
        self._octets = bytearray(size)

    def read_into(self, address, buf, length):
        copy(buf, 0, self._octets, address, length)

    def write(self, address, buf, length):
        copy(self._octets, address, buf, 0, length)


def crypto_of(config, own_id):
    keys = {}
    for peer in range(config.CLIENT_COUNT):
        if peer != own_id and min(peer, own_id) < config.REPLICA_COUNT:
            keys[peer] = bytes((min(peer, own_id), max(peer, own_id))) * 8
    return Crypto(own_id, keys, config.TAG_LENGTH)


def hal_of(config, node_id):
    hal = virt.Hal(config, node_id, crypto_of(config, node_id))
    hal._control = bytearray(virt_map.RECEIVED_TAIL + 1)
    hal._sent = bytearray(_RING_LENGTH)
    hal._received = bytearray(_RING_LENGTH)
    hal._seed = bytes((node_id,)) * 32
    hal.store = RamStore(areas(config)["size"])
    if config.DURABLE and node_id < config.REPLICA_COUNT:
        format_store(hal.store, config, node_id, hal.crypto.digest_into)
    return hal


class Group:
    """`spans`: {node id: {what: [messages, instructions, most for a message, bytes of them]}}."""

    def __init__(self, config):
        self.config = config
        self.now = 1000
        self.down = -1
        self.spans = {}
        self.allocated = None  # {what: [bytes outside hashing, by hashing]} if it is counted
        self.hashed = None
        self._overhead = overhead()
        self._queue = []
        self._kinds = {}
        self._sums = {}
        self._steps = 0
        self._set_time()
        self.hals = [hal_of(config, i) for i in range(config.CLIENT_COUNT)]
        self.nodes = []
        for node_id, hal in enumerate(self.hals):
            service = KeyValueStore() if node_id < config.REPLICA_COUNT else None
            self.nodes.append(Node(hal, config, service))
        self.clear()
        tidy()

    def _set_time(self):
        machine.mem32[_MTIME] = self.now * _TICKS_PER_MS

    # --- counting ---

    def clear(self):
        """Begin anew; returns what was counted."""
        spans = self.spans
        self.spans = {i: {} for i in range(self.config.CLIENT_COUNT)}
        return spans

    def total(self):
        """Instructions of each node since `clear`."""
        return [sum(row[1] for row in self.spans[i].values()) for i in sorted(self.spans)]

    def _count(self, node_id, what, took, messages=1, length=0):
        rows = self.spans[node_id]
        row = rows.get(what)
        if row is None:
            row = rows[what] = [0, 0, 0, 0]
        row[1] += took
        key = (node_id, what)
        whole = self._sums.get(key, 0) + took
        self._sums[key] = 0 if messages else whole
        if messages:
            row[0] += 1
            row[2] = max(row[2], whole)
            row[3] += length

    def _executed(self, node_id):
        replica = self.nodes[node_id].replica
        return replica.progress.last_executed if replica else 0

    def step(self, node_id, what, messages=1, length=0):
        """`what` gets the word "executing" when a batch was executed in the step."""
        self._steps += 1
        if self._steps % _STEPS_PER_COLLECTION == 0:
            tidy()
        step = self.nodes[node_id].step
        executed = self._executed(node_id)
        self._set_time()
        if self.allocated is not None:
            self._allocating(what, step)
        else:
            begin = instructions()
            step()
            took = (instructions() - begin & MASK) - self._overhead
            if self._executed(node_id) != executed:
                what += " executing"
            self._count(node_id, what, took, messages, length)
        self._collect(node_id)

    def _allocating(self, what, step):
        """Bytes in place of instructions. What the measurement itself takes is measured."""
        gc.collect()
        before = gc.mem_alloc()
        nothing()
        own = gc.mem_alloc() - before
        self.hashed[0] = 0
        before = gc.mem_alloc()
        step()
        used = gc.mem_alloc() - before - own
        row = self.allocated.setdefault(what, [0, 0])
        row[0] += used - self.hashed[0]
        row[1] += self.hashed[0]

    def submit(self, node_id, operation, read_only=False):
        client = self.nodes[node_id].client
        length = len(operation)
        self._set_time()
        now = self.hals[node_id].now_ms()
        if self.allocated is not None:
            self._allocating("submit", lambda: client.submit(operation, length, now, read_only))
        else:
            submit = client.submit
            begin = instructions()
            submit(operation, length, now, read_only)
            took = (instructions() - begin & MASK) - self._overhead
            self._count(node_id, "submit", took, 1, length)
        self._collect(node_id)

    # --- the radio ---

    def _collect(self, source):
        """What a node gave to the radio is on its way."""
        hal = self.hals[source]
        control = hal._control
        while control[virt_map.SENT_TAIL] != control[virt_map.SENT_HEAD]:
            tail = control[virt_map.SENT_TAIL]
            at = tail * virt_map.ENTRY_LENGTH
            length = get_u16(hal._sent, at)
            target = get_u16(hal._sent, at + 2)
            begin = at + virt_map.ENTRY_HEADER
            frame = bytes(memoryview(hal._sent)[begin : begin + length])
            control[virt_map.SENT_TAIL] = tail + 1 & _RING_MASK
            for receiver in range(len(self.nodes)):
                if receiver != source and (target == virt_map.TO_ALL or target == receiver):
                    self._queue.append((receiver, source, frame))

    def _deliver(self, receiver, source, frame):
        if self.down in (receiver, source):
            return
        index, last = frame[3] >> 4, frame[3] & 15
        link = (source, receiver)
        if index == 0:
            self._kinds[link] = (frame[5], frame[10] | frame[11] << 8)
        kind, length = self._kinds[link]
        hal = self.hals[receiver]
        control = hal._control
        head = control[virt_map.RECEIVED_HEAD]
        at = head * virt_map.ENTRY_LENGTH
        put_u16(hal._received, at, len(frame))
        copy(hal._received, at + virt_map.ENTRY_HEADER, frame, 0, len(frame))
        control[virt_map.RECEIVED_HEAD] = head + 1 & _RING_MASK
        self.step(receiver, wire.TYPE_NAMES[kind], index == last, length)

    def settle(self):
        """Deliver all that is on its way, and what it causes, at this moment."""
        while self._queue:
            self._deliver(*self._queue.pop(0))

    # --- time ---

    def pass_ms(self, ms):
        """Let time pass; a node steps when a message or a timer of its own wakes it."""
        end = self.now + ms
        self.settle()
        while self.now < end:
            self._set_time()
            up = [node for node in self.nodes if node.node_id != self.down]
            idle = min(node.idle_ms() for node in up)
            self.now = min(end, self.now + max(1, idle))
            self._set_time()
            for node in up:
                if node.idle_ms() <= 0:
                    self.step(node.node_id, "timer")
            self.settle()

    def execute(self, client_id, operation, read_only=False, ms=20000):
        """Have it executed; returns the reply."""
        client = self.nodes[client_id].client
        tidy()
        self.submit(client_id, operation, read_only)
        self.settle()
        end = self.now + ms
        while client.busy:
            assert self.now < end, "no reply"
            self.pass_ms(1)
        return bytes(client.reply[: client.reply_length])
