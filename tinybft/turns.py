"""Turns on a shared channel. Imported only if [timeouts] stagger_ms is not 0.

Whoever answers the same message at the same moment collides, and what three radios say at once
arrives one after the other anyway. So votes wait for their turn:

    PREPARE      the first 2f - 1 backups one by one. With the own one these are 2f: the others
                 are prepared when they hear them, and say COMMIT at once, which says more. They
                 say PREPARE only if their turn comes before that: one that was first is silent,
                 or was not heard
    COMMIT       one by one among those who became prepared by the same message
    CHECKPOINT   none: half of its digest travels in the COMMIT for the next batch; if that does
                 not come, one by one

And silence tells: while a batch is open, somebody should speak. Nothing for `repair_ms` means that
a message was lost, and the channel is free to ask for it, or for the primary to repeat a proposal
that nobody answered, long before what would be safe to assume on a busy channel. A request that
two batches left out although there was room was lost too.

Who is first rotates with the seqno. A vote that waits counts here, for what it says is durable
already; it is built when it is due, and not at all if the view was left meanwhile: to stay
silent contradicts nothing, and repair asks for what is needed after all.

One vote and one CHECKPOINT wait at a time; one that would be the second sends the first.
Does not allocate.
"""

from tinybft import wire
from tinybft.clock import elapsed
from tinybft.compat import const, micropython
from tinybft.requests import WAITING
from tinybft.slots import ACCEPTED, PREPARED

# As in wire.py: a constant is inlined only in the module that defines it.
_COMMIT = const(4)


