"""Read-only requests, answered at once and in no order (TOCS 5.1.3). An option: [agreement]
read_only, and nobody imports this module without it.

    client    REQUEST with FLAG_UNORDERED to all; 2f + 1 replies that report the same are its
              answer. Else, after a time-out or when too many differ, it has the same operation
              ordered: the same request id, without the flag (early.py)
    replica   executes it on the state of its last executed batch and keeps no trace of it

Why this is linearizable. What a client was told of, or a read has shown, was committed: f + 1
correct replicas had prepared it before. Any 2f + 1 replicas have one of them among them, and
that one does not answer from a state without it: a read waits until everything that is prepared
here, in this view or for it (the NEW-VIEW names it), was committed and executed. So no correct
replica shows what is tentative, none answers between views, none while its state is a mixture;
and who has lost its memory does not know what it prepared, and does not answer.

Writes still need f + 1 replies alone, reads can always be ordered: a primary that starves some
replicas of proposals delays nobody for ever (Berger, Reiser, Bessani, SRDS 2021).

A read that waits lies where the pending request of its client would, one per client: for a
client has one outstanding request. Nothing waits for it, no timer runs. Allocates nothing
outside hashing.
"""

from tinybft import faults, wire
from tinybft.clock import elapsed
from tinybft.compat import micropython
from tinybft.requests import NONE, RESULT_INLINE_MAX
from tinybft.service import Context, Service
from tinybft.slots import COMMITTED, PREPARED


class Reads:
    """`waiting`: how many reads are held; `context`: that of all of them."""

    def __init__(self, core):
        config = core.config
        self.core = core
        self.waiting = 0
        self._order = core.requests.on_request
        self._own_id = core.progress.replica_id
        self._replica_count = config.REPLICA_COUNT
        self._interval_ms = config.REPAIR_MS
        self._held = [0] * config.CLIENT_COUNT  # request id; 0: none
        self._answered = [0] * config.CLIENT_COUNT  # request id
        self._answered_at = [0] * config.CLIENT_COUNT
        self._header = bytearray(wire.HEADER_LENGTH)
        self.context = Context()
        self.context.read_only = True

    @micropython.native
    def on_request(self, buf, local=False):
        """Take a checked REQUEST: hold it if it is not to be ordered."""
        if not wire.flags(buf) & wire.FLAG_UNORDERED:
            return self._order(buf, local)
        client = wire.sender(buf)
        number = wire.seqno(buf)
        fault = self._refusal(client, number, local)
        if fault:
            return fault
        core = self.core
        if not (local or core.auth.check(buf, client)):
            return faults.MAC
        # Its client was answered what it asked before.
        core.requests.set_phase(client, NONE)
        if not (local and core.requests.bulk.in_ram):  # there it is in its place
            core.requests.bulk.put(core.requests.request_at(client), buf, 0, wire.length(buf))
        self.waiting += self._held[client] == 0
        self._held[client] = number
        return 0

    @micropython.native
    def _refusal(self, client, number, local):
        """The fault for what need not be executed, or 0."""
        requests = self.core.requests
        if number <= self.core.execution.known_request_id(client):
            return faults.OLD_REQUEST
        if number < self._answered[client] or (client == self._own_id and not local):
            return faults.OLD_REQUEST
        if requests.phase(client) != NONE and number <= requests.request_id(client):
            return faults.NOT_NEEDED
        if number <= self._held[client]:
            return faults.NOT_NEEDED
        if number == self._answered[client]:
            age = elapsed(self.core.progress.now, self._answered_at[client])
            if age < self._interval_ms:
                return faults.RATE_LIMITED
        return 0

    @micropython.native
    def run(self):
        """Answer what is held, if the state is fit for it. True if there was something."""
        if not self.waiting or not self.is_current():
            return False
        for client in range(len(self._held)):
            if self._held[client]:
                self._answer(client)
        return True

    @micropython.native
    def is_current(self):
        """True if everything that is prepared here is executed, and the state is whole."""
        core = self.core
        progress = core.progress
        executed = progress.last_executed
        if not progress.active or core.transfer.running or core.durability.abstains:
            return False
        if core.new_view.is_held and core.new_view.end() > executed:
            return False
        slots = core.slots
        for seqno in range(executed + 1, progress.high_mark() + 1):
            base = slots.find(seqno)
            if base >= 0 and slots.has(base, PREPARED | COMMITTED):
                return False
        return True

    @micropython.native
    def _answer(self, client):
        core = self.core
        number = self._held[client]
        self._held[client] = 0
        self.waiting -= 1
        bulk = core.requests.bulk
        at = core.requests.request_at(client)
        header = self._header
        bulk.get(at, header, 0, wire.HEADER_LENGTH)
        if wire.seqno(header) != number or not wire.flags(header) & wire.FLAG_UNORDERED:
            return  # the client has it, or its next one, ordered
        length = core.wire.body_end(header) - wire.HEADER_LENGTH
        bulk.get(at + wire.HEADER_LENGTH, core.execution.operation, 0, length)
        context = self.context
        context.client_id = client
        context.seqno = core.progress.last_executed
        context.time_s = core.clock.agreed_s
        context.time_ms = core.clock.agreed_ms
        length = core.execution.call_service(length, core.replies.result, context)
        self._answered[client] = number
        self._answered_at[client] = core.progress.now
        self._send(client, number, length)

    @micropython.native
    def _send(self, client, number, length):
        """The result that stands in `replies.result`: whole from one replica for each request,
        or if it is short; else its digest. A replica that is the client has it whole."""
        core = self.core
        post = core.post
        buf = post.begin(wire.REPLY, wire.FLAG_UNORDERED, core.progress.view, number)
        if client == self._own_id:
            core.deliver_reply(buf, length)
            return
        designated = (number + client) % self._replica_count
        if client < self._replica_count:
            designated = client
        if length > RESULT_INLINE_MAX and designated != self._own_id:
            buf[0] |= wire.FLAG_DIGEST
            core.auth.digest_into(buf, wire.HEADER_LENGTH, length, buf, wire.HEADER_LENGTH)
            length = wire.DIGEST_LENGTH
        post.unicast_single(client, buf, wire.HEADER_LENGTH + length)


class ReadOnlyError(Exception):
    """A service wrote amid an operation that may not: the reply is SERVICE_FAILED."""


def _refuse(_offset, _buf, _start, _length):
    raise ReadOnlyError


class Guarded(Service):
    """A service whose state is write-protected while it executes what is read-only, ordered or
    not: what such an operation replies does not depend on the way it took."""

    def __init__(self, service):
        self.name = service.name
        self.state_length = service.state_length
        self.reads_view = service.reads_view
        self.pages_max = service.pages_max
        self.setup = service.setup
        self.genesis = service.genesis
        self._execute = service.execute

    def execute(self, state, op, length, reply, ctx):  # noqa: PLR0913 - what a service gets
        if not ctx.read_only:
            return self._execute(state, op, length, reply, ctx)
        write = state.sink
        state.sink = _refuse
        try:
            return self._execute(state, op, length, reply, ctx)
        finally:
            state.sink = write
