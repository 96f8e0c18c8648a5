"""A Byzantine replica for the hunts: it knows everything, and lies in what it was told to.

Its device runs the protocol; what leaves it is changed on the way (`filter_from`), and more is
said in its name. It sees every message on the air (MACs hide nothing), so it can give each
correct replica the votes that this one would like to hear, and claim in a VIEW-CHANGE whatever
is of most harm. It has its own keys only.

    liar = Liar(sim, 0, draw, {"split", "votes", "claims"})
    sim.on_frame(lambda frame: None if liar.refuses(frame) else frame)
    liar.mute()

LIES says what it can lie in; everything is drawn from `draw` (a random.Random).
"""

import hashlib

from tests.sim.scenario import (
    NULL,
    OTHERS,
    Choice,
    Claims,
    batch,
    edited,
    inline_requests,
    request,
    resealed,
    with_other_time,
)
from tinybft import wire
from tools.simulate.oracles import canonical_digest
from tools.simulate.sim import EVERYBODY

LIES = {
    "split": "as primary proposes one batch to some, another to the others, and votes for both",
    "second": "as primary proposes another batch after the first",
    "forge": "as primary proposes a request that its client never made",
    "again": "as primary proposes what was executed already",
    "late": "as primary turns the time back",
    "far": "as primary proposes behind the window as well",
    "starve": "as primary ignores one client",
    "usurp": "proposes without being primary",
    "votes": "votes for whatever anybody votes for, three times, and as primary too",
    "names": "votes and requests in the name of others, with the tags it has",
    "claims": "VIEW-CHANGE without its claims, with old, made up or contradictory ones",
    "tags": "VIEW-CHANGE that only the new primary can check",
    "choice": "NEW-VIEW with other batches, nulls, less than it should have",
    "storm": "VIEW-CHANGEs for ever higher views",
    "checkpoint": "CHECKPOINT with a false digest, or far ahead",
    "transfer": "META-DATA and DATA with one byte changed",
    "reply": "false replies, before anybody else's",
    "echo": "replies whatever anybody replies, also as if it were committed",
}
_CLAIMS = ("true", "none", "none", "no P", "old", "made up", "unknown", "two faces", "checkpoint")
_CHOICES = ("true", "nulls", "cut", "other", "claimed", "claimed", "claimed", "forged")
_STORM_MS = 15
_NUMBERS_KEPT = 400


