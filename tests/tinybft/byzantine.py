"""One replica lies: what it sends is mutated and sealed again with its own keys (FAULTS.md, F66).

Oracles over the three correct replicas and the correct clients:
    S1  one batch per executed seqno        S3  every client's operations once and in order
    S4  every accepted reply is right       S6  equal digests of the checkpoints that are held
    L1  if the liar is a backup: every correct client gets its operations answered

A client with inconsistent tags can stop this version of the protocol (only a view change helps),
so where liveness is asked for, the lies in a REQUEST are the same for all receivers.

    python -m tests.tinybft.byzantine 1 100          seeds 1..100, liar R3 (and R0: safety only)
"""

import sys

from tests.tinybft.group import Group, make_crypto
from tests.tinybft.mutation import MUTATORS, noise, truncate
from tests.tinybft.scenes import Recorder, keep_busy, small_config
from tinybft import wire
from tinybft.auth import Authenticator
from tinybft.jitter import Jitter
from tinybft.octets import put_u16
from tinybft.structure import Wire

_BODY_MUTATORS = tuple(m for m in MUTATORS if m is not noise and m is not truncate)
_POOL = 6


class Liar:
    """Stands in for `scene` where mutators want one: `frames`, `numbers`, `node`."""

    def __init__(self, group, liar, seed, lies_percent, consistent_requests):
        self.group = group
        self.id = liar
        self.node = group.nodes[liar]
        self.random = Jitter(seed * 31337 + 5)
        self.frames = {}
        self.numbers = [0]
        self._percent = lies_percent
        self._consistent_requests = consistent_requests
        self._lies = {}
        self._wire = Wire(group.config)
        self._auth = Authenticator(group.config, liar, make_crypto(group.config, liar))
        self._tag_length = group.config.TAG_LENGTH
        self._replica_count = group.config.REPLICA_COUNT
        self._length_max = group.config.MESSAGE_LENGTH_MAX
        group.on_send = self.on_send

    def on_send(self, source, receiver, message):
        self._remember(message)
        if source != self.id:
            return message
        if self.random.below(100) < self._percent // 4:
            self._say_something_else(receiver)
        if self.random.below(100) >= self._percent:
            return message
        if message[1] == wire.REQUEST and self._consistent_requests:
            return self._consistent_lie(message)
        return self._lie(message, receiver)

    def _remember(self, message):
        end = self._wire.body_end(message)
        same_type = self.frames.setdefault(message[1], [])
        same_type.append(message[:end])
        if len(same_type) > _POOL:
            same_type.pop(0)

    def _say_something_else(self, receiver):
        """Some message that anybody sent, as its own."""
        kinds = sorted(self.frames)
        kind = kinds[self.random.below(len(kinds))]
        if kind == wire.REQUEST:
            return
        same_type = self.frames[kind]
        body = same_type[self.random.below(len(same_type))]
        if self.random.below(2):
            body = self._mutated(body)
        message = self._sealed(body, receiver)
        if message is not None:
            flying = self.group.flying
            flying.append((self.group.now + 1, len(flying), receiver, message))

    def _lie(self, message, receiver):
        if self.random.below(8) == 0:
            return None
        return self._sealed(self._mutated(message[: self._wire.body_end(message)]), receiver)

    def _consistent_lie(self, message):
        if message not in self._lies:
            body = self._mutated(message[: self._wire.body_end(message)])
            self._lies[message] = self._sealed(body, None)
        return self._lies[message]

    def _mutated(self, body):
        progress = self.group.nodes[(self.id + 1) % 4].replica.progress
        low, executed = progress.low_mark, progress.last_executed
        high = progress.high_mark()
        self.numbers = (low, executed, executed + 1, executed + 2, high, high + 1, high + 2)
        mutator = _BODY_MUTATORS[self.random.below(len(_BODY_MUTATORS))]
        return mutator(self.random, body, self)

    def _sealed(self, body, receiver):
        """`body` with a good tag for the receiver (None: for all), or None if it is too long."""
        out = bytearray(body)
        if len(out) < wire.HEADER_LENGTH:
            return bytes(out)
        if out[1] == wire.REQUEST and receiver is not None and self._consistent_requests:
            return None  # it would have a good tag for one replica only
        put_u16(out, 2, self.id)
        count = self._wire.tag_count(out[1], self.id)
        total = len(out) + count * self._tag_length
        if total > self._length_max:
            return None
        put_u16(out, 6, total)
        end = len(out)
        out += bytes(count * self._tag_length)
        if receiver is None:
            self._auth.seal(out, end)
        elif receiver < self._replica_count or count == 1:  # others have no place among the tags
            self._auth.seal_for(receiver, out, end, count)
        return bytes(out)


