"""Waiting for sockets inside asyncio, so that a node shares the event loop with its user.

MicroPython: a public StreamReader per socket, asked for zero bytes, returns as soon as the
socket is readable and takes nothing from it. A watching task stays armed over several waits;
a time-out arms it anew (it would be lost if somebody made a new event loop meanwhile).
CPython: `loop.add_reader`. Everything here may allocate.
"""

import asyncio
import sys

if sys.implementation.name == "micropython":

    class Readiness:
        """Wakes when one of the sockets is readable."""

        def __init__(self, sockets):
            self._readers = [asyncio.StreamReader(sock) for sock in sockets]
            self._tasks = [None] * len(sockets)
            self._event = asyncio.Event()
            self._nothing = bytearray(0)

        async def wait(self, ms):
            self._event.clear()
            for i in range(len(self._tasks)):
                if self._tasks[i] is None:
                    self._tasks[i] = asyncio.create_task(self._watch(i))
            try:
                await asyncio.wait_for_ms(self._event.wait(), ms)
            except asyncio.TimeoutError:
                self.close()

        async def _watch(self, i):
            await self._readers[i].readinto(self._nothing)
            self._tasks[i] = None
            self._event.set()

        def close(self):
            for i in range(len(self._tasks)):
                if self._tasks[i] is not None:
                    self._tasks[i].cancel()
                    self._tasks[i] = None

else:

    class Readiness:
        """Wakes when one of the sockets is readable."""

        def __init__(self, sockets):
            self._sockets = sockets

        async def wait(self, ms):
            loop = asyncio.get_running_loop()
            event = asyncio.Event()
            for sock in self._sockets:
                loop.add_reader(sock, event.set)
            try:
                await asyncio.wait_for(event.wait(), ms / 1000)
            except TimeoutError:
                pass
            finally:
                for sock in self._sockets:
                    loop.remove_reader(sock)

        def close(self):
            pass
