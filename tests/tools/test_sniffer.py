"""The sniffer of a cluster: what counts as a contradiction, over restarts, and what does not."""

import os
from types import SimpleNamespace

import pytest

from tests.tinybft.group import make_crypto
from tinybft import wire
from tinybft.auth import Authenticator
from tinybft.structure import Wire
from tools.cluster.sniffer import Sniffer, Statements
from tools.cluster.tap import KINDS, Tap
from tools.config import ROOT, load

CONFIG = load(ROOT / "tools" / "configs" / "durable.toml")
OWN = 1
ONE, OTHER = bytes([1]) * 32, bytes([2]) * 32


def message(kind, view, seqno, body=ONE, sender=OWN, flags=0):
    """A sealed message of `sender`."""
    checked_wire = Wire(CONFIG)
    auth = Authenticator(CONFIG, sender, make_crypto(CONFIG, sender))
    buf = bytearray(CONFIG.MESSAGE_LENGTH_MAX)
    wire.put_header(buf, kind, flags, sender, CONFIG.GROUP_ID, view, seqno)
    end = wire.HEADER_LENGTH + len(body)
    buf[wire.HEADER_LENGTH : end] = body
    tags = checked_wire.tag_count(kind, sender) * CONFIG.TAG_LENGTH
    wire.put_length(buf, end + tags)
    return buf[: auth.seal(buf, end)]


def pre_prepare(view, seqno, entry=ONE, sender=OWN):
    header = bytearray(wire.BATCH_HEADER_LENGTH)
    wire.put_batch_header(header, 0, 5, 0, 1)
    named = bytearray(wire.ENTRY_DIGEST)
    wire.put_entry(named, 0, 2, 100, 7)
    body = bytes(header) + bytes([wire.BY_DIGEST]) + bytes(named) + entry
    return message(wire.PRE_PREPARE, view, seqno, body, sender)


def view_change(view, low_mark):
    body = bytes([1, 0, 0, 0]) + low_mark.to_bytes(4, "little") + ONE
    return message(wire.VIEW_CHANGE, view, low_mark, body)


def ack(view, replica, digest):
    return message(wire.VIEW_CHANGE_ACK, view, 0, bytes([replica]) + digest)


@pytest.fixture
def said():
    return Statements(CONFIG, OWN)


@pytest.mark.parametrize("kind", [wire.PREPARE, wire.COMMIT, wire.CHECKPOINT])
def test_two_digests_for_one_seqno(said, kind):
    assert said.hear(message(kind, 2, 8), 0) == ""
    assert said.hear(message(kind, 2, 8), 1) == ""
    assert said.hear(message(kind, 2, 10, OTHER), 1) == ""
    words = said.hear(message(kind, 2, 8, OTHER), 2)
    assert words.startswith(f"replica 1, boot 2: {wire.TYPE_NAMES[kind]}")
    assert "seqno 8" in words and words.endswith("in boot 0")


def test_votes_in_another_view_are_another_matter(said):
    assert said.hear(message(wire.PREPARE, 2, 8), 0) == ""
    assert said.hear(message(wire.PREPARE, 3, 8, OTHER), 0) == ""
    assert "in view 2 after view 3" in said.hear(message(wire.COMMIT, 2, 8), 1)


def test_a_checkpoint_belongs_to_no_view(said):
    assert said.hear(message(wire.CHECKPOINT, 0, 8), 0) == ""
    assert said.hear(message(wire.PREPARE, 3, 9), 0) == ""
    assert said.hear(message(wire.CHECKPOINT, 0, 8, flags=wire.FLAG_STABLE), 1) == ""
    assert "seqno 8" in said.hear(message(wire.CHECKPOINT, 3, 8, OTHER), 1)


def test_two_proposals_of_the_primary(said):
    assert said.hear(pre_prepare(1, 8), 0) == ""
    assert said.hear(pre_prepare(1, 8), 1) == ""
    assert "PRE-PREPARE about view 1, seqno 8" in said.hear(pre_prepare(1, 8, OTHER), 1)


def test_batches_that_a_backup_passes_on_are_not_its_own(said):
    assert said.hear(pre_prepare(2, 8), 0) == ""
    assert said.hear(pre_prepare(2, 8, OTHER), 0) == ""
    assert said.hear(message(wire.PREPARE, 2, 8, sender=3), 0) == ""
    assert said.hear(message(wire.PREPARE, 2, 8, OTHER, sender=3), 0) == ""
    assert said.heard == 0


def test_view_changes_and_acks(said):
    assert said.hear(view_change(3, 8), 0) == ""
    assert said.hear(view_change(3, 8), 1) == ""
    assert "VIEW-CHANGE about view 3" in said.hear(view_change(3, 10), 1)
    assert said.hear(ack(3, 0, ONE), 1) == said.hear(ack(3, 2, OTHER), 1) == ""
    assert "view 3, replica 0" in said.hear(ack(3, 0, OTHER), 2)


def test_what_cannot_be_read_is_told(said):
    assert "malformed" in said.hear(message(wire.PREPARE, 0, 8)[:-1], 0)


def test_memory_stays_bounded(said):
    for seqno in range(1, 30000, 7):
        said.hear(message(wire.PREPARE, 0, seqno), 0)
    assert len(said._said) < 3000
    assert "seqno" in said.hear(message(wire.PREPARE, 0, seqno, OTHER), 1)


def test_pipes_of_two_lives():
    """What the tap of one life wrote, however torn its end, and that of the next."""
    sniffer = Sniffer(CONFIG)
    good = message(wire.PREPARE, 1, 8)
    for boot, octets in enumerate(
        (bytes(good) + bytes(good)[:20], bytes(message(wire.PREPARE, 1, 8, OTHER)))
    ):
        with sniffer.tap(OWN, boot) as pipe:
            os.write(pipe, octets)
    sniffer.finish()
    assert sniffer.lives == 2 and sniffer.heard() == 2
    (words,) = sniffer.contradictions
    assert words.startswith("replica 1, boot 1: PREPARE about view 1, seqno 8")


class Air:
    """A HAL's send that counts."""

    def __init__(self):
        self.sent = []

    def __call__(self, target, buf, length):
        self.sent.append((target, length))
        return True


def test_tap_copies_votes_and_sends_everything(monkeypatch):
    written = []

    def opened(descriptor, mode, buffering):
        return SimpleNamespace(write=lambda buf, length: written.append(bytes(buf[:length])))

    monkeypatch.setattr("builtins.open", opened)
    air = Air()
    tap = Tap(air, 7)
    monkeypatch.undo()
    vote = message(wire.COMMIT, 0, 3)
    request = message(wire.REQUEST, 0, 3)
    for target, octets in ((-1, vote), (2, vote), (-1, request)):
        assert tap.send(target, octets, len(octets))
    assert written == [bytes(vote), bytes(vote)]
    assert air.sent == [(-1, len(vote)), (2, len(vote)), (-1, len(request))]
    assert wire.REQUEST not in KINDS and wire.STATUS not in KINDS


def test_a_tap_that_nobody_listens_to(monkeypatch):
    def refuse(buf, length):
        raise OSError(32)

    monkeypatch.setattr("builtins.open", lambda *_: SimpleNamespace(write=refuse))
    air = Air()
    tap = Tap(air, 7)
    monkeypatch.undo()
    vote = message(wire.COMMIT, 0, 3)
    assert tap.send(-1, vote, len(vote)) and tap.send(-1, vote, len(vote))
    assert len(air.sent) == 2
