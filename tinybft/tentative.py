"""Tentative execution: one batch ahead of what is committed (TOCS 5.1.2). An option: [agreement]
tentative, and nobody imports this module without it.

    prepared, and all before it committed   execute; replies with FLAG_TENTATIVE
    committed                               it counts: last_executed, pending requests, timers,
                                            checkpoints know of it only now
    the view is left before that            the state goes back to the last committed batch

A client needs 2f + 1 tentative replies of one view (early.py): then f + 1 correct replicas have
prepared the batch, as for a COMMIT durably before they say so, and every later view keeps it.
Its next retry brings a reply that is not tentative, once the batch is committed here: f + 1 of
those are enough, so nobody has to wait for replicas that a faulty primary starves.

Going back takes no memory: the state returns to the newest checkpoint (copy on write, as for a
state transfer), and what was committed since then is executed again from its slots, which no
view change touches before the next checkpoint is stable. That is at most K - 1 batches.

A replica that abstains (recovery.py) executes nothing tentatively: the reply would say that it
has prepared. Allocates nothing outside hashing.
"""

from tinybft import wire
from tinybft.compat import const, micropython
from tinybft.execution import Execution
from tinybft.octets import put_u32
from tinybft.requests import Replies
from tinybft.slots import PREPARED

_REPLIED_LENGTH = const(8)


class TentativeExecution(Execution):
    """`ahead`: seqno of the batch that is executed and not committed, 0: none. `repeats`: what is
    being executed was executed before. `marks`: per client 1 if its last request is tentative."""

    def __init__(self, core, service):
        self.ahead = 0
        self.repeats = False
        self.marks = bytearray(core.config.CLIENT_COUNT)
        Execution.__init__(self, core, service)

    @micropython.native
    def run(self):
        ran = Execution.run(self)
        if not self.ahead:
            self._run_ahead()
        return ran

    @micropython.native
    def _run_ahead(self):
        core = self.core
        progress = core.progress
        if not progress.active or core.transfer.running or core.durability.abstains:
            return
        seqno = progress.last_executed + 1
        base = core.slots.find(seqno)
        if base < 0 or not core.slots.has(base, PREPARED):
            return
        self.ahead = seqno
        self._is_ahead = True
        core.replies.flags = wire.FLAG_TENTATIVE
        Execution._execute_batch(self, base)
        core.replies.flags = 0
        self._is_ahead = False

    @micropython.native
    def _execute_batch(self, base):
        """It is committed."""
        if self.core.slots.seqno(base) == self.ahead:
            self._confirm(base)
        else:
            Execution._execute_batch(self, base)

    @micropython.native
    def _confirm(self, base):
        core = self.core
        slots = core.slots
        self.ahead = 0
        for i in range(slots.request_count(base)):
            entry = slots.entry_at(base, i)
            client = wire.entry_client(slots.buf, entry)
            if self.marks[client]:
                self.marks[client] = 0
                core.requests.on_executed(client, self.last_request_id(client))
                core.timers.on_executed(client)

    def _is_owed(self, client, number):
        """It may need this reply, to have 2f + 1."""
        return number > 0 and not self.core.replies.holds(client, number)

    # --- going back ---

    def abandon(self):
        """The state is about to be replaced: nothing is tentative any more."""
        self.ahead = 0
        for client in range(len(self.marks)):
            if self.marks[client]:
                self.marks[client] = 0
                self.core.replies.forget(client)

    def roll_back(self):
        """The view is being left: the state is that of the last committed batch.

        Requires: the slots are as they were in the view.
        """
        if not self.ahead:
            return
        self.abandon()
        core = self.core
        core.state.roll_back()
        self.load_clock()
        self.repeats = self._is_ahead = True  # pending requests and timers know of it already
        seqno = core.state.snapshots.newest_seqno()
        while seqno < core.progress.last_executed:
            seqno += 1
            base = core.slots.find(seqno)
            assert base >= 0, "a slot above the newest checkpoint was given up"
            Execution._execute_batch(self, base)
        self.repeats = self._is_ahead = False


class TentativeReplies(Replies):
    def answer(self, client, number, length):
        execution = self.core.tentative
        if not execution.repeats:
            if execution.ahead:
                execution.marks[client] = 1
            Replies.answer(self, client, number, length)

    def repeat(self, client, number):
        if self.core.tentative.marks[client]:
            self.flags = wire.FLAG_TENTATIVE
        Replies.repeat(self, client, number)
        self.flags = 0

    def forget(self, client):
        """The result that is held is that of no committed request."""
        put_u32(self._buf, client * _REPLIED_LENGTH, 0)
