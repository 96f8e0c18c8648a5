"""Checkpoints: agreeing that everything up to a seqno may be forgotten (TOCS 4.3).

Every K-th executed batch the state's root digest is multicast. 2f + 1 matching CHECKPOINTs, the
own one included, make it stable: low_mark moves there, older snapshots are released and the
slots at or below it serve higher seqnos. With MACs f + 1 would not be enough: f + 1 *correct*
holders must be able to convince others later.

A certificate is, per checkpoint, the own digest with the mask of those who report the same, and
up to f + 1 other digests with theirs (votes may come before the own snapshot).

Beside them the newest CHECKPOINT of every peer, a stable one before others: f + 1 equal ones
above the last executed seqno are where a replica that is behind can go, because one of them is
a correct replica's. And the newest seqno that each peer called stable: what f + 1 call stable is.

Layout: `memory.certificate_fields`, `memory.peer_fields`. Allocates nothing outside hashing.
"""

from tinybft import faults, wire
from tinybft.compat import const, micropython
from tinybft.memory import certificate_fields, offsets, peer_fields
from tinybft.octets import copy, equal, fill, get_u32, is_zero, put_u32

_CANDIDATE_LENGTH = const(36)  # digest 32, mask u32
_PEER_LENGTH = const(40)  # seqno u32, digest 32, stable seqno u32
_COMPARED_LENGTH = const(36)  # seqno and digest
_PEER_STABLE = const(36)
# As in wire.py and faults.py: a constant is inlined only in the module that defines it.
_HEADER_LENGTH = const(16)
_ATTACHED_AT = const(48)  # in a COMMIT
_ATTACHED_LENGTH = const(16)
_STABLE = const(1)
_GONE = const(2)
_FIELD = const(6)
_MAC = const(7)
_CHECKPOINT_MISMATCH = const(10)
_OUTSIDE_WINDOW = const(17)
_NOT_NEEDED = const(18)