class Turns:
    def __init__(self, core):
        config = core.config
        self.core = core
        self._stagger_ms = config.STAGGER_MS
        self._interval = config.CHECKPOINT_INTERVAL
        self._backup_count = config.REPLICA_COUNT - 1
        self._first_count = 2 * config.FAULT_COUNT - 1
        self._kind = 0  # of the vote that waits, 0: none does
        self._number = 0
        self._since = 0
        self._delay = 0
        self._checkpoint = 0  # seqno of the one that waits, 0: none does
        self._checkpoint_since = 0
        self._checkpoint_delay = 0
        self._quiet_ms = (config.REPAIR_MS + 1) // 2
        self._left_out = 0  # batches without the own request that waits
        self._room = core.slots.bodies_length_max
        self._count_max = config.BATCH_COUNT_MAX

    @micropython.viper
    def rank(self, number: uint) -> int:
        """0 .. 3f - 1 among the backups, -1 for the primary."""
        progress = self.core.progress
        place = int(progress.replica_id) - int(progress.primary())
        if place == 0:
            return -1
        if place < 0:
            place += int(progress.replica_count)
        count = int(self._backup_count)
        # number % count, of which viper knows only that of signed numbers
        return (place + int(number >> 1) % count * 2 + int(number & 1)) % count

    @micropython.viper
    def vote(self, kind: int, base: int):
        """Multicast a vote that is durable, when its turn has come."""
        core = self.core
        number = core.slots.seqno(base)
        if int(self._kind) and uint(self._number) != uint(number):
            self._send_vote()
        self._kind = 0  # a PREPARE that waited is in the COMMIT
        turn = int(self.rank(number))
        if kind == _COMMIT:
            first_count = int(self._first_count)
            turn += 1 if turn < first_count else -first_count
        if turn == 0:
            core.agreement.send_vote(kind, base, -1)
            return
        self._kind = kind
        self._number = number
        self._since = core.progress.now
        self._delay = turn * int(self._stagger_ms)

    @micropython.native
    def checkpoint(self, seqno):
        """The own CHECKPOINT was taken: everybody should know."""
        if self._checkpoint:
            self._send_checkpoint()
        progress = self.core.progress
        delay = 2 * self.core.status.usual_ms()
        base = self.core.slots.find(seqno + 1)
        if base >= 0 and self.core.slots.has(base, PREPARED) and self._number != seqno + 1:
            delay = 0  # that COMMIT has left
        turn = (progress.replica_id + seqno) % progress.replica_count
        self._checkpoint = seqno
        self._checkpoint_since = progress.now
        self._checkpoint_delay = delay + turn * self._stagger_ms

    @micropython.native
    def attach(self, buf, end, receiver):
        """To the COMMIT in `buf`, the checkpoint before its batch. Returns the end of the body."""
        seqno = wire.seqno(buf) - 1
        if seqno % self._interval or not seqno or not self.core.state.root_into(seqno, buf, end):
            return end
        buf[0] |= wire.FLAG_CHECKPOINT
        if receiver < 0 and self._checkpoint == seqno and not self.core.post.is_muted:
            self._checkpoint = 0
        return end + wire.ATTACHED_LENGTH

    def lacks_checkpoint(self):
        """True if the COMMITs for the latest batch should have made a checkpoint stable: before W
        batches are executed it has to be, or the next ones find no room."""
        progress = self.core.progress
        executed = progress.last_executed
        return executed % self._interval == 1 % self._interval and executed - 1 > progress.low_mark

    def has_checkpoint(self):
        """True while the own CHECKPOINT has not been sent: nobody could have answered it."""
        return self._checkpoint > 0

    # --- silence ---

    @micropython.native
    def _quiet_remaining(self, now):
        """Milliseconds of silence that are missing until something is assumed lost; -1: nothing is
        open. The primary is the first to speak, the others one by one; then ever more slowly."""
        core = self.core
        progress = core.progress
        if core.agreement.last_seen <= progress.last_executed or core.transfer.running:
            return -1
        passed = min(elapsed(now, progress.heard), elapsed(now, core.status.since))
        limit = self._quiet_ms + self._stagger_ms * (1 + self.rank(progress.last_executed))
        return max(0, (limit << min(core.status.asked(), 8)) - passed)

    def propose_again(self):
        """True if the primary had a proposal that nobody answered, and has repeated it."""
        core = self.core
        number = core.agreement.last_proposed
        if not core.progress.is_primary() or number <= core.progress.last_executed:
            return False
        base = core.slots.find(number)
        if base < 0 or core.status.asked() or core.slots.prepares(base):
            return False
        if not core.slots.has(base, ACCEPTED) or not core.slots.request_count(base):
            return False  # after a restart its digest may be all that is known
        core.batches.send(base, -1)
        return True

    @micropython.native
    def on_batch(self, base):
        """A batch was accepted: is the own request in it, or could it have been?"""
        core = self.core
        slots = core.slots
        pending = core.requests
        own = core.progress.replica_id
        if pending.phase(own) != WAITING:
            self._left_out = 0
            return
        length = slots.bodies_length(base) + pending.request_length(own)
        if length <= self._room and slots.request_count(base) < self._count_max:
            self._left_out += 1
            if self._left_out == 2 and core.client:
                core.client.repeat(core.progress.now)

    # --- time ---

    @micropython.viper
    def tick(self, now: int) -> bool:
        """True if it asked for repair."""
        if int(self._kind) and now - int(self._since) & 0x3FFFFFFF >= int(self._delay):
            self._send_vote()
        if self._checkpoint:
            passed = now - int(self._checkpoint_since) & 0x3FFFFFFF
            if passed >= int(self._checkpoint_delay):
                self._send_checkpoint()
        core = self.core
        # Almost every time nothing is open; `_quiet_remaining` asks again.
        is_open = uint(core.agreement.last_seen) > uint(core.progress.last_executed)
        if not is_open or int(self._quiet_remaining(now)) != 0:
            return False
        core.status.ask(now)
        return True

    @micropython.native
    def remaining_ms(self, now, most):
        """Milliseconds until a turn comes, at most `most`."""
        if self._kind:
            most = min(most, max(0, self._delay - elapsed(now, self._since)))
        if self._checkpoint:
            passed = elapsed(now, self._checkpoint_since)
            most = min(most, max(0, self._checkpoint_delay - passed))
        quiet = self._quiet_remaining(now)
        if quiet >= 0:
            most = min(most, quiet)
        return most

    @micropython.native
    def _send_vote(self):
        core = self.core
        kind = self._kind
        self._kind = 0
        base = core.slots.find(self._number)
        needed = PREPARED if kind == wire.COMMIT else ACCEPTED
        if base >= 0 and core.progress.active and core.slots.has(base, needed):
            core.agreement.send_vote(kind, base, -1)

    @micropython.native
    def _send_checkpoint(self):
        seqno = self._checkpoint
        self._checkpoint = 0
        self.core.checkpoints.send(seqno, -1, 0)
