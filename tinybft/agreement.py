"""Normal case: pre-prepare, prepare, commit (TOCS 4.1; thesis chapter 3).

    primary   takes waiting requests into a batch, gives it the next seqno, PRE-PREPARE
    backup    accepts it once every request in it is authentic and here, PREPARE
    all       2f PREPAREs of backups that match: prepared, COMMIT
    all       2f + 1 COMMITs that match: committed, ready to execute

Only the first vote of a replica for a (view, seqno) counts. A pre-prepare that merely cannot
be believed yet (a request whose tag is bad here, a body that is missing, a time that is not
plausible) is kept, not dropped: f matching PREPAREs together with the primary are f + 1
replicas, one of them correct, that vouch for it (this defeats a client with inconsistent
MACs). A pre-prepare that a replica other than the primary forwards is believed when f + 1
votes name its digest.

Allocates nothing outside hashing.
"""

from tinybft import faults, wire
from tinybft.compat import const, micropython
from tinybft.octets import copy, equal
from tinybft.slots import (
    ACCEPTED,
    COMMITTED,
    HAS_BATCH,
    NAMED,
    PRE_PREPARED,
    PREPARED,
    TIME_IN_DOUBT,
    VOUCHED_ONLY,
)

_SEQNO_MAX = const(0xFFFFFFFF)  # what the u32 in the header holds


