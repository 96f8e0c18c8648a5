"""What is in non-volatile memory before which message leaves (PROTOCOL: durable before sent).

    message that leaves          is there to stay before
    PRE-PREPARE, PREPARE         the slot's header: view, seqno, digest
    COMMIT                       the batch with its bodies; the slot's flag: prepared
    CHECKPOINT                   the flag "committed" of every batch up to it
    a higher low_mark            long results; the image of the state at that checkpoint; then the
                                 stable record
    VIEW-CHANGE                  the batches that P names; then the view record: the view, and the
                                 message itself, which is where P and Q are kept
    VIEW-CHANGE-ACK              the ack record: the digest that was confirmed in this view
    NEW-VIEW, and all that is    the view record again: active, with the NEW-VIEW
    said in the new view
    REQUEST of the own client    a range of request ids (request_ids.py)

Nothing else that a replica says binds it: votes are counted anew after a restart, replies and
checkpoint digests follow from the batches.

Each method below is called before the message is sent and returns when its bytes are there;
what is there already is not written again. Where the bytes lie: layout.py; why a torn write
does no harm: records.py, slot_records.py, image.py; reading all of it back: recovery.py.
`Volatile` takes the place of this for regions in RAM.

Allocates nothing outside hashing.
"""

from tinybft import wire
from tinybft.compat import micropython
from tinybft.identity import Identity
from tinybft.image import Image
from tinybft.layout import (
    ACK_LENGTH,
    IDENTITY_LENGTH,
    STABLE_LENGTH,
    VIEW_LENGTH,
    areas,
    result_length,
    stable_length,
    stage_length,
    view_length,
)
from tinybft.octets import copy, equal, get_u32, put_u16, put_u32
from tinybft.records import Pair, Records
from tinybft.results import Results
from tinybft.slot_records import SlotRecords


