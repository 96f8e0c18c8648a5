"""Repair: a replica says what it has, the others send what it lacks (TOCS 4.5).

STATUS goes to everybody: after a short time without progress while something is open, a few
times at that distance, then at doubling ones, and at the idle period when nothing is open. Who
receives one sends

    its own CHECKPOINT, PREPARE and COMMIT where the sender's masks lack it,
    a pre-prepare or a request body, if it is this replica's turn: the primary's in round 0,
    then one more replica's in every further round (any holder can repair them).

STATUS never changes the receiver's view or window: it makes it talk. Answers go to the asking
replica alone and at most once in half a `repair_ms`, so a flood buys little; in a whole one, who
soon lacks something else would ask in vain. Distances are jittered, so that several replicas
that miss the same frame do not ask at the same moment.

The first distance follows the group: `repair_ms` plus the smoothed time that a batch takes.

Does not allocate.
"""

from tinybft import wire
from tinybft.clock import elapsed
from tinybft.compat import const, micropython
from tinybft.slots import (
    ACCEPTED,
    COMMITTED,
    HAS_BATCH,
    PRE_PREPARED,
    PREPARED,
    VOUCHED_ONLY,
)

_SLOT_STATE = const(15)  # the slot flags that STATUS tells: pre-prepared .. committed
_ROUND_MAX = const(255)
_SMOOTHING_BITS = const(3)
_PATIENCE = const(4)  # rounds at the first distance: under loss pace counts, not back-off


