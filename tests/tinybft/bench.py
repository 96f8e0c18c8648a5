"""One replica on a bench: the test plays all other nodes and sees everything it sends.

    bench = Bench(own_id=1)
    batch = bench.batch(1, [bench.request(4, 1, b"op")])      a PRE-PREPARE's body and digest
    bench.pre_prepare(0, 1, batch)                            fed; returns the fault, 0 = none
    bench.prepare(2, 1, batch.digest)
    bench.sent(wire.COMMIT)                                   what the replica sent so far

Messages are built here from the documented layouts with integers and bytes, not with the code
under test; only their tags come from `Authenticator` (test_auth.py has it on its own).
"""

import hashlib

from tests.tinybft.group import make_crypto, make_store
from tests.tinybft.support import Config
from tinybft import wire
from tinybft.auth import Authenticator
from tinybft.jitter import Jitter
from tinybft.memory import Memory
from tinybft.replica import Replica
from tinybft.service import Service
from tinybft.structure import Wire

EVERYBODY = -1
STORAGE = {}  # what modes.py puts there: STORAGE_... of the configurations made from now on


def make_config(**changed):
    """Small sizes, every time-out of config.toml."""
    values = {
        "STATE_LENGTH": 256,
        "BLOCK_LENGTH": 64,
        "REQUEST_LENGTH_MAX": 256,
        "REPLY_LENGTH_MAX": 256,
        "MESSAGE_LENGTH_MAX": 1152,
    }
    times = {
        "REPAIR_MS": 2,
        "RETRY_MS": 20,
        "RETRY_MAX_MS": 2000,
        "STATUS_MS": 500,
        "REQUEST_MS": 1000,
        "VIEW_CHANGE_MS": 2000,
        "CLOCK_SKEW_MS": 1000,
        "STAGGER_MS": 0,
    }
    for name in times:
        times[name] = changed.pop(name, times[name])
    values.update(STORAGE)
    values.update(changed)
    config = Config(**values)
    for name in times:
        setattr(config, name, times[name])
    return config


class Ledger(Service):
    """Counts operations; the first byte of an operation is the length of its reply.

    `ran` is the test's spy: (client, operation, seqno, time_s, time_ms) in order.
    """

    name = "ledger"
    state_length = 8
    reads_view = False

    def __init__(self):
        self.ran = []

    def execute(self, state, op, length, reply, ctx):
        operation = bytes(memoryview(op)[:length])
        self.ran.append((ctx.client_id, operation, ctx.seqno, ctx.time_s, ctx.time_ms))
        if operation[1:] == b"raise":
            raise ValueError("as the test wants")
        count = state.get_u32(0) + 1
        state.put_u32(0, count)
        mixed = state.get_u32(4)
        for byte in operation:
            mixed = (mixed * 31 + byte) & 0xFFFFFF
        state.put_u32(4, mixed)
        reply_length = max(4, operation[0])
        for i in range(reply_length):
            reply[i] = (count >> (8 * i) & 255) if i < 4 else operation[1]
        return reply_length


class Declared(Ledger):
    """An operation of n bytes may change n pages, at most 4; one that ends with "w" and a digit
    changes so many, from the second on."""

    state_length = 640

    def pages_max(self, length, page_length):
        return min(length, 4)

    def execute(self, state, op, length, reply, ctx):
        reply_length = super().execute(state, op, length, reply, ctx)
        if length > 2 and op[length - 2] == ord("w"):
            for i in range(op[length - 1] - ord("0")):
                state.write((i + 1) * 64, op, 0, 1)
        return reply_length


BUDGET = {"STATE_LENGTH": 640, "BATCH_PAGES_MAX": 4}  # of 10 pages


def u16(value):
    return bytes((value & 255, value >> 8))


def u32(value):
    return value.to_bytes(4, "little")


def sha256(octets):
    return hashlib.sha256(octets).digest()


class Batch:
    """Body of a PRE-PREPARE, and the digest of its canonical form."""

    def __init__(self, body, digest):
        self.body = body
        self.digest = digest


