"""Attacks on one replica that were once open, each as the shortest story that shows it."""

from tests.tinybft.group import Group, make_crypto
from tests.tinybft.scenes import Recorder, keep_busy, operation, small_config
from tinybft import faults, wire
from tinybft.auth import Authenticator
from tinybft.clock import GroupClock
from tinybft.octets import put_u16, put_u32
from tinybft.slots import ACCEPTED
from tinybft.structure import Wire


class Puppet:
    """Speaks in the name of node `sender`, with its keys, to replica 1 of a silent group."""

    def __init__(self, sender=0):
        self.config = small_config()
        self.group = Group(self.config, Recorder)
        self.victim = self.group.nodes[1].replica
        self.core = self.victim.core
        self.sent = []
        self.group.send = lambda _source, target, message: self.sent.append((target, message))
        self.sender = sender

    def say(self, kind, view, seqno, body, sender=None, flags=0):
        """Returns the fault that the message was counted as, or 0."""
        sender = self.sender if sender is None else sender
        wire_of = Wire(self.config)
        auth = Authenticator(self.config, sender, make_crypto(self.config, sender), wire_of)
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
        self.victim.receive(buf, len(message), 100)
        for fault in range(len(counts)):
            if counts[fault] != before[fault]:
                return fault
        return 0

    def accepted(self, seqno):
        base = self.core.slots.find(seqno)
        return base >= 0 and bool(self.core.slots.has(base, ACCEPTED))


def batch_of(*entries, time_s=0):
    out = bytearray(wire.BATCH_HEADER_LENGTH)
    wire.put_batch_header(out, 0, time_s, 0, len(entries))
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


def test_primary_cannot_give_a_request_another_id():
    puppet = Puppet()
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 1, 200), sender=4) == 0
    pending = puppet.core.requests
    assert puppet.say(wire.PRE_PREPARE, 0, 1, batch_of(entry_of(pending, 4, 8))) == 0
    assert not puppet.accepted(1)
    assert puppet.say(wire.PRE_PREPARE, 0, 2, batch_of(entry_of(pending, 4, 7))) == 0
    assert puppet.accepted(2)


def test_two_requests_under_one_id_do_not_stop_the_group():
    """The primary orders one of them, this backup has seen the other first."""
    puppet = Puppet()
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 1, 200), sender=4) == 0
    entry = entry_of(puppet.core.requests, 4, 7)
    puppet = Puppet()
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 2, 200), sender=4) == 0
    assert puppet.say(wire.PRE_PREPARE, 0, 1, batch_of(entry)) == 0
    assert not puppet.accepted(1)
    assert puppet.say(wire.REQUEST, 0, 7, operation(4, 1, 200), sender=4) == 0
    assert puppet.accepted(1)


def test_forged_status_and_fetch_use_up_no_turn():
    puppet = Puppet()
    body = bytearray(6 + puppet.core.wire.status_tail_length)
    for kind, text in ((wire.STATUS, body), (wire.FETCH, bytearray(6))):
        for _ in range(8):
            forged = bytearray(wire.HEADER_LENGTH) + text
            wire.put_header(forged, kind, 0, 3, puppet.config.GROUP_ID, 0, 0)
            forged += bytearray(b"\xa5" * 8 * puppet.core.wire.tag_count(kind, 3))
            put_u16(forged, 6, len(forged))
            assert puppet.hear(forged) == faults.MAC
        assert puppet.say(kind, 0, 0, text, sender=3) == 0
