"""What an operation takes, recorded from the library itself: MACs, digests and datagrams.

A group runs in this process over an ideal network in which no time passes: nothing is lost,
nothing is repaired, no timer falls due. Clients (replicas, as in the other benchmarks) work in
closed loops. From one moment at which nothing is under way to another one, every device's calls
of its crypto provider and its messages are noted, in their order:

    (WAIT, datagrams, 0)        a message came, of so many datagrams
    (TAG, peer, length)         mac_into          (CHECK, peer, length)    mac_equal
    (TAGS, count, length)       macs_into, for all other replicas
    (HASH, length, 0)           digest_into
    (SEND, target, datagrams)   a message left; target BROADCAST or a node

tools/bench/floor_node.py repeats that without any protocol. So the floor follows the protocol:
who saves a message lowers the floor, too, and the ratio to it is what the code around costs.
"""

from dataclasses import dataclass
from types import SimpleNamespace

from hal import BROADCAST
from hal.frames import HEADER_LENGTH
from hal.sim import Network, World
from tinybft.apps.kv import KeyValueStore
from tinybft.apps.kv_format import OK, encode_get, encode_put
from tinybft.identity import format_store
from tinybft.node import Node
from tools.bench.floor_node import CHECK, HASH, SEND, TAG, TAGS, WAIT
from tools.cluster.workload import key_name
from tools.refusal import Refusal

WARM_UP_OPERATIONS = 24  # of each client: all of its keys and blocks have been written
OPERATIONS = 32  # of each client, recorded
PATIENCE_MS = 10000
KEYS = 2  # of each client, written in turn


@dataclass
class Recording:
    """`programs`: {node_id: [action, ...]}, one after another in the order of a device."""

    operations: int
    batches: int
    programs: dict

    def per_operation(self):
        """{name: mean of an operation and replica}."""
        totals = dict.fromkeys(("macs", "digests", "digest_bytes", "sent", "received"), 0)
        for action, first, second in (a for program in self.programs.values() for a in program):
            if action in (TAG, CHECK):
                totals["macs"] += 1
            elif action == TAGS:
                totals["macs"] += first
            elif action == HASH:
                totals["digests"] += 1
                totals["digest_bytes"] += first
            elif action == SEND:
                totals["sent"] += second
            else:
                totals["received"] += first
        each = self.operations * len(self.programs)
        means = {name: round(total / each, 2) for name, total in totals.items()}
        return {"batch": round(self.operations / self.batches, 2)} | means


def record(config, clients, size, mix="put"):
    """The recording of OPERATIONS operations of each client (ids of replicas)."""
    group = _Group(config, size, mix)
    group.work(clients, WARM_UP_OPERATIONS)
    for log in group.logs:
        log.clear()
    executed = group.executed()
    group.work(clients, OPERATIONS)
    recording = Recording(
        OPERATIONS * len(clients),
        group.executed() - executed,
        dict(enumerate(map(list, group.logs))),
    )
    _require_balance(recording)
    return recording


def datagrams_of(config, length):
    """How many frames a message of this length takes."""
    room = config.FRAME_LENGTH - HEADER_LENGTH
    return -(-length // room)


class _Group:
    """The devices of a group, and what each of them did."""

    def __init__(self, config, size, mix):
        self._config = config
        self._size = size
        self._mix = mix
        self._buf = bytearray(config.REQUEST_LENGTH_MAX)
        self._count = 0
        self.world = World(config)
        self.world.medium = Network(self.world, delay_ms=0, jitter_ms=0)
        self.logs = [[] for _ in range(config.REPLICA_COUNT)]
        for node_id in range(config.REPLICA_COUNT):
            hal = self.world.add(node_id, lambda hal: Node(hal, config, KeyValueStore()))
            if config.DURABLE:
                format_store(hal.store, config, node_id, hal.crypto.digest_into)
            hal.crypto = noted(hal.crypto, self.logs[node_id])
            hal.power_on()
        self.world.on_sent = self._on_sent
        self.world.on_heard = self._on_heard

    def _on_sent(self, hal, target, message):
        datagrams = datagrams_of(self._config, len(message))
        self.logs[hal.number].append((SEND, target, datagrams))

    def _on_heard(self, hal, message):
        self.logs[hal.number].append((WAIT, datagrams_of(self._config, len(message)), 0))

    def work(self, clients, operations):
        """Let each client have so many operations executed, and everything come to rest."""
        left = dict.fromkeys(clients, operations)

        def done():
            for client_id in clients:
                client = self._client(client_id)
                if not client.busy and left[client_id]:
                    left[client_id] -= 1
                    self._submit(client_id, client, left[client_id])
            return not any(self._client(client_id).busy for client_id in clients)

        if not self.world.run(PATIENCE_MS, done):
            raise Refusal("the group that is recorded stands still; `tinybft simulate` shows why")
        self.world.run(0)

    def executed(self):
        """Batches, by the first replica."""
        return self.world.hals[0].node.status()["last_executed"]

    def _client(self, client_id):
        return self.world.hals[client_id].node.client

    def _submit(self, client_id, client, number):
        if client.done and client.reply[0] != OK:
            raise Refusal(f"an operation of the recorded group failed: status {client.reply[0]}")
        name = key_name(client_id, self._size, number % KEYS)
        self._count += 1
        # The first accesses put what later ones get.
        if self._mix == "put" or self._count <= KEYS * self._config.REPLICA_COUNT:
            value = self._count.to_bytes(4, "little") + bytes(self._size - 4)
            length = encode_put(self._buf, name, value)
        else:
            length = encode_get(self._buf, name)
        hal = self.world.hals[client_id]
        hal.act(lambda: client.submit(self._buf, length, hal.now_ms()))


def noted(crypto, log):
    """The crypto provider, with its calls noted."""

    def mac_into(peer, buf, length, out, at):
        log.append((TAG, peer, length))
        return crypto.mac_into(peer, buf, length, out, at)

    def macs_into(first, end, buf, length, out, at):  # noqa: PLR0913
        count = crypto.macs_into(first, end, buf, length, out, at)
        log.append((TAGS, count, length))
        return count

    def mac_equal(peer, buf, length, tagged, tag_at):
        log.append((CHECK, peer, length))
        return crypto.mac_equal(peer, buf, length, tagged, tag_at)

    def digest_into(buf, start, length, out, at):
        log.append((HASH, length, 0))
        crypto.digest_into(buf, start, length, out, at)

    return SimpleNamespace(
        own_id=crypto.own_id,
        tag_length=crypto.tag_length,
        mac_into=mac_into,
        macs_into=macs_into,
        mac_equal=mac_equal,
        digest_into=digest_into,
    )


def _require_balance(recording):
    """Everybody waits for as many datagrams as come to him; else the floor would stand still."""
    for node_id, program in recording.programs.items():
        awaited = sum(first for action, first, _ in program if action == WAIT)
        sent = sum(
            second
            for other, actions in recording.programs.items()
            for action, target, second in actions
            if action == SEND and other != node_id and target in (BROADCAST, node_id)
        )
        assert awaited == sent, f"node {node_id} waits for {awaited} datagrams of {sent}"
