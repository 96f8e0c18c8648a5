"""Behaviours in the normal case: proposals, votes, requests and replies (see byzantine.py)."""

from weakref import WeakKeyDictionary

from tinybft import wire
from tools.simulate.adversary import Adversary
from tools.simulate.fields import Fields
from tools.simulate.mutations import named_by_digest
from tools.simulate.oracles import canonical_digest

_SLOW_SHARE = 0.9
_BIG_MAC_MS = 40


def mute(sim, i):
    """Says nothing at all."""
    Adversary(sim, i).speak(lambda frame: None)


def mute_as_primary(sim, i):
    """Neither proposes nor begins a view; else correct (F04)."""
    silent = (wire.PRE_PREPARE, wire.NEW_VIEW)
    Adversary(sim, i).speak(lambda frame: None if frame.type in silent else frame)


def withhold(sim, i):
    """One replica gets nothing from it (F10)."""
    adversary = Adversary(sim, i)
    victim = adversary.random.choice(adversary.replicas)
    adversary.speak(lambda frame: None if frame.dst == victim else frame)


def slow(sim, i):
    """Each proposal comes at 90 % of the time-out for requests (F06)."""
    late_ms = _SLOW_SHARE * sim.config.REQUEST_MS
    adversary = Adversary(sim, i)

    def speak(frame):
        proposes = frame.type == wire.PRE_PREPARE and adversary.is_primary_of(frame.view)
        return frame.later(late_ms) if proposes else frame

    adversary.speak(speak)


def starve(sim, i):
    """Requests of one client are neither proposed nor relayed (F07)."""
    adversary = Adversary(sim, i)
    victim = adversary.random.choice([c for c in range(sim.client_count) if c != i])

    def deny(frame):
        is_denied = frame.type == wire.REQUEST and frame.sender == victim
        return None if is_denied else frame

    adversary.speak(deny)
    adversary.listen(deny)


# --- equivocation ---


class _Plot:
    """What the equivocating replicas of one group have told whom."""

    def __init__(self):
        self.members = {}  # replica: Adversary
        self.told = {}  # (view, seqno): {receiver: (Fields, batch digest)}


_plots = WeakKeyDictionary()


def equivocate(sim, i):
    """As the primary: another batch to some, none to others, then votes for each to those who
    have it. As a backup: votes for whatever each one was told (F01, F02)."""
    plot = _plots.setdefault(sim, _Plot())
    adversary = plot.members[i] = Adversary(sim, i)

    def speak(frame):
        if not adversary.is_own(frame):
            return frame
        key = (frame.view, frame.seqno)
        if frame.type == wire.PRE_PREPARE and adversary.is_primary_of(frame.view):
            if key not in plot.told:
                _tell_apart(adversary, plot, key, adversary.fields(frame))
            told = plot.told[key].get(frame.dst)
            if frame.dst in adversary.replicas:
                return adversary.sealed(frame, told[0]) if told else None
        elif frame.type in (wire.PREPARE, wire.COMMIT):
            told = plot.told.get(key, {}).get(frame.dst)
            if told:
                fields = adversary.fields(frame)
                fields.fixed = told[1]
                return adversary.sealed(frame, fields)
        return frame

    adversary.speak(speak)


def _tell_apart(adversary, plot, key, original):
    """Decide who gets which batch, and have all members vote for each."""
    draw = adversary.random
    honest = [r for r in adversary.replicas if r not in plot.members]
    draw.shuffle(honest)
    versions = [original, _another_batch(adversary, original)]
    told = plot.told[key] = {}
    none_for = draw.random() < 0.2
    first = draw.randint(1, max(1, len(honest) - 1))
    for place, receiver in enumerate(honest):
        if not (none_for and place == len(honest) - 1):
            version = versions[place >= first]
            told[receiver] = (version, _batch_digest(adversary, version))
    for member in plot.members:
        told.setdefault(member, (original, _batch_digest(adversary, original)))
    for member in plot.members.values():
        for receiver in told:
            if receiver not in plot.members and member.is_acting:
                _vote(member, receiver, key, told[receiver][1])


