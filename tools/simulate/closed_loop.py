"""Clients that have one operation outstanding at any time, on a simulated group.

    loop = ClosedLoop(sim, (0, 1, 2, 3), Puts(...))
    loop.perform(50)                 to warm up
    loop.perform(400)
    loop.times_us()                  of each of the 400, in the order of completion

The work says what is asked: `next(client)` returns (operation, whether it is read-only), None
when that client has no more; `accept(client, operation, reply)` raises Mismatch if the reply is
wrong.

An operation lasts from the call at its client, as soon as that has its processor, to the end of
the step in which the client accepts the reply; the next one begins then. All is virtual time, the
same for the same seed.
"""

from dataclasses import dataclass

from tools.refusal import Refusal

PATIENCE_MS = 60000  # virtual, for one more operation


class Mismatch(Exception):
    """A reply that the client's books exclude: a broken promise of the group."""


@dataclass
class Done:
    """One operation: when it was called, when its device got to it, when it ended (us)."""

    client: int
    operation: bytes
    called_us: int
    begin_us: int
    end_us: int


class ClosedLoop:
    """`done`: the operations of the last `perform`; `passed_us`: how long that took."""

    def __init__(self, sim, clients, work, on_done=None):
        self.sim = sim
        self.clients = tuple(clients)
        self.done = []
        self.passed_us = 0
        self._work = work
        self._on_done = on_done
        self._outstanding = {}  # client: (handle, called, begin)

    def perform(self, count=None):
        """`count` operations, or all there are. Those under way at the end are waited for, and
        not counted."""
        begin = self.sim.world.now_us
        self.done = []
        while count is None or len(self.done) < count:
            self._refill()
            if not self._outstanding:
                break
            self._await_one()
        self.passed_us = max([self.sim.world.now_us, *(one.end_us for one in self.done)]) - begin
        counted = self.done[:count]
        while self._outstanding:
            self._await_one()
        self.done = counted

    def times_us(self):
        return [one.end_us - one.begin_us for one in self.done]

    def _refill(self):
        for client in self.clients:
            if client in self._outstanding:
                continue
            asked = self._work.next(client)
            if asked is not None:
                times = (self.sim.world.now_us, self.sim.device(client).free_at_us())
                self._outstanding[client] = (self.sim.submit(client, *asked), *times)

    def _await_one(self):
        """Let time pass until one outstanding operation is done, and take it in."""
        handles = [handle for handle, *_ in self._outstanding.values()]
        if not self.sim.run_until(lambda: any(h.done for h in handles), PATIENCE_MS):
            raise Refusal(
                f"no operation was answered within {PATIENCE_MS // 1000} s of virtual time: the"
                " channel is full of repairs; choose longer repair_ms and retry_ms ([timeouts])"
            )
        for client, (handle, *times) in list(self._outstanding.items()):
            if handle.done:
                del self._outstanding[client]
                self._work.accept(client, handle.op, handle.reply)
                end = self.sim.device(client).free_at_us()
                self.done.append(Done(client, handle.op, *times, end))
                if self._on_done:
                    self._on_done(self.done[-1])
