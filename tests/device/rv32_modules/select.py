"""As much of `select` as asyncio needs where there is nothing to poll: it sleeps."""

from time import ticks_diff, ticks_ms

import virt

POLLIN = 1
POLLOUT = 4


class poll:  # noqa: N801 - its name in MicroPython
    def ipoll(self, ms):
        """Wait that long; no object is ever ready."""
        begin = ticks_ms()
        while ms < 0 or ticks_diff(ticks_ms(), begin) < ms:
            virt.sleep()
        return ()
