"""Behaviours that spare no type of message: mutations, replay, floods (see byzantine.py)."""

from tinybft import wire
from tools.simulate.adversary import Adversary
from tools.simulate.mutations import Seen, mutated

_REPLAYED_COUNT = 300


def mutate(sim, i):
    """One mutation in some of what it sends, for some of the receivers, with good tags."""
    adversary = Adversary(sim, i)
    draw = adversary.random
    seen = Seen(sim)
    share = draw.choice((0.02, 0.1, 0.3, 1.0))

    def listen(frame):
        seen.note(frame.bytes)
        return frame

    def speak(frame):
        if not adversary.is_own(frame) or draw.random() >= share:
            return frame
        message, name = mutated(sim, frame.bytes, draw, seen)
        if message is None:
            return frame
        if sim.trace:
            sim.log(f"{sim.name(i)} to {sim.name(frame.dst)}: {frame.name}, {name} mutated")
        receiver = sim.device(frame.dst).node_id
        changed = frame.replaced(sim.seal(i, message, to=receiver))
        return [changed, frame] if draw.random() < 0.2 else changed

    adversary.listen(listen)
    adversary.speak(speak)


def replay(sim, i):
    """Repeats, for ever, what it and others sent at any time, as it was (F20)."""
    adversary = Adversary(sim, i)
    draw = adversary.random
    heard = []

    def keep(frame):
        if len(heard) < _REPLAYED_COUNT:
            heard.append(frame.bytes)
        else:
            heard[draw.randrange(_REPLAYED_COUNT)] = frame.bytes
        return frame

    def repeat():
        for message in draw.sample(heard, min(3, len(heard))):
            sim.send_as(i, draw.choice([-1, *adversary.replicas]), message)

    adversary.listen(keep)
    adversary.speak(keep)
    adversary.every(5, repeat)


def lie_status(sim, i):
    """STATUS that claims to lack everything, to have executed what nobody has, or to be in
    another view; from a replica that asks all the time."""
    adversary = Adversary(sim, i)
    draw = adversary.random

    def speak(frame):
        if frame.type != wire.STATUS:
            return frame
        fields = adversary.fields(frame)
        lie = draw.randrange(5)
        if lie == 0:
            executed = draw.choice((0, fields.seqno + 1, fields.seqno + 100, 0xFFFFFFFF))
            fields.fixed = executed.to_bytes(4, "little") + fields.fixed[4:]
        elif lie == 1:
            slots = fields.lists["slots"]
            fields.lists["slots"] = [bytes(len(slot)) for slot in slots]
            fields.tail = bytes(len(fields.tail))
        elif lie == 2:
            fields.seqno = draw.choice((0, fields.seqno + 2, fields.seqno + 1000))
        elif lie == 3:
            fields.view = draw.choice((0, fields.view + 1, fields.view + 4, 0xFFFFFFFF))
        else:
            fields.flags ^= wire.FLAG_ACTIVE
        return adversary.sealed(frame, fields)

    def ask():
        if adversary.core:
            adversary.core.status.send()

    adversary.speak(speak)
    adversary.every(7, lambda: sim.device(i).act(ask))


def flood(sim, i):
    """Many messages that look useful, as fast as it can: questions, votes, requests (F32)."""
    adversary = Adversary(sim, i)
    draw = adversary.random
    request_id = [1000000]

    def flood_once():
        core = adversary.core
        if not core:
            return
        progress = core.progress
        view, low = progress.view, progress.low_mark
        for _ in range(4):
            seqno = low + draw.randint(1, sim.config.WINDOW)
            digest = draw.choice((draw.randbytes(32), adversary.false_digest("flood", seqno)))
            kind = draw.choice(("PREPARE", "COMMIT", "CHECKPOINT", "FETCH", "STATUS", "REQUEST"))
            if kind == "FETCH":
                number = draw.choice((low, low + sim.config.CHECKPOINT_INTERVAL))
                body = bytes((draw.randrange(3), 0, 0, 0, 255, 255))
                adversary.send(draw.choice(adversary.replicas), kind, view, number, body)
            elif kind == "STATUS":
                sim.device(i).act(core.status.send)
            elif kind == "REQUEST":
                request_id[0] += 1
                operation = sim.sample_operation()
                adversary.send(-1, kind, 0, request_id[0], operation)
            else:
                adversary.send(-1, kind, view, seqno, digest)

    adversary.every(2, flood_once)


def in_turn(sim, i, behaviours, ms):
    """Another behaviour each `ms` milliseconds, for ever."""
    draw = Adversary(sim, i).draw_for("in turn")
    names = sorted(name for name in behaviours if name != "erratic")

    def change():
        name = draw.choice(names)
        sim.log(f"{sim.name(i)} behaves: {name}")
        behaviours[name](sim, i)
        sim.after(ms, change)

    change()
