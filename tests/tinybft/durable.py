"""One replica on a non-volatile memory: its power may go at any moment, others tempt it.

    bench = Device(own_id=2)
    ...                            as on any bench
    bench.images[i]                the memory as it was when bench.out[i] left
    bench.restart()                from the memory as it is; bench.restart(image): as it was

`Words` hears everything that the replica says, over all its restarts, and fails as soon as it
contradicts itself. `tempt` does what others can do to bring it to that.
"""

from hal.sim_parts import Store
from tests.tinybft.bench import Bench, make_config, sha256, u32
from tests.tinybft.group import make_crypto
from tests.tinybft.modes import MIRROR, NVM
from tests.tinybft.views import contents, one
from tinybft import wire
from tinybft.client import Client
from tinybft.identity import format_store
from tinybft.jitter import Jitter
from tinybft.layout import areas
from tinybft.request_ids import RequestIds

MODES = (MIRROR, NVM)
PROTOCOL = dict(MIRROR, STORAGE_STATE="ram")
EMPTY_STATUS = bytes(9)  # nothing executed, no slots, three empty masks
OTHER = bytes(range(32))
_BATCH_HEADER = 16
_FIRST_ENTRY = 24


class Words:
    """What a replica has said. `hear` fails when it says something that contradicts that."""

    def __init__(self, config, own_id):
        self.config = config
        self.own_id = own_id
        self.holds_state = config.STATE_DURABLE
        self.spoken = {}  # (view, seqno): digest, of PRE-PREPARE and PREPARE
        self.promised = {}  # of COMMIT
        self.checkpoints = {}
        self.view_changes = {}
        self.acks = {}
        self.new_views = {}
        self.results = {}
        self.requests = {}
        self.low_mark = 0
        self.view = 0  # the highest that it asked for
        self.overruled = ()  # seqnos where 2f + 1 others committed another batch in that view
        self.receiver = -1  # of the message that is heard
        self._hearers = {
            wire.PRE_PREPARE: self._pre_prepare,
            wire.PREPARE: self._prepare,
            wire.COMMIT: self._commit,
            wire.CHECKPOINT: self._checkpoint,
            wire.VIEW_CHANGE: self._view_change,
            wire.VIEW_CHANGE_ACK: self._ack,
            wire.NEW_VIEW: self._new_view,
            wire.REQUEST: self._request,
            wire.REPLY: self._reply,
        }

    def hear(self, message):
        if message[2] + 256 * message[3] == self.own_id:  # else it is handed on
            view = int.from_bytes(message[8:12], "little")
            seqno = int.from_bytes(message[12:16], "little")
            hearer = self._hearers.get(message[1])
            if hearer:
                hearer(view, seqno, message)

    def _pre_prepare(self, view, seqno, message):
        if view % self.config.REPLICA_COUNT == self.own_id:
            self._vote(self.spoken, view, seqno, self._digest_of_batch(message))

    def _prepare(self, view, seqno, message):
        self._vote(self.spoken, view, seqno, message[16:48])

    def _commit(self, view, seqno, message):
        digest = message[16:48]
        self._vote(self.promised, view, seqno, digest)
        assert self.spoken.get((view, seqno), digest) == digest, "COMMIT is for another batch"

    def _checkpoint(self, _view, seqno, message):
        _same(self.checkpoints, seqno, message[16:48], "CHECKPOINT")
        if message[0] & wire.FLAG_STABLE:
            self.low_mark = max(self.low_mark, seqno)

    def _ack(self, view, _seqno, message):
        assert view >= self.view, "an ack in a view that was left"
        _same(self.acks, (view, message[16]), message[17:49], "VIEW-CHANGE-ACK")

    def _new_view(self, view, _seqno, message):
        end = len(message) - (self.config.REPLICA_COUNT - 1) * self.config.TAG_LENGTH
        _same(self.new_views, view, message[:end], "NEW-VIEW")

    def _request(self, _view, seqno, message):
        assert seqno >= max(list(self.requests) or [0]), "request ids fall"
        _same(self.requests, seqno, message, "REQUEST")

    def _reply(self, _view, seqno, message):
        body = message[16 : -self.config.TAG_LENGTH]
        digest = body if message[0] & wire.FLAG_DIGEST else sha256(body)
        client = self.receiver
        _same(self.results, (client, seqno), digest, "REPLY")

    def _vote(self, table, view, seqno, digest):
        assert view >= self.view, "a vote in a view that was left"
        _same(table, (view, seqno), digest, "vote")

    def _digest_of_batch(self, message):
        """As `Bench.batch` computes it, from the message."""
        canonical = message[_BATCH_HEADER:_FIRST_ENTRY]
        at = _FIRST_ENTRY
        for _ in range(message[_BATCH_HEADER + 6]):
            inline = message[at]
            at += 1
            if not inline:
                canonical += message[at : at + 40]
                at += 40
                continue
            length = message[at + 6] + 256 * message[at + 7]
            request = message[at : at + length]
            own_tag = request[2] + 256 * request[3] < self.config.REPLICA_COUNT
            tags = (self.config.REPLICA_COUNT - own_tag) * self.config.TAG_LENGTH
            canonical += request[2:4] + request[6:8] + request[12:16]
            canonical += sha256(request[: length - tags])
            at += length
        return sha256(canonical)

    def _view_change(self, view, low_mark, message):
        if view in self.view_changes:
            assert self.view_changes[view] == message, "another VIEW-CHANGE of the same view"
            return
        assert view > self.view, "a VIEW-CHANGE for a view that was left"
        assert low_mark >= self.low_mark, "low_mark fell"
        self.view_changes[view] = message
        self.view = view
        self.low_mark = low_mark
        c, p, q = contents(message)
        for (voted, seqno), digest in self.promised.items():
            if seqno > low_mark:
                later = [row for row in p if row[0] == seqno and row[1] > voted]
                assert later or (seqno, voted, digest) in p, ("P lacks", seqno, voted)
        for (voted, seqno), digest in self.spoken.items():
            if seqno > low_mark and seqno not in self.overruled:
                rows = [row for row in q if row[0] == seqno and row[1] >= voted]
                full = len(rows) == self.config.FAULT_COUNT + 2
                assert full or digest in [row[2] for row in rows], ("Q lacks", seqno, voted)
        for seqno, digest in self.checkpoints.items():
            if self.holds_state and seqno >= low_mark:
                assert (seqno, digest) in c, ("C lacks", seqno)


