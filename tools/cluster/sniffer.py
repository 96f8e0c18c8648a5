"""Listens to every vote that leaves a replica, over all its lives, and finds contradictions.

This is oracle S5 for real processes (tools/simulate/oracles.py has it for simulated ones): no
identity says two things about one (type, view, seqno), and none votes in a lower view than
before. A power cut is no excuse. Each life of a replica has a pipe (tap.py writes into it), and
a thread here that reads it to its end; the next life begins when the last one is read.
"""

import contextlib
import hashlib
import os
import threading

from tinybft import wire
from tinybft.structure import Wire
from tools.simulate.oracles import canonical_digest

# What lies further back than this many seqnos is below every low mark: nobody speaks of it.
_SEQNOS_KEPT = 4096
_CHUNK_LENGTH = 65536


class Statements:
    """What one replica has said so far."""

    def __init__(self, config, node_id):
        self.heard = 0
        self._node_id = node_id
        self._replica_count = config.REPLICA_COUNT
        self._wire = Wire(config)
        self._said = {}  # (kind, view, seqno or the like): (digest, boot)
        self._seqno = 0  # the highest
        self._view = 0
        self._view_boot = 0

    def hear(self, message, boot):
        """Take one message of life `boot`; what it contradicts, in words, or ''."""
        if self._wire.check(message, len(message)):
            return f"replica {self._node_id}, boot {boot}: sends {message[:16].hex()}, malformed"
        if not self._is_own(message):
            return ""
        self.heard += 1
        kind, view = wire.message_type(message), wire.view(message)
        name = f"replica {self._node_id}, boot {boot}: {wire.TYPE_NAMES[kind]}"
        if kind != wire.CHECKPOINT:
            if view < self._view:
                return f"{name} in view {view} after view {self._view} in boot {self._view_boot}"
            if view > self._view:
                self._view, self._view_boot = view, boot
        key, digest = self._claim(kind, view, message)
        before, before_boot = self._said.setdefault(key, (digest, boot))
        self._forget(wire.seqno(message))
        if before == digest:
            return ""
        return (
            f"{name} about {', '.join(map(str, key[1:]))}: {digest.hex()[:16]}, but"
            f" {before.hex()[:16]} in boot {before_boot}"
        )

    def _is_own(self, message):
        """Relayed messages, and batches that a backup passes on, are not its own words."""
        if wire.sender(message) != self._node_id:
            return False
        is_proposal = wire.message_type(message) == wire.PRE_PREPARE
        return not is_proposal or wire.view(message) % self._replica_count == self._node_id

    def _claim(self, kind, view, message):
        """What it is about (kind; view and seqno in words), and the digest of what it says."""
        about = f"view {view}", f"seqno {wire.seqno(message)}"
        if kind == wire.CHECKPOINT:
            return (kind, about[1]), bytes(message[16:48])
        if kind in (wire.PREPARE, wire.COMMIT):
            return (kind, *about), bytes(message[16:48])
        if kind == wire.PRE_PREPARE:
            return (kind, *about), canonical_digest(message, self._wire)
        if kind == wire.VIEW_CHANGE_ACK:
            return (kind, about[0], f"replica {message[16]}"), bytes(message[17:49])
        # The whole VIEW-CHANGE or NEW-VIEW of a view, its seqno included.
        body = message[12 : self._wire.body_end(message)]
        return (kind, about[0]), hashlib.sha256(body).digest()

    def _forget(self, seqno):
        if seqno < self._seqno + _SEQNOS_KEPT:
            return
        self._seqno = seqno
        # Insertion order is the order of time: the older half is that of lower seqnos and views.
        recent = list(self._said.items())[len(self._said) // 2 :]
        self._said = dict(recent)


class Sniffer:
    """All replicas of a group. `contradictions` has one line for each."""

    def __init__(self, config):
        self.contradictions = []
        self.lives = 0
        self._statements = [Statements(config, i) for i in range(config.REPLICA_COUNT)]
        self._threads = {}

    @contextlib.contextmanager
    def tap(self, node_id, boot):
        """The descriptor that the next life of a replica inherits, while it is started."""
        before = self._threads.get(node_id)
        if before:
            before.join()  # it is dead: its pipe has an end
        ear, mouth = os.pipe()
        thread = threading.Thread(target=self._listen, args=(ear, node_id, boot), daemon=True)
        self._threads[node_id] = thread
        self.lives += 1
        thread.start()
        try:
            yield mouth
        finally:
            os.close(mouth)

    def finish(self):
        """Wait until all is heard. Requires: who wrote has ended."""
        for thread in self._threads.values():
            thread.join()

    def heard(self):
        """How many votes so far."""
        return sum(statements.heard for statements in self._statements)

    def _listen(self, ear, node_id, boot):
        statements = self._statements[node_id]
        waiting = b""
        with open(ear, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_CHUNK_LENGTH):
                waiting += chunk
                at = 0
                while length := _message_length(waiting, at):
                    words = statements.hear(bytearray(waiting[at : at + length]), boot)
                    if words:
                        self.contradictions.append(words)
                    at += length
                waiting = waiting[at:]


def _message_length(octets, at):
    """Length of the message at octets[at], 0 while it is not there as a whole."""
    if len(octets) - at < wire.HEADER_LENGTH:
        return 0
    length = max(wire.HEADER_LENGTH, wire.length_at(octets, at))
    return length if len(octets) - at >= length else 0
