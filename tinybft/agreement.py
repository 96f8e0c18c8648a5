"""Normal case: pre-prepare, prepare, commit (TOCS 4.1; thesis chapter 3).

    primary   takes waiting requests into a batch, gives it the next seqno, PRE-PREPARE
    backup    accepts it once every request in it is authentic and here, PREPARE
    all       2f PREPAREs of backups that match, a COMMIT counts as one: prepared, COMMIT; but for
              no more than PIPELINE batches beyond the last executed one, since each has to be kept
              over views (slots.py)
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
from tinybft.octets import copy

_SEQNO_MAX = const(0xFFFFFFFF)  # what the u32 in the header holds
# As in wire.py, slots.py and faults.py: a constant is inlined only in the module that defines it.
_PREPARE = const(3)
_COMMIT = const(4)
_HEADER_LENGTH = const(16)
_DIGEST_LENGTH = const(32)
_FLAGS = const(4)  # in a slot
_PREPARES = const(44)
_COMMITS = const(48)
_PRE_PREPARED = const(1)
_ACCEPTED = const(2)
_PREPARED = const(4)
_COMMITTED = const(8)
_VOUCHED_ONLY = const(16)
_TIME_IN_DOUBT = const(32)
_HAS_BATCH = const(64)
_NAMED = const(128)
_SENDER = const(5)
_MAC = const(7)
_BATCH = const(8)
_EQUIVOCATION = const(9)
_STALE_VIEW = const(16)
_OUTSIDE_WINDOW = const(17)
_NOT_NEEDED = const(18)
_UNVOUCHED = const(20)
_UNCHANGED = const(-1)
_FLAG_CHECKPOINT = const(1)


class Agreement:
    def __init__(self, core):
        config = core.config
        self.core = core
        self.slots = core.slots
        self._quorum = core.quorum
        self._is_prepared = core.quorum.is_prepared  # bound: looked up once, not twice
        self._is_quorum = core.quorum.is_quorum
        self._when_prepared = 0 if config.TENTATIVE else _UNCHANGED  # it may be executed
        self._pipeline = config.PIPELINE
        self._is_durable = config.DURABLE
        self._stagger_ms = config.STAGGER_MS
        self._window = config.WINDOW
        self.last_seen = 0  # highest seqno of which any authentic message was taken
        self.last_proposed = 0  # as the primary of this view

    # --- messages ---

    @micropython.viper
    def on_pre_prepare(self, buf) -> int:
        core = self.core
        slots = self.slots
        progress = core.progress
        sender = int(wire.sender(buf))
        number = wire.seqno(buf)
        known = int(slots.find(number))
        if known >= 0 and slots.has(known, _NAMED) and core.handover.listens_to(buf):
            return int(core.handover.on_named(known, buf))
        if not progress.active:
            return int(core.handover.on_late_pre_prepare(known, buf))
        fault = int(self._misplaced(buf, number))
        if not fault:
            fault = int(self._unwanted(known, sender, buf))
        if fault:
            return fault
        if not core.auth.check(buf, sender):
            return _MAC
        base = int(slots.open(number))
        self.note(number)
        executed = uint(progress.last_executed)
        if uint(number) > executed and uint(number) - executed > uint(self._pipeline):
            core.status.on_evidence()  # its sender executed what is missing here
        if slots.has(base, _PRE_PREPARED):
            slots.disown_votes(base)
            slots.drop_batch(base)
        fault = int(core.batches.store(base, buf))
        if fault:
            return fault
        flags = _PRE_PREPARED | _HAS_BATCH
        if sender != int(progress.primary()):  # forwarded
            flags |= _VOUCHED_ONLY
        slots.set_flag(base, flags)
        slots.adopt_votes(base)
        return int(self.advance(base))

    @micropython.viper
    def _unwanted(self, known: int, sender: int, buf) -> int:
        """Why a PRE-PREPARE for the slot `known` (-1: new) is refused; 0: it is not."""
        progress = self.core.progress
        if progress.is_primary():
            return _NOT_NEEDED
        if known >= 0:
            if self._has_from_primary(known):
                return _NOT_NEEDED
            if sender != int(progress.primary()) and self.is_vouched(known):
                return _NOT_NEEDED
        if uint(wire.seqno(buf)) < uint(self.core.handover.agreed_from):
            return _OUTSIDE_WINDOW
        if not wire.batch_count(buf, _HEADER_LENGTH):
            return _BATCH  # only a NEW-VIEW orders nothing
        return 0

    @micropython.viper
    def on_vote(self, buf) -> int:  # noqa: C901
        """PREPARE or COMMIT. One that cannot change anything any more ends before its tag is
        computed: a second one of its sender, or one for a certificate that is complete here. Two
        of five end so; what they would tell besides (that their sender is there, and how far) a
        STATUS tells, which is asked for when something is missing.

        Half of all messages come here: what is in one function is not looked up.
        """
        octets = ptr8(buf)
        core = self.core
        progress = core.progress
        kind = octets[1]
        sender = octets[2] | octets[3] << 8
        high = uint(octets[15]) << 24 | uint(octets[14]) << 16
        number = high | uint(octets[13]) << 8 | uint(octets[12])  # wire.seqno
        high = uint(octets[11]) << 24 | uint(octets[10]) << 16
        view = high | uint(octets[9]) << 8 | uint(octets[8])
        low_mark = uint(progress.low_mark)
        attached = kind == _COMMIT and octets[0] & _FLAG_CHECKPOINT
        is_placed = number > low_mark and number - low_mark <= uint(self._window)
        if not is_placed or view != uint(progress.view) or not progress.active:
            fault = int(self._misplaced(buf, number))
            if kind != _COMMIT or not core.handover.is_of_view_left(buf, number):
                return int(core.checkpoints.on_attached(buf, sender, True)) if attached else fault
        if kind == _PREPARE and sender == int(progress.primary()):
            return _SENDER
        slots = self.slots
        base = int(slots.find(number))
        if base >= 0:
            done = _PREPARED if kind == _PREPARE else _COMMITTED
            if ptr8(slots.buf)[base + _FLAGS] & done or slots.has_voted(base, kind, sender):
                if attached:
                    return int(core.checkpoints.on_attached(buf, sender, True))
                return _NOT_NEEDED
        if not core.auth.check_digested(buf, sender, 0):  # too short to be digested
            return _MAC
        if attached:
            core.checkpoints.on_attached(buf, sender, False)
        self.note(number)
        if base < 0:
            base = int(slots.open(number))
        if slots.add_vote(base, kind, sender, buf):
            return int(self.advance(base))
        return int(self._count_candidate(base, kind, sender, buf))

    @micropython.native
    def _has_from_primary(self, base):
        return self.slots.has(base, _PRE_PREPARED) and not self.slots.has(base, _VOUCHED_ONLY)

    @micropython.native
    def is_vouched(self, base):
        """A batch that f + 1 votes name: a correct replica has it from the primary."""
        slots = self.slots
        return slots.has(base, _PRE_PREPARED) and self._quorum.is_weak(
            slots.prepares(base) | slots.commits(base)
        )

    @micropython.native
    def _count_candidate(self, base, kind, sender, buf):
        """A vote for a digest that is not, or not yet, the slot's own."""
        slots = self.slots
        if not slots.add_candidate_vote(base, kind, sender, buf, _HEADER_LENGTH):
            return _EQUIVOCATION
        lacks = not slots.has(base, _PRE_PREPARED)
        if kind == _COMMIT and (lacks or self._is_overruled(base)):
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

    @micropython.native
    def _said_other(self, base):
        """True if this replica spoke for another batch, maybe before a restart: 2f + 1 COMMITs are
        then for others to bring. The primary knows that by those COMMITs alone."""
        progress = self.core.progress
        if self.slots.is_for_other(base, progress.replica_id):
            return True
        return progress.is_primary() and self._quorum.is_quorum(self.slots.commits(base))

    @micropython.viper
    def _misplaced(self, buf, number) -> int:
        progress = self.core.progress
        if uint(wire.view(buf)) != uint(progress.view) or not progress.active:
            return _STALE_VIEW
        if not progress.in_window(number):
            return _OUTSIDE_WINDOW
        return 0

    @micropython.viper
    def note(self, number):
        """Something authentic was said about `number`: there is work to follow up."""
        if uint(number) > uint(self.last_seen):
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

    @micropython.viper
    def advance(self, base: int) -> int:  # noqa: C901
        """Take the slot as far as its votes and bodies allow. A fault, 0 or UNCHANGED."""
        slots = self.slots
        if not self.core.progress.active:
            return int(self.core.handover.learn(base))
        flags = int(slots.flags(base))
        if not flags & _ACCEPTED:
            if flags & _COMMITTED:
                return 0  # committed by others, or before a restart: nothing more to say
            if not self._is_acceptable(base):
                return _UNVOUCHED if flags & _VOUCHED_ONLY else 0
            if self._said_other(base):
                return int(self.core.handover.learn(base))
            self._accept(base)
        if not flags & _PREPARED:
            if not self._is_prepared(self._prepares(base)):
                return _UNCHANGED
            ahead = int(slots.seqno(base)) - int(self.core.progress.last_executed)
            if ahead > int(self._pipeline):
                return _UNCHANGED  # `on_executed` comes back to it
            if bool(self._is_durable):
                self.core.durability.say_prepared(base)
            slots.set_flag(base, _PREPARED)
            slots.add_commit(base, self.core.progress.replica_id)
            self._vote(_COMMIT, base)
        if flags & _COMMITTED or not self._is_quorum(slots.commits(base)):
            return _UNCHANGED if flags & _PREPARED else int(self._when_prepared)
        slots.set_flag(base, _COMMITTED)
        return 0

    @micropython.native
    def on_executed(self):
        """One more batch is executed, so one more may become prepared."""
        slots = self.slots
        number = self.core.progress.last_executed
        if self.last_seen <= number:
            return
        for _ in range(self._pipeline):
            number += 1
            base = slots.find(number)
            if base >= 0 and slots.has(base, _ACCEPTED) and not slots.has(base, _PREPARED):
                self.advance(base)

    @micropython.viper
    def _is_acceptable(self, base: int) -> bool:
        slots = self.slots
        flags = int(slots.flags(base))
        if not flags & _PRE_PREPARED or slots.missing(base):
            return False
        if flags & _VOUCHED_ONLY:
            return bool(self.is_vouched(base))
        if flags & _TIME_IN_DOUBT or slots.doubts(base):
            return int(self._quorum.count(self._prepares(base))) >= int(self._quorum.fault_count)
        return True

    def reconsider(self):
        """Time has passed: look again at batches whose time was not plausible."""
        slots = self.slots
        progress = self.core.progress
        last = min(self.last_seen, progress.high_mark())
        for seqno in range(progress.last_executed + 1, last + 1):
            base = slots.find(seqno)
            if base >= 0 and slots.has(base, _TIME_IN_DOUBT) and not slots.has(base, _ACCEPTED):
                self.core.batches.check_time(base)
                self.advance(base)

    @micropython.viper
    def _accept(self, base: int):
        slots = self.slots
        core = self.core
        if bool(self._is_durable):
            self.core.durability.say_batch(base)
        slots.set_flag(base, _ACCEPTED)
        slots.clear_flag(base, _VOUCHED_ONLY)
        if not core.progress.is_primary():
            slots.add_prepare(base, core.progress.replica_id)
            self._vote(_PREPARE, base)
        if bool(self._is_durable):
            core.durability.store_batch(base)
        self.core.batches.mark_proposed(base)
        if int(self._stagger_ms):
            core.turns.on_batch(base)

    @micropython.viper
    def _prepares(self, base: int) -> uint:
        """Mask of the backups that accepted the slot's batch. Who says COMMIT has accepted it, and
        durably: that says all that its PREPARE does. The primary's never counts."""
        buf = ptr8(self.slots.buf)  # both masks are read here, without a call for each
        at = base + _COMMITS
        high = uint(buf[at + 3]) << 24 | uint(buf[at + 2]) << 16
        commits = high | uint(buf[at + 1]) << 8 | uint(buf[at])
        commits &= ~(uint(1) << int(self.core.progress.primary()))
        at = base + _PREPARES
        high = uint(buf[at + 3]) << 24 | uint(buf[at + 2]) << 16
        return high | uint(buf[at + 1]) << 8 | uint(buf[at]) | commits

    @micropython.viper
    def _vote(self, kind: int, base: int):
        """Say to everybody what is durable; in its turn, if there are turns."""
        if int(self._stagger_ms):
            self.core.turns.vote(kind, base)
        else:
            self.send_vote(kind, base, -1)

    @micropython.viper
    def send_vote(self, kind: int, base: int, receiver: int):
        """Multicast the own vote for the slot, or repeat it for one replica."""
        core = self.core
        slots = self.slots
        post = core.post
        buf = post.begin(kind, 0, core.progress.view, slots.seqno(base))
        copy(buf, _HEADER_LENGTH, slots.buf, slots.digest_at(base), _DIGEST_LENGTH)
        end = _HEADER_LENGTH + _DIGEST_LENGTH
        if kind == _COMMIT and int(self._stagger_ms):
            end = int(core.turns.attach(buf, end, receiver))
        if receiver < 0:
            post.multicast(end)
        else:
            post.unicast(receiver, end)

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
            self.slots.set_flag(base, _PRE_PREPARED | _HAS_BATCH)
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
        if self.core.durability.abstains or self.core.transfer.holds_off():
            return False
        number = self.next_seqno()
        if number > progress.high_mark():
            if number > _SEQNO_MAX:
                self.core.faults.count(faults.SEQNO_EXHAUSTED)
            return False
        return number - progress.last_executed <= self.core.config.PIPELINE