class Agreement:
    def __init__(self, core):
        config = core.config
        self.core = core
        self.slots = core.slots
        self._quorum = core.quorum
        self._fault_count = config.FAULT_COUNT
        self._pipeline = config.PIPELINE
        self.last_seen = 0  # highest seqno of which any authentic message was taken
        self.last_proposed = 0  # as the primary of this view

    # --- messages ---

    @micropython.native
    def on_pre_prepare(self, buf):
        progress = self.core.progress
        sender = wire.sender(buf)
        number = wire.seqno(buf)
        known = self.slots.find(number)
        if known >= 0 and self.slots.has(known, NAMED) and self.core.handover.listens_to(buf):
            return self.core.handover.on_named(known, buf)
        if not progress.active:
            return self.core.handover.on_late_pre_prepare(known, buf)
        fault = self._misplaced(buf, number) or self._unwanted(known, sender, buf)
        if fault:
            return fault
        if not self.core.auth.check(buf, sender):
            return faults.MAC
        base = self.slots.open(number)
        self.note(number)
        if number - self._pipeline > progress.last_executed:
            self.core.status.on_evidence()  # its sender executed what is missing here
        if self.slots.has(base, PRE_PREPARED):
            self.slots.disown_votes(base)
            self.slots.drop_batch(base)
        fault = self.core.batches.store(base, buf)
        if fault:
            return fault
        forwarded = sender != progress.primary()
        flags = PRE_PREPARED | HAS_BATCH
        self.slots.set_flag(base, flags | VOUCHED_ONLY if forwarded else flags)
        self.slots.adopt_votes(base)
        return self.advance(base)

    @micropython.native
    def _unwanted(self, known, sender, buf):
        """Why a PRE-PREPARE for the slot `known` (-1: new) is refused; 0: it is not."""
        progress = self.core.progress
        if progress.is_primary():
            return faults.NOT_NEEDED
        if known >= 0 and (
            self._has_from_primary(known)
            or (sender != progress.primary() and self.is_vouched(known))
        ):
            return faults.NOT_NEEDED
        if wire.seqno(buf) < self.core.handover.agreed_from:
            return faults.OUTSIDE_WINDOW
        if wire.batch_count(buf, wire.HEADER_LENGTH) == 0:
            return faults.BATCH  # only a NEW-VIEW orders nothing
        return 0

    @micropython.native
    def on_prepare(self, buf):
        return self._on_vote(buf, wire.PREPARE)

    @micropython.native
    def on_commit(self, buf):
        return self._on_vote(buf, wire.COMMIT)

    @micropython.native
    def _on_vote(self, buf, kind):
        progress = self.core.progress
        sender = wire.sender(buf)
        number = wire.seqno(buf)
        fault = self._misplaced(buf, number)
        if fault and not (kind == wire.COMMIT and self.core.handover.is_of_view_left(buf, number)):
            return fault
        if kind == wire.PREPARE and sender == progress.primary():
            return faults.SENDER
        known = self.slots.find(number)
        if known >= 0 and not self._needs_vote(known, kind, sender):
            return faults.NOT_NEEDED
        if not self.core.auth.check(buf, sender):
            return faults.MAC
        self.note(number)
        return self._count_vote(self.slots.open(number), kind, sender, buf)

    @micropython.native
    def _has_from_primary(self, base):
        return self.slots.has(base, PRE_PREPARED) and not self.slots.has(base, VOUCHED_ONLY)

    @micropython.native
    def is_vouched(self, base):
        """A batch that f + 1 votes name: a correct replica has it from the primary."""
        slots = self.slots
        return slots.has(base, PRE_PREPARED) and self._quorum.is_weak(
            slots.prepares(base) | slots.commits(base)
        )

    @micropython.native
    def _needs_vote(self, base, kind, sender):
        done = PREPARED if kind == wire.PREPARE else COMMITTED
        return not (self.slots.has(base, done) or self.slots.has_voted(base, kind, sender))

    @micropython.native
    def _count_vote(self, base, kind, sender, buf):
        slots = self.slots
        digest = slots.digest_at(base)
        if slots.has(base, PRE_PREPARED) and equal(slots.buf, digest, buf, 16, 32):
            if kind == wire.PREPARE:
                slots.add_prepare(base, sender)
            else:
                slots.add_commit(base, sender)
            return self.advance(base)
        if not slots.add_candidate_vote(base, kind, sender, buf, wire.HEADER_LENGTH):
            return faults.EQUIVOCATION
        lacks = not slots.has(base, PRE_PREPARED)
        if kind == wire.COMMIT and (lacks or self._is_overruled(base)):
            self.core.status.on_evidence()  # 2f + 1 replicas have what did not come here
        return 0

    def _is_overruled(self, base):
        """2f + 1 COMMITs are for another batch than the faulty primary proposed here: take that
        one. Who said PREPARE to its own does not say it again, it executes what was committed."""
        certified = self.slots.find_certified(base, self._quorum)
        if certified < 0:
            return False
        self.core.durability.overrule(base)
        self.slots.exchange(base, certified)
        return True

    def _said_other(self, base):
        """True if this replica spoke for another batch, maybe before a restart: 2f + 1 COMMITs are
        then for others to bring. The primary knows that by those COMMITs alone."""
        progress = self.core.progress
        if self.slots.is_for_other(base, progress.replica_id):
            return True
        return progress.is_primary() and self._quorum.is_quorum(self.slots.commits(base))

    @micropython.native
    def _misplaced(self, buf, number):
        progress = self.core.progress
        if wire.view(buf) != progress.view or not progress.active:
            return faults.STALE_VIEW
        if not progress.in_window(number):
            return faults.OUTSIDE_WINDOW
        return 0

    @micropython.native
    def note(self, number):
        """Something authentic was said about `number`: there is work to follow up."""
        if number > self.last_seen:
            self.last_seen = number
        self.core.status.on_work()

    def restore(self, number, spoken):
        """After a restart: the slot of `number` is as it was; `spoken`: in the present view."""
        self.last_seen = max(self.last_seen, number)
        if spoken:
            self.last_proposed = max(self.last_proposed, number)

    def forget(self):
        self.last_seen = self.last_proposed = 0

    # --- from stored to committed ---

    @micropython.native
    def advance(self, base):
        """Take the slot as far as its votes and bodies allow."""
        slots = self.slots
        if not self.core.progress.active:
            return self.core.handover.learn(base)
        if not slots.has(base, ACCEPTED):
            if slots.has(base, COMMITTED):
                return 0  # committed by others, or before a restart: nothing more to say
            if not self._is_acceptable(base):
                return faults.UNVOUCHED if slots.has(base, VOUCHED_ONLY) else 0
            if self._said_other(base):
                return self.core.handover.learn(base)
            self._accept(base)
        if not slots.has(base, PREPARED):
            if not self._quorum.is_prepared(slots.prepares(base)):
                return 0
            self.core.durability.say_prepared(base)
            slots.set_flag(base, PREPARED)
            slots.add_commit(base, self.core.progress.replica_id)
            self.send_vote(wire.COMMIT, base, -1)
        if not slots.has(base, COMMITTED) and self._quorum.is_quorum(slots.commits(base)):
            slots.set_flag(base, COMMITTED)
        return 0

    @micropython.native
    def _is_acceptable(self, base):
        slots = self.slots
        if not slots.has(base, PRE_PREPARED) or slots.missing(base):
            return False
        if slots.has(base, VOUCHED_ONLY):
            return self.is_vouched(base)
        if slots.doubts(base) or slots.has(base, TIME_IN_DOUBT):
            return self._quorum.count(slots.prepares(base)) >= self._fault_count
        return True

    def reconsider(self):
        """Time has passed: look again at batches whose time was not plausible."""
        slots = self.slots
        progress = self.core.progress
        last = min(self.last_seen, progress.high_mark())
        for seqno in range(progress.last_executed + 1, last + 1):
            base = slots.find(seqno)
            if base >= 0 and slots.has(base, TIME_IN_DOUBT) and not slots.has(base, ACCEPTED):
                self.core.batches.check_time(base)
                self.advance(base)

    @micropython.native
    def _accept(self, base):
        slots = self.slots
        self.core.durability.say_batch(base)
        slots.set_flag(base, ACCEPTED)
        slots.clear_flag(base, VOUCHED_ONLY)
        core = self.core
        if not core.progress.is_primary():
            slots.add_prepare(base, core.progress.replica_id)
            self.send_vote(wire.PREPARE, base, -1)
        self.core.durability.store_batch(base)
        self.core.batches.mark_proposed(base)

    @micropython.native
    def send_vote(self, kind, base, receiver):
        """Multicast the own vote for the slot, or repeat it for one replica."""
        core = self.core
        number = self.slots.seqno(base)
        buf = core.post.begin(kind, 0, core.progress.view, number)
        copy(buf, wire.HEADER_LENGTH, self.slots.buf, self.slots.digest_at(base), 32)
        end = wire.HEADER_LENGTH + wire.DIGEST_LENGTH
        if receiver < 0:
            core.post.multicast(end)
        else:
            core.post.unicast(receiver, end)

    # --- the primary ---

    @micropython.native
    def propose(self):
        """Order waiting requests while there is room in window and pipeline. True if it did."""
        core = self.core
        proposed = False
        while core.requests.waiting and self.may_propose():
            number = self.next_seqno()
            base = self.slots.open(number)
            if not core.batches.fill(base):
                break
            self.slots.set_flag(base, PRE_PREPARED | HAS_BATCH)
            self.last_proposed = number
            self.note(number)
            core.durability.say_batch(base)
            core.batches.send(base, -1)
            core.durability.store_batch(base)
            self.slots.adopt_votes(base)
            self.advance(base)
            proposed = True
        return proposed

    @micropython.native
    def next_seqno(self):
        return max(self.last_proposed, self.core.progress.last_executed) + 1

    @micropython.native
    def may_propose(self):
        progress = self.core.progress
        if not progress.is_primary() or self.core.transfer.running:
            return False  # without the client table it would propose what was executed already
        if self.core.durability.abstains:
            return False
        number = self.next_seqno()
        if number > progress.high_mark():
            if number > _SEQNO_MAX:
                self.core.faults.count(faults.SEQNO_EXHAUSTED)
            return False
        return number - progress.last_executed <= self.core.config.PIPELINE
