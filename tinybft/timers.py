"""Patience with a primary: one timer per waiting request, one for a new view, one back-off.

A request that this replica holds and believes must be executed within `request_ms`, whoever its
client is: a primary that starves one client is replaced like one that is silent. A view change
must end within `view_change_ms`, counted from the moment at which 2f + 1 replicas want it (not
earlier, or views race ahead of each other). Both times double with each successive view change
and fall back when a request was executed in the new view.

A faulty client can make a request that some replicas believe and no primary can order (its tags
are good for those alone). So a client whose requests keep expiring has its own back-off, until
one of them is executed: it may cost view changes, but ever fewer.

Timers stand still during a state transfer, and begin anew where this replica was at fault: it
was frozen for a while, or f + 1 others have a checkpoint beyond what it has executed. Does not
allocate.
"""

from tinybft import requests
from tinybft.clock import elapsed
from tinybft.compat import const, micropython

_BACK_OFF_MAX = const(5)  # at most 32 times the configured time
_CHECKS_PER_TIMEOUT = const(16)


class Timers:
    def __init__(self, core):
        config = core.config
        self.core = core
        self._request_ms = config.REQUEST_MS
        self._view_change_ms = config.VIEW_CHANGE_MS
        self.period_ms = max(1, config.REQUEST_MS // _CHECKS_PER_TIMEOUT)
        self._since = [0] * config.CLIENT_COUNT
        self._strikes = [0] * config.CLIENT_COUNT  # requests that expired since one was executed
        self.checked_at = 0
        self._view_since = 0
        self._view_runs = False
        self._back_off = 0
        self._has_executed = True  # in the view that is, or was, active

    # --- what happened ---

    @micropython.viper
    def on_waiting(self, client: int):
        """A request of this client begins to wait."""
        self._since[client] = self.core.progress.now

    def restart(self):
        """Everything waits from now on: a view or a state has just been installed."""
        now = self.core.progress.now
        for client in range(len(self._since)):
            self._since[client] = now
        self._view_since = now

    @micropython.viper
    def on_executed(self, client: int):
        """A request of this client was executed: patience is as short as configured."""
        self._strikes[client] = 0
        if self.core.progress.active:
            self._has_executed = True
            self._back_off = 0

    def on_view_left(self):
        if not self._has_executed:
            self._back_off = min(self._back_off + 1, _BACK_OFF_MAX)
        self._has_executed = False
        self._view_runs = False

    def on_wanted(self):
        """2f + 1 replicas are ready for this view, or a later one."""
        if not self._view_runs:
            self._view_runs = True
            self._view_since = self.core.progress.now

    def waited_ms(self, client, now):
        """For how long the request of `client` that waits has done so, as the timers see it."""
        return elapsed(now, self._since[client])

    # --- what is due ---

    @micropython.native
    def is_expired(self, now):
        """True if it is time for the next view."""
        core = self.core
        if not core.progress.active:
            limit = self._view_change_ms << self._back_off
            return self._is_armed() and elapsed(now, self._view_since) >= limit
        passed = elapsed(now, self.checked_at)
        if passed < self.period_ms:
            return False
        self.checked_at = now
        if not self._is_armed():
            return False
        if passed > self._request_ms // 2:
            self.restart()  # nothing ran here for long
        for client in range(len(self._since)):
            if core.requests.phase(client) != requests.NONE:
                strikes = self._strikes[client]
                limit = self._request_ms << max(self._back_off, strikes)
                if elapsed(now, self._since[client]) >= limit:
                    if core.checkpoints.find_target() >= 0:
                        self.restart()
                        return False
                    self._strikes[client] = min(strikes + 1, _BACK_OFF_MAX)
                    return True
        return False

    @micropython.native
    def _is_armed(self):
        core = self.core
        if core.transfer.running or core.durability.abstains:
            return False  # nobody would hear its VIEW-CHANGE, and it would be alone
        return core.requests.open > 0 if core.progress.active else self._view_runs

    @micropython.native
    def remaining_ms(self, now):
        """Milliseconds until `is_expired` should be asked again; a large number if unarmed."""
        if not self._is_armed():
            return self._view_change_ms
        if self.core.progress.active:
            return max(0, self.period_ms - elapsed(now, self.checked_at))
        limit = self._view_change_ms << self._back_off
        return max(0, limit - elapsed(now, self._view_since))
