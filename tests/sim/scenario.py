"""What scenarios share: forged messages, what was heard, and the end of all faults.

TINYBFT_SEEDS=100 in the environment runs every scenario with that many seeds.
"""

import hashlib
import os

from tinybft import wire
from tools.simulate import operations
from tools.simulate.oracles import canonical_digest
from tools.simulate.sim import EVERYBODY

SEEDS = range(1, 1 + int(os.environ.get("TINYBFT_SEEDS", "2")))
CLIENT = 4  # the external client of a group of four
OTHERS = (0, 1, 2, 3)
NULL = bytes(32)
# L1: twice the time-out of a view change and twenty operations of 10 ms.
BOUND_MS = 4200
PLENTY = "x" * 200  # a value that makes its request too long to travel inside a pre-prepare


class Heard(list):
    """(device, message) of everything that reached a node, in order."""

    def __init__(self, sim):
        super().__init__()
        inner = sim.world.on_heard

        def on_heard(hal, message):
            self.append((hal.number, message))
            inner(hal, message)

        sim.world.on_heard = on_heard

    def of(self, name, by=None, sender=None):
        """Messages of a type that `by` heard (None: anybody), from `sender` (None: anybody)."""
        kind = wire.TYPE_NAMES.index(name)
        return [
            message
            for device, message in self
            if message[1] == kind
            and by in (None, device)
            and sender in (None, wire.sender(message))
        ]


def execute(sim, client=CLIENT, ms=5000, op=None):
    """One operation, answered within `ms`."""
    handle = sim.submit(client, op or operations.increment("n"))
    assert sim.run_until(lambda: handle.done, ms), handle
    return handle


def submit_some(sim, clients, count=3):
    """`count` increments of one number by each client; handles."""
    return [sim.submit(c, operations.increment("n")) for _ in range(count) for c in clients]


def all_done(handles):
    return lambda: all(handle.done for handle in handles)


def assert_counted_once(handles):
    """The increments among `handles` were each executed once: their replies are 1, 2, 3, ..."""
    replies = sorted(int(handle.reply[1:]) for handle in handles)
    assert replies == list(range(1, len(replies) + 1))


def recover(sim, faulty=(), ms=BOUND_MS):
    """Faults stop: liveness with the faulty replicas about, then without: every vote decides."""
    sim.heal()
    sim.network(loss=0, duplicate=0, delay_ms=1, jitter_ms=1)
    sim.on_frame(None)
    for i in faulty:
        sim.filter_from(i, None)
    measured = sim.check_liveness(ms)
    for i in faulty:
        if i < sim.replica_count:
            sim.crash(i)
    if faulty:
        sim.check_liveness(ms)
    sim.check()
    return measured


def views(sim):
    return [sim.view(i) for i in sim.correct_replicas()]


def is_active(sim, i):
    return sim.core(i).progress.active


def without_proposals(frame):
    """A link fault that makes the others leave view 0, its primary being correct."""
    return None if frame.type == "PRE-PREPARE" and frame.view == 0 else frame


# --- forged messages


def request(sim, client, number, op, bad_for=()):
    """A sealed REQUEST."""
    return sim.seal(client, sim.message("REQUEST", client, 0, number, op), bad_for=bad_for)


class Entry(bytes):
    """A request as a batch names it by digest."""


def entry(sim, message, length=None, number=None, digest=None):
    """The entry of a whole REQUEST, or what a liar writes in its place."""
    client = wire.sender(message)
    end = sim.wire_of_group.body_end(message)
    buf = bytearray(wire.ENTRY_LENGTH)
    number = wire.seqno(message) if number is None else number
    wire.put_entry(buf, 0, client, len(message) if length is None else length, number)
    buf[wire.ENTRY_DIGEST :] = digest or hashlib.sha256(message[:end]).digest()
    return Entry(buf)


def batch(requests, time_s=0, time_ms=0):
    """Body of a PRE-PREPARE: an Entry goes in by digest, a whole REQUEST inline."""
    body = time_s.to_bytes(4, "little") + time_ms.to_bytes(2, "little") + bytes((len(requests), 0))
    for one in requests:
        body += bytes((0 if isinstance(one, Entry) else 1,)) + one
    return body


