"""Behaviours in a view change (see byzantine.py)."""

from tinybft import wire
from tools.simulate.adversary import Adversary
from tools.simulate.fields import checkpoint_entry, claim, claim_digest, claim_offset

_NULL = bytes(wire.DIGEST_LENGTH)


def lie_view_change(sim, i):
    """False, contradicting, repeated or missing P and Q, a wrong low mark, wrong checkpoints;
    the same for all receivers, or another lie for each (F35)."""
    adversary = Adversary(sim, i)

    def speak(frame):
        if frame.type != wire.VIEW_CHANGE or not adversary.is_own(frame):
            return frame
        draw = adversary.draw_for("view change", frame.view)
        if draw.random() < 0.4:
            draw = adversary.draw_for("view change", frame.view, frame.dst)
        fields = adversary.fields(frame)
        for _ in range(draw.randint(1, 2)):
            draw.choice(_CLAIM_LIES)(adversary, fields, draw)
        return adversary.sealed(frame, fields)

    adversary.speak(speak)


def _false_batch(adversary, fields, draw):
    """Prepared, and pre-prepared: a batch that does not exist; where somebody else's may."""
    offset = draw.randint(1, adversary.sim.config.WINDOW)
    digest = adversary.false_digest("batch", fields.seqno + offset)
    view = max(0, fields.view - draw.choice((1, 1, 2)))
    for name in ("p", "q"):
        entries = [e for e in fields.lists[name] if claim_offset(e) != offset]
        fields.lists[name] = [*entries, claim(offset, view, digest)]


def _exchanged_digests(_adversary, fields, draw):
    for name in ("p", "q"):
        entries = fields.lists[name]
        if len(entries) > 1:
            i, j = draw.sample(range(len(entries)), 2)
            a, b = entries[i], entries[j]
            entries[i], entries[j] = a[:5] + claim_digest(b), b[:5] + claim_digest(a)


def _other_views(_adversary, fields, draw):
    """Claims as old, or as recent, as can be; as recent as the view itself is not well formed."""
    view = draw.choice((0, fields.view - 1, fields.view))
    for name in ("p", "q"):
        entries = fields.lists[name]
        fields.lists[name] = [claim(claim_offset(e), view, claim_digest(e)) for e in entries]


def _no_claims(_adversary, fields, draw):
    for name in draw.choice(("p", "q", "pq")):
        fields.lists[name] = []


def _repeated_claims(_adversary, fields, draw):
    for name in ("p", "q"):
        if fields.lists[name]:
            fields.lists[name].append(draw.choice(fields.lists[name]))


def _many_digests(adversary, fields, draw):
    """As many pre-prepared digests as fit for one seqno."""
    offset = draw.randint(1, adversary.sim.config.WINDOW)
    places = adversary.sim.fault_count + 2
    others = [e for e in fields.lists["q"] if claim_offset(e) != offset]
    for i in range(places):
        digest = adversary.false_digest("batch", fields.seqno + offset, i)
        others.append(claim(offset, max(0, fields.view - 1), digest))
    fields.lists["q"] = others


def _other_low_mark(adversary, fields, draw):
    config = adversary.sim.config
    step = draw.choice((-1, 1, 2, 5, 500)) * config.CHECKPOINT_INTERVAL
    fields.seqno = draw.choice((0, max(0, fields.seqno + step)))
    if draw.random() < 0.7:
        digest = adversary.false_digest("checkpoint", fields.seqno)
        fields.lists["c"] = [checkpoint_entry(fields.seqno, digest)]


def _false_checkpoints(adversary, fields, draw):
    config = adversary.sim.config
    count = config.WINDOW // config.CHECKPOINT_INTERVAL
    seqno = fields.seqno + draw.randint(0, count) * config.CHECKPOINT_INTERVAL
    digest = adversary.false_digest("checkpoint", seqno)
    fields.lists["c"] = draw.choice(
        (
            [],
            [checkpoint_entry(seqno, digest)],
            [e for e in fields.lists["c"] if e[:4] != seqno.to_bytes(4, "little")]
            + [checkpoint_entry(seqno, digest)],
        )
    )


_CLAIM_LIES = (
    _false_batch,
    _false_batch,
    _exchanged_digests,
    _other_views,
    _no_claims,
    _repeated_claims,
    _many_digests,
    _other_low_mark,
    _false_checkpoints,
)


def lie_new_view(sim, i):
    """As the new primary: batches dropped, exchanged or nulled, another checkpoint, too few or
    wrong VIEW-CHANGEs; the same for all receivers, or for some only (F33, F34)."""
    adversary = Adversary(sim, i)

    def speak(frame):
        if frame.type != wire.NEW_VIEW or not adversary.is_own(frame):
            return frame
        draw = adversary.draw_for("new view", frame.view)
        victims = adversary.replicas
        if draw.random() < 0.4:
            victims = draw.sample(adversary.replicas, draw.randint(1, len(adversary.replicas)))
        if frame.dst not in victims:
            return frame
        fields = adversary.fields(frame)
        draw.choice(_CHOICE_LIES)(adversary, fields, draw)
        return adversary.sealed(frame, fields)

    adversary.speak(speak)


