"""Clients that have one operation outstanding at any time, on a simulated group.

    run = ClosedLoop(sim, clients, make, accept)
    run.perform(50); run.measure(400)
    run.times_us                     of each measured operation, in the order of completion

make(client) returns the next operation, accept(client, operation, reply) raises if the reply is
wrong. An operation lasts from the call at its client to the end of the step in which the client
accepts the reply; the next one begins then.
"""

from dataclasses import dataclass

from tools.refusal import Refusal

PATIENCE_MS = 60000  # virtual, for one more operation


@dataclass
class Done:
    """One operation: what was asked, when it began and ended, in microseconds."""

    client: int
    operation: bytes
    begin_us: int
    end_us: int


class ClosedLoop:
    """`done`: the operations of the last `measure`, `passed_us`: how long that took."""

    def __init__(self, sim, clients, make, accept, on_done=None):
        self.sim = sim
        self.clients = tuple(clients)
        self.done = []
        self.passed_us = 0
        self._make = make
        self._accept = accept
        self._on_done = on_done
        self._outstanding = {}  # client: (handle, begin)

    def perform(self, count):
        """`count` operations, all clients together; those that are under way then are ended."""
        begin = self.sim.world.now_us
        self.done = []
        while len(self.done) < count:
            self._refill()
            self._await(any)
        self.passed_us = self.sim.world.now_us - begin
        counted = self.done
        while self._outstanding:
            self._await(any)
        self.done = counted[:count]

    measure = perform

    @property
    def times_us(self):
        return [one.end_us - one.begin_us for one in self.done]

    def _refill(self):
        for client in self.clients:
            if client not in self._outstanding:
                operation = self._make(client)
                begin = self.sim.device(client).free_at_us()
                handle = self.sim.submit(client, operation)
                self._outstanding[client] = (handle, begin)

    def _await(self, quorum):
        """Let time pass until one outstanding operation is done, and take it in."""
        handles = [handle for handle, _ in self._outstanding.values()]
        if not self.sim.run_until(lambda: quorum(h.done for h in handles), PATIENCE_MS):
            raise Refusal(
                f"no operation was answered within {PATIENCE_MS // 1000} s of virtual time:"
                " the channel is full of repairs; choose longer time-outs ([timeouts])"
            )
        for client, (handle, begin) in list(self._outstanding.items()):
            if handle.done:
                del self._outstanding[client]
                end = self.sim.device(client).free_at_us()
                self._accept(client, handle.op, handle.reply)
                self.done.append(Done(client, handle.op, begin, end))
                if self._on_done:
                    self._on_done(self.done[-1])
