"""From one view to the next: what the slots go through (TOCS 4.4, the part about the log).

    left, no new view yet   nothing is said any more, but the others may still commit: COMMITs
                            of the view that was left (or a later one, in which f + 1 others are
                            active) are counted, its batches taken by digest
    the new primary waits   for a batch that P names elsewhere: its slot is NAMED
    a view begins           votes go, batches stay; each entry of X is a pre-prepare. Batches
                            that are executed here are agreed once more, for those who have not

Does not allocate.
"""

from tinybft import faults, wire
from tinybft.compat import micropython
from tinybft.octets import copy, equal
from tinybft.slots import ACCEPTED, COMMITTED, HAS_BATCH, NAMED, PRE_PREPARED, VOUCHED_ONLY


class Handover:
    def __init__(self, core):
        self.core = core
        self.slots = core.slots
        self.agreed_from = 1  # first seqno that this view orders
        self.reagreeing = False  # what is executed may need votes in this view
        self._wanted = bytearray(wire.DIGEST_LENGTH)
        self._views = [-1] * core.config.REPLICA_COUNT  # in which each peer said to be active

    def leave_view(self):
        """Nothing is said in the old view any more; its slots stay until a new one begins, since
        the others may still commit there (`learn`)."""
        self.reagreeing = True
        progress = self.core.progress
        for seqno in range(progress.last_executed + 1, progress.high_mark() + 1):
            base = self.slots.find(seqno)
            if base >= 0:
                self.learn(base)

    @micropython.native
    def listens_to(self, buf):
        """True for a message of the present view or, between views, of the one that was left."""
        progress = self.core.progress
        view = wire.view(buf)
        return view == progress.view or (not progress.active and view == progress.view_left)

    def is_of_view_left(self, buf, number):
        progress = self.core.progress
        if progress.active or wire.view(buf) != progress.view_left:
            return False
        return progress.last_executed < number and progress.in_window(number)

    def note_view(self, peer, view, is_active):
        """What a STATUS says. Alone in a higher view, listen where f + 1 peers are active."""
        progress = self.core.progress
        self._views[peer] = view if is_active else -1
        if progress.active or not is_active or not progress.view_left < view < progress.view:
            return
        mask = 0
        for replica in range(len(self._views)):
            if self._views[replica] == view:
                mask |= 1 << replica
        if self.core.quorum.is_weak(mask):
            progress.view_left = view
            for seqno in range(progress.last_executed + 1, progress.high_mark() + 1):
                base = self.slots.find(seqno)
                if base >= 0:
                    self.slots.clear(base)  # votes of an earlier view; P has its batches aside

    def view_of(self, peer):
        """The view in which `peer` said to be active; -1: it said so of none, or is not."""
        return self._views[peer]

    def learn(self, base):
        """Between views: 2f + 1 COMMITs of the view that was left still commit their batch."""
        slots = self.slots
        complete = slots.has(base, PRE_PREPARED) and not slots.missing(base)
        if complete and self.core.quorum.is_quorum(slots.commits(base)):
            slots.set_flag(base, COMMITTED)
        return 0

    def on_late_pre_prepare(self, known, buf):
        """A batch of the view that was left, from anybody: COMMITs will tell if it counts."""
        slots = self.slots
        number = wire.seqno(buf)
        if not self.is_of_view_left(buf, number):
            return faults.STALE_VIEW
        present = known >= 0 and slots.has(known, PRE_PREPARED)
        if present and self.core.quorum.is_weak(slots.commits(known)):
            return faults.NOT_NEEDED
        if present and self.core.claims.names(number, slots.buf, slots.digest_at(known)):
            return faults.NOT_NEEDED  # prepared here, so that view committed no other one
        if not self.core.auth.check(buf, wire.sender(buf)):
            return faults.MAC
        base = slots.open(number)
        self.core.agreement.note(number)
        slots.disown_votes(base)
        slots.drop_batch(base)
        fault = self.core.batches.store(base, buf)
        if fault:
            return fault
        slots.set_flag(base, PRE_PREPARED | HAS_BATCH | VOUCHED_ONLY)
        slots.adopt_votes(base)
        return self.learn(base)

    def begin_view(self, checkpoint, end):
        """The new view orders from `checkpoint` on and names batches up to `end`.

        Votes end with their view; batches stay, but for those that were not selected.
        """
        progress = self.core.progress
        agreement = self.core.agreement
        self.agreed_from = checkpoint + 1
        agreement.last_proposed = end
        agreement.last_seen = max(end, progress.last_executed)
        for seqno in range(progress.low_mark + 1, progress.high_mark() + 1):
            base = self.slots.find(seqno)
            if base >= 0 and seqno > end:
                self.slots.clear(base)
            elif base >= 0:
                self.slots.strip(base)

    def restore(self, checkpoint, end):
        """After a restart: the present view orders from `checkpoint` on, see `begin_view`."""
        self.reagreeing = True
        self.agreed_from = checkpoint + 1
        self.core.agreement.restore(end, True)

    def forget(self):
        self.reagreeing = False
        self.agreed_from = 1

    def forget_unselected(self, end):
        """After a restart: batches of earlier views behind what the NEW-VIEW names go."""
        progress = self.core.progress
        for seqno in range(max(end, progress.low_mark) + 1, progress.high_mark() + 1):
            base = self.slots.find(seqno)
            if base >= 0 and not self.slots.has(base, ACCEPTED | COMMITTED | NAMED):
                self.slots.clear(base)

    def adopt(self, seqno, digest, at):
        """The NEW-VIEW is the pre-prepare of this digest for `seqno`."""
        slots = self.slots
        base = slots.assign(seqno, digest, at)
        if slots.has(base, HAS_BATCH):
            slots.set_flag(base, PRE_PREPARED)
            self.core.agreement.advance(base)

    def want(self, seqno, digest, at):
        """The new primary needs the batch with this digest before it can begin its view."""
        if self.core.progress.in_window(seqno):
            self.core.agreement.note(seqno)
            base = self.slots.find(seqno)
            if base < 0 or not equal(self.slots.buf, self.slots.digest_at(base), digest, at, 32):
                self.slots.assign(seqno, digest, at)

    def on_named(self, base, buf):
        """A PRE-PREPARE for a slot whose digest is known: that proves it, whoever sent it."""
        slots = self.slots
        if not self.core.auth.check(buf, wire.sender(buf)):
            return faults.MAC
        copy(self._wanted, 0, slots.buf, slots.digest_at(base), 32)
        fault = self.core.batches.store(base, buf, self._wanted)
        if fault:
            slots.set_flag(base, NAMED)
            copy(slots.buf, slots.digest_at(base), self._wanted, 0, 32)
            return fault
        slots.drop_flags(base)
        slots.set_doubts(base, 0)
        slots.set_flag(base, HAS_BATCH)
        self.core.status.on_work()
        slots.adopt_votes(base)
        if self.core.quorum.is_quorum(slots.commits(base)):
            slots.set_flag(base, PRE_PREPARED)
            return self.learn(base)
        if self.core.progress.active:
            slots.set_flag(base, PRE_PREPARED)
            return self.core.agreement.advance(base)
        self.core.view_change.settle()
        return 0

    @micropython.native
    def first_open(self):
        """The lowest seqno that may still need a batch, a body or a vote here."""
        progress = self.core.progress
        if not self.reagreeing:
            return progress.last_executed + 1
        return max(self.agreed_from, progress.low_mark + 1)

    @micropython.native
    def is_reagreeing(self):
        """True while a batch that is executed here is not yet committed in this view."""
        if self.reagreeing and self.core.progress.active:
            slots = self.slots
            for seqno in range(self.first_open(), self.core.progress.last_executed + 1):
                base = slots.find(seqno)
                if base >= 0 and not slots.has(base, COMMITTED):
                    return True
            self.reagreeing = False
        return self.reagreeing
