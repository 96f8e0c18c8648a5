"""What a new view must begin with: a pure function of a set of VIEW-CHANGEs (TOCS 4.4).

The new primary chooses a checkpoint and, for each seqno behind it, a batch; backups check the
choice with the same conditions over the same set S:

    checkpoint   the highest that f + 1 of S list, with a low mark at or below it in 2f + 1 of S
    A            some P of S has (seqno, digest, view) and
      A1         2f + 1 of S have their low mark below seqno and no P for it that is later, or
                 of that view with another digest
      A2         f + 1 of S have (seqno, digest) in Q with that view or a later one
    B            2f + 1 of S have their low mark below seqno and no P for it: null

A batch that is committed anywhere is the only one that S can permit, whatever f of its members
claim: 2f + 1 prepared it, and S shares a correct replica with them that no A1 or B gets round.
Where several digests are permitted none of them is committed and the choice is free; so a backup
asks whether a choice is permitted, not whether it would have chosen the same. (A primary that
lacks a permitted batch takes another, or waits.)

S is a mask of replicas whose well-formed messages lie at `buf[base + replica * size:]`. The
result depends on their contents only, not on any order. Does not allocate.
"""

from tinybft.compat import const
from tinybft.octets import equal, get_u32, is_zero
from tinybft.quorum import Quorum

_LOW_MARK = const(12)
_COUNTS = const(16)
_ENTRIES = const(20)
_CHECKPOINT_LENGTH = const(36)  # seqno u32, digest 32
_CLAIM_LENGTH = const(37)  # seqno - low_mark u8, view u32, digest 32
_CLAIM_DIGEST = const(5)


