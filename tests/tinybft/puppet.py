"""Somebody who lies to one replica, message by message, with the keys of other nodes."""

from tests.tinybft.group import Group, make_crypto
from tests.tinybft.scenes import Recorder, operation, small_config
from tinybft import wire
from tinybft.auth import Authenticator
from tinybft.octets import put_u16
from tinybft.slots import ACCEPTED
from tinybft.structure import Wire

_NOW = 100


class Puppet:
    """Speaks in the name of node `sender`, with its keys, to replica 1 of a silent group."""

    def __init__(self, sender=0, service=Recorder, storage=None):
        self.config = small_config(**(storage or {}))
        self.group = Group(self.config, service)
        self.victim = self.group.nodes[1].replica
        self.core = self.victim.core
        self.deliver = self.victim.receive
        self.sent = []
        self.victim.tick(_NOW)  # what is due is done before anything is said
        self.group.send = lambda _source, target, message: self.sent.append((target, message))
        self.sender = sender

    def say(self, kind, view, seqno, body, sender=None, flags=0):
        """Returns the fault that the message was counted as, or 0."""
        sender = self.sender if sender is None else sender
        wire_of = Wire(self.config)
        auth = Authenticator(self.config, sender, make_crypto(self.config, sender))
        out = bytearray(wire.HEADER_LENGTH) + bytearray(body) + bytearray(64)
        end = wire.HEADER_LENGTH + len(body)
        count = wire_of.tag_count(kind, sender)
        wire.put_header(out, kind, flags, sender, self.config.GROUP_ID, view, seqno)
        wire.put_length(out, end + count * self.config.TAG_LENGTH)
        return self.hear(out[: auth.seal_for(1, out, end, count)])

    def hear(self, message):
        buf = self.core.memory.received
        buf[: len(message)] = message
        counts = self.core.faults.counts
        before = list(counts)
        self.deliver(buf, len(message), _NOW)
        for fault in range(len(counts)):
            if counts[fault] != before[fault]:
                return fault
        return 0

    def propose(self, clients, times_ms=(0, 0, 0, 0)):
        """Request 7 of each of these clients in a batch of its own, seqno 1, 2, ..."""
        for i, client in enumerate(clients):
            self.say(wire.REQUEST, 0, 7, operation(client, 1, 200), sender=client)
            batch = batch_of(entry_of(self.core.requests, client, 7))
            put_u16(batch, 4, times_ms[i])
            assert self.say(wire.PRE_PREPARE, 0, i + 1, batch) == 0

    def commit(self, seqnos):
        """The votes of R0 and R2, in this order of batches."""
        for seqno in seqnos:
            at = self.core.slots.digest_at(self.core.slots.find(seqno))
            digest = bytes(self.core.slots.buf[at : at + 32])
            self.say(wire.PREPARE, 0, seqno, digest, sender=2)
            for sender in (0, 2):
                self.say(wire.COMMIT, 0, seqno, digest, sender=sender)

    def accepted(self, seqno):
        base = self.core.slots.find(seqno)
        return base >= 0 and bool(self.core.slots.has(base, ACCEPTED))


def batch_of(*entries):
    out = bytearray(wire.BATCH_HEADER_LENGTH)
    wire.put_batch_header(out, 0, 0, 0, len(entries))
    for entry in entries:
        out += b"\x00" + entry
    return out


def entry_of(pending, client, request_id):
    """What a primary writes about the pending request of `client`, but for the id."""
    entry = bytearray(wire.ENTRY_LENGTH)
    wire.put_entry(entry, 0, client, pending.request_length(client), request_id)
    at = pending.digest_at(client)
    entry[wire.ENTRY_DIGEST :] = pending.buf[at : at + 32]
    return entry
