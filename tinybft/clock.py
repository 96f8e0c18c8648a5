"""Elapsed ticks, and the agreed time that makes a clock deterministic for services.

Ticks are milliseconds modulo 2**30 (12.4 days). The agreed time is seconds and milliseconds
since the group's first batch (until that is executed every estimate stands at zero, whenever
its node was switched on): the primary stamps its estimate on a batch, backups accept it
when it is plausible, and the agreed time of an executed batch pulls every estimate that is
behind it forward. So replicas need no synchronised clocks, only clocks that advance.

Plausible means: not before the last agreed time, and not more than `clock_skew_ms` ahead of the
own estimate. What primaries gained on the own clock is remembered as a lead that counts against
the bound and is paid off at 1/16 of the time that passes (two crystals differ by far less), so
a faulty primary cannot drive the time ahead step by step. There is no bound on the other side:
a batch that loss delayed carries an old time for good reason, and refusing it would stop the
group. A faulty primary can therefore hold the clock, as it can hold any batch; it cannot turn
it back.
"""

from tinybft.compat import const, micropython

_TICKS_MASK = const(0x3FFFFFFF)
_FAR_SECONDS = const(60000)  # differences are clipped here: they stay small integers
_DRIFT_DIVISOR = const(16)
_CREDIT_MAX = const(0x1FFFFFFF)


@micropython.native
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
        self._runs = False  # from the first agreed time on
        self.agreed_s = 0
        self.agreed_ms = 0
        # 16 x milliseconds that primaries are ahead; below zero: what an own clock may have
        # lost since it was last pulled forward.
        self._lead = 0

    def start(self, now):
        self._at = now

    @micropython.viper
    def advance(self, now: int):
        """Bring the estimate to `now`; called at least once in 12 days (the tick is)."""
        passed = now - int(self._at) & _TICKS_MASK
        self._at = now
        if not self._runs:
            return
        ms = int(self.time_ms) + passed
        if ms >= 1000:
            self.time_s = uint(self.time_s) + uint(ms // 1000)
            ms = ms % 1000
        self.time_ms = ms
        lead = int(self._lead) - passed
        self._lead = lead if lead > -_CREDIT_MAX else -_CREDIT_MAX

    @micropython.viper
    def is_plausible(self, time_s: uint, time_ms: int) -> bool:
        """Requires: `advance(now)` was called."""
        agreed_s = uint(self.agreed_s)
        if time_s < agreed_s:
            return False
        if time_s == agreed_s and time_ms < int(self.agreed_ms):
            return False
        lead = int(self._ahead_ms(time_s, time_ms)) * _DRIFT_DIVISOR + int(self._lead)
        return lead <= int(self._skew_ms) * _DRIFT_DIVISOR

    @micropython.viper
    def agree(self, time_s, time_ms):
        """The time of an executed batch."""
        self.agreed_s = time_s
        self.agreed_ms = time_ms
        ahead = int(self._ahead_ms(time_s, time_ms))
        if ahead > 0:
            if self._runs:  # else there is no own clock yet that it could be ahead of
                lead = int(self._lead) + ahead * _DRIFT_DIVISOR
                most = int(self._skew_ms) * _DRIFT_DIVISOR
                lead = lead if lead > 0 else 0
                self._lead = lead if lead < most else most
            self.time_s = time_s
            self.time_ms = time_ms
        self._runs = True

    @micropython.viper
    def _ahead_ms(self, time_s: uint, time_ms: int) -> int:
        own = uint(self.time_s)
        if time_s >= own:
            seconds = int(time_s - own) if time_s - own < uint(_FAR_SECONDS) else _FAR_SECONDS
        else:
            seconds = -int(own - time_s) if own - time_s < uint(_FAR_SECONDS) else -_FAR_SECONDS
        return seconds * 1000 + time_ms - int(self.time_ms)