def _null_batch(_adversary, fields, draw):
    x = fields.lists["x"]
    if x:
        x[draw.randrange(len(x))] = _NULL


def _last_dropped(_adversary, fields, _draw):
    del fields.lists["x"][-1:]


def _all_dropped(_adversary, fields, _draw):
    fields.lists["x"].clear()


def _false_choice(adversary, fields, draw):
    x = fields.lists["x"]
    if x:
        place = draw.randrange(len(x))
        x[place] = adversary.false_digest("batch", fields.seqno + 1 + place)


def _one_more(adversary, fields, _draw):
    x = fields.lists["x"]
    if len(x) < adversary.sim.config.WINDOW:
        x.append(adversary.false_digest("batch", fields.seqno + 1 + len(x)))


def _reversed(_adversary, fields, _draw):
    fields.lists["x"].reverse()


def _other_checkpoint(adversary, fields, draw):
    step = draw.choice((-1, 1)) * adversary.sim.config.CHECKPOINT_INTERVAL
    fields.seqno = max(0, fields.seqno + step)
    if draw.random() < 0.5:
        fields.fixed = adversary.false_digest("checkpoint", fields.seqno)


def _too_few(_adversary, fields, _draw):
    fields.lists["v"].pop()


def _one_twice(_adversary, fields, draw):
    v = fields.lists["v"]
    v[draw.randrange(len(v))] = draw.choice(v)


def _unknown_member(adversary, fields, draw):
    """A VIEW-CHANGE that nobody has."""
    v = fields.lists["v"]
    place = draw.randrange(len(v))
    v[place] = v[place][:1] + adversary.false_digest("member", fields.view)


_CHOICE_LIES = (
    _null_batch,
    _last_dropped,
    _all_dropped,
    _false_choice,
    _one_more,
    _reversed,
    _other_checkpoint,
    _too_few,
    _one_twice,
    _unknown_member,
)


def view_change_storm(sim, i):
    """VIEW-CHANGEs for ever higher views, the highest of all now and then (F37)."""
    adversary = Adversary(sim, i)
    draw = adversary.random
    highest = [0]

    def storm():
        if not adversary.core:
            return
        progress = adversary.core.progress
        highest[0] = max(highest[0], progress.view) + draw.choice((1, 1, 2, 7))
        view = 0xFFFFFFFF if draw.random() < 0.02 else highest[0]
        root = bytearray(wire.DIGEST_LENGTH)
        entries = b""
        if adversary.core.state.root_into(progress.low_mark, root, 0):
            entries = checkpoint_entry(progress.low_mark, bytes(root))
        body = bytes((len(entries) // 36, 0, 0, 0)) + entries
        adversary.send(-1, "VIEW-CHANGE", view, progress.low_mark, body)

    adversary.every(25, storm)


def ack_liar(sim, i):
    """Acknowledges VIEW-CHANGEs that nobody sent, and says that it has installed a NEW-VIEW
    that does not exist; which it sends too if the view is its own."""
    adversary = Adversary(sim, i)
    draw = adversary.random

    def speak(frame):
        if frame.type != wire.VIEW_CHANGE_ACK or draw.random() < 0.3:
            return frame
        fields = adversary.fields(frame)
        replica = fields.fixed[0]
        fields.fixed = fields.fixed[:1] + adversary.false_digest("ack", frame.view, replica)
        return adversary.sealed(frame, fields)

    def invent():
        if not adversary.core:
            return
        view = adversary.core.progress.view + draw.choice((0, 0, 1))
        primary = view % sim.replica_count
        message = _invented_new_view(adversary, primary, view)
        for replica in sim.replicas:
            digest = adversary.false_digest("ack", view, replica)
            if replica == primary:
                digest = message[0]
            body = bytes((replica,)) + digest
            adversary.send(-1, "VIEW-CHANGE-ACK", view, 0, body)
        if primary == i and view:
            sim.send_as(i, -1, message[1])

    adversary.speak(speak)
    adversary.every(60, invent)


def _invented_new_view(adversary, primary, view):
    """(digest, message with the adversary's tags) of a view that begins with a false batch."""
    sim = adversary.sim
    progress = adversary.core.progress
    members = b"".join(
        bytes((r,)) + adversary.false_digest("ack", view, r) for r in range(sim.config.QUORUM)
    )
    x = adversary.false_digest("batch", progress.low_mark + 1)
    body = bytes((sim.config.QUORUM, 1)) + adversary.false_digest("nv", view) + members + x
    message = sim.message("NEW-VIEW", primary, view, progress.low_mark, body)
    sealed = sim.seal(primary if primary in sim.faulty else adversary.i, message)
    end = sim.wire_of_group.body_end(sealed)
    return adversary.digest(sealed[:end]), sealed