def _vote(member, receiver, key, digest):
    view, seqno = key
    if not member.is_primary_of(view):
        member.after(2, lambda: member.send(receiver, "PREPARE", view, seqno, digest))
    member.after(3, lambda: member.send(receiver, "COMMIT", view, seqno, digest))


def _another_batch(adversary, original):
    """The same requests at another time, in another order, or but for one of them."""
    other = Fields(adversary.sim, _whole(adversary, original))
    requests = other.lists["requests"]
    chosen = adversary.random.randrange(3)
    if chosen == 0 and len(requests) > 1:
        requests.reverse()
    elif chosen == 1 and len(requests) > 1:
        requests.pop()
    else:
        time_ms = (int.from_bytes(other.fixed[4:6], "little") + 1) % 1000
        other.fixed = other.fixed[:4] + time_ms.to_bytes(2, "little")
    return other


def _whole(adversary, fields):
    return adversary.sim.seal(adversary.i, fields.octets())


def _batch_digest(adversary, fields):
    return canonical_digest(_whole(adversary, fields), adversary.sim.wire_of_group)


# --- false proposals ---


def lie_proposal(sim, i):
    """As the primary: batches with invented, altered, repeated or someone's false requests,
    empty ones, numbers outside the window or with gaps (F08, F09, F11)."""
    adversary = Adversary(sim, i)
    draw = adversary.random
    old = []

    def speak(frame):
        proposes = frame.type == wire.PRE_PREPARE and adversary.is_primary_of(frame.view)
        if not proposes or not adversary.is_own(frame) or draw.random() < 0.5:
            return frame
        fields = adversary.fields(frame)
        draw.choice(_PROPOSAL_LIES)(adversary, fields, old)
        requests = fields.lists["requests"]
        old.extend(requests[:1])
        del old[:-20]
        if len(requests) > sim.config.BATCH_COUNT_MAX:
            del requests[0]
        changed = adversary.sealed(frame, fields)
        return [frame, changed] if draw.random() < 0.2 else changed

    adversary.speak(speak)


def _invent(adversary, fields, _old):
    fields.lists["requests"].append(_invented(adversary))


def _repeat(adversary, fields, old):
    requests = fields.lists["requests"]
    if requests or old:
        requests.append(adversary.random.choice(requests + old))


def _order_nothing(_adversary, fields, _old):
    fields.lists["requests"].clear()


def _misplace(adversary, fields, _old):
    fields.seqno += adversary.random.choice((-1, 1, 2, adversary.sim.config.WINDOW, 1000))
    fields.seqno = max(0, fields.seqno)


def _misdigest(adversary, fields, _old):
    requests = fields.lists["requests"]
    if requests:
        entry = requests[-1]
        if entry[0] == wire.INLINE:
            entry = named_by_digest(fields, entry)
        requests[-1] = entry[:9] + adversary.false_digest("request", fields.seqno)


def _mislabel(adversary, fields, _old):
    """The right digest beside a wrong client, length or number."""
    requests = fields.lists["requests"]
    if requests:
        entry = requests[-1]
        if entry[0] == wire.INLINE:
            entry = named_by_digest(fields, entry)
        at = adversary.random.choice((1, 3, 5))
        requests[-1] = entry[:at] + bytes((entry[at] ^ 1,)) + entry[at + 1 :]


def _mistime(adversary, fields, _old):
    fields.fixed = adversary.random.choice((bytes(6), b"\xff" * 4 + bytes(2)))


_PROPOSAL_LIES = (
    _invent,
    _repeat,
    _order_nothing,
    _misplace,
    _misdigest,
    _mislabel,
    _mistime,
)


def _invented(adversary):
    """A whole REQUEST of somebody else, whose tags are bad; or the digest of none at all."""
    sim = adversary.sim
    draw = adversary.random
    client = draw.randrange(sim.client_count)
    number = draw.choice((1, 2, 50, 0xFFFFFFFF))
    if draw.random() < 0.5:
        body = sim.message("REQUEST", client, 0, number, sim.sample_operation())
        count = sim.wire_of_group.tag_count(wire.REQUEST, client)
        message = bytearray(body + bytes(count * sim.config.TAG_LENGTH))
        wire.put_length(message, len(message))
        return bytes((wire.INLINE,)) + bytes(message)
    entry = bytearray(wire.ENTRY_LENGTH)
    wire.put_entry(entry, 0, client, 80, number)
    entry[wire.ENTRY_DIGEST :] = adversary.false_digest("request", client, number)
    return bytes((wire.BY_DIGEST,)) + bytes(entry)


