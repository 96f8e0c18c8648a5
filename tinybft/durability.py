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
does no harm: records.py, image.py; reading all of it back: recovery.py. `Volatile` takes the
place of this for regions in RAM.

Allocates nothing outside hashing.
"""

from tinybft import wire
from tinybft.compat import const, micropython
from tinybft.identity import Identity
from tinybft.image import Image
from tinybft.layout import (
    ACK_LENGTH,
    BATCH_TIME_LENGTH,
    IDENTITY_LENGTH,
    RECORD_OVERHEAD,
    SLOT_HEADER_LENGTH,
    STABLE_LENGTH,
    VIEW_LENGTH,
    areas,
    result_length,
    slot_length,
    stable_length,
    view_length,
)
from tinybft.memory import body_length, offsets, slot_fields
from tinybft.octets import copy, equal, get_u32, put_u16, put_u32
from tinybft.records import Pair, Records
from tinybft.results import Results

# What the header of a slot says about the batch in (view, seqno)
SPOKEN = const(1)  # this replica proposed it or said PREPARE
OVERRULED = const(2)  # it did, but others committed another one: it has no more to say
LEARNED = const(3)  # committed by others, executed here
AND_COMMITTED = const(8)  # beside one of these: committed in an earlier view

SET = const(255)  # a flag byte: set, if most of its bits are
HEADER_LENGTH = const(41)  # seqno, view, digest, kind
KNOWN_LENGTH = const(44)  # the same, the two flags, and whether the batch is there
KIND = const(40)
PREPARED_AT = const(41)
COMMITTED_AT = const(42)
STORED = const(43)


class Durability:
    is_durable = True

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
        self._size = offsets(slot_fields(config))["size"]
        self._stride = slot_length(config)
        self._slots_at = table["slots"]
        room = BATCH_TIME_LENGTH + body_length(config)
        longest = max(view_length(config), stable_length(config), result_length(config))
        self.stage = stage = bytearray(max(longest + RECORD_OVERHEAD, room, config.BLOCK_LENGTH))

        def records(area, length, count, lead=0, stride=0):
            digest_into = core.auth.digest_into
            at = table[area]
            return Records(store, digest_into, stage, at, length, count, lead, stride)

        record = records("identity", IDENTITY_LENGTH, 1)
        own_id = core.progress.replica_id
        self.identity = Identity(config, own_id, record, core.auth.digest_into)
        self.headers = records("slots", HEADER_LENGTH, config.SLOT_COUNT, 2, self._stride)
        self.stable = Pair(records("stable", stable_length(config), 2))
        self.view = Pair(records("view", view_length(config), 2))
        self.acks = records("acks", ACK_LENGTH, config.REPLICA_COUNT)
        self.at = self.acks.at  # of the payload in `stage`, but for the headers'
        # What the headers and acks in the memory say, to write nothing twice.
        self.known = bytearray(config.SLOT_COUNT * KNOWN_LENGTH)
        self.said = bytearray(config.REPLICA_COUNT * ACK_LENGTH)
        self._flag = bytearray(1)
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

    # --- slots ---

    @micropython.native
    def known_at(self, index):
        return index * KNOWN_LENGTH

    @micropython.native
    def _is_known(self, index, base):
        """True if the memory holds this batch, in whatever view."""
        slots = self.core.slots
        at = index * KNOWN_LENGTH
        if get_u32(self.known, at) != slots.seqno(base) or self.known[at + KIND] == OVERRULED:
            return False
        return equal(self.known, at + 8, slots.buf, slots.digest_at(base), 32)

    @micropython.native
    def say_batch(self, base):
        """Before PRE-PREPARE or PREPARE of the slot's batch in the present view.

        Its digest binds this replica; the batch itself is needed from COMMIT on (`store_batch`).
        """
        index = base // self._size
        view = self.core.progress.view
        at = index * KNOWN_LENGTH
        kind = SPOKEN
        if self._is_known(index, base):
            if get_u32(self.known, at + 4) == view and self.known[at + KIND] & 7 == SPOKEN:
                return
            if self.known[at + COMMITTED_AT] or self.known[at + KIND] & AND_COMMITTED:
                kind = SPOKEN | AND_COMMITTED
        self._write_header(index, base, view, kind)

    @micropython.native
    def has_spoken(self, base):
        """True if this replica spoke for the slot's digest in the present view; after a restart
        the slot may have lost the batch."""
        index = base // self._size
        at = index * KNOWN_LENGTH
        if not self._is_known(index, base) or self.known[at + KIND] & 7 != SPOKEN:
            return False
        return get_u32(self.known, at + 4) == self.core.progress.view

    @micropython.native
    def store_batch(self, base):
        """After PRE-PREPARE or PREPARE, while others answer: the batch itself."""
        index = base // self._size
        if not self.known[index * KNOWN_LENGTH + STORED]:
            self._write_batch(index, base)
            self.known[index * KNOWN_LENGTH + STORED] = 1

    @micropython.native
    def say_prepared(self, base):
        """Before COMMIT."""
        self.store_batch(base)
        self._set_flag(base // self._size, 0)

    @micropython.native
    def overrule(self, base):
        """Before the batch that was spoken for makes room for the one that others committed.

        Without that, the bodies of the other one would lie under the header of the first.
        """
        index = base // self._size
        at = index * KNOWN_LENGTH
        if get_u32(self.known, at) == self.core.slots.seqno(base) and (
            self.known[at + KIND] & 7 == SPOKEN
        ):
            payload = self.headers.at
            copy(self.stage, payload, self.known, at, HEADER_LENGTH)
            self.stage[payload + KIND] = OVERRULED
            self._finish_header(index)

    @micropython.native
    def note_executed(self, first, last):
        """Before the CHECKPOINT of `last`: after a restart all of these are executed again."""
        slots = self.core.slots
        for seqno in range(first, last + 1):
            base = slots.find(seqno)
            if base < 0:
                continue
            index = base // self._size
            if not self._is_known(index, base):
                self.overrule(base)
                self._write_whole(index, base, LEARNED | AND_COMMITTED)
            self.store_batch(base)
            if not self.known[index * KNOWN_LENGTH + KIND] & AND_COMMITTED:
                self._set_flag(index, 1)

    @micropython.native
    def keep_batch(self, base):
        """The slot was copied to `base` in the second ring: P will name it."""
        index = base // self._size
        if not self._is_known(index, base):
            self._write_whole(index, base, SPOKEN)

    @micropython.native
    def _write_whole(self, index, base, kind):
        """The batch, then the header that says it is there."""
        self._write_batch(index, base)
        self._write_header(index, base, self.core.progress.view, kind)
        self.known[index * KNOWN_LENGTH + STORED] = 1

    @micropython.native
    def _set_flag(self, index, flag):
        """`flag`: 0 prepared, 1 committed."""
        at = index * KNOWN_LENGTH + PREPARED_AT + flag
        if not self.known[at]:
            self.known[at] = 1
            self.write_flag(index, flag)

    @micropython.native
    def write_flag(self, index, flag):
        self._flag[0] = self.known[index * KNOWN_LENGTH + PREPARED_AT + flag] * SET
        self.store.write(self.headers.address_of(index) + flag, self._flag, 1)

    @micropython.native
    def _write_header(self, index, base, view, kind):
        slots = self.core.slots
        at = self.headers.at
        if not self._is_known(index, base):
            self.known[index * KNOWN_LENGTH + STORED] = 0
        put_u32(self.stage, at, slots.seqno(base))
        put_u32(self.stage, at + 4, view)
        copy(self.stage, at + 8, slots.buf, slots.digest_at(base), 32)
        self.stage[at + KIND] = kind
        self._finish_header(index)

    @micropython.native
    def _finish_header(self, index):
        known = index * KNOWN_LENGTH
        copy(self.known, known, self.stage, self.headers.at, HEADER_LENGTH)
        self.known[known + PREPARED_AT] = 0
        self.known[known + COMMITTED_AT] = 0
        self.headers.write(index, HEADER_LENGTH)

    @micropython.native
    def _write_batch(self, index, base):
        """Time and bodies. Entries and digest follow from the bodies."""
        slots = self.core.slots
        stage = self.stage
        copy(stage, 0, slots.buf, slots.batch_at(base), BATCH_TIME_LENGTH)
        length = BATCH_TIME_LENGTH
        if slots.bodies.in_ram:
            bodies = slots.bodies_length(base)
            slots.bodies.get(slots.body_at(base, 0), stage, length, bodies)
            length += bodies
        self.store.write(self.content_at(index), stage, length)

    @micropython.native
    def content_at(self, index):
        """Address of the batch of a slot: time, then the bodies."""
        return self._slots_at + index * self._stride + SLOT_HEADER_LENGTH

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

    def report(self):
        mode = "rejoining" if self.abstains else "member"
        if self._recovery.lacks_state():
            mode = "without state"  # of the checkpoint below; the others have it, or nobody
        return {"mode": mode, "low_mark": self.low_mark, "image": self.image_seqno}
