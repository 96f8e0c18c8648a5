"""Measures what the message path allocates: `micropython tests/device/allocation.py [MODE]`.

MODE: where the regions are, "ram", "mirror" or "nvm"; with "early" before it, as in "early_nvm",
read-only requests are not ordered and batches are executed ahead.

A whole group of four runs in one process. Every call of the nodes' entry points (`receive`,
`tick`, `submit`) is measured in two runs of the same story, view changes included: once
counted, once with the heap locked.

Hashing is the one thing that may allocate: its own share is subtracted, and it runs unlocked
(see measure.py). What a node sends goes into buffers made before.

Prints per entry point and message type how many calls were measured, and the bytes; exits with
1 if one allocated.
"""

import gc
import sys

from tests.device.air import Air, Hal
from tests.device.measure import Measure
from tests.tinybft.modes import EARLY, MIRROR, NVM, RAM
from tests.tinybft.puppet import Puppet, batch_of
from tests.tinybft.scenes import small_config
from tests.tinybft.support import sha256
from tinybft import wire
from tinybft.apps.kv import KeyValueStore
from tinybft.node import Node
from tinybft.octets import copy


class Story:
    """Drives the group; every step of a node passes through `measure`."""

    def __init__(self, measure, storage, seed=3):
        config = small_config(BLOCK_LENGTH=128, STATE_LENGTH=2048, **storage)
        config.STATUS_MS, config.REQUEST_MS, config.VIEW_CHANGE_MS = 100, 300, 600
        self.measure = measure
        self.air = Air(config, seed, loss=10)
        self.nodes = self.air.nodes
        for node_id in range(config.CLIENT_COUNT):
            hal = Hal(self.air, config, node_id)
            is_replica = node_id < config.REPLICA_COUNT
            self.nodes.append(Node(hal, config, KeyValueStore() if is_replica else None))
        self.operations = [
            bytes((1, 2, 107, 48 + i % 8)) + b"v" * (10, 30, 200)[i % 3] for i in range(24)
        ] + [bytes((2, 2, 107, 48 + i % 8)) for i in range(8)]
        self.operations += [b"\x05\x01c1", b"\x06\x00\x01\x00\x00", b"\x07\x00", b"\x03\x02k1"]
        self.turn = 0

    def run(self, ms, until=None):
        end = self.air.now + ms
        while self.air.now < end:
            self.measure.collect()
            self._submit_all()
            self._deliver_all()
            for node in self.nodes:
                if node.node_id != self.air.down:
                    self.measure.call("client.tick", node.client.tick, self.air.now)
                    if node.replica:
                        self.measure.call("tick", node.replica.tick, self.air.now)
            self.air.now += 1
            if until and until():
                return True
        return False

    def _submit_all(self):
        for node in self.nodes:
            client = node.client
            if not client.busy and node.node_id != self.air.down:
                operation = self.operations[self.turn % len(self.operations)]
                self.turn += 1
                now = self.air.now
                is_read = operation[0] in (2, 6, 7)
                self.measure.call("submit", client.submit, operation, len(operation), now, is_read)

    def _deliver_all(self):
        scratch = bytearray(len(self.nodes[0].memory.received))
        while True:
            receiver, length = self.air.take(scratch)
            if receiver < 0:
                return
            node = self.nodes[receiver]
            copy(node.memory.received, 0, scratch, 0, length)
            kind = scratch[1]
            name = wire.TYPE_NAMES[kind] if kind <= wire.TYPE_MAX else "unknown type"
            before = sum(node.faults.counts)
            self.measure.call(name, node._stepping[3], node.memory.received, length, self.air.now)
            if sum(node.faults.counts) == before:
                self.measure.calls[name + " used"] = self.measure.calls.get(name + " used", 0) + 1

    def tell(self):
        """Normal case under loss; damaged frames; R3 falls behind and fetches the state; two
        primaries fail in turn, and each comes back to a view that it does not know."""
        self.run(150)
        self.air.damage = True
        self.run(100)
        self.air.damage = False
        third = self.nodes[3].replica
        fetched = third.core.transfer.fetched
        self.air.down = 3
        self.run(150)
        self.air.down = -1
        self.air.loss = 2
        caught_up = self.run(
            1500, lambda: third.core.transfer.fetched > fetched and not third.core.transfer.running
        )
        assert caught_up, "R3 did not fetch the state"
        self.run(50)
        self.air.loss = 10
        for primary in (0, 1):
            self._replace(primary)

    def tell_briefly(self):
        """Normal case under loss; damaged frames; the first primary fails and comes back."""
        self.run(15)
        self.air.damage = True
        self.run(5)
        self.air.damage = False
        self._replace(0)

    def _replace(self, primary):
        others = [n.replica for n in self.nodes[:4] if n.node_id != primary]
        executed = max(r.progress.last_executed for r in others)
        self.air.down = primary
        replaced = self.run(
            6000,
            lambda: (
                min(r.progress.last_executed for r in others) > executed + 2
                and all(r.progress.active and r.progress.view % 4 != primary for r in others)
            ),
        )
        assert replaced, "the view did not change"
        self.air.down = -1
        returned = self.nodes[primary].replica.progress
        back = self.run(3000, lambda: returned.active and returned.view == others[0].progress.view)
        assert back, "the old primary did not come to the new view"


def _measured_puppet(measure, storage):
    puppet = Puppet(service=KeyValueStore, storage=storage)
    core = puppet.core
    core.post._send = core.client._send = lambda _target, _buf, _length: True
    receive = puppet.victim.receive

    def deliver(buf, length, now):
        measure.call("bad message", receive, buf, length, now)

    puppet.deliver = deliver
    return puppet