def inline_requests(message):
    """The REQUESTs that travel inside a PRE-PREPARE."""
    at = wire.HEADER_LENGTH + wire.BATCH_HEADER_LENGTH
    found = []
    for _ in range(message[wire.HEADER_LENGTH + 6]):
        if message[at] == wire.BY_DIGEST:
            at += 1 + wire.ENTRY_LENGTH
            continue
        length = wire.length_at(message, at + 1)
        found.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    return found


def propose(sim, i, seqno, requests, target=EVERYBODY, view=0, **time):
    """PRE-PREPARE in the name of `i`; the digest of the batch."""
    message = sim.seal(i, sim.message("PRE-PREPARE", i, view, seqno, batch(requests, **time)))
    sim.send_as(i, target, message)
    return canonical_digest(message, sim.wire_of_group)


def vote(sim, name, i, seqno, digest, view=0):
    """A sealed PREPARE, COMMIT or CHECKPOINT."""
    return sim.seal(i, sim.message(name, i, view, seqno, digest))


def resealed(sim, i, frame, edit, bad_for=()):
    """The frame after `edit(body)` on its header and body, with new tags by `i`."""
    tags = sim.wire_of_group.tag_count(frame.bytes[1], i) * sim.config.TAG_LENGTH
    body = bytearray(frame.bytes[: len(frame.bytes) - tags])
    body = edit(body) or body
    wire.put_length(body, 0)
    return frame.replaced(sim.seal(i, body, bad_for=bad_for, to=frame.dst))


def with_other_time(body):
    """Edit a PRE-PREPARE: another digest, and just as acceptable."""
    ms = int.from_bytes(body[20:22], "little")
    body[20:22] = ((ms + 1) % 1000).to_bytes(2, "little")


class Claims:
    """A VIEW-CHANGE taken apart. checkpoints: [(seqno, digest)]; p, q: [(offset, view, digest)]
    with seqnos counted from the low mark."""

    def __init__(self, message):
        self.head = bytearray(message[: wire.HEADER_LENGTH])
        at = wire.HEADER_LENGTH + 4
        self.checkpoints, self.p, self.q = [], [], []
        for _ in range(message[16]):
            seqno = int.from_bytes(message[at : at + 4], "little")
            self.checkpoints.append((seqno, bytes(message[at + 4 : at + 36])))
            at += 36
        for claims, count in ((self.p, message[17]), (self.q, message[18])):
            for _ in range(count):
                view = int.from_bytes(message[at + 1 : at + 5], "little")
                claims.append((message[at], view, bytes(message[at + 5 : at + 37])))
                at += 37

    def body(self):
        """Header and body again."""
        octets = bytearray(self.head)
        octets += bytes((len(self.checkpoints), len(self.p), len(self.q), 0))
        for seqno, digest in self.checkpoints:
            octets += seqno.to_bytes(4, "little") + digest
        for offset, view, digest in self.p + self.q:
            octets += bytes((offset,)) + view.to_bytes(4, "little") + digest
        return octets


class Choice:
    """A NEW-VIEW taken apart. members: [(replica, digest)]; batches: [digest]."""

    def __init__(self, message):
        self.head = bytearray(message[: wire.HEADER_LENGTH])
        self.checkpoint = bytes(message[18:50])
        at = 50
        self.members, self.batches = [], []
        for _ in range(message[16]):
            self.members.append((message[at], bytes(message[at + 1 : at + 33])))
            at += 33
        for _ in range(message[17]):
            self.batches.append(bytes(message[at : at + 32]))
            at += 32

    def body(self):
        octets = self.head + bytes((len(self.members), len(self.batches))) + self.checkpoint
        for replica, digest in self.members:
            octets += bytes((replica,)) + digest
        return octets + b"".join(self.batches)


def edited(parts, edit):
    """For `resealed`: take the message apart (Claims, Choice), edit, put it together."""

    def change(body):
        message = parts(body)
        edit(message)
        return message.body()

    return change
