"""What a replica recovers from its store, without letting it run: which power cuts are the same.

    recoveries = Recoveries(sim)
    found = recoveries.of(replica, octets)
    found.print, found.is_trusted, found.error

A node boots from a copy of the store, beside the simulation. `print` is a digest of everything
its behaviour depends on from then on: each attribute of each part of the replica and its client,
all regions and tables, and what each record of the store is (BLANK, GOOD with these bytes, TORN,
ROTTEN). Two stores that give the same print, at the same moment of the same group, give the same
run. Left out is what nobody reads before it is written anew: buffers whose content ends with a
call, and in the store the bytes of a record that does not hold, the batch of a slot whose header
names none, the place of a page that does not count, and bulk that no table in RAM names. A wrong
tag of a kept request counts as any other wrong tag. That all this is so is tested by runs of
cuts that should be the same (cuts.py, `--sample`).
"""

import hashlib
from array import array
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace

from hal.sim_parts import Crypto, PowerCut, Random, Store
from tinybft import wire
from tinybft.layout import areas
from tinybft.node import Node
from tinybft.records import GOOD, Records
from tinybft.slots import HAS_BATCH

_PLAIN = (bool, int, float, str, bytes, type(None))
_SKIPPED = (Store, Crypto, SimpleNamespace, memoryview, type)
_ENDS_WITH_A_CALL = {
    "Authenticator.digest",
    "Authenticator._scratch",
    "Records.length",
    "Records._digest",
    "RequestIds._buf",
}


@dataclass
class Recovered:
    print: bytes
    is_trusted: bool  # what it had said counts: it votes
    error: str = ""  # what escaped from the boot


class _Hal:
    """Enough of a HAL to boot."""

    def __init__(self, node_id, crypto, store):
        self.node_id = node_id
        self.crypto = crypto
        self.store = store

    def now_ms(self):
        return 0

    def entropy(self, buf):
        pass

    def send(self, target, buf, length):
        return True

    def receive_into(self, buf):
        return 0


class Recoveries:
    def __init__(self, sim):
        self._config = sim.config
        self._service = sim._service
        self._cryptos = [sim.device(i).crypto for i in sim.replicas]
        self._store = Store(sim.device(0).store.size)
        self._wire = sim.wire_of_group
        self._seal = sim.seal
        self._sealed = {}
        # The live state, where it is not in RAM.
        table = areas(sim.config)
        self._live = slice(table.get("blocks", 0), table.get("pool", 0))

    def of(self, replica, octets):
        self._store.octets[:] = octets
        return self._boot(replica)

    def of_cut(self, replica, store, write, torn_byte):
        """After a power cut amid write (address, buf, length) to `store`: `torn_byte` is its
        number in the write, what it is left with, and the seed of that."""
        byte, torn, seed = torn_byte
        self._store.octets[:] = store.octets
        self._store.torn = torn
        self._store.bytes_left = byte
        self._store._random = Random(seed)
        with suppress(PowerCut):
            self._store.write(*write)
        return self._boot(replica)

    def _boot(self, replica):
        try:
            hal = _Hal(replica, self._cryptos[replica], self._store)
            node = Node(hal, self._config, self._service())
        except Exception as error:  # noqa: BLE001 - that one escapes is what is looked for
            return Recovered(b"", False, repr(error))
        return Recovered(self._print(node), node.replica.core.durability.trusted_at_boot)

    def _print(self, node):
        walk = _Walk(node)
        self._take_batches(node, walk.digest)
        walk.visit(node.replica)
        walk.visit(node.client)
        walk.digest.update(self._store.octets[self._live])
        return walk.digest.digest()

    def _take_batches(self, node, digest):
        """Batches count where a slot says that it has one, bodies where it holds them. Tags of a
        body are no part of what the batch's digest stands for: each is right or wrong."""
        slots = node.replica.core.slots
        memory = node.memory
        size = len(memory.slots) // node.config.SLOT_COUNT
        body = bytearray(slots.bodies_length_max)
        for base in range(0, len(memory.slots), size):
            held = slots.held(base)
            if not slots.has(base, HAS_BATCH) and not held:
                at = slots.batch_at(base)
                memory.slots[at : base + size] = bytes(base + size - at)
            for i in range(held.bit_length()):
                if held >> i & 1:
                    length = slots.body_into(base, i, body, 0)
                    digest.update(self._with_marked_tags(bytes(body[:length])))
        memory.bodies[:] = bytes(len(memory.bodies))

    def _with_marked_tags(self, message):
        end = self._wire.body_end(message)
        if message[:end] not in self._sealed:
            self._sealed[message[:end]] = self._seal(wire.sender(message), message[:end])
        sealed = self._sealed[message[:end]]
        step = self._config.TAG_LENGTH
        tags = range(end, len(message), step)
        return message[:end] + bytes(message[t : t + step] == sealed[t : t + step] for t in tags)


class _Walk:
    """Through all parts of a node, once each, in the order in which they were made."""

    def __init__(self, node):
        self.digest = hashlib.sha256()
        memory = node.memory
        stage = node.replica.core.durability.stage
        buffers = (memory.received, memory.sent, memory.window, stage)
        self._seen = {id(buffer): 0 for buffer in buffers}
        self._met = [node]  # what was seen stays alive, or its id might be another's

    def visit(self, thing):
        if isinstance(thing, _PLAIN):
            self.digest.update(repr(thing).encode() + b";")
            return
        if isinstance(thing, _SKIPPED) or callable(thing):
            return
        if id(thing) in self._seen:
            self.digest.update(b"#%d;" % self._seen[id(thing)])
            return
        self._seen[id(thing)] = len(self._seen)
        self._met.append(thing)
        if isinstance(thing, (bytearray, array)):
            self.digest.update(b"%d:" % len(thing))
            self.digest.update(thing)
        elif isinstance(thing, dict):
            self._visit_all([part for item in thing.items() for part in item])
        elif isinstance(thing, (list, tuple, set)):
            self._visit_all(thing)
        else:
            if isinstance(thing, Records):
                self._visit_records(thing)
            kind = type(thing).__name__
            for name, value in vars(thing).items():
                if f"{kind}.{name}" not in _ENDS_WITH_A_CALL:
                    self.visit(value)

    def _visit_all(self, things):
        self.digest.update(b"%d(" % len(things))
        for thing in things:
            self.visit(thing)

    def _visit_records(self, records):
        """What the scrub and a pair will find there."""
        for index in range(records.count):
            found = records.read(index)
            stage = records.stage
            lead = records.at - 3
            self.digest.update(b"%d" % found + stage[:lead])
            if found == GOOD:
                self.digest.update(stage[records.at : records.at + records.length])
                self.digest.update(b"%d" % records.length)
