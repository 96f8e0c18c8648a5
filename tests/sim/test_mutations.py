"""Structure-aware mutations: every type has some, each is well formed and well tagged."""

import random

import pytest

from tinybft import wire
from tools.simulate import operations
from tools.simulate.fields import Fields
from tools.simulate.mutations import MUTATIONS, SCOPES, Seen, apply, mutated
from tools.simulate.sim import Sim

_ATTEMPTS = 60
_ENTRY_LENGTHS = {"c": 36, "p": 37, "q": 37, "v": 33, "x": 32}


def recorded():
    """A group, {type: messages of one sender} of all 13 types, and what they offer to swap."""
    sim = Sim(seed=3)
    seen = Seen(sim)
    messages = {}

    def note(frame):
        assert sim.wire_of_group.check(frame.bytes, len(frame.bytes)) == 0
        assert Fields(sim, frame.bytes).octets()[8:] == body_of(sim, frame.bytes)[8:]
        seen.note(frame.bytes)
        if frame.sender == frame.src < sim.replica_count and len(frame.bytes) > 24:
            messages.setdefault(int(frame.type), []).append(frame.bytes)
        return frame

    sim.on_frame(note)
    for value in ("a" * 5, "b" * 120):
        for client in range(5):
            sim.submit(client, operations.put(f"key{client}", value))
    sim.run(100)
    sim.crash(3)
    for _ in range(6):
        sim.submit(4, operations.increment("n"))
    sim.run(100)
    sim.restart(3)  # without memory: FETCH, META-DATA, DATA
    sim.run(1000)
    sim.partition([[0], [1, 2, 3]])
    sim.submit(4, operations.increment("n"))
    sim.run(4000)
    sim.on_frame(None)
    return sim, messages, seen


def body_of(sim, octets):
    return octets[: sim.wire_of_group.body_end(octets)]


@pytest.fixture(scope="module")
def record():
    return recorded()


def longer(sim, octets, draw):
    """The same message with lists of three different entries, as far as it has lists."""
    fields = Fields(sim, octets)
    if fields.kind != wire.PRE_PREPARE:
        for name, entries in fields.lists.items():
            length = len(entries[0]) if entries else _ENTRY_LENGTHS.get(name, 0)
            if length:
                entries[:] = [draw.randbytes(length) for _ in range(3)]
    sender = fields.sender
    return sim.seal(sender, fields.octets(), to=(sender + 1) % sim.replica_count)


def test_every_type_was_recorded(record):
    assert sorted(record[1]) == list(range(1, wire.TYPE_MAX + 1))


def test_fields_come_apart_and_together(record):
    sim, messages, _ = record
    for kind in messages:
        for octets in messages[kind][:50]:
            again = Fields(sim, octets).octets()
            again = bytearray(again)
            wire.put_length(again, wire.length(octets))
            assert bytes(again) == body_of(sim, octets), wire.TYPE_NAMES[kind]


def test_every_type_has_mutations_of_both_scopes():
    for kind in range(1, wire.TYPE_MAX + 1):
        assert {m.scope for m in MUTATIONS[kind]} == set(SCOPES)
        names = {m.name for m in MUTATIONS[kind]}
        assert {"view", "seqno", "body"} <= names
    names = {m.name for m in MUTATIONS[wire.VIEW_CHANGE]}
    for claims in "cpq":
        assert {f"{claims}: one omitted", f"{claims}: one twice", f"{claims}.digest"} <= names


ALL = [(k, i) for k in MUTATIONS for i in range(len(MUTATIONS[k]))]


@pytest.mark.parametrize(
    "kind, i",
    ALL,
    ids=[f"{wire.TYPE_NAMES[k]} {MUTATIONS[k][i].name} {MUTATIONS[k][i].scope}" for k, i in ALL],
)
def test_mutation_is_well_formed_and_well_tagged(record, kind, i):
    sim, messages, seen = record
    mutation = MUTATIONS[kind][i]
    draw = random.Random(7)
    choice = messages[kind][-200:] + [longer(sim, messages[kind][-1], draw)]
    for _ in range(_ATTEMPTS):
        octets = draw.choice(choice[-1:] + [draw.choice(choice)])
        sender = wire.sender(octets)
        changed = apply(sim, mutation, octets, draw, seen)
        if changed is None:
            continue
        receiver = (sender + 1) % sim.replica_count
        sealed = sim.seal(sender, changed, to=receiver)
        assert sealed[: len(changed)][8:] == changed[8:]
        assert body_of(sim, sealed)[8:] != body_of(sim, octets)[8:] or sealed[0] != octets[0]
        assert sim.wire_of_group.check(sealed, len(sealed)) == 0
        assert sim.device(receiver).node.auth.check(bytearray(sealed), sender)
        return
    may_never = kind == wire.REQUEST and mutation.name == "view"  # not well formed: always 0
    assert may_never, "no attempt gave a message"


def test_small_scope_is_small(record):
    """One number by one, one flag, or one entry of a list."""
    sim, messages, seen = record
    draw = random.Random(1)
    for octets in messages[wire.PREPARE][:20]:
        changed, name = mutated(sim, octets, draw, seen, ("small",))
        before = Fields(sim, octets)
        assert name in ("view", "seqno")
        view, seqno = wire.view(changed), wire.seqno(changed)
        assert abs(view - before.view) + abs(seqno - before.seqno) == 1


def test_what_is_no_message_is_left_alone(record):
    sim, _, seen = record
    assert mutated(sim, b"x" * 40, random.Random(1), seen) == (None, None)
    seen.note(b"nothing")