def _same(table, key, content, name):
    assert table.get(key, content) == content, (name, "contradicted", key)
    table[key] = content


class Device(Bench):
    """A replica with its store, and the words that it said so far."""

    def __init__(self, own_id=2, mode=MIRROR, **changed):
        values = dict(mode)
        values.update(changed)
        self.images = []
        self.words = None
        super().__init__(own_id, make_config(**values))
        self.map = areas(self.config)

    def make_store(self):
        self.words = Words(self.config, self.own_id)
        store = Store(areas(self.config)["size"])
        self._last_image = None
        self.writes = []  # (the memory before a write, messages sent until then, address, bytes)
        crypto = make_crypto(self.config, self.own_id)
        format_store(store, self.config, self.own_id, crypto.digest_into)
        store.on_write = self._note_write
        return store

    def _note_write(self, _store, address, buf, length):
        self.writes.append((self._image(), len(self.out), address, bytes(buf[:length])))
        self._last_image = None

    def _image(self):
        """Of the memory as it is; one for all the moments between two writes."""
        if self._last_image is None:
            self._last_image = self.store.image()
        return self._last_image

    def join_client(self):
        config = self.config
        ids = RequestIds(self.store, True)
        auth = self.auths[self.own_id]
        self.client = Client(config, self.own_id, self.memory, auth, self._send, ids, Jitter(7))
        self.client.replica = self.replica
        self.core.client = self.client

    def _send(self, target, buf, length):
        super()._send(target, buf, length)
        self.images.append(self._image())
        self.words.receiver = target
        self.words.hear(self.out[-1][1])

    def restart(self, image=None):
        """Off and on again; `out` and `images` begin anew."""
        if image is not None:
            self.store.put_back(image)
        del self.out[:]
        del self.images[:]
        del self.writes[:]
        self._last_image = None
        self.boot()

    def unsay(self, sent):
        """Only these, of which each is (target, message), were said so far."""
        overruled = self.words.overruled
        self.words = Words(self.config, self.own_id)
        self.words.overruled = overruled
        for target, message in sent:
            self.words.receiver = target
            self.words.hear(message)

    def image_of(self, kind, number=-1):
        """The memory as it was when the last message of this type left."""
        indices = [i for i in range(len(self.out)) if self.out[i][1][1] == kind]
        return self.images[indices[number]]

    def rot(self, area, offset=0, bits=1):
        """Bits of one byte flip."""
        self.store.octets[self.map[area] + offset] ^= bits
        self._last_image = None

    def status(  # noqa: PLR0913
        self, sender, view=None, is_active=True, low_mark=0, executed=0, turn=0
    ):
        """Fed: a peer says how far it is; by default it has nothing and asks for all."""
        view = self.progress.view if view is None else view
        flags = wire.FLAG_ACTIVE if is_active else 0
        self.tick(self.config.REPAIR_MS)
        body = u32(executed) + bytes((turn,)) + EMPTY_STATUS[5:]
        return self.feed(self.message(wire.STATUS, sender, view, low_mark, body, flags))


