"""Behaviours around checkpoints and state transfer (see byzantine.py)."""

from tinybft import wire
from tools.simulate.adversary import Adversary

_FAR = (1, 2, 10, 1000, 1 << 30)


def lie_checkpoint(sim, i):
    """Digests that are wrong, different for each receiver or the same, and checkpoints that lie
    far in the future, called stable or gone (F23, F25)."""
    adversary = Adversary(sim, i)
    draw = adversary.random
    interval = sim.config.CHECKPOINT_INTERVAL

    def speak(frame):
        if frame.type != wire.CHECKPOINT or not adversary.is_own(frame):
            return frame
        fields = adversary.fields(frame)
        fields.flags = draw.randrange(4)
        if draw.random() < 0.5:
            fields.fixed = adversary.false_digest("checkpoint", frame.seqno)
        else:
            fields.fixed = adversary.false_digest("checkpoint", frame.seqno, frame.dst)
        return adversary.sealed(frame, fields)

    def boast():
        if adversary.core:
            progress = adversary.core.progress
            seqno = (progress.last_executed // interval + draw.choice(_FAR)) * interval
            digest = adversary.false_digest("checkpoint", seqno)
            adversary.send(-1, "CHECKPOINT", progress.view, seqno, digest, draw.randrange(4))

    adversary.speak(speak)
    adversary.every(30, boast)


def lie_transfer(sim, i):
    """Serves wrong blocks and wrong digests, under wrong numbers, other checkpoints than asked,
    or stops half-way (F26, F27, F28)."""
    adversary = Adversary(sim, i)
    draw = adversary.random
    interval = sim.config.CHECKPOINT_INTERVAL
    served = [0]

    def speak(frame):
        if frame.type not in (wire.META_DATA, wire.DATA):
            return frame
        served[0] += 1
        lie = draw.randrange(7)
        if served[0] % 40 > 30 or lie == 0:
            return None
        if lie == 1:
            return frame
        fields = adversary.fields(frame)
        if lie == 2:
            fields.seqno = max(0, fields.seqno + draw.choice((-2, -1, 1)) * interval)
        elif frame.type == wire.META_DATA:
            _lie_about_digests(adversary, fields, lie)
        else:
            _lie_about_block(adversary, fields, lie)
        return adversary.sealed(frame, fields)

    def listen(frame):
        """Answer with what is not held, before the core answers with what is."""
        if frame.type == wire.FETCH and draw.random() < 0.3:
            receiver, view = frame.sender, frame.view
            seqno = max(interval, frame.seqno + draw.choice((-1, 0, 1)) * interval)
            digest = adversary.false_digest("gone", seqno)
            adversary.after(
                0, lambda: adversary.send(receiver, "CHECKPOINT", view, seqno, digest, 2)
            )
        return frame

    adversary.speak(speak)
    adversary.listen(listen)


def _lie_about_digests(adversary, fields, lie):
    entries = fields.lists["entries"]
    i = adversary.random.randrange(len(entries)) if entries else 0
    if lie == 3 and entries:
        entries[i] = entries[i][:4] + adversary.false_digest("node", i)
    elif lie == 4:
        entries.reverse()
    elif lie == 5:
        del entries[i:]
    else:
        fields.fixed = bytes((fields.fixed[0] ^ 1,)) + fields.fixed[1:]


def _lie_about_block(adversary, fields, lie):
    draw = adversary.random
    at = wire.DATA_HEADER_LENGTH
    block = bytearray(fields.fixed[at:])
    head = fields.fixed[:at]
    if lie == 3:
        block[draw.randrange(len(block))] ^= 1 << draw.randrange(8)
    elif lie == 4:
        block = bytearray(draw.randbytes(len(block)))
    elif lie == 5:
        index = wire.data_index(fields.octets()) ^ 1
        head = index.to_bytes(2, "little") + head[2:]
    else:
        head = head[:4] + draw.randrange(1 << 16).to_bytes(4, "little")
    fields.fixed = bytes(head) + bytes(block)
