"""A whole group in one process and virtual time, for tests of the core on either interpreter.

`Group(config, loss=.., duplicate=.., delay_ms=..)` makes a Node per id on a shared medium whose
faults come from one seed. Time passes only in `run`: the earliest of a message in flight and a
timer comes next.
"""

from hal.crypto import Crypto
from tinybft.identity import format_store
from tinybft.jitter import Jitter
from tinybft.layout import areas
from tinybft.node import Node
from tinybft.octets import copy


class RamStore:
    """Counts what goes to and fro: [reads, bytes, writes, bytes]. Allocates nothing."""

    def __init__(self, size=64):
        self.size = size
        self.counts = [0] * 4
        self._bytes = bytearray(size)

    def _count(self, at, address, buf, length):
        assert 0 <= address and 0 < length <= len(buf) and address + length <= self.size
        self.counts[at] += 1
        self.counts[at + 1] += length

    def read_into(self, address, buf, length):
        self._count(0, address, buf, length)
        copy(buf, 0, self._bytes, address, length)

    def write(self, address, buf, length):
        self._count(2, address, buf, length)
        copy(self._bytes, address, buf, 0, length)


def make_store(config, node_id, crypto):
    """The store of a node at the beginning of its group."""
    store = RamStore(areas(config)["size"])
    if config.DURABLE and node_id < config.REPLICA_COUNT:
        format_store(store, config, node_id, crypto.digest_into)
    return store


def pairwise_key(a, b):
    return bytes((min(a, b), max(a, b))) * 8


def make_crypto(config, own_id):
    keys = {}
    for peer in range(config.CLIENT_COUNT):
        both_external = min(peer, own_id) >= config.REPLICA_COUNT
        if peer != own_id and not both_external:
            keys[peer] = pairwise_key(own_id, peer)
    return Crypto(own_id, keys, config.TAG_LENGTH)


class Hal:
    """The HAL contract on a `Group`."""

    def __init__(self, group, node_id):
        self.group = group
        self.node_id = node_id
        self.crypto = make_crypto(group.config, node_id)
        self.store = make_store(group.config, node_id, self.crypto)
        self.inbox = []
        self.up = True

    def now_ms(self):
        return self.group.now & 0x3FFFFFFF

    def receive_into(self, buf):
        if not self.inbox:
            return 0
        message = self.inbox.pop(0)
        buf[: len(message)] = message
        return len(message)

    def send(self, target, buf, length):
        if self.up:
            self.group.send(self.node_id, target, bytes(memoryview(buf)[:length]))
        return True

    def entropy(self, buf):
        for i in range(len(buf)):
            buf[i] = self.group.random.below(256)


class Group:
    def __init__(self, config, service, seed=1, loss=0, duplicate=0, delay_ms=(1, 1), start=0):
        self.config = config
        self.now = start
        self.loss = loss  # per cent
        self.duplicate = duplicate  # per cent
        self.delay_ms = delay_ms
        self.random = Jitter(seed * 7919 + 1)
        self.flying = []
        self.sent = {}
        self.on_send = None
        self.nodes = []
        for node_id in range(config.CLIENT_COUNT):
            hal = Hal(self, node_id)
            is_replica = node_id < config.REPLICA_COUNT
            self.nodes.append(Node(hal, config, service() if is_replica else None))

    def percent(self, probability):
        return self.random.below(10000) < probability * 100

    def send(self, source, target, message):
        self.sent[message[1]] = self.sent.get(message[1], 0) + 1
        receivers = range(len(self.nodes)) if target < 0 else (target,)
        for receiver in receivers:
            if receiver == source or not self.nodes[receiver].hal.up:
                continue
            copies = 1
            if self.percent(self.loss):
                copies = 0
            elif self.percent(self.duplicate):
                copies = 2
            for _ in range(copies):
                delay = self.delay_ms[0] + self.random.below(
                    self.delay_ms[1] - self.delay_ms[0] + 1
                )
                altered = self.on_send(source, receiver, message) if self.on_send else message
                if altered is not None:
                    self.flying.append((self.now + delay, len(self.flying), receiver, altered))

    def crash(self, node_id):
        self.nodes[node_id].hal.up = False

    def live(self):
        return [n for n in self.nodes if n.hal.up]

    def run(self, ms, until=None):
        """Let time pass. True if `until()` came true."""
        end = self.now + ms
        while True:
            due = [m for m in self.flying if m[0] <= self.now]
            if due:
                self.flying = [m for m in self.flying if m[0] > self.now]
                for _, _, receiver, message in due:
                    if self.nodes[receiver].hal.up:
                        self.nodes[receiver].hal.inbox.append(message)
            for node in self.live():
                node.step()
            if until and until():
                return True
            if self.now >= end:
                return False
            self.now = min(self._next(), end)

    def _next(self):
        following = [m[0] for m in self.flying]
        for node in self.live():
            following.append(self.now + max(1, node.idle_ms()))
        return max(self.now + 1, min(following)) if following else self.now + 1

    def execute(self, node_id, operation, ms=60000):
        """Submit and wait; returns the reply."""
        node = self.nodes[node_id]
        node.start(operation)
        assert self.run(ms, lambda: not node.client.busy), "no reply in time"
        return bytes(node.client.reply[: node.client.reply_length])

    def replicas(self):
        return [n.replica for n in self.live() if n.replica]

    def settle(self, ms=60000):
        """Run until all live replicas have executed the same and agree on the state."""

        def settled():
            executed = {r.progress.last_executed for r in self.replicas()}
            return len(executed) == 1

        assert self.run(ms, settled), [r.progress.last_executed for r in self.replicas()]
