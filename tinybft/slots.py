"""The agreement region: a ring of W slots, each for one seqno in the current view.

A slot is named by `base`, its byte offset in the region; `open(seqno)` gives it. A slot carries
its seqno, checked at every access: the ring position of seqno s serves s + W once s is at or
below the stable checkpoint, and until then nothing else.

Votes. Per slot and kind (PREPARE, COMMIT) one mask of the replicas whose vote names the slot's
own digest, and masks for up to f + 1 other digests ("candidates"), because votes may overtake
their pre-prepare. f + 1 places suffice: f faulty replicas fill at most f, the correct ones agree
on the rest unless the primary equivocates, and then repair brings the votes again.

A view change takes all votes and keeps the batches (HAS_BATCH); a NEW-VIEW assigns a digest to a
slot, whose batch may have to be fetched (NAMED). Behind the ring lies a second one of PIPELINE
slots: per seqno the batch that prepared last in an earlier view, whatever the first ring holds
now. So few are enough, because no replica prepares more than PIPELINE batches that it has not
executed (agreement.py): of these no two share a place; and what is executed is committed, so that
the first ring holds it until it is stable, and no view asks for another batch.

The bodies of a slot's batch lie in a bulk field beside the ring, in the batch's order; all else
is in RAM. Layout: `memory.slot_fields`, `memory.body_fields`. Does not allocate.
"""

from tinybft import wire
from tinybft.bulk import InRam
from tinybft.compat import const, micropython
from tinybft.memory import body_length, offsets, slot_fields
from tinybft.octets import copy, equal, fill, get_u32, is_zero, put_u32

# Flags of a slot
PRE_PREPARED = const(1)  # a pre-prepare is stored: batch and digest are valid
ACCEPTED = const(2)  # and everything in it is authentic and here: PREPARE was sent
PREPARED = const(4)  # 2f PREPAREs as well: COMMIT was sent
COMMITTED = const(8)  # 2f + 1 COMMITs as well
VOUCHED_ONLY = const(16)  # not from the primary: counts once f + 1 votes support it
TIME_IN_DOUBT = const(32)  # its time is not plausible here
HAS_BATCH = const(64)  # batch and digest are valid, be it of this view or an earlier one
NAMED = const(128)  # the digest is what the NEW-VIEW says, the batch is not here

# Offsets in a slot: what lies before the fields whose length depends on the configuration.
_FLAGS = const(4)
_DOUBTS = const(6)
_HELD = const(8)
_DIGEST = const(12)
_PREPARES = const(44)
_COMMITS = const(48)
_CANDIDATES = const(52)
_CANDIDATE_LENGTH = const(40)  # digest 32, prepare mask u32, commit mask u32
# As in wire.py: a constant is inlined only in the module that defines it.
_PREPARE = const(3)
_BATCH_HEADER_LENGTH = const(8)
_COUNT = const(6)  # in the batch header
_ENTRY_LENGTH = const(40)
_ENTRY_MESSAGE_LENGTH = const(2)


