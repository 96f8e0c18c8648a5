"""The story of a run: one line per message sent, per step that moved a replica, per event.

time in ms  who  -> whom  message  view, seqno, first bytes of the digest  who did not get it
"""

from tinybft import wire

_WITH_DIGEST = (wire.PREPARE, wire.COMMIT, wire.CHECKPOINT)


class Trace:
    """`write` is called with each line, without its end."""

    def __init__(self, sim, write):
        self._sim = sim
        self._write = write
        self._marks = {}

    def line(self, text):
        self._write(f"{self._sim.world.now_us / 1000:12.3f}  {text}")

    def aired(self, hal, target, message, lost, collided):
        sim = self._sim
        whom = "all" if target < 0 else sim.name(target)
        text = f"{sim.name(hal.number):<4}-> {whom:<4} {describe(message)}"
        if collided:
            text += "  collided"
        elif lost:
            text += "  lost: " + " ".join(sim.name(i) for i in lost)
        self.line(text)

    def stepped(self, hal):
        replica = hal.node.replica
        if replica is None:
            return
        progress = replica.core.progress
        now = (progress.view, progress.last_executed, progress.low_mark, progress.active)
        before = self._marks.get(hal.number)
        if now == before:
            return
        self._marks[hal.number] = now
        if before is None:
            return
        who = self._sim.name(hal.number)
        if now[0] != before[0] or now[3] != before[3]:
            state = "active" if now[3] else "changing"
            self.line(f"{who:<4}   view {before[0]} -> {now[0]}, {state}")
        if now[1] != before[1]:
            self.line(f"{who:<4}   executed {before[1]} -> {now[1]}")
        if now[2] != before[2]:
            self.line(f"{who:<4}   stable {before[2]} -> {now[2]}")


def describe(message):
    """A message in words."""
    if len(message) < wire.HEADER_LENGTH or not 0 < message[1] <= wire.TYPE_MAX:
        return f"{len(message)} bytes"
    kind = message[1]
    name = wire.TYPE_NAMES[kind]
    seqno = wire.seqno(message)
    if kind in (wire.REQUEST, wire.REPLY):
        text = f"{name} #{seqno}" + (f" of {wire.sender(message)}" if kind == wire.REQUEST else "")
    else:
        text = f"{name} v{wire.view(message)} #{seqno}"
    if kind in _WITH_DIGEST:
        text += " " + message[16:20].hex()
    return f"{text}  {len(message)} B"