class Checkpoints:
    def __init__(self, core):
        config = core.config
        table = offsets(certificate_fields(config))
        self.core = core
        self._buf = core.memory.certificates
        self._peers = core.memory.peers
        self._size = table["size"]
        self._own = table["own"]
        self._mask = table["own_mask"]
        self._candidates = table["candidates"]
        self._interval = config.CHECKPOINT_INTERVAL
        self._count = config.CHECKPOINT_COUNT
        self._window = config.WINDOW
        self._is_quorum = core.quorum.is_quorum
        self._replica_count = config.REPLICA_COUNT
        self.last_taken = 0
        self._half = bytearray(wire.HEADER_LENGTH + wire.DIGEST_LENGTH)  # a digest, if it is whole
        assert offsets(peer_fields(config))["size"] == _PEER_LENGTH

    @micropython.viper
    def _find(self, seqno: uint) -> int:
        base = int(self._place_of(seqno))
        return base if uint(get_u32(self._buf, base)) == seqno else -1

    @micropython.viper
    def _open(self, seqno: uint) -> int:
        base = int(self._place_of(seqno))
        if uint(get_u32(self._buf, base)) != seqno:
            fill(self._buf, base, self._size, 0)
            put_u32(self._buf, base, seqno)
        return base

    @micropython.viper
    def _place_of(self, seqno: uint) -> int:
        """seqno // interval % count, of which viper knows only those of signed numbers."""
        interval = int(self._interval)
        count = int(self._count)
        half = int(seqno >> 1)
        number = half // interval % count * 2
        number += (half % interval * 2 + int(seqno & 1)) // interval
        return number % count * int(self._size)

    @micropython.viper
    def _is_taken(self, base: int) -> uint:
        mask = uint(get_u32(self._buf, base + int(self._mask)))
        return mask >> int(self.core.progress.replica_id) & 1

    @micropython.viper
    def voters(self, seqno) -> uint:
        """Mask of the replicas whose CHECKPOINT for `seqno` is counted, whatever it says."""
        base = int(self._find(seqno))
        if base < 0:
            return uint(0)
        buf = self._buf
        mask = uint(get_u32(buf, base + int(self._mask)))
        at = base + int(self._candidates)
        end = base + int(self._size)
        while at < end:
            mask |= uint(get_u32(buf, at + 32))
            at += _CANDIDATE_LENGTH
        return mask

    def matching(self, seqno):
        """Mask of those that report what this replica has at `seqno`; 0: it has not taken it."""
        base = self._find(seqno)
        if base < 0 or not self._is_taken(base):
            return 0
        return get_u32(self._buf, base + self._mask)

    # --- the own checkpoint ---

    @micropython.native
    def take(self, seqno):
        """Hold the state as it is after `seqno`, and tell everybody its digest."""
        core = self.core
        core.state.take_checkpoint(seqno)
        self.last_taken = seqno
        base = self._open(seqno)
        self._put_own(base, seqno)
        core.durability.note_executed(seqno - self._interval + 1, seqno)
        if core.turns:
            core.turns.checkpoint(seqno)
        else:
            self.send(seqno, -1, 0)
        self._look(base, seqno)

    def restore(self, seqno):
        """After a restart: the state is the checkpoint `seqno` that was stable here."""
        self.last_taken = seqno
        self._put_own(self._open(seqno), seqno)

    @micropython.native
    def _put_own(self, base, seqno):
        buf = self._buf
        self.core.state.root_into(seqno, buf, base + self._own)
        mask = 1 << self.core.progress.replica_id
        for at in range(base + self._candidates, base + self._size, _CANDIDATE_LENGTH):
            length = wire.ATTACHED_LENGTH if self._is_half(at) else wire.DIGEST_LENGTH
            if get_u32(buf, at + 32) and equal(buf, at, buf, base + self._own, length):
                mask |= get_u32(buf, at + 32)
                fill(buf, at, _CANDIDATE_LENGTH, 0)
        put_u32(buf, base + self._mask, mask)

    @micropython.native
    def send(self, seqno, receiver, flags):
        """CHECKPOINT of a snapshot held here, to all (-1) or to one; False if not held."""
        core = self.core
        if seqno <= core.progress.low_mark:
            flags |= wire.FLAG_STABLE
        buf = core.post.begin(wire.CHECKPOINT, flags, core.progress.view, seqno)
        if not core.state.root_into(seqno, buf, wire.HEADER_LENGTH):
            return False
        end = wire.HEADER_LENGTH + wire.DIGEST_LENGTH
        if receiver < 0:
            core.post.multicast(end)
        else:
            core.post.unicast(receiver, end)
        return True

    # --- those of others ---

    @micropython.viper
    def on_checkpoint(self, buf) -> int:  # noqa: C901
        core = self.core
        progress = core.progress
        octets = ptr8(buf)
        sender = octets[2] | octets[3] << 8
        number = wire.seqno(buf)
        seqno = uint(number)
        if not self._is_due(number):
            return _FIELD
        if seqno <= uint(progress.low_mark):
            return _OUTSIDE_WINDOW
        stable = octets[0] & _STABLE
        votes = bool(progress.in_window(number))
        if votes:
            votes = int(self.voters(number)) >> sender & 1 == 0
        is_news = seqno > uint(get_u32(self._peers, sender * _PEER_LENGTH))
        if stable and not is_news:
            is_news = bool(self._is_firmer(sender, number))
        if not votes and not is_news:
            return _NOT_NEEDED
        if not core.auth.check(buf, sender):
            return _MAC
        if is_news:
            self._note_peer(buf, sender, number, stable)
        if seqno > uint(progress.last_executed):
            core.status.on_work()
        fault = 0
        if votes:
            fault = int(self._count_vote(number, sender, buf))
        if octets[0] & _GONE:
            core.transfer.on_gone(sender)
        elif is_news and core.transfer.running:
            core.transfer.on_checkpoint()
        return fault

    @micropython.viper
    def _is_due(self, number: uint) -> bool:
        interval = int(self._interval)
        half = int(number >> 1) % interval * 2  # as in _place_of
        return number != uint(0) and (half + int(number & 1)) % interval == 0

    @micropython.native
    def _is_firmer(self, peer, number):
        """A stable checkpoint `number` is worth more than what is known of `peer`."""
        known = self.peer_seqno(peer)
        stable = self.peer_stable(peer)
        return number > stable or (
            known > stable and known > number > self.core.progress.last_executed
        )

    @micropython.viper
    def _note_peer(self, buf, sender: int, number, stable: int):
        """Its newest one; but a stable one takes the place of a newer one that is not, which
        perhaps nobody else has reached: f + 1 have to name the same."""
        peers = self._peers
        at = sender * _PEER_LENGTH
        seqno = uint(number)
        known = uint(get_u32(peers, at))
        known_stable = uint(get_u32(peers, at + _PEER_STABLE))
        if seqno > known or (stable and seqno < known and known > known_stable):
            put_u32(peers, at, number)
            copy(peers, at + 4, buf, _HEADER_LENGTH, 32)
        if stable and seqno > known_stable:
            put_u32(peers, at + _PEER_STABLE, number)

    def peer_stable(self, peer):
        return get_u32(self._peers, peer * _PEER_LENGTH + _PEER_STABLE)

    @micropython.native
    def _is_half(self, at):
        """The candidate is what COMMITs had with them: no digest that one could go by."""
        return is_zero(self._buf, at + wire.ATTACHED_LENGTH, wire.ATTACHED_LENGTH)

    @micropython.viper
    def on_attached(self, buf, sender: int, alone: bool) -> int:
        """A COMMIT for the batch behind a checkpoint has half of its digest with it: that counts
        where it matches the own one in that, as soon as there is one. To make two states that
        differ and match takes 2**64 digests, and gains nothing, for no state is taken by it: who
        has another one asks by STATUS for the whole. `alone`: the COMMIT itself is not needed, so
        that its tag was not checked. A fault, 0 if it counts."""
        core = self.core
        seqno = uint(wire.seqno(buf))
        if seqno == uint(0):
            return _NOT_NEEDED
        number = seqno - uint(1)
        if not self._is_due(number) or not core.progress.in_window(number):
            return _NOT_NEEDED
        if int(self.voters(number)) >> sender & 1:
            return _NOT_NEEDED
        if alone and not core.auth.check(buf, sender):
            return _MAC
        half = self._half
        copy(half, _HEADER_LENGTH, buf, _ATTACHED_AT, _ATTACHED_LENGTH)
        base = int(self._open(number))
        if self._is_taken(base):
            own = self._buf
            if not equal(own, base + int(self._own), half, _HEADER_LENGTH, _ATTACHED_LENGTH):
                return _NOT_NEEDED
            octets = ptr8(own)
            at = base + int(self._mask) + (sender >> 3)
            octets[at] = octets[at] | 1 << (sender & 7)
            self._look(base, number)
            return 0
        return int(self._count_vote(number, sender, half))

    @micropython.viper
    def _count_vote(self, number, sender: int, buf) -> int:
        base = int(self._open(number))
        own = self._buf
        octets = ptr8(own)
        mask_at = base + int(self._mask)
        bit = 1 << (sender & 7)
        place = sender >> 3
        is_taken = bool(self._is_taken(base))
        if is_taken and equal(own, base + int(self._own), buf, 16, 32):
            octets[mask_at + place] = octets[mask_at + place] | bit
            self._look(base, number)
            return 0
        at = base + int(self._candidates)
        end = base + int(self._size)
        while at < end:
            is_free = bool(is_zero(own, at + 32, 4))
            if is_free:
                copy(own, at, buf, _HEADER_LENGTH, 32)
            if is_free or equal(own, at, buf, _HEADER_LENGTH, 32):
                octets[at + 32 + place] = octets[at + 32 + place] | bit
                break
            at += _CANDIDATE_LENGTH
        if is_taken:
            self._look(base, number)
            return _CHECKPOINT_MISMATCH
        return 0

    # --- what the votes say ---

    @micropython.viper
    def _look(self, base: int, seqno):
        """Stable? Or does a quorum contradict the own digest?"""
        buf = self._buf
        is_quorum = self._is_quorum
        if is_quorum(get_u32(buf, base + int(self._mask))):
            self._stabilise(seqno)
            return
        at = base + int(self._candidates)
        end = base + int(self._size)
        while at < end:
            if is_quorum(get_u32(buf, at + 32)) and not self._is_half(at):
                self.core.faults.count(faults.DIVERGED)
                self.core.transfer.start(seqno, buf, at)
                return
            at += _CANDIDATE_LENGTH

    @micropython.native
    def _stabilise(self, seqno):
        core = self.core
        if not core.state.holds(seqno):
            return  # a transfer has begun, which gave it up; its end moves the window
        if seqno > core.progress.low_mark:
            core.durability.note_stable(seqno)
            core.progress.low_mark = seqno
            core.state.release_below(seqno)

    def raise_low_mark(self, seqno):
        """A view change proved checkpoint `seqno` stable: the window moves there if it is held."""
        self._stabilise(seqno)

    def adopt(self, seqno):
        """The state is checkpoint `seqno` now, by transfer: where does the window go?

        f + 1 replicas have checkpoint `seqno`. A correct one among them executed it inside its
        window, so `seqno` - W is stable; and `seqno` itself if f + 1 call it (or more) stable.
        """
        progress = self.core.progress
        proven = seqno if self._is_called_stable(seqno) else max(0, seqno - self._window)
        if self.core.new_view.stable <= seqno:
            proven = max(proven, self.core.new_view.stable)
        low_mark = max(progress.low_mark, proven)
        self.core.durability.note_installed(low_mark, seqno)
        progress.low_mark = low_mark
        self.last_taken = seqno
        base = self._open(seqno)
        self._put_own(base, seqno)
        self.send(seqno, -1, 0)
        self._look(base, seqno)

    def _is_called_stable(self, seqno):
        mask = 0
        for peer in range(self._replica_count):
            if self.peer_stable(peer) >= seqno:
                mask |= 1 << peer
        return self.core.quorum.is_weak(mask)

    @micropython.viper
    def find_target(self) -> int:
        """Peer whose newest CHECKPOINT is the highest that f + 1 peers agree on and that lies
        above the last executed seqno; -1 if there is none."""
        best = -1
        best_seqno = uint(self.core.progress.last_executed)
        peers = self._peers
        count = int(self._replica_count)
        candidate = 0
        while candidate < count:
            seqno = uint(get_u32(peers, candidate * _PEER_LENGTH))
            if seqno > best_seqno and self._agree_with(candidate):
                best = candidate
                best_seqno = seqno
            candidate += 1
        return best

    def _agree_with(self, candidate):
        at = candidate * _PEER_LENGTH
        mask = 0
        for peer in range(self._replica_count):
            if equal(self._peers, peer * _PEER_LENGTH, self._peers, at, _COMPARED_LENGTH):
                mask |= 1 << peer
        return self.core.quorum.is_weak(mask)

    def peer_seqno(self, peer):
        return get_u32(self._peers, peer * _PEER_LENGTH)

    def start_transfer_to(self, peer):
        at = peer * _PEER_LENGTH
        self.core.transfer.start(get_u32(self._peers, at), self._peers, at + 4)
