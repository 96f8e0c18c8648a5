"""View change with MACs: leaving a view, and what everybody says about it (TOCS 4.4).

    a timer expires, f + 1 others are ahead (or one for very long), or a NEW-VIEW is wrong
        -> P and Q from the slots, VIEW-CHANGE(view, low mark, C, P, Q) to all
    VIEW-CHANGE of another one for this view -> VIEW-CHANGE-ACK to all
    the new primary: VIEW-CHANGE + 2f - 1 acks of third parties -> it counts
    newview.py decides, announces and installs

A VIEW-CHANGE whose tag is bad here is believed when the NEW-VIEW names its digest and f third
parties acknowledge it: they and the primary are f + 1. One VIEW-CHANGE is kept per replica, a
higher view replaces a lower one; they are kept whole, with their tags, so that any holder can
forward them. What is missing is asked for by STATUS (`answer`).

An ACK that names the primary itself says: I have installed its NEW-VIEW, which has this digest
(newview.py). Allocates nothing outside hashing.
"""

from tinybft import faults, wire
from tinybft.clock import elapsed
from tinybft.compat import const, micropython
from tinybft.memory import event_fields, message_length, offsets
from tinybft.octets import copy, equal, fill, get_u32, put_u32
from tinybft.viewchange_form import ViewChangeForm

_VIEW_MAX = const(0xFFFFFFFF)
_COURTESY = const(8)  # request time-outs that a replica alone in a higher view has to wait
_COURTESIES_MAX = const(7)  # doublings of that
_ALIVE = const(4)  # STATUS intervals after which a silent peer is taken for dead
_BODY = const(16)
_ENTRIES = const(20)
_CHECKPOINT_LENGTH = const(36)
_CLAIM_LENGTH = const(37)
_ACK_DIGEST = const(17)