class Durability(SlotRecords):
    def __init__(self, core, store, recovery):
        config = core.config
        table = areas(config)
        self.core = core
        self.config = config
        self.store = store
        self.abstains = False
        self.trusted_at_boot = True
        self.low_mark = 0
        self._recovery = recovery
        self.stage = stage = bytearray(stage_length(config))

        def records(area, length, count, lead=0, stride=0, group=1):
            digest_into = core.auth.digest_into
            at = table[area]
            return Records(store, digest_into, stage, at, length, count, lead, stride, group)

        record = records("identity", IDENTITY_LENGTH, 1)
        own_id = core.progress.replica_id
        self.identity = Identity(config, own_id, record, core.auth.digest_into)
        SlotRecords.__init__(self, records)
        self.stable = Pair(records("stable", stable_length(config), 2))
        self.view = Pair(records("view", view_length(config), 2))
        self.acks = records("acks", ACK_LENGTH, config.REPLICA_COUNT)
        self.at = self.acks.at  # of the payload in `stage`, but for the headers'
        # What the acks in the memory say, to write nothing twice.
        self.said = bytearray(config.REPLICA_COUNT * ACK_LENGTH)
        self.image = None
        if config.STATE_DURABLE:
            self.image = Image(config, store, stage)
            length = result_length(config)
            self.results = Results(core, records("results", length, config.CLIENT_COUNT))
        self.image_seqno = 0
        self.image_digest = bytearray(wire.DIGEST_LENGTH)
        self._view = 0  # as the view record has it
        self._active = True

    # --- boot ---

    def recover(self):
        """Bring the core to where it was; before anything is sent or received."""
        self._recovery.recover(self)

    def resume(self):
        """The first step after boot: what was begun goes on."""
        self._recovery.resume(self)

    def on_status(self, sender, low_mark, last_executed):
        """What a peer says of itself; of interest while this replica abstains."""
        if self.abstains:
            self._recovery.rejoin.on_status(self, sender, low_mark, last_executed)

    # --- the stable checkpoint ---

    @micropython.native
    def note_stable(self, seqno):
        """Before low_mark moves to `seqno`, a checkpoint that is held."""
        self.note_installed(seqno, seqno)

    @micropython.native
    def note_installed(self, low_mark, seqno):
        """Before low_mark moves, and before anything that rests on checkpoint `seqno`."""
        core = self.core
        if seqno != self.image_seqno:
            core.state.root_into(seqno, self.image_digest, 0)
            if self.image:
                self.results.save()
                self.image.advance(core.state, seqno, core.post.buf)
            self.image_seqno = seqno
        elif low_mark == self.low_mark:
            return
        self.low_mark = low_mark
        self.write_stable()

    @micropython.native
    def write_stable(self):
        stage = self.stage
        at = self.at
        put_u32(stage, at + 4, self.low_mark)
        put_u32(stage, at + 8, self.image_seqno)
        copy(stage, at + 12, self.image_digest, 0, 32)
        length = STABLE_LENGTH
        if self.image:
            length += self.image.put(stage, at + STABLE_LENGTH)
        self.stable.write(length)

    # --- views ---

    @micropython.native
    def leave_view(self):
        """Before the VIEW-CHANGE that is stored, and anything else of its view, is sent."""
        self.write_view(False)

    @micropython.native
    def begin_view(self):
        """Before the NEW-VIEW that is stored, or any vote in its view, is sent."""
        if self._view != self.core.progress.view or not self._active:
            self.write_view(True)

    @micropython.native
    def write_view(self, active):
        core = self.core
        progress = core.progress
        stage = self.stage
        at = self.at
        own = core.view_change.at(progress.replica_id)
        buf = core.memory.event
        own_length = wire.length(buf, own)
        put_u32(stage, at + 4, progress.view)
        stage[at + 8] = 1 if active else 0
        put_u32(stage, at + 9, progress.view_left)
        put_u16(stage, at + 13, own_length)
        copy(stage, at + VIEW_LENGTH, buf, own, own_length)
        length = VIEW_LENGTH + own_length
        new_view_length = 0
        if active:
            new_view_length = core.new_view.put(stage, at + length)
        put_u16(stage, at + 15, new_view_length)
        self.view.write(length + new_view_length)
        self._view = progress.view
        self._active = active

    def restored_view(self, view, active):
        self._view = view
        self._active = active

    @micropython.native
    def may_acknowledge(self, replica, digest, digest_at):
        """Before an ACK. False if another VIEW-CHANGE of `replica` was confirmed in this view."""
        view = self.core.progress.view
        at = replica * ACK_LENGTH
        if get_u32(self.said, at) == view:
            return equal(self.said, at + 4, digest, digest_at, 32)
        put_u32(self.said, at, view)
        copy(self.said, at + 4, digest, digest_at, 32)
        copy(self.stage, self.at, self.said, at, ACK_LENGTH)
        self.acks.write(replica, ACK_LENGTH)
        return True

    # --- rot (scrub.py) ---

    def reload_block(self, block):
        """The block of the live state again from the image, if it is the same one there."""
        image = self.image
        state = self.core.state
        if not image or image.modified(block) == 0:
            return False
        if image.modified(block) != state.tree.seqno_of(0, block):
            return False
        image.load_block(state, block)
        return True

    def write_view_again(self):
        self.write_view(self._active)

    # --- for people ---

    def bytes_reserved(self):
        """As allocated, for comparison with `layout.durable_rows`."""
        length = len(self.stage) + len(self.known) + len(self.said)
        if self.image:
            length += self.image.bytes_reserved() + self.results.bytes_reserved()
        return length

    def report(self):
        mode = "rejoining" if self.abstains else "member"
        if self._recovery.lacks_state():
            mode = "without state"  # of the checkpoint below; the others have it, or nobody
        table = {"mode": mode, "low_mark": self.low_mark, "image": self.image_seqno}
        if self.abstains:
            table["votes_from"] = self._recovery.rejoin.goal()
        return table
