"""Structure-aware mutations of every message type, field by field (ByzzFuzz).

A mutation changes one thing of a message that the faulty replica sends; what comes out is well
formed and gets good tags, so that it is refused, if at all, by what the protocol knows.

    small   a number one up or down; an entry of a list left out, given twice, two exchanged
    any     a number, digest or operation at random; a digest that was seen elsewhere, or null;
            a list emptied, shuffled, or with an entry seen elsewhere; all of the body at random

`MUTATIONS[type]` is a tuple of Mutation, made from the tables below: number fields as
(name, offset, bytes), digests as (name, offset), by type and list.
"""

import hashlib
from collections import deque
from dataclasses import dataclass

from tinybft import wire
from tools.simulate.fields import Fields

SCOPES = ("small", "any")

_DIGEST = wire.DIGEST_LENGTH
_CLAIM = ((("offset", 0, 1), ("view", 1, 4)), (("digest", 5),))
_VOTE = ((), (("digest", 0),))
_TREE_NODE = ((("modified", 0, 4),), (("digest", 4),))

# {type: (numbers, digests)} of the fixed part.
_FIXED = {
    wire.PRE_PREPARE: ((("time_s", 0, 4), ("time_ms", 4, 2)), ()),
    wire.PREPARE: _VOTE,
    wire.COMMIT: _VOTE,
    wire.CHECKPOINT: _VOTE,
    wire.VIEW_CHANGE_ACK: ((("replica", 0, 1),), (("digest", 1),)),
    wire.NEW_VIEW: _VOTE,
    wire.STATUS: ((("last_executed", 0, 4), ("round", 4, 1)), ()),
    wire.FETCH: ((("level", 0, 1), ("index", 2, 2), ("mask", 4, 2)), ()),
    wire.META_DATA: ((("level", 0, 1), ("index", 2, 2)), ()),
    wire.DATA: ((("index", 0, 2), ("modified", 4, 4)), ()),
}
# {(type, list): (numbers, digests)} of an entry.
_ENTRIES = {
    (wire.PRE_PREPARE, "requests"): (
        (("client", 1, 2), ("length", 3, 2), ("request_id", 5, 4)),
        (("digest", 1 + wire.ENTRY_DIGEST),),
    ),
    (wire.VIEW_CHANGE, "c"): ((("seqno", 0, 4),), (("digest", 4),)),
    (wire.VIEW_CHANGE, "p"): _CLAIM,
    (wire.VIEW_CHANGE, "q"): _CLAIM,
    (wire.NEW_VIEW, "v"): ((("replica", 0, 1),), (("digest", 1),)),
    (wire.NEW_VIEW, "x"): _VOTE,
    (wire.STATUS, "slots"): ((("state", 0, 1), ("missing", 1, 2), ("votes", 3, 2)), ()),
    (wire.META_DATA, "entries"): _TREE_NODE,
}
# Where the fixed part (from that offset on) is mere bytes.
_OCTETS = {wire.REQUEST: 0, wire.REPLY: 0, wire.DATA: wire.DATA_HEADER_LENGTH}
_FLAGS = {
    wire.REQUEST: 3,
    wire.REPLY: 3,
    wire.CHECKPOINT: 3,
    wire.STATUS: 1,
}
_ATTEMPTS = 20


@dataclass(frozen=True)
class Mutation:
    """`change(fields, draw, seen)` alters Fields in place."""

    name: str
    scope: str
    change: object


class Seen:
    """What a faulty replica can take from elsewhere: digests, and messages taken apart."""

    def __init__(self, sim, count_max=64):
        self._sim = sim
        self._count_max = count_max
        self.digests = deque([bytes(_DIGEST)], count_max)
        self._fields = {}

    def note(self, octets):
        """Look at a message that was heard or sent; whatever is not well formed is passed by."""
        if self._sim.wire_of_group.check(octets, len(octets)):
            return
        fields = Fields(self._sim, octets)
        kept = self._fields.setdefault(fields.kind, deque(maxlen=8))
        kept.append(fields)
        for _, at in _FIXED.get(fields.kind, ((), ()))[1]:
            self._keep(fields.fixed[at : at + _DIGEST])
        for name, entries in fields.lists.items():
            for _, at in _ENTRIES[fields.kind, name][1]:
                for entry in entries:
                    self._keep(entry[at : at + _DIGEST])

    def _keep(self, digest):
        if digest not in self.digests:
            self.digests.append(digest)

    def entries(self, kind, name):
        """Entries of that list in messages that were seen."""
        return [e for fields in self._fields.get(kind, ()) for e in fields.lists[name]]

    def of(self, kind):
        return list(self._fields.get(kind, ()))