class ViewChange:
    def __init__(self, core):
        config = core.config
        table = offsets(event_fields(config))
        self.core = core
        self.buf = core.memory.event
        self.base = table["view_changes"]
        self.size = message_length(config, "VIEW-CHANGE")
        self._digests = table["view_change_digests"]
        self._acks = table["acks"]
        self._interval = config.CHECKPOINT_INTERVAL
        self._form = ViewChangeForm(config)
        self._ack_count = 2 * config.FAULT_COUNT - 1
        self._fault_count = config.FAULT_COUNT
        self._replica_count = config.REPLICA_COUNT
        self._good = 0  # mask: the stored VIEW-CHANGE had a good tag for this node
        self._status_ms = config.STATUS_MS
        self._courtesy_ms = _COURTESY * config.REQUEST_MS
        self._courtesies = 0
        self._ahead_since = -1
        self._replaced = 0  # mask: another one of that view was confirmed before

    # --- what is stored ---

    def at(self, replica):
        return self.base + replica * self.size

    def view_of(self, replica):
        """View of the stored VIEW-CHANGE; 0: none."""
        return get_u32(self.buf, self.at(replica) + 8)

    def _digest_at(self, replica):
        return self._digests + replica * wire.DIGEST_LENGTH

    def acks(self, replica):
        return get_u32(self.buf, self._acks + replica * 4)

    def _holds(self, replica):
        return self.view_of(replica) == self.core.progress.view

    def _store(self, replica, buf):
        """Keep the message whose digest is in `auth.digest`."""
        length = wire.length(buf)
        copy(self.buf, self.at(replica), buf, 0, length)
        copy(self.buf, self._digest_at(replica), self.core.auth.digest, 0, 32)
        put_u32(self.buf, self._acks + replica * 4, 0)

    def members(self):
        """Mask of the replicas whose VIEW-CHANGE counts for the new primary."""
        own_id = self.core.progress.replica_id
        mask = 0
        for replica in range(self._replica_count):
            if self._holds(replica) and self._good >> replica & 1:
                count = self.core.quorum.count(self.acks(replica))
                if replica == own_id or count >= self._ack_count:
                    mask |= 1 << replica
        return mask

    def has(self, replica, digest, digest_at):
        """True if the VIEW-CHANGE with this digest is here and believed."""
        if not self._holds(replica):
            return False
        if not equal(self.buf, self._digest_at(replica), digest, digest_at, 32):
            return False
        good = self._good >> replica & 1
        return good or self.core.quorum.count(self.acks(replica)) >= self._fault_count

    def put_entry(self, replica, out, at):
        """(replica, digest) as NEW-VIEW lists it."""
        out[at] = replica
        copy(out, at + 1, self.buf, self._digest_at(replica), 32)

    # --- leaving a view ---

    def enter(self, view):
        """Leave the active view, if there is one, and ask for `view`."""
        core = self.core
        progress = core.progress
        if progress.active:
            if core.tentative:
                core.tentative.roll_back()
            core.claims.update()
            core.requests.give_up_doubtful()
            progress.view_left = progress.view
        progress.view = view
        progress.active = False
        core.handover.leave_view()
        core.new_view.forget()
        core.timers.on_view_left()
        fill(self.buf, self._acks, 4 * self._replica_count, 0)
        self._send_own()
        for replica in range(self._replica_count):
            if self._holds(replica) and self._good >> replica & 1:
                self._send_ack(replica, -1)
        core.status.on_work()

    @micropython.native
    def tick(self, now):
        """True if a timer took this replica to the next view."""
        core = self.core
        if not core.timers.is_expired(now) or core.progress.view == _VIEW_MAX:
            return False
        self.enter(core.progress.view + 1)
        self.settle()
        return True

    def settle(self):
        """Do what the VIEW-CHANGEs and acks that are here make possible."""
        core = self.core
        while True:
            view = self._view_to_join()
            if not view and not core.progress.active and core.new_view.look():
                view = core.progress.view + 1
            if not view or view > _VIEW_MAX:
                break
            self.enter(view)
        if not core.progress.active and self._is_wanted():
            core.timers.on_wanted()

    def _view_to_join(self):
        """The lowest view above the own one if f + 1 others are beyond the own one, else 0."""
        own = self.core.progress.view
        mask = 0
        lowest = 0
        for replica in range(self._replica_count):
            view = self.view_of(replica)
            if view > own:
                mask |= 1 << replica
                if lowest == 0 or view < lowest:
                    lowest = view
        return lowest if self.core.quorum.is_weak(mask) else 0

    def consider_courtesy(self, now):
        """Follow a peer that has been alone in a higher view for long. True if this one does.

        Its own patience was too short, or its link too bad, and it may not go back: the group
        runs without its vote until a view changes. A faulty peer can ask for that too, so each
        time takes twice as long as the one before.
        """
        view = self._nearest_ahead(now) if self.core.progress.active else 0
        if not view:
            self._ahead_since = -1
        elif self._ahead_since < 0:
            self._ahead_since = now
        elif elapsed(now, self._ahead_since) >= self._courtesy_ms << self._courtesies:
            self._courtesies = min(self._courtesies + 1, _COURTESIES_MAX)
            self._ahead_since = -1
            self.enter(view)
            self.settle()
            return True
        return False

    def _nearest_ahead(self, now):
        """The lowest view, at most n above the own one, that a living peer asks for; 0: none."""
        own = self.core.progress.view
        heard_at = self.core.status.heard_at
        nearest = 0
        for replica in range(self._replica_count):
            view = self.view_of(replica)
            if own < view <= own + self._replica_count and heard_at[replica] >= 0:
                silence = elapsed(now, heard_at[replica])
                if silence < _ALIVE * self._status_ms and (view < nearest or not nearest):
                    nearest = view
        return nearest

    def _is_wanted(self):
        mask = 0
        for replica in range(self._replica_count):
            if self.view_of(replica) >= self.core.progress.view:
                mask |= 1 << replica
        return self.core.quorum.is_quorum(mask)

    def _send_own(self):
        core = self.core
        progress = core.progress
        buf = core.post.begin(wire.VIEW_CHANGE, 0, progress.view, progress.low_mark)
        at = _ENTRIES
        count = 0
        seqno = progress.low_mark
        while seqno <= core.checkpoints.last_taken:  # a range of a variable step allocates
            if core.state.root_into(seqno, buf, at + 4):
                put_u32(buf, at, seqno)
                at += _CHECKPOINT_LENGTH
                count += 1
            seqno += self._interval
        p_count = core.claims.put_p(buf, at)
        at += p_count * _CLAIM_LENGTH
        q_count = core.claims.put_q(buf, at)
        at += q_count * _CLAIM_LENGTH
        wire.put_view_change_counts(buf, count, p_count, q_count)
        length = core.post.seal(at)
        core.auth.digest_message(buf, 0, at)
        self._store(progress.replica_id, buf)
        self._good |= 1 << progress.replica_id
        core.durability.leave_view()
        core.post.send_sealed(length)

    def forget(self):
        self._good = 0

    def restore(self, buf, at, length):
        """After a restart: the own VIEW-CHANGE stands at buf[at:]."""
        own_id = self.core.progress.replica_id
        own = self.at(own_id)
        copy(self.buf, own, buf, at, length)
        self.core.auth.digest_message(self.buf, own, self.core.wire.body_end(self.buf, own))
        copy(self.buf, self._digest_at(own_id), self.core.auth.digest, 0, 32)
        self._good |= 1 << own_id

    def _send_ack(self, replica, receiver):
        """Confirm the VIEW-CHANGE of a third party, to all (-1) or to one.

        Neither a replica's own nor the new primary's is confirmed, nor does the latter: its
        NEW-VIEW says what it counts.
        """
        progress = self.core.progress
        primary = progress.primary()
        if self._replaced >> replica & 1:
            return  # a NEW-VIEW names the other one of two; nobody confirms both
        if replica != progress.replica_id and replica != primary != progress.replica_id:
            digest_at = self._digest_at(replica)
            if self.core.durability.may_acknowledge(replica, self.buf, digest_at):
                self.send_ack_of(replica, self.buf, digest_at, receiver)

    def send_ack_of(self, replica, digest, digest_at, receiver):
        post = self.core.post
        buf = post.begin(wire.VIEW_CHANGE_ACK, 0, self.core.progress.view, 0)
        buf[_BODY] = replica
        copy(buf, _ACK_DIGEST, digest, digest_at, 32)
        if receiver < 0:
            post.multicast(_ACK_DIGEST + 32)
        else:
            post.unicast(receiver, _ACK_DIGEST + 32)

    # --- messages ---

    def on_view_change(self, buf):
        core = self.core
        progress = core.progress
        sender = wire.sender(buf)
        view = wire.view(buf)
        if view < progress.view or view == 0:
            return faults.STALE_VIEW
        held = self.view_of(sender)
        if held > view or (held == view and not core.new_view.awaits(sender)):
            return faults.NOT_NEEDED
        if not self._form.is_good(buf):
            return faults.FIELD
        core.auth.digest_message(buf, 0, core.wire.body_end(buf))
        good = core.auth.check_digested(buf, sender, 0)
        if view == progress.view and core.new_view.names(sender, core.auth.digest):
            if held == view and equal(self.buf, self._digest_at(sender), core.auth.digest, 0, 32):
                return faults.NOT_NEEDED
        elif not good:
            return faults.MAC
        elif held == view:
            return faults.EQUIVOCATION
        self._store(sender, buf)
        bit = 1 << sender
        self._replaced = self._replaced & ~bit | (self._good & bit if held == view else 0)
        self._good &= ~bit
        if good:
            self._good |= bit
            if view == progress.view and not progress.active:
                self._send_ack(sender, -1)
        core.status.on_work()
        self.settle()
        return 0

    def on_ack(self, buf):
        core = self.core
        progress = core.progress
        sender = wire.sender(buf)
        if wire.view(buf) != progress.view:
            return faults.STALE_VIEW
        if progress.active:
            return faults.NOT_NEEDED
        replica = buf[_BODY]
        if replica == progress.primary():
            return core.new_view.on_ack(buf)
        if sender == replica or sender == progress.primary():
            return faults.SENDER
        acks = self.acks(replica)
        if acks >> sender & 1 or not self._holds(replica):
            return faults.NOT_NEEDED
        if not equal(self.buf, self._digest_at(replica), buf, _ACK_DIGEST, 32):
            return faults.NOT_NEEDED
        if not core.auth.check(buf, sender):
            return faults.MAC
        put_u32(self.buf, self._acks + replica * 4, acks | 1 << sender)
        core.status.on_work()
        self.settle()
        return 0

    # --- repair ---

    def settled(self):
        """Mask of the replicas of whose VIEW-CHANGE nothing more is needed here; for STATUS."""
        progress = self.core.progress
        everybody = (1 << self._replica_count) - 1
        if progress.active:
            return everybody
        if progress.primary() == progress.replica_id:
            return self.members()
        if self.core.new_view.is_held:
            return everybody & ~self.core.new_view.lacking()
        mask = 0
        for replica in range(self._replica_count):
            if self._holds(replica):
                mask |= 1 << replica
        return mask

    def answer(self, buf, settled, round_number):
        """Send the sender of a STATUS what it lacks to come to this replica's view."""
        progress = self.core.progress
        sender = wire.sender(buf)
        view = wire.view(buf)
        if view < progress.view:
            self._forward(progress.replica_id, sender)
        elif view == progress.view and not wire.flags(buf) & wire.FLAG_ACTIVE:
            if progress.active:
                self.core.new_view.answer(sender, round_number)
                if sender == progress.primary():
                    return  # it restarted empty: it must not begin the view once more
            for replica in range(self._replica_count):
                if replica != sender and not settled >> replica & 1:
                    self._answer_for(replica, sender, round_number)

    def _answer_for(self, replica, receiver, round_number):
        progress = self.core.progress
        if not self._holds(replica):
            return
        if self._good >> replica & 1:
            self._send_ack(replica, receiver)
        holder = (replica + round_number) % self._replica_count
        if (
            replica == progress.replica_id
            or holder == progress.replica_id
            or (progress.primary() == progress.replica_id and round_number & 1)
        ):
            self._forward(replica, receiver)

    def _forward(self, replica, receiver):
        """The stored VIEW-CHANGE of a replica, as it came."""
        if self.view_of(replica):
            post = self.core.post
            length = wire.length(self.buf, self.at(replica))
            copy(post.buf, 0, self.buf, self.at(replica), length)
            post.relay(receiver, post.buf, length)
