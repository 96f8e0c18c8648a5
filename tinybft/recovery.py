"""Boot: from what durability.py wrote back to where this replica was, or to a place apart.

    identity      none                another one's        this replica's, and every record can
                  or a ROTTEN record                       be believed
    what then     abstain: rejoin     StoreError: refuse   take up again

Taking up again: the image is loaded and checked by its root digest (bad: the state alone is
fetched from the others), view, P and Q and the NEW-VIEW come from the view record, the slots
from their headers; a batch is believed if its digest, computed anew from its bodies, is the
header's. Then, in the first step, committed batches are executed again, and what the NEW-VIEW
names and this replica had not yet said is said. Nothing that a later boot reads is written by the
loading, so a power cut in the midst of it changes nothing.

Runs at boot only, and allocates.
"""

from tinybft import faults, wire
from tinybft.identity import MEMBER, require_room
from tinybft.layout import ACK_LENGTH, BATCH_TIME_LENGTH, STABLE_LENGTH, VIEW_LENGTH
from tinybft.memory import offsets, slot_fields
from tinybft.octets import copy, equal, fill, get_u16, get_u32, is_zero, put_u32
from tinybft.records import GOOD, ROTTEN
from tinybft.rejoin import Rejoin
from tinybft.slot_records import (
    AND_COMMITTED,
    COMMITTED_AT,
    KIND,
    OVERRULED,
    PREPARED_AT,
    SPOKEN,
    STORED,
)
from tinybft.slots import ACCEPTED, COMMITTED, HAS_BATCH, NAMED, PRE_PREPARED, PREPARED