def hear_bad_messages(measure, storage):
    """Authentic messages of liars; returns {fault: count}."""
    puppet = _measured_puppet(measure, storage)
    core = puppet.core
    tail = bytearray(6 + core.wire.status_tail_length)
    for _ in range(2):
        puppet.say(wire.STATUS, 0, 0, tail)
    long_entry = bytearray(wire.ENTRY_LENGTH)
    wire.put_entry(long_entry, 0, 4, 60000, 1)
    puppet.say(wire.PRE_PREPARE, 0, 4, batch_of(long_entry))
    puppet.propose((4, 2, 3))
    puppet.say(wire.PREPARE, 0, 4, b"\x01" * 32, sender=3)
    puppet.say(wire.COMMIT, 0, 4, b"\x02" * 32, sender=3)
    for sender in (0, 2, 3):
        puppet.say(wire.CHECKPOINT, 0, 2, b"\x77" * 32, sender=sender)
        puppet.say(wire.CHECKPOINT, 0, 4, b"\x78" * 32, sender=sender)
    puppet.commit((3, 2, 1))
    _answer_fetch_badly(puppet)
    puppet.say(wire.VIEW_CHANGE_ACK, 0, 2, bytearray(33))
    names = core.faults.as_dict()
    puppet = _measured_puppet(measure, storage)
    puppet.propose((4, 2))
    puppet.commit((1, 2))
    puppet.say(wire.CHECKPOINT, 0, 2, b"\x77" * 32)
    puppet.say(wire.REQUEST, 0, 1, b"older than what was executed", sender=4)
    puppet.say(wire.PRE_PREPARE, 0, 3, batch_of(), sender=3)
    puppet.say(wire.COMMIT, 1, 3, b"\x01" * 32)
    names.update(puppet.core.faults.as_dict())
    puppet = _measured_puppet(measure, storage)
    _lie_about_a_view(puppet)
    names.update(puppet.core.faults.as_dict())
    return names


def _lie_about_a_view(puppet):
    """The primary of view 2 leaves out of X what f + 1 claim; then f + 1 vouch for view 3."""
    genesis = bytearray(32)
    puppet.core.state.root_into(0, genesis, 0)
    claim = b"\x01" + bytes(4) + b"\x66" * 32
    body = b"\x01\x01\x01\x00" + bytes(4) + genesis + claim * 2
    entries = b""
    for sender in (0, 2, 3):
        puppet.say(wire.VIEW_CHANGE, 2, 0, body, sender=sender)
        head = b"\x10\x07" + bytes((sender, 0, 1, 0)) + bytes((16 + len(body) + 24, 0))
        digest = sha256(head + b"\x02" + bytes(7) + body)
        entries += bytes((sender,)) + digest
        if sender == 3:
            puppet.say(wire.VIEW_CHANGE_ACK, 2, 0, b"\x03" + digest, sender=0)
            puppet.say(wire.VIEW_CHANGE_ACK, 2, 0, b"\x03" + digest, sender=3)
    puppet.say(wire.VIEW_CHANGE, 2, 0, b"\x00\x00\x00\x01", sender=0)
    puppet.say(wire.NEW_VIEW, 2, 0, b"\x03\x00" + genesis + entries, sender=2)
    assert puppet.core.progress.view == 3, "the lie was not noticed"
    new_view = b"\x03\x01" + genesis + entries + b"\x66" * 32
    head = b"\x10\x09\x03\x00\x01\x00" + bytes((16 + len(new_view) + 24, 0))
    digest = sha256(head + b"\x03" + bytes(7) + new_view)
    for sender in (0, 3):
        puppet.say(wire.VIEW_CHANGE_ACK, 3, 0, b"\x03" + digest, sender=sender)
    puppet.say(wire.NEW_VIEW, 3, 0, new_view, sender=3)
    assert puppet.core.progress.active, "what f + 1 installed was not"


def _answer_fetch_badly(puppet):
    tree = puppet.core.state.tree
    top = tree.level_count - 1
    count = tree.child_count(top, 0)
    body = bytearray(8 + 36 * count)
    body[0] = top
    body[4] = count
    puppet.say(wire.META_DATA, 0, 2, body, sender=puppet.core.transfer._source)
    puppet.say(wire.DATA, 0, 2, bytearray(8 + puppet.config.BLOCK_LENGTH))


def is_sensitive(measure):
    """The negative control: an allocation of the smallest size is noticed."""
    control = Measure(measure.locked)
    control.quiet = True
    control.call("control", bytearray, 1)
    return bool(control.failures)


def main(mode, brief=False, every=1):
    """For slow machines: `brief` is a shorter story that has every message type, too; at every
    n-th call of each, n = `every`, bytes are counted."""
    storage = dict({"ram": RAM, "mirror": MIRROR, "nvm": NVM}[mode.replace("early_", "")])
    if mode.startswith("early"):
        storage.update(EARLY)
    failed = False
    for locked in (False, True):
        gc.collect()
        gc.disable()
        story = Story(Measure(locked, 1 if locked else every), storage)
        if brief:
            story.tell_briefly()
        else:
            story.tell()
        story.measure.every = 1
        names = hear_bad_messages(story.measure, storage)
        for node in story.nodes:
            names.update(node.faults.as_dict())
        gc.enable()
        print("locked" if locked else "counted")
        for name in sorted(story.measure.calls):
            calls, taken = story.measure.calls[name], story.measure.bytes.get(name, 0)
            print(f"  {name:24s} {calls:6d} calls {taken:6d} bytes")
        print("  faults that occurred:", " ".join(sorted(names)))
        # What a service allocates under a locked heap would be caught as its own failure.
        failed = failed or bool(story.measure.failures) or "service" in names
        if not is_sensitive(story.measure):
            print("the measurement does not notice an allocation")
            failed = True
        story = None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "ram"))
