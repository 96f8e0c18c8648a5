"""Where the time of an operation goes: the chain of messages that led to its reply.

Each step of a node has a cause: the message that it handled, the call of its client, or a timer.
From the step in which the client accepted its reply the chain leads back, message by message,
to the call. Each message on it took its time in these ways:

    execution    its sender executed a batch (and took a checkpoint) before it could send, or
                 waited for its turn (tinybft/turns.py)
    queue        it waited in its station behind others of the same sender
    busy         the channel was occupied by others, or by frames that collided
    access       DIFS and slots on the idle channel
    air          its own frames
    wait         it waited for the processor of its receiver
    processor    the receiver took it up, up to what it sent thereupon

What lies before the chain, or instead of it, is one of these:

    call         the chain is whole: the client's processor, until the request had left
    earlier      it leads to something before the call: the request waited at the primary for
                 an earlier batch (its own way there included), nothing was lost
    timer        it begins with a timer of somebody: a message was lost, or late
"""

from collections import Counter
from dataclasses import dataclass

from tinybft import wire

WAYS = ("execution", "queue", "busy", "access", "air", "wait", "processor")
BEGINNINGS = ("call", "earlier", "timer")

_PROMPT_US = 1000  # what is built so long after the call, without a message, is a timer's


@dataclass
class _Journey:
    """One message: where from, why, and when it was where (microseconds)."""

    sender: int
    cause: object  # the _Journey that was handled, None: the client's call or a timer
    submitted: bool
    built: int
    octets: bytes  # kept, so that no other object gets its id
    sent: int = 0
    first: int = 0  # when it was at the head of its station's queue
    frames: tuple = ()  # (begin, end) of each
    ended: int = 0


class CriticalPath:
    """Observes a Sim on the radio. `explain(done)` right after an operation."""

    def __init__(self, sim):
        self.sim = sim
        self._journeys = {}  # id of the octets: _Journey
        self._cause = {}  # device: the _Journey under its hands
        self._costs = {}  # (device, id): processor time of the handling
        self._ended = {}  # (device, id): when it was handled
        self._last = {}  # device: (_Journey, when) of the latest step with a message
        self._station_free = Counter()  # device: when its latest message had left the air
        self._ends = []  # (begin, end) of frames of late, for `busy`
        world = sim.world
        self._before = (world.on_heard, world.on_stepped, world.on_sent, world.on_aired)
        world.on_built = self._on_built
        world.on_heard = self._on_heard
        world.on_stepped = self._on_stepped
        world.on_sent = self._on_sent
        world.on_aired = self._on_aired
        world.medium.on_frame = self._on_frame

    # --- observers ---

    def _on_built(self, hal, octets):
        cause = self._cause.get(hal.number)
        if cause is None and octets[1] in (wire.PREPARE, wire.COMMIT):
            cause = self._last.get(hal.number)  # it waited for its turn
        submitted = cause is None and octets[1] in (wire.REQUEST, wire.PRE_PREPARE)
        now = self.sim.world.now_us
        self._journeys[id(octets)] = _Journey(hal.number, cause, submitted, now, octets)

    def _on_sent(self, hal, target, octets):
        journey = self._journeys.get(id(octets))
        if journey:
            journey.sent = self.sim.world.now_us
        self._before[2](hal, target, octets)

    def _on_frame(self, octets, end):
        now = self.sim.world.now_us
        self._ends.append((now, end))
        journey = self._journeys.get(id(octets))
        if journey:
            if not journey.frames:
                journey.first = max(journey.sent, self._station_free[journey.sender])
            journey.frames += ((now, end),)
            self._station_free[journey.sender] = end

    def _on_aired(self, hal, target, octets, lost, collided):
        journey = self._journeys.get(id(octets))
        if journey:
            journey.ended = self.sim.world.now_us
        if self._before[3]:
            self._before[3](hal, target, octets, lost, collided)

    def _on_heard(self, hal, octets):
        journey = self._journeys.get(id(octets))
        if journey:
            now = self.sim.world.now_us
            self._cause[hal.number] = journey
            self._last[hal.number] = journey
            self._costs[hal.number, id(octets)] = hal.costs.message_us(hal, octets)
            self._ended[hal.number, id(octets)] = now
        self._before[0](hal, octets)

    def _on_stepped(self, hal):
        self._cause.pop(hal.number, None)
        self._before[1](hal)

    # --- explaining ---

    def explain(self, done):
        """({(message, way): microseconds}, beginning) of a Done (closed_loop.py)."""
        parts = Counter()
        begin = done.begin_us
        at, journey = done.client, self._last.get(done.client)
        moment = done.end_us
        while journey is not None and journey.built >= done.called_us:
            name = wire.TYPE_NAMES[journey.octets[1]]
            key = (at, id(journey.octets))
            handled, cost = self._ended[key], self._costs[key]
            parts[name, "execution"] += max(0, moment - handled)
            parts[name, "processor"] += cost
            parts[name, "wait"] += max(0, handled - cost - journey.ended)
            self._add_air(parts, name, journey)
            at, moment = journey.sender, journey.sent
            if journey.cause is None:
                called = journey.submitted and journey.built - done.called_us < _PROMPT_US
                beginning = "call" if called else "timer"
                parts[name, beginning] += max(0, moment - begin)
                return parts, beginning
            journey = journey.cause
        parts["PRE-PREPARE", "earlier"] += max(0, moment - begin)
        return parts, "earlier"

    def _add_air(self, parts, name, journey):
        parts[name, "queue"] += max(0, journey.first - journey.sent)
        own = sum(end - start for start, end in journey.frames)
        passed = journey.ended - journey.first
        others = 0
        for start, end in reversed(self._ends):
            if end <= journey.first:
                break
            if (start, end) not in journey.frames and start < journey.ended:
                others += min(end, journey.ended) - max(start, journey.first)
        others = min(others, passed - own)
        parts[name, "air"] += own
        parts[name, "busy"] += others
        parts[name, "access"] += passed - own - others

    def forget(self):
        """Let go of what is over. Call it between operations, if memory matters."""
        if len(self._journeys) > 4096:
            now = self.sim.world.now_us
            old = [key for key, one in self._journeys.items() if now - one.built > 5_000_000]
            gone = {key: self._journeys.pop(key) for key in old}
            for table in (self._costs, self._ended):
                for key in [key for key in table if key[1] in gone]:
                    del table[key]
            self._ends = self._ends[-256:]
