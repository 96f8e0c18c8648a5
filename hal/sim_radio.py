"""The broadcast radio of the simulator: ESP-NOW frames on one channel, with airtime and CSMA.

Frame on air, of `body` bytes (a fragment of hal.frames, its header included, at most 250):

    L = 24 + 1 + 3 + 4 + 7 * ceil(body / 250) + body + 4
    DSSS at r = 1, 2, 5.5, 11 Mbit/s      192 us + 8 L / r
    OFDM at r = 6 .. 54 Mbit/s            20 us + 4 us * ceil((22 + 8 L) / bits) + 6 us

Access: DIFS, then a number of slots that each station draws for each frame and counts down
while the channel is idle (50 us + 0..31 x 20 us with DSSS, 28 us + 0..15 x 9 us with OFDM).
Stations whose count ends in the same slot send at once, and all their frames are lost. Nothing
is acknowledged or sent again, unicast neither; all stations hear each other, so there is one
channel and airtimes add up. A message arrives when its last frame has, if none was lost on the
way to this receiver: long ones are lost more often.
"""

from hal.frames import HEADER_LENGTH as _FRAGMENT_HEADER

_DSSS = (1, 2, 5.5, 11)
_OFDM_BITS = {6: 24, 9: 36, 12: 48, 18: 72, 24: 96, 36: 144, 48: 192, 54: 216}
RATES = _DSSS + (6, 9, 12, 18, 24, 36, 48, 54)
_SENT_COUNT_MAX = 32  # messages that wait in a station; what comes on top is lost


