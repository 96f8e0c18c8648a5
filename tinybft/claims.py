"""P and Q: what this replica prepared and pre-prepared, kept over views (TOCS 4.4).

    P   per seqno of the window at most one (view, digest): prepared here in that view, and
        nothing else prepared later
    Q   per seqno up to f + 2 (view, digest): pre-prepared here, last in that view; the lowest
        view makes room (which may cost liveness in a contrived run, never safety)

They are brought up to date when a view is left; the batch that P names is then kept beside the
ring of slots (`Slots.keep`) unless it is executed, since a later view may ask for it. An entry
carries its seqno and holds for nothing else: what falls below the window is forgotten by that.

Layout: the fields `p` and `q` of `memory.event_fields`, entries of seqno u32, view u32, digest.
Does not allocate.
"""

from tinybft import wire
from tinybft.compat import const
from tinybft.memory import event_fields, offsets
from tinybft.octets import copy, equal, get_u32, put_u32
from tinybft.slots import ACCEPTED, PREPARED

_ENTRY_LENGTH = const(40)
_VIEW = const(4)
_DIGEST = const(8)
_COUNTS = const(16)  # in a VIEW-CHANGE: of C, P, Q
_ENTRIES = const(20)
_CHECKPOINT_LENGTH = const(36)
_WIRE_LENGTH = const(37)  # in a VIEW-CHANGE: seqno - low_mark u8, view u32, digest


class Claims:
    def __init__(self, core):
        config = core.config
        table = offsets(event_fields(config))
        self.core = core
        self._buf = core.memory.event
        self._p = table["p"]
        self._q = table["q"]
        self._window = config.WINDOW
        self._places = config.FAULT_COUNT + 2

    def update(self):
        """Take into P and Q what the slots say of the view that is being left."""
        slots = self.core.slots
        progress = self.core.progress
        for seqno in range(progress.low_mark + 1, progress.high_mark() + 1):
            base = slots.find(seqno)
            if base < 0:
                continue
            if slots.has(base, ACCEPTED) or self.core.durability.has_spoken(base):
                self._note_pre_prepared(seqno, progress.view, slots.buf, slots.digest_at(base))
                if slots.has(base, PREPARED):
                    self._put(self._p_at(seqno), seqno, progress.view, base)
                    if seqno > progress.last_executed and slots.may_keep(seqno):
                        self.core.durability.keep_batch(slots.keep(base))

    def names(self, seqno, digest, digest_at):
        """True if P has this digest for `seqno`."""
        at = self._p_at(seqno)
        return get_u32(self._buf, at) == seqno and (
            equal(self._buf, at + _DIGEST, digest, digest_at, 32)
        )

    def _p_at(self, seqno):
        return self._p + seqno % self._window * _ENTRY_LENGTH

    def _q_at(self, seqno, place):
        return self._q + (seqno % self._window * self._places + place) * _ENTRY_LENGTH

    def _put(self, at, seqno, view, base):
        slots = self.core.slots
        put_u32(self._buf, at, seqno)
        put_u32(self._buf, at + _VIEW, view)
        copy(self._buf, at + _DIGEST, slots.buf, slots.digest_at(base), 32)

    def _note_pre_prepared(self, seqno, view, digest, digest_at):
        """Into the place of that digest; else a free one, or that of the lowest view."""
        buf = self._buf
        chosen = self._q_at(seqno, 0)
        for place in range(self._places):
            at = self._q_at(seqno, place)
            if get_u32(buf, at) != seqno:
                if get_u32(buf, chosen) == seqno:
                    chosen = at
            elif equal(buf, at + _DIGEST, digest, digest_at, 32):
                chosen = at
                break
            elif get_u32(buf, chosen) == seqno and (
                get_u32(buf, at + _VIEW) < get_u32(buf, chosen + _VIEW)
            ):
                chosen = at
        put_u32(buf, chosen, seqno)
        put_u32(buf, chosen + _VIEW, view)
        copy(buf, chosen + _DIGEST, digest, digest_at, 32)

    # --- as a VIEW-CHANGE carries them ---

    def put_p(self, out, at):
        """Write the P of the window to out[at:]; returns the number of entries."""
        progress = self.core.progress
        count = 0
        for seqno in range(progress.low_mark + 1, progress.high_mark() + 1):
            if self._put_entry(self._p_at(seqno), seqno, out, at + count * _WIRE_LENGTH):
                count += 1
        return count

    def put_q(self, out, at):
        """The same of Q."""
        progress = self.core.progress
        count = 0
        for seqno in range(progress.low_mark + 1, progress.high_mark() + 1):
            for place in range(self._places):
                entry = self._q_at(seqno, place)
                if self._put_entry(entry, seqno, out, at + count * _WIRE_LENGTH):
                    count += 1
        return count

    # --- after a restart ---

    def restore(self, buf, at):
        """Take P and Q from the own VIEW-CHANGE at buf[at:]: it named all of them."""
        low_mark = wire.seqno(buf, at)
        entry = at + _ENTRIES + buf[at + _COUNTS] * _CHECKPOINT_LENGTH
        for _ in range(buf[at + _COUNTS + 1]):
            self._restore_entry(self._p_at(low_mark + buf[entry]), low_mark, buf, entry)
            entry += _WIRE_LENGTH
        for _ in range(buf[at + _COUNTS + 2]):
            seqno = low_mark + buf[entry]
            place = 0
            while place + 1 < self._places and get_u32(self._buf, self._q_at(seqno, place)):
                place += 1
            self._restore_entry(self._q_at(seqno, place), low_mark, buf, entry)
            entry += _WIRE_LENGTH

    def _restore_entry(self, at, low_mark, buf, entry):
        put_u32(self._buf, at, low_mark + buf[entry])
        copy(self._buf, at + _VIEW, buf, entry + 1, 36)

    def _put_entry(self, entry, seqno, out, at):
        if get_u32(self._buf, entry) != seqno:
            return False
        out[at] = seqno - self.core.progress.low_mark
        copy(out, at + 1, self._buf, entry + _VIEW, 36)
        return True