def _number_changed(octets, at, width, draw, small):  # noqa: PLR0913
    value = int.from_bytes(octets[at : at + width], "little")
    limit = 1 << 8 * width
    if small:
        value = (value + draw.choice((-1, 1))) % limit
    else:
        value = draw.choice((0, limit - 1, draw.randrange(limit), value ^ draw.randrange(16)))
    return octets[:at] + value.to_bytes(width, "little") + octets[at + width :]


def _digest_changed(octets, at, draw, seen):
    digest = draw.randbytes(_DIGEST)
    if draw.random() < 0.7:
        digest = draw.choice(seen.digests)
    return octets[:at] + digest + octets[at + _DIGEST :]


def _header(name, small):
    def change(fields, draw, _seen):
        value = getattr(fields, name)
        if small:
            value = max(0, value + draw.choice((-1, 1)))
        else:
            value = draw.choice((0, 0xFFFFFFFF, draw.randrange(1 << 32), value + 1000))
        setattr(fields, name, value)

    return change


def _flags(fields, draw, _seen):
    fields.flags ^= draw.randint(1, _FLAGS[fields.kind])


def _fixed_number(at, width, small):
    def change(fields, draw, _seen):
        fields.fixed = _number_changed(fields.fixed, at, width, draw, small)

    return change


def _fixed_digest(at):
    def change(fields, draw, seen):
        fields.fixed = _digest_changed(fields.fixed, at, draw, seen)

    return change


def _octets(fields, draw, seen):
    """Random bytes, or those of another message of the type; here and there one bit."""
    at = _OCTETS[fields.kind]
    body = fields.fixed[at:]
    others = [f.fixed[at:] for f in seen.of(fields.kind)]
    chosen = draw.randrange(3)
    if chosen == 0 and others:
        body = draw.choice(others)
    elif chosen == 1 and body:
        i = draw.randrange(len(body))
        body = body[:i] + bytes((body[i] ^ 1 << draw.randrange(8),)) + body[i + 1 :]
    else:
        body = draw.randbytes(len(body))
    fields.fixed = fields.fixed[:at] + body


def _is_plain(fields, entry):
    """True unless it is a whole REQUEST inside a PRE-PREPARE."""
    return fields.kind != wire.PRE_PREPARE or entry[0] == wire.BY_DIGEST


def _entry(name, change_entry):
    """Change one entry; a REQUEST that lies inline is named by its digest then."""

    def change(fields, draw, seen):
        entries = fields.lists[name]
        if entries:
            i = draw.randrange(len(entries))
            entry = entries[i]
            if not _is_plain(fields, entry):
                entry = named_by_digest(fields, entry)
            entries[i] = change_entry(entry, draw, seen)

    return change


def named_by_digest(fields, entry):
    """(0, entry) for an inline (1, REQUEST) of a PRE-PREPARE."""
    message = entry[1:]
    named = bytearray(wire.ENTRY_LENGTH)
    sender = wire.sender(message)
    wire.put_entry(named, 0, sender, wire.length(message), wire.seqno(message))
    end = fields.body_end_of(message)
    named[wire.ENTRY_DIGEST :] = hashlib.sha256(message[:end]).digest()
    return bytes((wire.BY_DIGEST,)) + bytes(named)


def _inline_operation(fields, draw, _seen):
    """Alter the operation of a REQUEST that lies inline: its tags are bad then."""
    entries = fields.lists["requests"]
    for i in range(len(entries)):
        message = entries[i][1:]
        if entries[i][0] == wire.INLINE and len(message) > wire.HEADER_LENGTH:
            end = fields.body_end_of(message)
            at = draw.randrange(12, max(13, end))
            spoilt = bytes((message[at] ^ 1 << draw.randrange(8),))
            entries[i] = entries[i][:1] + message[:at] + spoilt + message[at + 1 :]
            return


def _entry_number(at, width, small):
    return lambda entry, draw, _: _number_changed(entry, at, width, draw, small)


def _entry_digest(at):
    return lambda entry, draw, seen: _digest_changed(entry, at, draw, seen)


def _omitted(name):
    def change(fields, draw, _seen):
        if fields.lists[name]:
            fields.lists[name].pop(draw.randrange(len(fields.lists[name])))

    return change


def _duplicated(name):
    def change(fields, draw, _seen):
        entries = fields.lists[name]
        if entries:
            entries.insert(draw.randrange(len(entries) + 1), draw.choice(entries))

    return change