class Slots:
    """`bodies`: the bulk field; None: in RAM."""

    def __init__(self, config, memory, bodies=None):
        table = offsets(slot_fields(config))
        self.buf = memory.slots
        self.bodies_length_max = body_length(config)
        self.bodies = bodies or InRam(memory.bodies, self.bodies_length_max)
        self._size = table["size"]
        self._window = config.WINDOW
        self._kept_count = config.PIPELINE
        self._candidates_end = config.WEAK_QUORUM * _CANDIDATE_LENGTH
        assert table["candidates"] == _CANDIDATES, "the first fields have offsets of their own"
        self._batch = table["batch"]

    @micropython.native
    def open(self, seqno):
        """The slot of `seqno`, emptied first if it served another one.

        Requires: low_mark < seqno <= high_mark, so what it held before is stable.
        """
        base = self.find(seqno)
        if base < 0:
            base = seqno % self._window * self._size
            fill(self.buf, base, self._batch, 0)
            put_u32(self.buf, base, seqno)
        return base

    @micropython.viper
    def find(self, seqno: uint) -> int:
        """The slot if it still holds `seqno` (also below the stable checkpoint), else -1."""
        window = int(self._window)
        # seqno % window, of which viper knows only that of signed numbers
        place = (int(seqno >> 1) % window * 2 + int(seqno & 1)) % window
        base = place * int(self._size)
        buf = ptr8(self.buf)
        high = uint(buf[base + 3]) << 24 | uint(buf[base + 2]) << 16
        held = high | uint(buf[base + 1]) << 8 | uint(buf[base])
        return base if held == seqno else -1

    # --- over views ---

    def keep(self, base):
        """Copy the slot, complete, to the second ring: its batch prepared. Returns the copy."""
        kept = self._kept(get_u32(self.buf, base))
        self._copy_slot(base, kept)
        return kept

    def may_keep(self, seqno):
        """False if its place has a later batch: then this one was executed before a restart."""
        return get_u32(self.buf, self._kept(seqno)) <= seqno

    def _copy_slot(self, base, to):
        is_there = self._is_batch(to, self.seqno(base), self.buf, base + _DIGEST)
        copy(self.buf, to, self.buf, base, self._size)
        if self.held(base) and not is_there:
            length = self.bodies_length(base)
            self.bodies.copy_to(self.body_at(base, 0), self.bodies, self.body_at(to, 0), length)

    def _kept(self, seqno):
        return (self._window + seqno % self._kept_count) * self._size

    def find_batch(self, seqno, digest, at):
        """A slot of either ring with the batch of this digest, bodies included; -1: none."""
        base = seqno % self._window * self._size
        if self._is_batch(base, seqno, digest, at):
            return base
        base = self._kept(seqno)
        return base if self._is_batch(base, seqno, digest, at) else -1

    def _is_batch(self, base, seqno, digest, at):
        if get_u32(self.buf, base) != seqno or not self.has(base, HAS_BATCH):
            return False
        return equal(self.buf, base + _DIGEST, digest, at, 32) and not self.missing(base)

    def find_kept(self, seqno):
        """The slot of the second ring if it holds `seqno`, else -1."""
        base = self._kept(seqno)
        return base if get_u32(self.buf, base) == seqno else -1

    def strip(self, base):
        """Leave the view: all that remains is the batch."""
        self.buf[base + _FLAGS] &= HAS_BATCH
        fill(self.buf, base + _PREPARES, self._batch - _PREPARES, 0)

    def clear(self, base):
        """Nothing is known of the slot's seqno any more."""
        fill(self.buf, base + 4, self._batch - 4, 0)

    def assign(self, seqno, digest, at):
        """The slot of `seqno` with the batch of this digest, or with the digest alone.

        Whatever else it held is lost.
        """
        base = self.open(seqno)
        found = self.find_batch(seqno, digest, at)
        if found >= 0:
            if found != base:
                self._copy_slot(found, base)
            self.strip(base)
            self.set_doubts(base, 0)
        elif self.has(base, HAS_BATCH) and equal(self.buf, base + _DIGEST, digest, at, 32):
            self.strip(base)  # some bodies are missing
            self.set_doubts(base, 0)
        else:
            self.clear(base)
            copy(self.buf, base + _DIGEST, digest, at, 32)
            if is_zero(digest, at, 32):  # null: the batch without requests
                fill(self.buf, base + self._batch, wire.BATCH_HEADER_LENGTH, 0)
                self.set_flag(base, HAS_BATCH)
            else:
                self.set_flag(base, NAMED)
        return base

    # --- the batch ---

    @micropython.viper
    def seqno(self, base: int) -> uint:
        buf = ptr8(self.buf)
        high = uint(buf[base + 3]) << 24 | uint(buf[base + 2]) << 16
        return high | uint(buf[base + 1]) << 8 | uint(buf[base])

    @micropython.viper
    def flags(self, base: int) -> int:
        return ptr8(self.buf)[base + _FLAGS]

    @micropython.viper
    def has(self, base: int, flag: int) -> int:
        return ptr8(self.buf)[base + _FLAGS] & flag

    @micropython.viper
    def set_flag(self, base: int, flag: int):
        buf = ptr8(self.buf)
        buf[base + _FLAGS] = buf[base + _FLAGS] | flag

    @micropython.viper
    def clear_flag(self, base: int, flag: int):
        buf = ptr8(self.buf)
        buf[base + _FLAGS] = buf[base + _FLAGS] & ~flag

    def drop_flags(self, base):
        self.buf[base + _FLAGS] = 0

    @micropython.viper
    def doubts(self, base: int) -> int:
        """Mask of the requests whose authenticity this replica could not check."""
        buf = ptr8(self.buf)
        return buf[base + _DOUBTS] | buf[base + _DOUBTS + 1] << 8

    @micropython.viper
    def set_doubts(self, base: int, mask: int):
        buf = ptr8(self.buf)
        buf[base + _DOUBTS] = mask & 255
        buf[base + _DOUBTS + 1] = mask >> 8

    @micropython.viper
    def held(self, base: int) -> int:
        """Mask of the requests whose body is here."""
        buf = ptr8(self.buf)
        return buf[base + _HELD] | buf[base + _HELD + 1] << 8

    @micropython.viper
    def set_held(self, base: int, mask: int):
        buf = ptr8(self.buf)
        buf[base + _HELD] = mask & 255
        buf[base + _HELD + 1] = mask >> 8

    @micropython.viper
    def digest_at(self, base: int) -> int:
        return base + _DIGEST

    @micropython.viper
    def batch_at(self, base: int) -> int:
        return base + int(self._batch)

    @micropython.viper
    def request_count(self, base: int) -> int:
        return ptr8(self.buf)[base + int(self._batch) + _COUNT]

    @micropython.viper
    def entry_at(self, base: int, index: int) -> int:
        return base + int(self._batch) + _BATCH_HEADER_LENGTH + index * _ENTRY_LENGTH

    @micropython.viper
    def missing(self, base: int) -> int:
        """Mask of the bodies named by the batch and not here."""
        buf = ptr8(self.buf)
        named = (1 << buf[base + int(self._batch) + _COUNT]) - 1
        return named & ~(buf[base + _HELD] | buf[base + _HELD + 1] << 8)

    @micropython.viper
    def body_at(self, base: int, index: int) -> int:
        """Where in `bodies` that of request `index` is: they lie in the batch's order."""
        buf = ptr8(self.buf)
        at = base // int(self._size) * int(self.bodies.stride)
        entry = base + int(self._batch) + _BATCH_HEADER_LENGTH + _ENTRY_MESSAGE_LENGTH
        while index:
            at += buf[entry] | buf[entry + 1] << 8
            entry += _ENTRY_LENGTH
            index -= 1
        return at

    def bodies_length(self, base):
        """Bytes of all bodies of the batch together."""
        return self.body_at(base, self.request_count(base)) - self.body_at(base, 0)

    @micropython.viper
    def put_body(self, base: int, index: int, message, message_at: int):
        """Store a body whose digest is that of the entry."""
        length = wire.entry_length(self.buf, self.entry_at(base, index))
        self.bodies.put(self.body_at(base, index), message, message_at, length)
        self.set_held(base, int(self.held(base)) | 1 << index)

    @micropython.native
    def take_body(self, base, index, source, source_at):
        """The same from another bulk field."""
        length = wire.entry_length(self.buf, self.entry_at(base, index))
        source.copy_to(source_at, self.bodies, self.body_at(base, index), length)
        self.set_held(base, self.held(base) | 1 << index)

    @micropython.native
    def body_into(self, base, index, out, at):
        """The REQUEST `index` of the batch, as it came; returns its length."""
        length = wire.entry_length(self.buf, self.entry_at(base, index))
        self.bodies.get(self.body_at(base, index), out, at, length)
        return length

    def drop_batch(self, base):
        """Forget a stored pre-prepare; votes stay."""
        self.buf[base + _FLAGS] = 0
        put_u32(self.buf, base + _HELD, 0)
        self.set_doubts(base, 0)

    # --- votes ---

    @micropython.viper
    def prepares(self, base: int) -> uint:
        return uint(get_u32(self.buf, base + _PREPARES))

    @micropython.viper
    def commits(self, base: int) -> uint:
        return uint(get_u32(self.buf, base + _COMMITS))

    @micropython.viper  # a vote is one bit in one octet of its mask
    def add_prepare(self, base: int, replica: int):
        buf = ptr8(self.buf)
        at = base + _PREPARES + (replica >> 3)
        buf[at] = buf[at] | 1 << (replica & 7)

    @micropython.viper
    def add_commit(self, base: int, replica: int):
        buf = ptr8(self.buf)
        at = base + _COMMITS + (replica >> 3)
        buf[at] = buf[at] | 1 << (replica & 7)

    @micropython.viper
    def has_voted(self, base: int, kind: int, replica: int) -> int:
        """True if a vote of this kind from `replica`, for whatever digest, is counted."""
        buf = ptr8(self.buf)
        at = base + (replica >> 3)
        mask = buf[at + (_PREPARES if kind == _PREPARE else _COMMITS)]
        at += _CANDIDATES + (32 if kind == _PREPARE else 36)
        end = at + int(self._candidates_end)
        while at < end:
            mask |= buf[at]
            at += _CANDIDATE_LENGTH
        return mask >> (replica & 7) & 1

    @micropython.viper
    def add_vote(self, base: int, kind: int, replica: int, vote) -> bool:
        """Count the PREPARE or COMMIT `vote` if it names the batch that is pre-prepared here."""
        buf = ptr8(self.buf)
        is_here = buf[base + _FLAGS] & PRE_PREPARED
        if not is_here or not equal(self.buf, base + _DIGEST, vote, 16, 32):
            return False
        at = base + (replica >> 3) + (_PREPARES if kind == _PREPARE else _COMMITS)
        buf[at] = buf[at] | 1 << (replica & 7)
        return True

    @micropython.native
    def add_candidate_vote(self, base, kind, replica, buf, at):
        """Count a vote for the digest buf[at:at + 32], which is not (yet) the slot's own.

        False if all f + 1 places are taken by other digests, or if the other vote of `replica`
        is for another digest: no correct one does that, and a faulty one must not fill two.
        """
        offset = 32 if kind == wire.PREPARE else 36
        first = base + _CANDIDATES
        if self._is_for_another(base, kind, replica, buf, at):
            return False
        for candidate in range(first, first + self._candidates_end, _CANDIDATE_LENGTH):
            if self._is_free(candidate):
                copy(self.buf, candidate, buf, at, 32)
            elif not equal(self.buf, candidate, buf, at, 32):
                continue
            mask = get_u32(self.buf, candidate + offset) | 1 << replica
            put_u32(self.buf, candidate + offset, mask)
            return True
        return False

    @micropython.native
    def _is_for_another(self, base, kind, replica, buf, at):
        """True if the vote of the other kind of `replica` is a candidate's with another digest."""
        offset = 36 if kind == wire.PREPARE else 32
        first = base + _CANDIDATES
        for candidate in range(first, first + self._candidates_end, _CANDIDATE_LENGTH):
            if get_u32(self.buf, candidate + offset) >> replica & 1:
                return not equal(self.buf, candidate, buf, at, 32)
        return False

    @micropython.native
    def adopt_votes(self, base):
        """Count the votes that came for the slot's digest before it was known."""
        first = base + _CANDIDATES
        for candidate in range(first, first + self._candidates_end, _CANDIDATE_LENGTH):
            if self._is_free(candidate):
                continue
            if equal(self.buf, candidate, self.buf, base + _DIGEST, 32):
                prepares = self.prepares(base) | get_u32(self.buf, candidate + 32)
                put_u32(self.buf, base + _PREPARES, prepares)
                commits = self.commits(base) | get_u32(self.buf, candidate + 36)
                put_u32(self.buf, base + _COMMITS, commits)
                fill(self.buf, candidate, _CANDIDATE_LENGTH, 0)

    def disown_votes(self, base):
        """The reverse: the slot's digest is given up, its votes become a candidate's."""
        prepares = self.prepares(base)
        commits = self.commits(base)
        put_u32(self.buf, base + _PREPARES, 0)
        put_u32(self.buf, base + _COMMITS, 0)
        first = base + _CANDIDATES
        for candidate in range(first, first + self._candidates_end, _CANDIDATE_LENGTH):
            if self._is_free(candidate) and (prepares or commits):
                copy(self.buf, candidate, self.buf, base + _DIGEST, 32)
                put_u32(self.buf, candidate + 32, prepares)
                put_u32(self.buf, candidate + 36, commits)
                return

    def find_certified(self, base, quorum):
        """The candidate for which 2f + 1 COMMITs are counted, -1: none. `quorum`: a Quorum."""
        first = base + _CANDIDATES
        for candidate in range(first, first + self._candidates_end, _CANDIDATE_LENGTH):
            if quorum.is_quorum(get_u32(self.buf, candidate + 36)):
                return candidate
        return -1

    def exchange(self, base, candidate):
        """Digest and votes of a candidate become the slot's own, and the other way round; the
        batch that was here goes."""
        self.drop_batch(base)
        self.set_flag(base, NAMED)
        self._swap(base + _DIGEST, candidate, 32)
        self._swap(base + _PREPARES, candidate + 32, 4)
        self._swap(base + _COMMITS, candidate + 36, 4)

    def _swap(self, one, other, length):
        for i in range(length):
            kept = self.buf[one + i]
            self.buf[one + i] = self.buf[other + i]
            self.buf[other + i] = kept

    def is_for_other(self, base, replica):
        """True if the PREPARE of `replica` that is counted is not for the slot's own digest."""
        return self.has_voted(base, wire.PREPARE, replica) and not (
            self.prepares(base) >> replica & 1
        )

    @micropython.native
    def _is_free(self, candidate):
        return is_zero(self.buf, candidate + 32, 8)