class Trial:
    """A group with one liar, run until everybody is served or the time is up."""

    def __init__(self, seed, liar, lies_percent=50, loss=5, lengths=(20, 200)):
        self.seed = seed
        self.liar = liar
        self.live = liar != 0
        self.group = Group(small_config(), Recorder, seed, loss=loss, duplicate=5, delay_ms=(1, 4))
        self.lies = Liar(self.group, liar, seed, lies_percent, self.live)
        self.correct = [n for n in self.group.nodes[:4] if n.node_id != liar]
        self.clients = [n for n in self.group.nodes if n.node_id != liar]
        self._lengths = lengths
        for node in self.clients:
            node.client.on_done = self._on_done

    def _on_done(self, client):
        text = b"%d:%d " % (client.node_id, client.acknowledged)
        reply = bytes(client.reply[: client.reply_length])
        self._demand(reply.startswith(text), "S4: reply %s to operation %s" % (reply, text))

    def _demand(self, holds, what):
        if not holds:
            raise AssertionError("seed %d, liar R%d: %s" % (self.seed, self.liar, what))

    def run(self, operations, ms):
        """Each correct client wants so many operations executed within `ms`."""

        def served():
            return all(n.client.acknowledged >= operations for n in self.clients)

        while self.group.now < ms and not served():
            keep_busy(self.group, self._lengths)
            self.group.run(5, served)
        self.check_safety()
        if self.live:
            done = [n.client.acknowledged for n in self.clients]
            marks = [n.replica.progress.last_executed for n in self.correct]
            self._demand(served(), "L1: operations %s, executed %s" % (done, marks))

    def check_safety(self):
        history = {}
        for node in self.correct:
            own = {}
            for seqno, client, text in node.replica.core.execution._service.log:
                own.setdefault(seqno, []).append((client, text))
            for seqno, batch in own.items():
                known = history.setdefault(seqno, batch)
                self._demand(known == batch, "S1: %d is %s and %s" % (seqno, known, batch))
        self._check_order(history)
        self._check_digests()

    def _check_order(self, history):
        last = {}
        for seqno in sorted(history):
            for client, text in history[seqno]:
                if client == self.liar:
                    continue
                number = last.get(client, 0) + 1
                good = text.startswith(b"%d:%d " % (client, number))
                self._demand(good, "S3: client %d, after %d: %s" % (client, number - 1, text))
                last[client] = number

    def _check_digests(self):
        known = {}
        for node in self.correct:
            state = node.replica.core.state
            progress = node.replica.progress
            for seqno in range(progress.low_mark, progress.last_executed + 1):
                root = bytearray(32)
                if state.root_into(seqno, root, 0):
                    self._demand(known.setdefault(seqno, root) == root, "S6: at %d" % seqno)


def main(arguments):
    first, last = int(arguments[0]), int(arguments[1])
    failed = 0
    for seed in range(first, last + 1):
        for liar in (3, 0):
            try:
                Trial(seed, liar, lies_percent=(20, 50, 90)[seed % 3]).run(15, 8000)
            except Exception as error:
                failed += 1
                print("FAILED seed", seed, "liar", liar, repr(error)[:300])
    print("seeds", first, "to", last, "failed trials", failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