class Status:
    def __init__(self, core):
        config = core.config
        self.core = core
        self._repair_ms = config.REPAIR_MS
        self._answer_ms = (config.REPAIR_MS + 1) // 2
        self._stagger_ms = config.STAGGER_MS
        self._idle_ms = config.STATUS_MS
        self._patience = 1 if config.STAGGER_MS else _PATIENCE
        self._evident = 3 if config.STAGGER_MS else 1  # rounds in which evidence hastens the next
        self._interval = config.CHECKPOINT_INTERVAL
        self._checkpoint_count = config.CHECKPOINT_COUNT - 1
        self._mask_length = core.wire.mask_length
        self._slot_length = core.wire.status_slot_length
        self._answered_at = [0] * config.REPLICA_COUNT
        self.heard_at = [-1] * config.REPLICA_COUNT  # -1: never
        # `ask` is due `delay` ms after `since`: the last progress, or work after idleness.
        self.since = 0
        self.delay = config.STATUS_MS
        self._waiting = False
        self._round = 0  # how often it was asked; each time it is somebody else's turn to answer
        self._late = 0  # how often since somebody talked, beyond patience
        self._smoothed = 0  # 8 x the time in ms from work to progress

    # --- when to ask ---

    def start(self, now):
        self.since = now
        self.delay = 1 + self.core.random.below(self._idle_ms)
        for peer in range(len(self._answered_at)):
            self._answered_at[peer] = now - self._repair_ms

    @micropython.viper
    def on_work(self):
        """Something is open, or came nearer to its end. The clock of an idle replica starts
        now; one that had lost patience finds that somebody talks, and asks at full pace."""
        if not self._waiting:
            self._waiting = True
            self._restart()
        elif int(self._late):
            self._late = 0
            self.delay = self._base_delay()

    @micropython.native
    def on_evidence(self):
        """Others are further: what is missing here was lost, it is not merely late. (Who fetches a
        state knows that, and its sources need their time.)"""
        if self._round < self._evident and not self.core.transfer.running:
            self.hasten((self._repair_ms + 1) // 2 << self._round)

    @micropython.native
    def hasten(self, ms):
        """Ask in `ms` milliseconds, if not earlier."""
        soon = elapsed(self.core.progress.now, self.since) + ms
        if soon < self.delay:
            self.delay = soon

    def _on_news(self, seqno):
        """A peer's STATUS knows of a batch that this replica never heard of: ask at once."""
        self.core.agreement.note(seqno)
        self.delay = min(self.delay, self.core.random.below(1 + self._repair_ms))

    @micropython.viper
    def on_progress(self):
        """Executed, stable, or a piece of state fetched: ask later."""
        if self._waiting and not self._round:
            passed = int(self.core.progress.now) - int(self.since) & 0x3FFFFFFF
            smoothed = int(self._smoothed)
            if smoothed:
                self._smoothed = smoothed + passed - (smoothed >> _SMOOTHING_BITS)
            else:
                self._smoothed = passed << _SMOOTHING_BITS
        self._waiting = self.has_open_work()
        self._restart()
        if int(self._stagger_ms) and self.core.turns.lacks_checkpoint():
            self.on_evidence()

    @micropython.viper
    def _restart(self):
        self.since = self.core.progress.now
        self._round = 0
        self._late = 0
        self.delay = self._base_delay() if self._waiting else self._idle_ms

    @micropython.viper
    def usual_ms(self) -> int:
        """How long it takes from work to progress, at most."""
        return int(self._repair_ms) + (int(self._smoothed) >> _SMOOTHING_BITS)

    @micropython.viper
    def _base_delay(self) -> int:
        base = int(self.usual_ms())
        base += int(self.core.random.below(1 + (base >> 1)))
        idle = int(self._idle_ms)
        return base if base < idle else idle

    @micropython.viper
    def has_open_work(self) -> bool:
        core = self.core
        progress = core.progress
        executed = uint(progress.last_executed)
        if core.transfer.running or uint(core.agreement.last_seen) > executed:
            return True
        if core.requests.waiting or not progress.active:
            return True
        if core.handover.reagreeing and core.handover.is_reagreeing():
            return True
        low_mark = uint(progress.low_mark)
        is_said = 1
        if int(self._stagger_ms) and core.turns.has_checkpoint():
            is_said = 0
        if is_said and executed > low_mark and executed - low_mark >= uint(self._interval):
            return True
        return int(core.checkpoints.find_target()) >= 0

    def asked(self):
        """How often what is open was asked for since the last progress."""
        return self._round

    def ask(self, now):
        """It is time to: `delay` has passed since `since`."""
        core = self.core
        core.clock.advance(now)
        core.agreement.reconsider()
        core.view_change.consider_courtesy(now)
        if not core.progress.active:
            core.view_change.settle()  # the window may have reached a batch that X needs
        self._waiting = self.has_open_work()
        if not (core.turns and core.turns.propose_again()):
            self.send()
        self.since = now
        if not self._waiting:
            self.delay = self._idle_ms - core.random.below(1 + self._idle_ms // 4)
            return
        is_primary = core.progress.primary() == core.progress.replica_id
        if core.requests.waiting and not is_primary and not core.transfer.running:
            core.requests.relay(self._round)
        self._round += 1 if self._round < _ROUND_MAX else -_ROUND_MAX // 2
        self.delay = self._base_delay()
        if self._round > self._patience and not core.transfer.running:
            self._late = min(self._late + 1, 12)
            self.delay = min(self.delay << self._late, self._idle_ms)
        if core.transfer.running:
            core.transfer.ask_again()
        else:
            self._consider_transfer()

    def _consider_transfer(self):
        """Behind the window, or repair did not help: fetch the state instead."""
        core = self.core
        peer = core.checkpoints.find_target()
        if peer >= 0 and (
            self._round > 2 or core.checkpoints.peer_seqno(peer) > core.progress.high_mark()
        ):
            core.checkpoints.start_transfer_to(peer)

    # --- what to say ---

    def send(self):
        core = self.core
        progress = core.progress
        active = wire.FLAG_ACTIVE if progress.active else 0
        buf = core.post.begin(wire.STATUS, active, progress.view, progress.low_mark)
        last = min(core.agreement.last_seen, progress.high_mark())
        count = max(0, last - progress.low_mark)
        wire.put_status_header(buf, progress.last_executed, self._round, count)
        at = wire.HEADER_LENGTH + wire.STATUS_HEADER_LENGTH
        for number in range(progress.low_mark + 1, progress.low_mark + 1 + count):
            self._put_slot(buf, at, number)
            at += self._slot_length
        for i in range(1, self._checkpoint_count + 1):
            voters = core.checkpoints.voters(progress.low_mark + i * self._interval)
            wire.put_mask(buf, at, self._mask_length, voters)
            at += self._mask_length
        wire.put_mask(buf, at, self._mask_length, core.view_change.settled())
        core.post.multicast(at + self._mask_length)

    def _put_slot(self, buf, at, number):
        slots = self.core.slots
        base = slots.find(number)
        state = 0
        missing = 0
        prepares = 0
        commits = 0
        progress = self.core.progress
        if number < self.core.handover.first_open() or (
            number <= progress.last_executed and not progress.active
        ):
            state = _SLOT_STATE
        elif base >= 0:
            state = slots.flags(base) & _SLOT_STATE
            prepares = slots.prepares(base)
            commits = slots.commits(base)
            if slots.has(base, HAS_BATCH) and not progress.active and slots.missing(base):
                state |= PRE_PREPARED  # a new primary's: the batch came, its bodies did not
            if state & PRE_PREPARED:
                missing = slots.missing(base)
            unproven = slots.has(base, VOUCHED_ONLY) and not self.core.agreement.is_vouched(base)
            if unproven and progress.active:
                state = 0  # the primary's own copy would still be welcome
        buf[at] = state
        wire.put_mask(buf, at + 1, 2, missing)
        wire.put_mask(buf, at + 3, self._mask_length, prepares)
        wire.put_mask(buf, at + 3 + self._mask_length, self._mask_length, commits)

    # --- what to answer ---

    def may_answer(self, peer):
        """True unless `peer` was answered within the last half of `repair_ms`."""
        return elapsed(self.core.progress.now, self._answered_at[peer]) >= self._answer_ms

    def on_status(self, buf):
        core = self.core
        progress = core.progress
        sender = wire.sender(buf)
        self.heard_at[sender] = progress.now
        # Only now that the tag was good: or a forger could use up the sender's turn.
        self._answered_at[sender] = progress.now
        their_low = wire.seqno(buf)
        their_executed = wire.status_last_executed(buf)
        count = wire.status_slot_count(buf)
        core.durability.on_status(sender, their_low, their_executed)
        known = min(max(their_executed, their_low + count), progress.high_mark())
        if known > core.agreement.last_seen and known > progress.last_executed:
            self._on_news(known)
        elif their_low > progress.low_mark:
            self.on_work()
        tail = wire.HEADER_LENGTH + wire.STATUS_HEADER_LENGTH + count * self._slot_length
        self._answer_checkpoints(buf, tail, sender, their_low)
        tail += self._checkpoint_count * self._mask_length
        settled = wire.get_mask(buf, tail, self._mask_length)
        core.view_change.answer(buf, settled, wire.status_round(buf))
        is_active = wire.flags(buf) & wire.FLAG_ACTIVE
        core.handover.note_view(sender, wire.view(buf), is_active)
        if progress.active and wire.view(buf) == progress.view and is_active:
            self._answer_slots(buf, count, sender, their_low)
        elif not is_active and wire.view(buf) >= progress.view:
            self._answer_between_views(buf, count, sender, their_low)

    def _answer_checkpoints(self, buf, at, sender, their_low):
        core = self.core
        progress = core.progress
        most = progress.high_mark()
        if core.turns and wire.status_round(buf) < 2:
            executed = wire.status_last_executed(buf)
            if core.slots.find(executed + 1) >= 0:
                most = executed  # it can go on by batches: checkpoints behind them can wait
        if their_low < progress.low_mark <= most:
            core.checkpoints.send(progress.low_mark, sender, 0)
        for i in range(1, self._checkpoint_count + 1):
            number = their_low + i * self._interval
            voters = wire.get_mask(buf, at, self._mask_length)
            at += self._mask_length
            is_wanted = progress.low_mark < number <= most
            if is_wanted and not voters >> progress.replica_id & 1:
                core.checkpoints.send(number, sender, 0)

    def _answer_slots(self, buf, count, sender, their_low):
        core = self.core
        at = wire.HEADER_LENGTH + wire.STATUS_HEADER_LENGTH
        turn = self._is_my_turn(sender, wire.status_round(buf))
        last = min(core.agreement.last_seen, their_low + core.config.WINDOW)
        executed = wire.status_last_executed(buf)
        for number in range(their_low + 1, last + 1):
            base = core.slots.find(number)
            if base >= 0 and core.slots.has(base, ACCEPTED):
                if number <= their_low + count:
                    self._answer_slot(base, buf, at, sender, turn)
                elif number > executed:
                    self._answer_unknown(base, sender, turn)
            at += self._slot_length

    def _answer_between_views(self, buf, count, sender, their_low):
        """Batches that a new primary needs to begin its view, and bodies; and to who has left
        this view alone its batches and COMMITs, to execute what the others do.

        Nobody else gets a batch: it travels as a pre-prepare of the present view, and the primary
        of that view must not send one that its NEW-VIEW may not select.
        """
        core = self.core
        progress = core.progress
        view = wire.view(buf)
        at = wire.HEADER_LENGTH + wire.STATUS_HEADER_LENGTH
        turn = self._is_my_turn(sender, wire.status_round(buf))
        has_left = progress.active and view > progress.view
        begins = view == progress.view and sender == progress.primary()
        for number in range(their_low + 1, their_low + count + 1):
            base = core.slots.find(number)
            if turn and not buf[at] & COMMITTED:
                self._answer_batch(base, buf, at, sender, begins or has_left)
                self._answer_batch(core.slots.find_kept(number), buf, at, sender, begins)
            if base >= 0 and has_left:
                self._answer_commit(base, buf, at, sender)
            at += self._slot_length

    def _answer_batch(self, base, buf, at, sender, whole):  # noqa: PLR0913
        core = self.core
        if base >= 0 and core.slots.has(base, HAS_BATCH):
            if buf[at] & PRE_PREPARED:
                core.batches.send_bodies(base, wire.get_mask(buf, at + 1, 2), sender)
            elif whole and core.slots.request_count(base):  # nulls: see _answer_slot
                core.batches.send(base, sender)

    def _is_my_turn(self, sender, round_number):
        progress = self.core.progress
        holder = (progress.primary() + round_number) % progress.replica_count
        if holder == sender:
            holder = (holder + 1) % progress.replica_count
        return holder == progress.replica_id or (round_number and progress.is_primary())

    def _answer_unknown(self, base, sender, turn):
        core = self.core
        if turn and core.slots.request_count(base):
            core.batches.send(base, sender)
        if core.slots.has(base, PREPARED):
            core.agreement.send_vote(wire.COMMIT, base, sender)
        elif not core.progress.is_primary():
            core.agreement.send_vote(wire.PREPARE, base, sender)

    def _answer_slot(self, base, buf, at, sender, turn):
        core = self.core
        state = buf[at]
        if state & COMMITTED:
            return
        me = core.progress.replica_id
        if turn:
            missing = wire.get_mask(buf, at + 1, 2)
            if not state & PRE_PREPARED:
                if core.slots.request_count(base):  # null is what the NEW-VIEW said
                    core.batches.send(base, sender)
            elif missing:
                core.batches.send_bodies(base, missing, sender)
        prepares = wire.get_mask(buf, at + 3, self._mask_length)
        said = core.slots.has(base, PREPARED) or core.progress.is_primary()  # by COMMIT: it counts
        if not (state & PREPARED or said or prepares >> me & 1):
            core.agreement.send_vote(wire.PREPARE, base, sender)
        self._answer_commit(base, buf, at, sender)

    def _answer_commit(self, base, buf, at, sender):
        core = self.core
        commits = wire.get_mask(buf, at + 3 + self._mask_length, self._mask_length)
        wanted = not (buf[at] & COMMITTED or commits >> core.progress.replica_id & 1)
        if wanted and core.slots.has(base, PREPARED):
            core.agreement.send_vote(wire.COMMIT, base, sender)