def ask(bench):
    """Everybody else asks for everything that the replica has to say in its view."""
    for sender in bench.others():
        for is_active in (True, False):
            for turn in range(bench.config.REPLICA_COUNT):
                for low_mark in (0, bench.progress.low_mark):
                    fault = bench.status(sender, None, is_active, low_mark, low_mark, turn)
                    assert fault == 0, fault


def tempt(bench, voting=True):
    """What the others can do to have the replica contradict itself; `Words` listens."""
    progress = bench.progress
    view = progress.view
    ask(bench)
    for sender in (view % 4, (view - 1) % 4):
        for seqno in range(progress.low_mark + 1, progress.high_mark() + 1):
            for named in (view, max(0, view - 1)):
                batch = one(bench, 60 + seqno)
                if sender != bench.own_id:
                    bench.pre_prepare(sender, seqno, batch, named)
                for voter in bench.others():
                    bench.prepare(voter, seqno, batch.digest, named)
    if view and not progress.active:
        tempt_between_views(bench, view)
    bench.feed(bench.request(bench.config.CLIENT_COUNT - 1, 90, b"\x04late"))
    bench.tick(3)
    ask(bench)
    if voting:
        leave(bench)


def tempt_between_views(bench, view):
    """VIEW-CHANGEs of the others that say something else than before."""
    q = ((bench.progress.low_mark + 1, 0, OTHER),)
    members = []
    for sender in bench.others():
        members.append(bench.view_change(sender, view, bench.progress.low_mark, c_of(bench), q=q))
        bench.feed(members[-1])
    for message in members:
        for sender in bench.others():
            bench.ack(sender, view, message[2], bench.digest_of(message))


def c_of(bench):
    digest = bytearray(32)
    bench.core.state.root_into(bench.progress.low_mark, digest, 0)
    return ((bench.progress.low_mark, bytes(digest)),)


def leave(bench):
    """Everybody wants a view far ahead: what does the replica say that it prepared?"""
    view = bench.progress.view + 3
    for sender in bench.others():
        bench.feed(bench.view_change(sender, view, bench.progress.low_mark, c_of(bench)))
    assert bench.progress.view == view
    return contents(bench.sent(wire.VIEW_CHANGE, -1)[-1])


def every_moment(bench):
    """Restart from the memory as it was when each message left; nothing later was said."""
    return _every(bench, [(bench.images[i], i + 1) for i in range(len(bench.out))])


def every_write(bench):
    """The same before each write."""
    return _every(bench, [row[:2] for row in bench.writes])


def every_cut(bench):
    """The same in the midst of each write: behind its first byte, half of it, all but one."""
    moments = []
    for image, count, address, octets in bench.writes:
        for done in sorted({1, len(octets) // 2, len(octets) - 1}):
            if 0 < done < len(octets):
                moments.append((image, count, address, octets[:done]))
    return _every(bench, moments)


def _every(bench, moments):
    """Moments: (memory, number of messages sent until then[, address, what was written])."""
    said = list(bench.out)
    for moment in moments:
        image, count = moment[:2]
        if len(moment) > 2:
            address, octets = moment[2:]
            image = image[:address] + octets + image[address + len(octets) :]
        bench.unsay(said[:count])
        bench.restart(image)
        yield count