class Liar:
    def __init__(self, sim, i, draw, lies):
        self.sim = sim
        self.i = i
        self.lies = lies
        self.is_mute = False
        self._draw = draw
        self._starved = draw.randrange(sim.client_count)
        self.style = None  # of its claims; else one is drawn for each view
        self.favourite = draw.choice(_CHOICES[1:])  # one way of lying comes back in a run
        self._batches = {}  # seqno: [digest of a batch that was proposed, ...]
        self._claimed = {}  # seqno: [(view, digest) of somebody's P, ...]
        self._requests = {}  # client: [REQUEST, ...]
        self._told = {}  # (view, seqno, receiver): digest of the batch that it got
        self._variants = {}  # (view, seqno): (message, who gets it)
        self._changes = {}  # view: (edit, other edit, who gets the other)
        self._change_digests = {}  # view: digest of the VIEW-CHANGE that was sent
        self._views = {}  # view: NEW-VIEW that was sent
        self._helped = set()
        self._askers = {}  # request id: {client, ...}
        self._edits = {
            "PRE-PREPARE": self._propose,
            "PREPARE": self._vote,
            "COMMIT": self._vote,
            "VIEW-CHANGE": self._change_view,
            "NEW-VIEW": self._new_view,
            "VIEW-CHANGE-ACK": lambda frame: None if "tags" in lies else frame,
            "CHECKPOINT": self._checkpoint,
            "META-DATA": self._spoil,
            "DATA": self._spoil,
            "REPLY": self._reply,
        }
        sim.byzantine(i)
        sim.filter_from(i, self._says)
        sent = sim.world.on_sent

        def on_sent(hal, target, message):
            sent(hal, target, message)
            if hal.number != i and not self.is_mute:
                self._overhear(hal.number, message)

        sim.world.on_sent = on_sent
        if "storm" in lies:
            self._storm()

    def mute(self):
        """Say nothing any more."""
        self.is_mute = True

    def refuses(self, frame):
        """True for what it does not want to have heard."""
        if "starve" not in self.lies or frame.dst != self.i or frame.type != "REQUEST":
            return False
        return frame.sender == self._starved

    def _is_primary(self, view):
        return view % self.sim.replica_count == self.i

    def _say(self, target, kind, view, seqno, body, flags=0):
        message = self.sim.message(kind, self.i, view, seqno, body, flags)
        self.sim.send_as(self.i, target, self.sim.seal(self.i, message))

    # --- what others say ---

    def _overhear(self, source, message):
        kind = message[1]
        if kind == wire.REQUEST:
            self._overhear_request(message)
        elif kind == wire.PRE_PREPARE:
            for one in inline_requests(message):
                self._overhear_request(one)
            self._overhear_proposal(message)
        elif kind in (wire.PREPARE, wire.COMMIT) and wire.sender(message) == source:
            self._overhear_vote(source, message)
        elif kind == wire.REPLY and "echo" in self.lies:
            self._echo(message)
        elif kind == wire.VIEW_CHANGE and wire.sender(message) == source:
            if "tags" in self.lies and wire.view(message) not in self._changes:
                self._follow(message)
            claims = Claims(message)
            for offset, view, digest in claims.p:
                known = self._claimed.setdefault(wire.seqno(message) + offset, [])
                if (view, digest) not in known:
                    known.append((view, digest))

    def _overhear_request(self, message):
        client = wire.sender(message)
        known = self._requests.setdefault(client, [])
        if message in known:
            return
        known.append(message)
        del known[:-8]
        number = wire.seqno(message)
        self._askers.setdefault(number, set()).add(client)
        if "reply" in self.lies:
            lie = self.sim.message("REPLY", self.i, 0, number, b"\x00lie")
            self.sim.send_as(self.i, client, self.sim.seal(self.i, lie, to=client))
        if "names" in self.lies:
            self.sim.send_as(self.i, EVERYBODY, self._forged(number + 1))

    def _echo(self, message):
        """The tag tells nobody but the receiver who that is."""
        body = message[wire.HEADER_LENGTH : self.sim.wire_of_group.body_end(message)]
        flags = wire.flags(message)
        for receiver in self._askers.get(wire.seqno(message), ()):
            for variant in (flags, flags & ~wire.FLAG_TENTATIVE):
                view, number = wire.view(message), wire.seqno(message)
                lie = self.sim.message("REPLY", self.i, view, number, body, variant)
                self.sim.send_as(self.i, receiver, self.sim.seal(self.i, lie, to=receiver))

    def _forged(self, number):
        client = self.sim.client_count - 1
        return request(self.sim, client, number, b"\x01\x01aforged", bad_for=OTHERS)

    def _note_batch(self, seqno, digest):
        known = self._batches.setdefault(seqno, [])
        if digest not in known:
            known.append(digest)
        if len(self._batches) > _NUMBERS_KEPT:
            del self._batches[min(self._batches)]

    def _overhear_proposal(self, message):
        view, seqno = wire.view(message), wire.seqno(message)
        self._note_batch(seqno, canonical_digest(message, self.sim.wire_of_group))
        if "usurp" in self.lies and self._draw.random() < 0.5:
            self._say(EVERYBODY, "PRE-PREPARE", view, seqno, self._made_up_batch())

    def _made_up_batch(self):
        client = self.sim.client_count - 1
        known = self._requests.get(client)
        return batch([self._forged(wire.seqno(known[-1]) + 1 if known else 1)])

    def _overhear_vote(self, source, message):
        view, seqno, digest = wire.view(message), wire.seqno(message), message[16:48]
        key = (source, view, seqno, digest)
        if key in self._helped or self._draw.random() < 0.2:
            return
        self._helped.add(key)
        if "votes" in self.lies:
            for _ in range(3):
                self._say(source, "PREPARE", view, seqno, digest)
                self._say(source, "COMMIT", view, seqno, digest)
        if "names" in self.lies:
            for name in ("PREPARE", "COMMIT"):
                for other in OTHERS:
                    vote = self.sim.message(name, other, view, seqno, digest)
                    self.sim.send_as(self.i, source, self.sim.seal(self.i, vote))

    # --- what it says itself ---

    def _says(self, frame):
        if self.is_mute:
            return None
        edit = self._edits.get(frame.name)
        if edit is None or frame.sender != self.i:
            return frame
        return edit(frame)

    def _propose(self, frame):
        key = frame.view, frame.seqno
        if not self._is_primary(frame.view):
            return frame
        if key not in self._variants:
            self._variants[key] = self._variant(frame)
        message, receivers, also = self._variants[key]
        out = []
        if frame.dst not in receivers or also:
            out.append(frame)
        if frame.dst in receivers:
            out.append(frame.replaced(message).later(5 if also else 0))
        digest = canonical_digest(out[0].bytes, self.sim.wire_of_group)
        self._told[(*key, frame.dst)] = digest
        self._note_batch(frame.seqno, digest)
        return out

    def _variant(self, frame):
        """(another proposal, who gets it, whether they get the first one as well)."""
        draw, sim = self._draw, self.sim
        wanted = self.lies & {"split", "second", "forge", "again", "late", "far"}
        lie = draw.choice(sorted(wanted)) if wanted else None
        receivers = tuple(draw.sample(sim.replicas, draw.randint(1, sim.replica_count)))
        if lie in ("split", "second"):
            message = resealed(sim, self.i, frame, with_other_time).bytes
            return message, receivers, lie == "second"
        if lie in ("forge", "again", "late"):
            body = self._other_batch(lie, frame)
            message = sim.message("PRE-PREPARE", self.i, frame.view, frame.seqno, body)
            return sim.seal(self.i, message), receivers, False
        if lie == "far":
            seqno = frame.seqno + draw.choice((1, 2, 4, 8))
            message = sim.message("PRE-PREPARE", self.i, frame.view, seqno, frame.bytes[16:-24])
            return sim.seal(self.i, message), receivers, True
        return frame.bytes, (), False

    def _other_batch(self, lie, frame):
        if lie == "forge":
            return self._made_up_batch()
        clients = sorted(self._requests)
        old = self._requests[self._draw.choice(clients)][0] if clients else self._forged(1)
        if lie == "late":
            fresh = inline_requests(frame.bytes)
            return batch(fresh or [old])
        return batch([old])

    def _vote(self, frame):
        digest = self._told.get((frame.view, frame.seqno, frame.dst))
        if digest is None:
            return frame
        message = self.sim.message(frame.name, self.i, frame.view, frame.seqno, digest)
        return frame.replaced(self.sim.seal(self.i, message))

    # --- view changes ---

    def _change_view(self, frame):
        view = frame.view
        if view not in self._changes:
            self._changes[view] = self._lies_about_the_past(frame)
        first, second, receivers = self._changes[view]
        body = second if frame.dst in receivers else first
        bad_for = ()
        if "tags" in self.lies:
            primary = view % self.sim.replica_count
            bad_for = [i for i in OTHERS if i != primary]
        return frame.replaced(self.sim.seal(self.i, body, bad_for=bad_for))

    def _follow(self, message):
        """Be among the first with a VIEW-CHANGE, without claims, for the primary's eyes only."""
        view = wire.view(message)
        claims = Claims(message)
        claims.p, claims.q = [], []
        claims.head[2:4] = self.i.to_bytes(2, "little")
        self._changes[view] = bytes(claims.body()), b"", ()
        primary = view % self.sim.replica_count
        others = [i for i in OTHERS if i != primary]
        sealed = self.sim.seal(self.i, claims.body(), bad_for=others)
        self.sim.send_as(self.i, EVERYBODY, sealed)

    def _lies_about_the_past(self, frame):
        if "claims" not in self.lies:
            return frame.bytes[:-24], b"", ()
        style = self.style or self._draw.choice(_CLAIMS)
        if "choice" in self.lies and self._is_primary(frame.view):
            style = self._draw.choice(("none", "none", "true", "made up", "made up", "old"))
            if self.favourite == "forged":
                style = "none"
            elif self.favourite == "claimed":
                style = self._draw.choice(("made up", "made up", "old"))
        first = self._claim(frame, "true" if style == "two faces" else style)
        second = self._claim(frame, "none")
        receivers = self._draw.sample(OTHERS, 2) if style == "two faces" else ()
        self._change_digests[frame.view] = hashlib.sha256(_with_length(first, 24)).digest()
        return first, second, receivers

    def _claim(self, frame, style):
        claims = Claims(frame.bytes)
        low = frame.seqno
        last = frame.view - 1
        if style in ("none", "no P"):
            claims.p = []
            if style == "none":
                claims.q = []
        elif style == "checkpoint":
            seqno = low + self.sim.config.CHECKPOINT_INTERVAL
            claims.checkpoints = claims.checkpoints[:1] + [(seqno, bytes(31) + b"\x07")]
        elif style != "true":
            claims.p, claims.q = [], []
            for offset in range(1, self.sim.config.WINDOW + 1):
                self._claim_one(claims, low + offset, offset, style, last)
        return bytes(claims.body())

    def _claim_one(self, claims, seqno, offset, style, last):
        draw = self._draw
        known = self._batches.get(seqno, [])
        prepared = [c for c in self._claimed.get(seqno, []) if c[0] <= last]
        if style == "unknown":
            claims.p.append((offset, last, bytes(30) + bytes((offset, 9))))
        elif style == "old" and prepared:
            view, digest = min(prepared)
            claims.p.append((offset, view, digest))
            claims.q.append((offset, last, digest))
        elif style == "made up" and draw.random() < 0.8:
            digest = draw.choice([NULL, *known])
            claims.p.append((offset, last, digest))
            claims.q += [(offset, last, d) for d in sorted({digest, *known[-2:]})]

    def _new_view(self, frame):
        view = frame.view
        if view not in self._views:
            message = resealed(self.sim, self.i, frame, edited(Choice, self._choose)).bytes
            self._views[view] = message
            if "choice" in self.lies:
                installed = bytes((self.i,)) + hashlib.sha256(message[:-24]).digest()
                self._say(EVERYBODY, "VIEW-CHANGE-ACK", view, 0, installed)
        return frame.replaced(self._views[view])

    def _choose(self, choice):
        """A NEW-VIEW of its own choice, about the VIEW-CHANGE that it really sent."""
        view = int.from_bytes(choice.head[8:12], "little")
        seqno = int.from_bytes(choice.head[12:16], "little")
        told = self._change_digests.get(view)
        choice.members = [
            (who, told if who == self.i and told else digest) for who, digest in choice.members
        ]
        if "choice" not in self.lies:
            return
        style = self._draw.choice(_CHOICES)
        if self._draw.random() < 0.6:
            style = self.favourite
        if style == "nulls":
            kept = choice.batches
            if self._draw.random() < 0.4:
                kept = [NULL] * len(kept)
            more = [NULL] * self._draw.randint(1, 2)
            choice.batches = (kept + more)[: self.sim.config.WINDOW]
        elif style == "cut":
            choice.batches = choice.batches[: self._draw.randrange(1 + len(choice.batches))]
        elif style == "other":
            count = max(1, len(choice.batches))
            choice.batches = [
                self._draw.choice([NULL, *self._batches.get(seqno + 1 + k, [])])
                for k in range(count)
            ]
        elif style == "claimed" and view in self._changes:
            self._choose_claimed(choice, Claims(self._changes[view][0]))
        elif style == "forged":
            self._forge_member(choice, view)

    def _choose_claimed(self, choice, claims):
        """What it claims itself, by as few others as it takes."""
        others = [m for m in choice.members if m[0] != self.i]
        choice.members = [m for m in choice.members if m[0] == self.i]
        choice.members += self._draw.sample(others, min(2, len(others)))
        begin = int.from_bytes(choice.head[12:16], "little")
        low = int.from_bytes(claims.head[12:16], "little")
        claimed = {low + offset: digest for offset, _, digest in claims.p}
        last = max(claimed, default=begin)
        choice.batches = [claimed.get(seqno, NULL) for seqno in range(begin + 1, last + 1)]

    def _forge_member(self, choice, view):
        """In the name of another one a VIEW-CHANGE without claims, and a choice to match."""
        other = self._draw.choice([i for i in OTHERS if i != self.i])
        own = Claims(self._changes[view][0] if view in self._changes else bytes(choice.head) * 2)
        own.p, own.q = [], []
        own.head[2:4] = other.to_bytes(2, "little")
        sealed = self.sim.seal(self.i, own.body())
        for ms in (0, 2, 4):
            self.sim.after(ms, lambda: self.sim.send_as(self.i, EVERYBODY, sealed))
        rest = [m for m in choice.members if m[0] not in (self.i, other)]
        choice.members = [m for m in choice.members if m[0] == self.i]
        choice.members.append((other, hashlib.sha256(sealed[:-24]).digest()))
        choice.members.append(self._draw.choice(rest))
        choice.batches = [NULL] * max(1, len(choice.batches))

    def _storm(self):
        if not self.is_mute:
            view = max(self.sim.view(i) for i in self.sim.replicas) + self._draw.randrange(1, 99)
            self._say(EVERYBODY, "VIEW-CHANGE", view, 0, bytes(4))
            self.sim.after(_STORM_MS, self._storm)

    # --- checkpoints, transfer, replies ---

    def _checkpoint(self, frame):
        if "checkpoint" not in self.lies:
            return frame
        body = bytearray(frame.bytes[16:48])
        body[0] ^= 1
        step = self.sim.config.CHECKPOINT_INTERVAL
        out = []
        for seqno in (frame.seqno, frame.seqno + 10 * step):
            message = self.sim.message("CHECKPOINT", self.i, frame.view, seqno, body, flags=1)
            out.append(frame.replaced(self.sim.seal(self.i, message)))
        return out

    def _spoil(self, frame):
        if "transfer" not in self.lies:
            return frame

        def edit(body):
            body[self._draw.randrange(wire.HEADER_LENGTH + 8, len(body))] ^= 1

        return resealed(self.sim, self.i, frame, edit)

    def _reply(self, frame):
        if "reply" not in self.lies:
            return frame

        def edit(body):
            body[-1] ^= 1

        return resealed(self.sim, self.i, frame, edit)


def _with_length(body, tags_length):
    """Header and body as they are digested: the length in the header counts the tags."""
    octets = bytearray(body)
    wire.put_length(octets, len(body) + tags_length)
    return octets
