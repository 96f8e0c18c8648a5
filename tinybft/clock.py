"""Elapsed ticks, and the agreed time that makes a clock deterministic for services.

Ticks are milliseconds modulo 2**30 (12.4 days). The agreed time is seconds and milliseconds
since the group's first batch: the primary stamps its estimate on a batch, backups accept it
when it is plausible, and execution makes it the new base of everybody's estimate. So replicas
need no synchronised clocks, only clocks that advance.

Plausible means: not before the last agreed time, and no further from the own estimate than
`clock_skew_ms` plus 1/16 of the time since the base (crystals of two boards differ by far less).
What a primary gains on the own clock is remembered and pays off at that same rate, so a faulty
one cannot drive the time ahead step by step: its total lead stays within the bound.
"""

from tinybft.compat import const

_TICKS_MASK = const(0x3FFFFFFF)
_DRIFT_DIVISOR = const(16)
_FAR_SECONDS = const(1000000)  # differences are clipped here: they stay small integers


def elapsed(now, then):
    """Ticks from `then` to `now`, across the wrap of the counter."""
    return (now - then) & _TICKS_MASK


class GroupClock:
    """The estimate (`time_s`, `time_ms`) at `advance(now)`. Does not allocate."""

    def __init__(self, config):
        self._skew_ms = config.CLOCK_SKEW_MS
        self.time_s = 0
        self.time_ms = 0
        self._at = 0
        self._agreed_s = 0
        self._agreed_ms = 0
        self._since_ms = 0  # from the last agreed time to the estimate
        self._lead_ms = 0  # what primaries gained on the own clock, not yet paid off

    def start(self, now):
        self._at = now

    def advance(self, now):
        """Bring the estimate to `now`; called at least once in 12 days (the tick is)."""
        passed = elapsed(now, self._at)
        self._at = now
        ms = self.time_ms + passed
        self.time_s += ms // 1000
        self.time_ms = ms % 1000
        self._since_ms = min(self._since_ms + passed, _TICKS_MASK >> 1)

    def is_plausible(self, time_s, time_ms):
        """Requires: `advance(now)` was called."""
        if time_s < self._agreed_s or (time_s == self._agreed_s and time_ms < self._agreed_ms):
            return False
        ahead = self._ahead_ms(time_s, time_ms)
        allowed = self._skew_ms + self._since_ms // _DRIFT_DIVISOR
        return -allowed <= ahead and ahead + self._lead_ms <= allowed

    def agree(self, time_s, time_ms):
        """The time of an executed batch: the new base of the estimate."""
        ahead = self._ahead_ms(time_s, time_ms) - self._since_ms // _DRIFT_DIVISOR
        self._lead_ms = min(max(0, self._lead_ms + ahead), self._skew_ms)
        self._agreed_s = self.time_s = time_s
        self._agreed_ms = self.time_ms = time_ms
        self._since_ms = 0

    def _ahead_ms(self, time_s, time_ms):
        seconds = min(max(time_s - self.time_s, -_FAR_SECONDS), _FAR_SECONDS)
        return seconds * 1000 + time_ms - self.time_ms