class Recovery:
    def __init__(self, core, store):
        self.core = core
        self._store = store
        require_room(store, core.config)
        self._size = offsets(slot_fields(core.config))["size"]
        self._window = core.config.WINDOW
        self._pipeline = core.config.PIPELINE
        self.rejoin = Rejoin(core)
        self._fetch_image = False

    def recover(self, durability):
        is_member = durability.identity.read() == MEMBER
        if not (is_member and self._load(durability)):
            self._forget()
            self.rejoin.begin(durability)

    # --- taking up again ---

    def _forget(self):
        """What was loaded so far is not to be believed."""
        core = self.core
        progress = core.progress
        progress.view = progress.view_left = 0
        progress.active = True
        progress.low_mark = 0
        for index in range(core.config.SLOT_COUNT):
            core.slots.clear(index * self._size)
            put_u32(core.slots.buf, index * self._size, 0)
        fill(core.memory.event, 0, len(core.memory.event), 0)
        core.new_view.forget()
        core.view_change.forget()
        core.handover.forget()
        core.agreement.forget()

    def _load(self, durability):
        """False if anything but the state's pages cannot be believed."""
        stable = durability.stable.read()
        if stable == GOOD:
            self._load_marks(durability)
        view = durability.view.read()
        if stable == ROTTEN or view == ROTTEN:
            return False
        if view == GOOD:
            self._load_view(durability)
        if not (self._load_acks(durability) and self._load_slots(durability)):
            return False
        if durability.image_seqno:
            self._load_image(durability)
        return True

    def _load_marks(self, durability):
        stage = durability.stage
        at = durability.at
        durability.low_mark = self.core.progress.low_mark = get_u32(stage, at + 4)
        durability.image_seqno = get_u32(stage, at + 8)
        copy(durability.image_digest, 0, stage, at + 12, 32)

    def _load_image(self, durability):
        """The state at the image's checkpoint, from here or, in the first step, from others."""
        core = self.core
        image = durability.image
        seqno = durability.image_seqno
        self._fetch_image = True
        core.progress.last_executed = durability.low_mark
        if image:
            durability.stable.read()
            image.get(seqno, durability.stage, durability.at + STABLE_LENGTH)
            image.load(core.state)
            if core.state.restore(seqno, image, durability.image_digest, 0):
                self._fetch_image = False
                core.progress.last_executed = seqno
                core.checkpoints.restore(seqno)
                core.execution.load_clock()
                durability.results.load()
            else:
                core.faults.count(faults.ROTTEN)
                image.forget()

    def _load_view(self, durability):
        core = self.core
        progress = core.progress
        stage = durability.stage
        at = durability.at
        progress.view = get_u32(stage, at + 4)
        progress.active = stage[at + 8] == 1
        progress.view_left = get_u32(stage, at + 9)
        own_length = get_u16(stage, at + 13)
        durability.restored_view(progress.view, progress.active)
        if own_length:
            core.view_change.restore(stage, at + VIEW_LENGTH, own_length)
            core.claims.restore(stage, at + VIEW_LENGTH)
        if get_u16(stage, at + 15):
            core.new_view.restore(stage, at + VIEW_LENGTH + own_length)

    def _load_acks(self, durability):
        acks = durability.acks
        for replica in range(acks.count):
            found = acks.read(replica)
            if found == ROTTEN:
                return False
            if found == GOOD:
                copy(durability.said, replica * ACK_LENGTH, acks.stage, acks.at, ACK_LENGTH)
        return True

    def lacks_state(self):
        """True while the state of the image's checkpoint is asked for from others."""
        return self._fetch_image and self.core.transfer.running

    # --- slots ---

    def _load_slots(self, durability):
        for index in range(self.core.config.SLOT_COUNT):
            found = durability.read_header(index)
            if found == ROTTEN:
                return False
            if found == GOOD and not self._load_slot(durability, index):
                return False
        return True

    def _load_slot(self, durability, index):
        """False if what it says cannot be: then nothing here is believed."""
        progress = self.core.progress
        known = durability.known_at(index)
        seqno = get_u32(durability.known, known)
        view = get_u32(durability.known, known + 4)
        is_kept = index >= self._window
        place = self._window + seqno % self._pipeline if is_kept else seqno % self._window
        if index != place or view > progress.view:
            return False
        if seqno <= progress.low_mark:
            return True
        if seqno > progress.high_mark():
            return False
        is_present = not is_kept and view == (
            progress.view if progress.active else progress.view_left
        )
        kind = durability.known[known + KIND]
        if kind == OVERRULED:
            if is_present:
                self._load_overruled(durability, index, seqno)
            return True
        is_spoken = is_present and kind & 7 == SPOKEN
        if self._load_batch(durability, index, seqno):
            durability.known[known + STORED] = 1
            self._restore_flags(durability, index, seqno, is_spoken)
        elif not (is_spoken and progress.active):
            fill(durability.known, known, 4, 0)  # another batch was about to take its place
        elif durability.known[known + PREPARED_AT]:
            return False  # the batch was there before that was said
        else:
            self._restore_name(durability, index, seqno)
        return True

    def _restore_name(self, durability, index, seqno):
        """Power was lost before the batch was written: others have it, and its digest binds."""
        core = self.core
        slots = core.slots
        base = index * self._size
        put_u32(slots.buf, base, seqno)
        known = durability.known_at(index)
        copy(slots.buf, slots.digest_at(base), durability.known, known + 8, 32)
        slots.set_flag(base, NAMED)
        if core.progress.primary() != core.progress.replica_id:
            slots.add_prepare(base, core.progress.replica_id)
        core.agreement.restore(seqno, True)

    def _restore_flags(self, durability, index, seqno, is_spoken):
        core = self.core
        progress = core.progress
        base = index * self._size
        known = durability.known_at(index)
        core.slots.set_flag(base, HAS_BATCH)
        if index >= self._window:
            return  # of the second ring: only its batch counts
        before = durability.known[known + KIND] & AND_COMMITTED
        if before or durability.known[known + COMMITTED_AT]:
            core.slots.set_flag(base, PRE_PREPARED | COMMITTED)
        if is_spoken:
            core.slots.set_flag(base, PRE_PREPARED | ACCEPTED)
            if progress.view % progress.replica_count != progress.replica_id:
                core.slots.add_prepare(base, progress.replica_id)
            if durability.known[known + PREPARED_AT]:
                core.slots.set_flag(base, PREPARED)
                core.slots.add_commit(base, progress.replica_id)
        core.agreement.restore(seqno, is_spoken and progress.active)

    def _load_overruled(self, durability, index, seqno):
        """The slot is empty, but for the vote for the batch that was given up."""
        slots = self.core.slots
        base = slots.open(seqno)
        own = self.core.progress.replica_id
        digest_at = durability.known_at(index) + 8
        slots.add_candidate_vote(base, wire.PREPARE, own, durability.known, digest_at)

    def _load_batch(self, durability, index, seqno):
        """Bodies, and the batch from them. False: the digest is not the header's."""
        core = self.core
        slots = core.slots
        base = index * self._size
        digest_at = durability.known_at(index) + 8
        slots.clear(base)
        put_u32(slots.buf, base, seqno)
        if is_zero(durability.known, digest_at, 32):  # null: no requests
            fill(slots.buf, slots.batch_at(base), BATCH_TIME_LENGTH, 0)
            return True
        if core.batches.restore(base, self._store, durability.content_at(index)) and equal(
            slots.buf, slots.digest_at(base), durability.known, digest_at, 32
        ):
            return True
        slots.clear(base)
        put_u32(slots.buf, base, 0)
        return False

    # --- the first step ---

    def resume(self, durability):
        core = self.core
        progress = core.progress
        if durability.abstains:
            if core.client:
                core.client.forget_ids()
            return
        if not progress.active:
            core.timers.on_view_left()
        if self._fetch_image:
            core.transfer.start(durability.image_seqno, durability.image_digest, 0)
        while core.execution.run():
            pass
        if core.new_view.is_held:
            core.handover.forget_unselected(core.new_view.end())
            core.new_view.apply()
