"""NEW-VIEW: the new primary's choice, its verification, and what every replica then does.

    primary   as soon as the VIEW-CHANGEs that count permit a choice (decision.py), and the
              batches it names are here: NEW-VIEW(view, V = {(replica, digest)}, X), to all
    backup    obtains every VIEW-CHANGE that V names and asks whether they permit X. Wrong: the
              primary is faulty, next view. Right: install
    install   each entry of X is a pre-prepare of the new view; what is missing is fetched by
              its digest; what was executed already is agreed again, not executed again

A replica that comes late, when VIEW-CHANGEs of V have been replaced by later ones, need not see
them: who has installed a NEW-VIEW says so on request (an ACK that names the primary), and f + 1
who say it have a correct replica among them that verified it.

No slot is given up for a new view: X starts behind a checkpoint that only f + 1 may hold, so
low_mark moves to what V proves stable, and P, Q and the batches of P stay.

Allocates nothing outside hashing.
"""

from tinybft import faults, wire
from tinybft.compat import const
from tinybft.decision import Decision
from tinybft.memory import event_fields, offsets
from tinybft.octets import copy, equal, fill, get_u32, is_zero
from tinybft.slots import ACCEPTED

_COUNTS = const(16)
_CHECKPOINT = const(18)
_MEMBERS = const(50)
_MEMBER_LENGTH = const(33)  # replica u8, digest 32
_ACK_DIGEST = const(17)