class Bench:
    def __init__(self, own_id=1, config=None, service=Ledger):
        self.config = config = config or make_config()
        self.own_id = own_id
        self.now = 100
        self.wire = Wire(config)
        self.auths = [self._auth(node) for node in range(config.CLIENT_COUNT)]
        self.out = []
        self.make_service = service
        self.store = self.make_store()
        self.boot()
        self.genesis = bytearray(32)
        self.core.state.root_into(0, self.genesis, 0)

    def make_store(self):
        return make_store(self.config, self.own_id, make_crypto(self.config, self.own_id))

    def join_client(self):
        """The replica has no client of its own here; durable.py gives it one."""

    def boot(self):
        """A replica on the store as it is, in its first step."""
        config = self.config
        self.memory = Memory(config)
        self.service = self.make_service()
        self.replica = Replica(
            config,
            self.own_id,
            self.memory,
            self.auths[self.own_id],
            self._send,
            self.service,
            Jitter(5),
            self.store,
        )
        self.core = self.replica.core
        self.progress = self.core.progress
        self.join_client()
        self.replica.start(self.now)
        if config.DURABLE:
            self.replica.tick(self.now)  # the first step after boot takes up what was begun

    def _auth(self, node):
        return Authenticator(self.config, node, make_crypto(self.config, node))

    def _send(self, target, buf, length):
        self.out.append((target, bytes(memoryview(buf)[:length])))

    # --- what the replica did ---

    def sent(self, kind, target=None):
        """Messages of a type sent so far (to `target`), oldest first."""
        return [m for to, m in self.out if m[1] == kind and (target is None or to == target)]

    def ran(self):
        return [row[1] for row in self.service.ran]

    # --- messages of others ---

    def message(self, kind, sender, view, seqno, body, flags=0, bad_for=()):
        """A sealed message; tags for the nodes in `bad_for` are spoilt."""
        tags = self.wire.tag_count(kind, sender)
        total = wire.HEADER_LENGTH + len(body) + tags * self.config.TAG_LENGTH
        head = bytes((0x10 | flags, kind)) + u16(sender) + u16(self.config.GROUP_ID) + u16(total)
        buf = bytearray(head + u32(view) + u32(seqno) + body + bytes(tags * 8 * 2))
        end = wire.HEADER_LENGTH + len(body)
        if tags == 1:
            self.auths[sender].seal_for(self.own_id, buf, end, 1)
        else:
            self.auths[sender].seal(buf, end)
        for receiver in bad_for:
            at = end + self.wire.tag_index(kind, sender, receiver) * self.config.TAG_LENGTH
            buf[at] ^= 1
        return bytes(buf[:total])

    def feed(self, message):
        """Give it to the replica; the number of the fault it counted, 0 = none."""
        counts = self.core.faults.counts
        before = list(counts)
        self.memory.received[: len(message)] = message
        self.replica.receive(self.memory.received, len(message), self.now)
        for fault in range(len(before)):
            if counts[fault] != before[fault]:
                return fault
        return 0

    def request(self, client, number, operation, flags=0, bad_for=()):
        return self.message(wire.REQUEST, client, 0, number, operation, flags, bad_for)

    def digest_of(self, message):
        """SHA-256 of header and body, tags left out."""
        tags = self.wire.tag_count(message[1], message[2]) * self.config.TAG_LENGTH
        return sha256(message[: len(message) - tags])

    def entry(self, request):
        head = request[2:4] + u16(len(request)) + request[12:16]
        return head + self.digest_of(request)

    def batch(self, requests, inline=True, time=(0, 0)):
        """What the primary would send for these requests."""
        head = u32(time[0]) + u16(time[1]) + bytes((len(requests), 0))
        entries = [self.entry(r) for r in requests]
        body = head
        for i, entry in enumerate(entries):
            body += b"\x01" + requests[i] if inline else b"\x00" + entry
        return Batch(body, sha256(head + b"".join(entries)))

    def pre_prepare(self, sender, seqno, batch, view=0, bad_for=()):
        body = batch.body
        return self.feed(self.message(wire.PRE_PREPARE, sender, view, seqno, body, 0, bad_for))

    def prepare(self, sender, seqno, digest, view=0, bad_for=()):
        return self.feed(self.message(wire.PREPARE, sender, view, seqno, digest, 0, bad_for))

    def commit(self, sender, seqno, digest, view=0, bad_for=()):
        return self.feed(self.message(wire.COMMIT, sender, view, seqno, digest, 0, bad_for))

    def checkpoint(self, sender, seqno, digest, flags=0, bad_for=()):
        return self.feed(self.message(wire.CHECKPOINT, sender, 0, seqno, digest, flags, bad_for))

    # --- the view change ---

    def view_change(  # noqa: PLR0913
        self, sender, view, low_mark=0, c=None, p=(), q=(), flags=0, bad_for=()
    ):
        """A VIEW-CHANGE, not fed. `c`: (seqno, digest), ...; None: the state all begin with.
        `p`, `q`: (seqno, view, digest), ..."""
        c = ((0, self.genesis),) if c is None else c
        body = bytes((len(c), len(p), len(q), 0))
        body += b"".join([u32(seqno) + digest for seqno, digest in c])
        for claims in (p, q):
            for seqno, claimed_view, digest in claims:
                body += bytes((seqno - low_mark & 255,)) + u32(claimed_view) + digest
        return self.message(wire.VIEW_CHANGE, sender, view, low_mark, body, flags, bad_for)

    def ack(self, sender, view, replica, digest, bad_for=()):
        """Fed: `sender` has the VIEW-CHANGE of `replica` with this digest; or, if `replica` is
        the primary of the view, has installed its NEW-VIEW."""
        body = bytes((replica,)) + digest
        return self.feed(self.message(wire.VIEW_CHANGE_ACK, sender, view, 0, body, 0, bad_for))

    def new_view(self, view, members, x=(), checkpoint=None, sender=None, flags=0, bad_for=()):
        """A NEW-VIEW of the primary, not fed. `members`: VIEW-CHANGEs as they were sent;
        `x`: batch digests; `checkpoint`: (seqno, digest)."""
        seqno, digest = (0, self.genesis) if checkpoint is None else checkpoint
        body = bytes((len(members), len(x))) + digest
        body += b"".join([m[2:3] + self.digest_of(m) for m in members]) + b"".join(x)
        sender = view % self.config.REPLICA_COUNT if sender is None else sender
        return self.message(wire.NEW_VIEW, sender, view, seqno, body, flags, bad_for)

    def begin_view(self, view, x=(), p=(), q=(), low_mark=0, c=None, checkpoint=None):
        """All the others want the view with these claims, and its primary begins it."""
        members = [self.view_change(i, view, low_mark, c, p, q) for i in self.others()]
        for message in members:
            assert self.feed(message) == 0
        assert self.progress.view == view
        fault = self.feed(self.new_view(view, members, x, checkpoint))
        assert self.progress.active and self.progress.view == view, fault

    # --- whole stretches ---

    def others(self):
        return [i for i in range(self.config.REPLICA_COUNT) if i != self.own_id]

    def agree(self, seqno, batch):
        """All the others do their part for `seqno` (in view 0)."""
        if self.own_id != 0:
            self.pre_prepare(0, seqno, batch)
        for sender in self.others():
            if sender:
                self.prepare(sender, seqno, batch.digest)
        for sender in self.others():
            self.commit(sender, seqno, batch.digest)

    def execute(self, seqno, number, operation=b"\x04x", client=4):
        """One request of an external client, agreed by all."""
        batch = self.batch([self.request(client, number, operation)])
        self.agree(seqno, batch)
        return batch

    def stabilise(self, seqno):
        """All the others report the replica's own digest of checkpoint `seqno`."""
        digest = self.own_checkpoint(seqno)
        for sender in self.others():
            self.checkpoint(sender, seqno, digest)

    def own_checkpoint(self, seqno):
        for message in self.sent(wire.CHECKPOINT):
            if message[12:16] == u32(seqno):
                return message[16:48]
        raise AssertionError("no CHECKPOINT was sent")

    def tick(self, ms):
        """Let time pass in steps of one millisecond."""
        for _ in range(ms):
            self.now = (self.now + 1) & 0x3FFFFFFF
            self.replica.tick(self.now)
