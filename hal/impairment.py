"""Loss, duplicates, delay and jitter on the receiving side, for one receiver.

Each frame that comes from the air is lost with probability `loss`; otherwise it comes after
delay_ms plus up to jitter_ms, and with probability `duplicate` a second time. Jitter reorders.
Delayed frames wait in a ring of fixed size, in order of their time; what does not fit is lost
and counted. The same seed and the same frames give the same fate.

Nothing allocates after `__init__`; all integers stay below 2**30.
"""

from tinybft.compat import const, micropython
from tinybft.octets import copy

DELAYED_COUNT_MAX = 128

_TIME_MASK = const(0x3FFFFFFF)
_HALF_TIME = const(0x20000000)
# Multiply-with-carry with base 2**15: 32760 * 2**15 - 1 and 32760 * 2**14 - 1 are prime.
_MULTIPLIER = const(32760)
_BASE = const(32768)


class Impairment:
    """The fate of every frame that this receiver hears."""

    def __init__(self, faults, frame_length, loss, duplicate, delay_ms, jitter_ms, seed):
        for name, share in (("loss", loss), ("duplicate", duplicate)):
            if not 0 <= share <= 1:
                raise ValueError("%s is %s, must be a share in 0..1" % (name, share))
        for name, time_ms in (("delay_ms", delay_ms), ("jitter_ms", jitter_ms)):
            if not 0 <= time_ms < _BASE:
                raise ValueError("%s is %s, must be 0..%d" % (name, time_ms, _BASE - 1))
        self._faults = faults
        self._loss = int(loss * _BASE)
        self._duplicate = int(duplicate * _BASE)
        self._delay_ms = int(delay_ms)
        self._jitter_ms = int(jitter_ms)
        self._x = (seed & 0xFFFFFFF) + 1
        for _ in range(8):
            self._chance()
        self._frames = bytearray(DELAYED_COUNT_MAX * frame_length)
        self._frame_length = frame_length
        self._lengths = [0] * DELAYED_COUNT_MAX
        self._due = [0] * DELAYED_COUNT_MAX
        # The first `_count` entries are the places under way, earliest first; the rest is free.
        self._places = bytearray(range(DELAYED_COUNT_MAX))
        self._count = 0

    @micropython.native
    def admit(self, frame, length, now):
        """True: the frame is there now. False: it is lost, or waits for its time."""
        if self._chance() < self._loss:
            self._faults.injected_loss += 1
            return False
        if self._chance() < self._duplicate:
            self._faults.injected_duplicate += 1
            self._put(frame, length, now)
        if self._delay_ms == 0 and self._jitter_ms == 0:
            return True
        self._put(frame, length, now)
        return False

    @micropython.native
    def take(self, now, out):
        """Length of a frame whose time has come, copied to out; 0 when there is none."""
        if self.due_in(now) != 0:
            return 0
        places = self._places
        place = places[0]
        count = self._count - 1
        for i in range(count):
            places[i] = places[i + 1]
        places[count] = place
        self._count = count
        length = self._lengths[place]
        copy(out, 0, self._frames, place * self._frame_length, length)
        return length

    @micropython.native
    def due_in(self, now):
        """Milliseconds until the next delayed frame, -1 when there is none."""
        if self._count == 0:
            return -1
        left = self._due[self._places[0]] - now & _TIME_MASK
        return left if left < _HALF_TIME else 0

    @micropython.native
    def _put(self, frame, length, now):
        count = self._count
        if count == DELAYED_COUNT_MAX:
            self._faults.delay_full += 1
            return
        places = self._places
        place = places[count]
        due = now + self._delay_ms + self._chance() * (self._jitter_ms + 1) // _BASE & _TIME_MASK
        self._due[place] = due
        self._lengths[place] = length
        copy(self._frames, place * self._frame_length, frame, 0, length)
        while count and self._later(self._due[places[count - 1]], due):
            places[count] = places[count - 1]
            count -= 1
        places[count] = place
        self._count += 1

    @micropython.native
    def _later(self, a, b):
        return 0 < (a - b & _TIME_MASK) < _HALF_TIME

    @micropython.native
    def _chance(self):
        """0..32767, each as likely as the others."""
        x = self._x
        x = _MULTIPLIER * (x % _BASE) + x // _BASE
        self._x = x
        return x % _BASE