def lie_forwarded(sim, i):
    """Forwards batches, in its own name, that the primary did not propose."""
    adversary = Adversary(sim, i)
    draw = adversary.random

    def listen(frame):
        if frame.type == wire.PRE_PREPARE and frame.sender != i:
            fields = adversary.fields(frame)
            fields.sender = i
            if fields.lists["requests"] and draw.random() < 0.5:
                fields.lists["requests"].reverse()
                fields.fixed = fields.fixed[:4] + draw.randrange(1000).to_bytes(2, "little")
            for receiver in adversary.some():
                message = sim.seal(i, fields.octets())
                delay_ms = draw.choice((0, 2, 50, 1000))
                adversary.after(delay_ms, lambda m=message, r=receiver: sim.send_as(i, r, m))
        return frame

    adversary.listen(listen)


# --- replies ---


def lie_reply(sim, i):
    """Wrong results, at once when a request comes, and in place of the right ones (F21)."""
    adversary = Adversary(sim, i)
    draw = adversary.random

    def result(client, number):
        return adversary.false_digest("reply", client, number)[: draw.choice((1, 6, 32))]

    def listen(frame):
        if frame.type == wire.REQUEST and frame.src == frame.sender != i:
            client, number = frame.sender, frame.seqno
            view = adversary.core.progress.view if adversary.core else 0
            flags = draw.choice((0, 0, wire.FLAG_DIGEST, wire.FLAG_TENTATIVE))
            body = adversary.false_digest("reply", client, number)
            if not flags & wire.FLAG_DIGEST:
                body = result(client, number)
            adversary.after(0, lambda: adversary.send(client, "REPLY", view, number, body, flags))
        return frame

    def speak(frame):
        if frame.type != wire.REPLY:
            return frame
        fields = adversary.fields(frame)
        fields.flags = 0
        fields.fixed = result(frame.dst, frame.seqno)
        return adversary.sealed(frame, fields)

    adversary.listen(listen)
    adversary.speak(speak)


# --- tags ---


def big_mac(sim, i):
    """Its messages, its client's requests first of all, carry bad tags for some (F14, F15, F18).

    The primary's batches carry such requests inline, as the client sent them.
    """
    spoiler = _Spoiler(sim, i)
    spoiler.adversary.speak(spoiler.speak)
    spoiler.adversary.every(_BIG_MAC_MS, spoiler.request)


class _Spoiler:
    def __init__(self, sim, i):
        self.sim = sim
        self.i = i
        self.adversary = Adversary(sim, i)
        self._bad_for = {}  # request, without tags: who cannot check it

    def speak(self, frame):
        adversary = self.adversary
        if not adversary.is_own(frame):
            return frame
        if frame.type == wire.REQUEST:
            return frame.replaced(self._spoilt(frame.bytes))
        if frame.type == wire.PRE_PREPARE:
            return adversary.sealed(frame, self._with_spoilt_requests(adversary.fields(frame)))
        if frame.dst in adversary.replicas and adversary.random.random() < 0.2:
            return adversary.sealed(frame, adversary.fields(frame), bad_for=(frame.dst,))
        return frame

    def _spoilt(self, request):
        """The same bad tags each time, whoever gets it by whatever way."""
        key = bytes(request[: self.sim.wire_of_group.body_end(request)])
        bad_for = self._bad_for.setdefault(key, self.adversary.some())
        return self.sim.seal(self.i, request, bad_for)

    def _with_spoilt_requests(self, fields):
        requests = fields.lists["requests"]
        for k, entry in enumerate(requests):
            if entry[0] == wire.INLINE and wire.sender(entry[1:]) == self.i:
                requests[k] = entry[:1] + self._spoilt(entry[1:])
        return fields

    def request(self):
        if not self.sim.pending(self.i):
            self.sim.submit(self.i, self.sim.sample_operation())