class Decision:
    def __init__(self, config, buf, base, size):
        self._buf = buf
        self._base = base
        self._size = size
        self._replica_count = config.REPLICA_COUNT
        self._quorum = Quorum(config)

    def low_mark(self, replica):
        return get_u32(self._buf, self._base + replica * self._size + _LOW_MARK)

    # --- the checkpoint ---

    def checkpoint(self, members):
        """Offset of the chosen checkpoint (seqno u32, digest 32) in `buf`; -1: wait."""
        best = -1
        for replica in range(self._replica_count):
            if not members >> replica & 1:
                continue
            at = self._base + replica * self._size
            entry = at + _ENTRIES
            for _ in range(self._buf[at + _COUNTS]):
                higher = best < 0 or get_u32(self._buf, entry) > get_u32(self._buf, best)
                if higher and self._is_common(members, entry):
                    best = entry
                entry += _CHECKPOINT_LENGTH
        return best

    def _is_common(self, members, entry):
        seqno = get_u32(self._buf, entry)
        listed = 0
        reached = 0
        for replica in range(self._replica_count):
            if members >> replica & 1:
                if self.low_mark(replica) <= seqno:
                    reached |= 1 << replica
                if self._lists(replica, entry):
                    listed |= 1 << replica
        return self._quorum.is_quorum(reached) and self._quorum.is_weak(listed)

    def _lists(self, replica, entry):
        at = self._base + replica * self._size
        own = at + _ENTRIES
        for _ in range(self._buf[at + _COUNTS]):
            if equal(self._buf, own, self._buf, entry, _CHECKPOINT_LENGTH):
                return True
            own += _CHECKPOINT_LENGTH
        return False

    def provably_stable(self, members):
        """Highest seqno that S proves stable: f + 1 have it as low mark or behind it, or 2f + 1
        list one and the same checkpoint there.

        (A later checkpoint proves nothing of an earlier one: it may have been fetched.)
        """
        stable = 0
        for replica in range(self._replica_count):
            if members >> replica & 1:
                low = self.low_mark(replica)
                if low > stable and self._quorum.is_weak(self._with_low_mark(members, low)):
                    stable = low
                stable = max(stable, self._listed_by_quorum(members, replica))
        return stable

    def _with_low_mark(self, members, seqno):
        mask = 0
        for replica in range(self._replica_count):
            if members >> replica & 1 and self.low_mark(replica) >= seqno:
                mask |= 1 << replica
        return mask

    def _listed_by_quorum(self, members, replica):
        """Highest seqno in the C of `replica` that 2f + 1 of S list with its digest; 0: none."""
        at = self._base + replica * self._size
        entry = at + _ENTRIES
        highest = 0
        for _ in range(self._buf[at + _COUNTS]):
            mask = 0
            for other in range(self._replica_count):
                if members >> other & 1 and self._lists(other, entry):
                    mask |= 1 << other
            if self._quorum.is_quorum(mask):
                highest = max(highest, get_u32(self._buf, entry))
            entry += _CHECKPOINT_LENGTH
        return highest

    # --- one seqno ---

    def may_select(self, members, seqno, digest, at):
        """True if S permits the batch with the digest digest[at:at + 32] (zeros: null)."""
        if is_zero(digest, at, 32) and self.is_unprepared(members, seqno):
            return True
        for replica in range(self._replica_count):
            claim = self._prepared(members, replica, seqno)
            named = claim >= 0 and equal(self._buf, claim + _CLAIM_DIGEST, digest, at, 32)
            if named and self._is_supported(members, seqno, claim):
                return True
        return False

    def candidate(self, members, seqno, index):
        """Offset in `buf` of the `index`-th digest that condition A permits; -1: no more."""
        for replica in range(self._replica_count):
            claim = self._prepared(members, replica, seqno)
            if claim >= 0 and self._is_supported(members, seqno, claim):
                if index == 0:
                    return claim + _CLAIM_DIGEST
                index -= 1
        return -1

    def is_unprepared(self, members, seqno):
        """Condition B: nothing, not even null, is committed for `seqno` anywhere.

        X may end before such a seqno, and the new view order anything there. A null that
        condition A permits may be committed: X must name it.
        """
        mask = 0
        for replica in range(self._replica_count):
            needs = members >> replica & 1 and self.low_mark(replica) < seqno
            if needs and self._prepared(members, replica, seqno) < 0:
                mask |= 1 << replica
        return self._quorum.is_quorum(mask)

    def _is_supported(self, members, seqno, claim):
        """Condition A for a claim of some P in S."""
        unopposed = 0
        supporters = 0
        for replica in range(self._replica_count):
            if members >> replica & 1:
                if self.low_mark(replica) < seqno and not self._opposes(replica, seqno, claim):
                    unopposed |= 1 << replica
                if self._supports(replica, seqno, claim):
                    supporters |= 1 << replica
        return self._quorum.is_quorum(unopposed) and self._quorum.is_weak(supporters)

    def _opposes(self, replica, seqno, claim):
        """Its P entry is later than the claim, or of the same view with another digest."""
        own = self._prepared(1 << replica, replica, seqno)
        if own < 0:
            return False
        buf = self._buf
        own_view = get_u32(buf, own + 1)
        view = get_u32(buf, claim + 1)
        if own_view != view:
            return own_view > view
        return not equal(buf, own + _CLAIM_DIGEST, buf, claim + _CLAIM_DIGEST, 32)

    def _supports(self, replica, seqno, claim):
        """It pre-prepared the digest of the claim in that view or later."""
        buf = self._buf
        at = self._base + replica * self._size
        offset = seqno - self.low_mark(replica)
        view = get_u32(buf, claim + 1)
        entry = at + _ENTRIES + buf[at + _COUNTS] * _CHECKPOINT_LENGTH
        entry += buf[at + _COUNTS + 1] * _CLAIM_LENGTH
        for _ in range(buf[at + _COUNTS + 2]):
            recent = buf[entry] == offset and get_u32(buf, entry + 1) >= view
            if recent and equal(buf, entry + _CLAIM_DIGEST, buf, claim + _CLAIM_DIGEST, 32):
                return True
            entry += _CLAIM_LENGTH
        return False

    def _prepared(self, members, replica, seqno):
        """Offset of the P entry of a member for `seqno`; -1: none."""
        if not members >> replica & 1:
            return -1
        buf = self._buf
        at = self._base + replica * self._size
        offset = seqno - self.low_mark(replica)
        entry = at + _ENTRIES + buf[at + _COUNTS] * _CHECKPOINT_LENGTH
        for _ in range(buf[at + _COUNTS + 1]):
            if buf[entry] == offset:
                return entry
            entry += _CLAIM_LENGTH
        return -1