class NewView:
    def __init__(self, core):
        config = core.config
        table = offsets(event_fields(config))
        view_change = core.view_change
        self.core = core
        self.is_held = False  # a NEW-VIEW for the present view is stored
        self.stable = 0  # what its VIEW-CHANGEs prove stable, once it is installed
        self._buf = core.memory.event
        self._at = table["new_view"]
        self._installs = table["installs"]
        self._installed = 0  # mask: whose `installs` entry is of this view
        self._window = config.WINDOW
        self._interval = config.CHECKPOINT_INTERVAL
        self._replica_count = config.REPLICA_COUNT
        self._digest = bytearray(wire.DIGEST_LENGTH)
        self._applied = 0  # X is in the slots up to this seqno
        self._attempt = 0
        self.decision = Decision(config, view_change.buf, view_change.base, view_change.size)

    def forget(self):
        """A view was left: nothing of it counts."""
        self.is_held = False
        self._installed = 0
        self.stable = 0
        self._attempt = 0

    # --- the stored message ---

    def _member_count(self):
        return self._buf[self._at + _COUNTS]

    def _batch_count(self):
        return self._buf[self._at + _COUNTS + 1]

    def _member_at(self, index):
        return self._at + _MEMBERS + index * _MEMBER_LENGTH

    def _batch_at(self, index):
        return self._at + _MEMBERS + self._member_count() * _MEMBER_LENGTH + index * 32

    def checkpoint(self):
        """The seqno that X starts behind; 0 in view 0."""
        return wire.seqno_at(self._buf, self._at)

    def end(self):
        """The last seqno that X names."""
        return self.checkpoint() + self._batch_count()

    def _store(self, buf):
        """Keep the message whose digest is in `auth.digest`."""
        copy(self._buf, self._at, buf, 0, wire.length(buf))
        copy(self._digest, 0, self.core.auth.digest, 0, 32)
        self.is_held = True

    def names(self, replica, digest):
        """True if the stored NEW-VIEW, not yet installed, names this VIEW-CHANGE."""
        at = self._find(replica)
        return at >= 0 and equal(self._buf, at, digest, 0, 32)

    def awaits(self, replica):
        """True if it names a VIEW-CHANGE of `replica` that is not here, or not believed."""
        at = self._find(replica)
        return at >= 0 and not self.core.view_change.has(replica, self._buf, at)

    def lacking(self):
        """Mask of the replicas it awaits."""
        mask = 0
        for replica in range(self._replica_count):
            if self.awaits(replica):
                mask |= 1 << replica
        return mask

    def _find(self, replica):
        """Offset of the digest that V names for `replica`; -1: none."""
        if self.is_held and not self.core.progress.active:
            for i in range(self._member_count()):
                at = self._member_at(i)
                if self._buf[at] == replica:
                    return at + 1
        return -1

    # --- messages ---

    def on_new_view(self, buf):
        core = self.core
        progress = core.progress
        sender = wire.sender(buf)
        if wire.view(buf) != progress.view:
            return faults.STALE_VIEW
        if sender != progress.primary():
            return faults.SENDER
        if progress.active:
            return faults.NOT_NEEDED
        core.auth.digest_message(buf, 0, core.wire.body_end(buf))
        if not self._is_confirmed(core.auth.digest):
            if self.is_held or sender == progress.replica_id:
                return faults.NOT_NEEDED
            if not core.auth.check_digested(buf, sender, 0):
                return faults.MAC
        if not self._is_well_formed(buf):
            return faults.FIELD
        self._store(buf)
        core.status.on_work()
        core.view_change.settle()
        return 0

    def _is_well_formed(self, buf):
        count = buf[_COUNTS]
        if wire.flags(buf) or wire.seqno(buf) % self._interval:
            return False
        mask = 0
        for at in range(_MEMBERS, _MEMBERS + count * _MEMBER_LENGTH, _MEMBER_LENGTH):
            if buf[at] >= self._replica_count or mask >> buf[at] & 1:
                return False
            mask |= 1 << buf[at]
        return self.core.quorum.is_quorum(mask)

    def on_ack(self, buf):
        """A replica has installed the NEW-VIEW with this digest."""
        sender = wire.sender(buf)
        if self._installed >> sender & 1:
            return faults.NOT_NEEDED
        if not self.core.auth.check(buf, sender):
            return faults.MAC
        copy(self._buf, self._installs + sender * 32, buf, _ACK_DIGEST, 32)
        self._installed |= 1 << sender
        self.core.view_change.settle()
        return 0

    def _is_confirmed(self, digest):
        mask = 0
        for replica in range(self._replica_count):
            at = self._installs + replica * 32
            if self._installed >> replica & 1 and equal(self._buf, at, digest, 0, 32):
                mask |= 1 << replica
        return self.core.quorum.is_weak(mask)

    def answer(self, receiver, round_number):
        """Help a replica that has not installed this view."""
        progress = self.core.progress
        if not self.is_held:
            return  # view 0 began without one
        holder = (progress.primary() + round_number) % self._replica_count
        if holder == receiver:
            holder = (holder + 1) % self._replica_count
        if holder == progress.replica_id:
            post = self.core.post
            length = wire.length_at(self._buf, self._at)
            copy(post.buf, 0, self._buf, self._at, length)
            post.relay(receiver, post.buf, length)
        self.core.view_change.send_ack_of(progress.primary(), self._digest, 0, receiver)

    # --- choosing and verifying ---

    def look(self):
        """Go on if it is possible. True if the primary of this view is faulty for sure."""
        progress = self.core.progress
        if self.is_held and self._is_confirmed(self._digest):
            self._install(0)
        elif progress.primary() == progress.replica_id:
            self._build()
        elif self.is_held and not self.lacking():
            members = self._members()
            if not self._is_permitted(members):
                self.core.faults.count(faults.NEW_VIEW)
                return True
            self._install(members)
        return False

    def _members(self):
        mask = 0
        for i in range(self._member_count()):
            mask |= 1 << self._buf[self._member_at(i)]
        return mask

    def _is_permitted(self, members):
        decision = self.decision
        chosen = decision.checkpoint(members)
        if chosen < 0 or get_u32(self._buf, chosen) != self.checkpoint():
            return False
        if not equal(self._buf, chosen + 4, self._buf, self._at + _CHECKPOINT, 32):
            return False
        for i in range(self._window):
            seqno = self.checkpoint() + 1 + i
            if i < self._batch_count():
                if not decision.may_select(members, seqno, self._buf, self._batch_at(i)):
                    return False
            elif not decision.is_unprepared(members, seqno):
                return False
        return True

    def _build(self):
        """The new primary: choose, announce, install; or wait for more."""
        core = self.core
        view_change = core.view_change
        members = view_change.members()
        if not core.quorum.is_quorum(members) or core.durability.abstains:
            return
        chosen = self.decision.checkpoint(members)
        if chosen < 0:
            return
        seqno = get_u32(self._buf, chosen)
        buf = core.post.begin(wire.NEW_VIEW, 0, core.progress.view, seqno)
        copy(buf, _CHECKPOINT, self._buf, chosen + 4, 32)
        at = _MEMBERS
        for replica in range(self._replica_count):
            if members >> replica & 1:
                view_change.put_entry(replica, buf, at)
                at += _MEMBER_LENGTH
        first = end = at
        for i in range(self._window):
            if not self._choose(members, seqno + 1 + i, buf, at):
                if not core.progress.in_window(seqno + 1 + i):
                    self._move_window(members, seqno, chosen)
                return
            at += 32
            is_null = is_zero(buf, at - 32, 32)
            if not is_null or not self.decision.is_unprepared(members, seqno + 1 + i):
                end = at
        wire.put_new_view_counts(buf, core.quorum.count(members), (end - first) // 32)
        length = core.post.seal(end)
        core.auth.digest_message(buf, 0, end)
        self._store(buf)
        core.durability.begin_view()
        core.post.send_sealed(length)
        self._install(members)

    def _move_window(self, members, seqno, chosen):
        """To the checkpoint that was chosen: f + 1 list it. The batch that is lacking lies
        behind the window, where it cannot be taken."""
        core = self.core
        core.checkpoints.raise_low_mark(self.decision.provably_stable(members))
        if seqno > core.progress.last_executed:
            core.transfer.start(seqno, self._buf, chosen + 4)

    def _choose(self, members, seqno, out, at):
        """Write a permitted digest whose batch is here to out[at:]; False: wait."""
        slots = self.core.slots
        index = 0
        while True:
            candidate = self.decision.candidate(members, seqno, index)
            if candidate < 0:
                break
            held = slots.find_batch(seqno, self._buf, candidate) >= 0
            if held or is_zero(self._buf, candidate, 32):
                copy(out, at, self._buf, candidate, 32)
                return True
            index += 1
        if self.decision.may_select(members, seqno, self.core.null_digest, 0):
            fill(out, at, 32, 0)
            return True
        if index:
            self._attempt += 1
            candidate = self.decision.candidate(members, seqno, self._attempt % index)
            self.core.handover.want(seqno, self._buf, candidate)
        return False

    # --- installing ---

    def _install(self, members):
        """Begin the view. `members`: whose VIEW-CHANGEs are here, 0 if others vouch for it."""
        core = self.core
        progress = core.progress
        checkpoint = self.checkpoint()
        if members:
            self.stable = min(checkpoint, self.decision.provably_stable(members))
            core.checkpoints.raise_low_mark(self.stable)
        core.durability.begin_view()
        progress.active = True
        core.handover.begin_view(checkpoint, self.end())
        self._applied = checkpoint
        self.apply()
        core.requests.propose_again()
        core.timers.restart()
        core.status.on_work()
        if checkpoint > progress.last_executed:
            core.transfer.start(checkpoint, self._buf, self._at + _CHECKPOINT)

    def apply(self):
        """Give the slots what X says of them, as far as the window reaches."""
        core = self.core
        progress = core.progress
        if not (self.is_held and progress.active):
            return
        while self._applied < min(self.end(), progress.high_mark()):
            at = self._batch_at(self._applied - self.checkpoint())
            self._applied += 1
            base = core.slots.find(self._applied)
            if base >= 0 and core.slots.has(base, ACCEPTED):
                continue  # before a restart
            if self._applied > progress.low_mark:
                core.handover.adopt(self._applied, self._buf, at)

    # --- over a restart ---

    def put(self, out, at):
        """Write the stored message to out[at:]; returns its length, 0 if none is stored."""
        if not self.is_held:
            return 0
        length = wire.length_at(self._buf, self._at)
        copy(out, at, self._buf, self._at, length)
        return length

    def restore(self, buf, at):
        """The NEW-VIEW of the active view stands at buf[at:]."""
        core = self.core
        copy(self._buf, self._at, buf, at, wire.length_at(buf, at))
        core.auth.digest_message(self._buf, self._at, core.wire.body_end(self._buf, self._at))
        copy(self._digest, 0, core.auth.digest, 0, 32)
        self.is_held = True
        self._applied = self.checkpoint()
        core.handover.restore(self.checkpoint(), self.end())