def frame_length(body):
    """Bytes on the air of a frame that carries `body` bytes."""
    return 24 + 1 + 3 + 4 + 7 * ((body + 249) // 250) + body + 4


def airtime_us(body, rate):
    """Microseconds that a frame occupies the channel, without the access to it."""
    length = frame_length(body)
    if rate in _DSSS:
        return 192 + int(-(-8 * length * 10 // int(rate * 10)))
    bits = _OFDM_BITS[rate]
    return 20 + 4 * -(-(22 + 8 * length) // bits) + 6


class _Message:
    """One message on its way: its frames, and how many of them each receiver has."""

    def __init__(self, hal, target, octets, bodies):
        self.hal = hal
        self.target = target
        self.octets = octets
        self.bodies = bodies
        self.sent = 0
        self.collided = False
        self.losers = set()


class Radio:
    """The channel. rate: Mbit/s, one of RATES; loss: share per frame and receiver."""

    def __init__(self, world, rate=1, loss=0, duplicate=0, delay_ms=0, jitter_ms=0):
        if rate not in RATES:
            known = ", ".join(str(r) for r in RATES)
            raise ValueError("radio rate %s Mbit/s; choose one of %s" % (rate, known))
        self.world = world
        self.rate = rate
        self.loss = loss
        self.duplicate = duplicate
        self.delay_ms = delay_ms
        self.jitter_ms = jitter_ms
        self.busy_us = 0  # airtime of all frames so far
        self.frame_count = 0
        self.collision_count = 0
        self.overflow_count = 0
        self.on_frame = None  # (octets of the message, end in us) as a frame begins
        long_slot = rate in _DSSS
        self.difs_us = 50 if long_slot else 28
        self.slot_us = 20 if long_slot else 9
        self.slot_count = 32 if long_slot else 16
        self._room = world.config.FRAME_LENGTH - _FRAGMENT_HEADER
        self._queues = {}  # device number: [_Message, ...]
        self._slots = {}  # device number: (slots to count down, counting since)
        self._idle_since = 0
        self._busy = False
        self._version = 0
        self._on_air = []

    def send(self, hal, target, message):
        queue = self._queues.setdefault(hal.number, [])
        if len(queue) >= _SENT_COUNT_MAX:
            self.overflow_count += 1
            return
        room = self._room
        bodies = []
        left = len(message)
        while left > 0:
            bodies.append(min(left, room) + _FRAGMENT_HEADER)
            left -= room
        queue.append(_Message(hal, target, message, bodies))
        if len(queue) == 1:
            self._draw(hal.number)
            if not self._busy:
                self._contend()

    def forget(self, hal):
        """The device lost power: what it had not sent is gone, a frame on the air is cut."""
        self._queues.pop(hal.number, None)
        self._slots.pop(hal.number, None)
        for message, _ in self._on_air:
            if message.hal is hal:
                message.collided = True

    def _draw(self, number):
        """A number of slots for the next frame, counted from when the station may begin."""
        self._slots[number] = (
            self.world.random.below(self.slot_count),
            self._grid(self.world.now_us),
        )

    def _grid(self, now):
        """The first beginning of a slot at or after `now` + DIFS on the idle channel."""
        origin = self._idle_since + self.difs_us
        if now <= self._idle_since:
            return origin
        return origin + -(-(now - self._idle_since) // self.slot_us) * self.slot_us

    def _begin_of(self, number):
        slots, since = self._slots[number]
        return since + slots * self.slot_us

    def _contend(self):
        """Find out whose count ends first, and come back then."""
        if not self._slots:
            return
        self._version += 1
        first = min(self._begin_of(number) for number in self._slots)
        self.world.at(first, self._begin, self._version)

    def _begin(self, version):
        if version != self._version or self._busy:
            return
        now = self.world.now_us
        winners = [number for number in sorted(self._slots) if self._begin_of(number) == now]
        if not winners:
            self._contend()
            return
        end = now
        for number in winners:
            message = self._queues[number][0]
            duration = airtime_us(message.bodies[message.sent], self.rate)
            self.frame_count += 1
            self.busy_us += duration
            end = max(end, now + duration)
            self._on_air.append((message, number))
            if self.on_frame:
                self.on_frame(message.octets, now + duration)
            del self._slots[number]
        if len(winners) > 1:
            self.collision_count += 1
            for message, _ in self._on_air:
                message.collided = True
        # Who still counts keeps what is left of its slots for the next idle time.
        for number in self._slots:
            slots, since = self._slots[number]
            counted = max(0, (now - since) // self.slot_us)
            self._slots[number] = (max(0, slots - counted), -1)
        self._busy = True
        self.world.at(end, self._end, 0)

    def _end(self, _):
        ended, self._on_air = self._on_air, []
        self._busy = False
        self._idle_since = self.world.now_us
        for number in self._slots:
            slots, _ = self._slots[number]
            self._slots[number] = (slots, self._grid(self._idle_since))
        for message, number in ended:
            self._lose(message)
            message.sent += 1
            queue = self._queues.get(number)
            if queue and queue[0] is message and message.sent == len(message.bodies):
                queue.pop(0)
            if queue:
                self._draw(number)
        self._contend()
        for message, _ in ended:
            if message.sent == len(message.bodies):
                self._finish(message)

    def _lose(self, message):
        if self.loss:
            for peer in self.world.receivers(message.hal, message.target):
                if self.world.random.chance(self.loss):
                    message.losers.add(peer.number)

    def _finish(self, message):
        """All frames of a message were sent: who got every one of them has the message."""
        world = self.world
        lost = []
        base = world.now_us + int(self.delay_ms * 1000)
        jitter = int(self.jitter_ms * 1000) + 1
        for peer in world.receivers(message.hal, message.target):
            arrived = False
            if not message.collided and peer.number not in message.losers:
                for later, octets in world.routed(message.hal, peer, message.octets):
                    arrived = True
                    copies = 1 + world.random.chance(self.duplicate)
                    for _ in range(copies):
                        delay = later + (world.random.below(jitter) if jitter > 1 else 0)
                        world.at(base + delay, peer.deliver, octets)
            if not arrived:
                lost.append(peer.number)
        if world.on_aired:
            world.on_aired(message.hal, message.target, message.octets, lost, message.collided)