def _exchanged(name):
    def change(fields, draw, _seen):
        entries = fields.lists[name]
        if len(entries) > 1:
            i, j = draw.sample(range(len(entries)), 2)
            entries[i], entries[j] = entries[j], entries[i]

    return change


def _emptied(name):
    return lambda fields, _draw, _seen: fields.lists[name].clear()


def _shuffled(name):
    return lambda fields, draw, _seen: draw.shuffle(fields.lists[name])


def _with_another(name):
    """An entry of another message takes the place of one, or is added."""

    def change(fields, draw, seen):
        entries = fields.lists[name]
        others = seen.entries(fields.kind, name)
        if others:
            other = draw.choice(others)
            if entries and draw.random() < 0.5:
                entries[draw.randrange(len(entries))] = other
            else:
                entries.append(other)

    return change


def _tail(fields, draw, _seen):
    fields.tail = draw.randbytes(len(fields.tail))


def _body(fields, draw, _seen):
    """All of it at random, the counts as they are."""
    if fields.kind == wire.PRE_PREPARE:  # its requests cannot be random and well formed
        fields.fixed = draw.randbytes(4) + draw.randrange(1000).to_bytes(2, "little")
        return
    fields.fixed = draw.randbytes(len(fields.fixed))
    for entries in fields.lists.values():
        entries[:] = [draw.randbytes(len(entry)) for entry in entries]


def _of_fixed(kind):
    numbers, digests = _FIXED.get(kind, ((), ()))
    for name, at, width in numbers:
        for scope in SCOPES:
            yield Mutation(name, scope, _fixed_number(at, width, scope == "small"))
    for name, at in digests:
        yield Mutation(name, "any", _fixed_digest(at))
    if kind in _OCTETS:
        yield Mutation("octets", "any", _octets)
    if kind == wire.STATUS:
        yield Mutation("masks", "any", _tail)


def _of_list(kind, name):
    numbers, digests = _ENTRIES[kind, name]
    for field, at, width in numbers:
        for scope in SCOPES:
            change = _entry(name, _entry_number(at, width, scope == "small"))
            yield Mutation(f"{name}.{field}", scope, change)
    for field, at in digests:
        yield Mutation(f"{name}.{field}", "any", _entry(name, _entry_digest(at)))
    yield Mutation(f"{name}: one omitted", "small", _omitted(name))
    yield Mutation(f"{name}: one twice", "small", _duplicated(name))
    yield Mutation(f"{name}: two exchanged", "small", _exchanged(name))
    yield Mutation(f"{name}: none", "any", _emptied(name))
    yield Mutation(f"{name}: shuffled", "any", _shuffled(name))
    yield Mutation(f"{name}: another", "any", _with_another(name))
    if kind == wire.PRE_PREPARE:
        yield Mutation("operation", "any", _inline_operation)


def _of_type(kind):
    for name in ("view", "seqno"):
        for scope in SCOPES:
            yield Mutation(name, scope, _header(name, scope == "small"))
    if kind in _FLAGS:
        yield Mutation("flags", "small", _flags)
    yield from _of_fixed(kind)
    for of_kind, name in _ENTRIES:
        if of_kind == kind:
            yield from _of_list(kind, name)
    yield Mutation("body", "any", _body)


MUTATIONS = {kind: tuple(_of_type(kind)) for kind in range(1, wire.TYPE_MAX + 1)}


def mutated(sim, octets, draw, seen, scopes=SCOPES):  # noqa: PLR0913
    """Header and body of a well-formed message unlike `octets` by one mutation, and its name.

    (None, None) if none of some attempts gives one, as for what is no message at all.
    """
    if sim.wire_of_group.check(octets, len(octets)):
        return None, None
    todo = [m for m in MUTATIONS[octets[1]] if m.scope in scopes]
    for _ in range(_ATTEMPTS):
        mutation = draw.choice(todo)
        changed = apply(sim, mutation, octets, draw, seen)
        if changed:
            return changed, mutation.name
    return None, None


def apply(sim, mutation, octets, draw, seen):  # noqa: PLR0913
    """Header and body after this mutation; None if it changes nothing or is not well formed."""
    before = Fields(sim, octets)
    fields = Fields(sim, octets)
    mutation.change(fields, draw, seen)
    changed = fields.octets()
    if changed == before.octets():
        return None
    checked = sim.wire_of_group
    tags_length = checked.tag_count(octets[1], before.sender) * sim.config.TAG_LENGTH
    whole = bytearray(changed + bytes(tags_length))
    wire.put_length(whole, len(whole) & 0xFFFF)
    return None if checked.check(whole, len(whole)) else changed
