"""Waiting for sockets inside asyncio, so that a node shares the event loop with its user.

Several tasks may wait at once (a node that serves, and one that awaits its reply); what comes
wakes them all. The last one to leave disarms the sockets. Everything here may allocate.

MicroPython: a public StreamReader per socket, asked for zero bytes, returns as soon as the
socket is readable and takes nothing from it. CPython: `loop.add_reader`.
"""

import asyncio
import sys


class _Waiters:
    """What both interpreters share: counts who waits, wakes all of them."""

    def __init__(self, sockets):
        self._sockets = sockets
        self._waiter_count = 0
        self._event = None

    async def wait(self, ms):
        if ms <= 0:
            await asyncio.sleep(0)
            return
        if self._waiter_count == 0:
            # A new one each time: an event belongs to the loop in which it was first awaited.
            self._event = asyncio.Event()
        self._waiter_count += 1
        self._event.clear()
        self._arm()
        timed_out = True
        try:
            await asyncio.wait_for(self._event.wait(), ms / 1000)
            timed_out = False
        except asyncio.TimeoutError:  # noqa: UP041 - MicroPython has no other
            pass
        finally:
            self._waiter_count -= 1
            if self._waiter_count == 0:
                self._leave(timed_out)

    def close(self):
        if self._waiter_count == 0:
            self._leave(True)


if sys.implementation.name == "micropython":

    class Readiness(_Waiters):
        """Wakes when one of the sockets is readable."""

        def __init__(self, sockets):
            super().__init__(sockets)
            self._readers = [asyncio.StreamReader(sock) for sock in sockets]
            self._tasks = [None] * len(sockets)
            self._nothing = bytearray(0)

        def _arm(self):
            for i in range(len(self._tasks)):
                if self._tasks[i] is None:
                    self._tasks[i] = asyncio.create_task(self._watch(i))

        async def _watch(self, i):
            await self._readers[i].readinto(self._nothing)
            self._tasks[i] = None
            self._event.set()

        def _leave(self, timed_out):
            # Under load the quiet socket stays armed, which saves a task per wait. A time-out
            # arms it anew, because a new event loop would have lost the task.
            if timed_out:
                for i in range(len(self._tasks)):
                    if self._tasks[i] is not None:
                        self._tasks[i].cancel()
                        self._tasks[i] = None

else:

    class Readiness(_Waiters):
        """Wakes when one of the sockets is readable."""

        def __init__(self, sockets):
            super().__init__(sockets)
            self._loop = None

        def _arm(self):
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                for sock in self._sockets:
                    self._loop.add_reader(sock, self._wake)

        def _wake(self):
            self._event.set()

        def _leave(self, timed_out):
            if self._loop is not None:
                for sock in self._sockets:
                    self._loop.remove_reader(sock)
                self._loop = None
