"""`tinybft.decision` behind the methods of the reference model, message octets in between."""

from tests.sim.decision_model import (
    FORGED,
    NULL,
    OMITTED,
    Violation,
    claim,
    provably_stable,
)
from tests.tinybft.support import Config
from tinybft import wire
from tinybft.decision import Decision
from tinybft.octets import get_u32, put_u32

VIEW = 40
_BASE = 12  # the first message does not begin at 0
_ROUND_SEQNOS = (0, 2**31 - 8, 2**32 - 64)
_ROUND_VIEWS = (0, 2**31 - 2, 2**32 - 64)


def digest_of(number):
    """32 octets; some digests differ in their first or last octet alone, also from null."""
    if number == NULL:
        return bytes(32)
    return bytes((number,)) + bytes(31) if number % 2 else bytes(31) + bytes((number,))


class PackedDecision:
    """Asks the real procedure about votes; `rng` chooses names, orders and number ranges."""

    def __init__(self, rng, fault_count=1, window=4, interval=2, decision=Decision):
        self._rng = rng
        self._config = Config(
            FAULT_COUNT=fault_count,
            CLIENT_COUNT=3 * fault_count + 1,
            WINDOW=window,
            CHECKPOINT_INTERVAL=interval,
        )
        self._size = 1152 if fault_count == 1 else 4096
        self._buf = bytearray(_BASE + self._size * self._config.REPLICA_COUNT)
        self._decision = decision(self._config, self._buf, _BASE, self._size)
        self._members = 0
        self._seqno = 0
        self._view = 0

    def load(self, votes):
        """Store `votes` as the messages of replicas picked at random, entries in any order."""
        rng = self._rng
        self._buf[:] = b"\xa5" * len(self._buf)
        self._seqno = rng.choice(_ROUND_SEQNOS)
        self._view = rng.choice(_ROUND_VIEWS)
        self._members = 0
        for replica, vote in zip(
            rng.sample(range(self._config.REPLICA_COUNT), len(votes)), votes, strict=True
        ):
            self._members |= 1 << replica
            self._put(_BASE + replica * self._size, replica, vote)

    def _put(self, at, replica, vote):
        head = bytearray(16)
        low = vote.low_mark + self._seqno
        wire.put_header(head, wire.VIEW_CHANGE, 0, replica, 1, VIEW + self._view, low)
        counts = (len(vote.checkpoints), len(vote.prepared), len(vote.pre_prepared), 0)
        body = bytes(head) + bytes(counts)
        for s, d in self._shuffled(vote.checkpoints):
            body += _u32(s + self._seqno) + digest_of(d)
        for entries in (vote.prepared, vote.pre_prepared):
            for n, d, v in self._shuffled(entries):
                body += bytes((n - vote.low_mark,)) + _u32(v + self._view) + digest_of(d)
        total = len(body) + (self._config.REPLICA_COUNT - 1) * self._config.TAG_LENGTH
        assert total <= self._size
        self._buf[at : at + len(body)] = body
        self._buf[at + 6 : at + 8] = bytes((total & 255, total >> 8))

    def _shuffled(self, entries):
        return self._rng.sample(entries, len(entries))

    def checkpoint(self):
        """(seqno, digest octets) or None"""
        at = self._decision.checkpoint(self._members)
        if at < 0:
            return None
        return get_u32(self._buf, at) - self._seqno, bytes(self._buf[at + 4 : at + 36])

    def candidates(self, n):
        """Set of the digests, in octets, that the procedure offers at seqno n."""
        found = set()
        for index in range(1000):
            at = self._decision.candidate(self._members, n + self._seqno, index)
            if at < 0:
                return found
            found.add(bytes(self._buf[at : at + 32]))
        raise Violation("candidates without end")

    def may_end_before(self, n):
        """True if X may end before seqno n."""
        return bool(self._decision.is_unprepared(self._members, n + self._seqno))

    def provably_stable(self):
        """Counted from the seqno that stands for 0, and 0 where nothing is proven."""
        return max(0, self._decision.provably_stable(self._members) - self._seqno)

    def may_select(self, n, number):
        digest = b"\x5a" + digest_of(number) + b"\x5a"
        return bool(self._decision.may_select(self._members, n + self._seqno, digest, 1))


def _u32(value):
    octets = bytearray(4)
    put_u32(octets, 0, value)
    return bytes(octets)


def compare(rules, packed, votes, seqnos, digests=(NULL, 1, 2, 3, FORGED)):
    """Raise Violation where model and real code differ; return the number of comparisons."""
    packed.load(votes)
    chosen = rules.checkpoint(votes)
    expected = None if chosen is None else (chosen[0], digest_of(chosen[1]))
    _same(packed.checkpoint(), expected, "checkpoint", votes)
    if chosen is not None:
        proven = min(chosen[0], packed.provably_stable())
        stable = provably_stable(votes, rules.quorum // 2, chosen[0])
        _same(proven, stable, "provably stable", votes)
    for n in seqnos:
        claims = [claim(vote, n) for vote in votes]
        _same(
            packed.candidates(n), {digest_of(d) for d in rules.supported(claims)}, f"A, {n}", votes
        )
        permitted = rules.permitted(claims)
        _same(packed.may_end_before(n), OMITTED in permitted, f"end of X at {n}", votes)
        for d in digests:
            _same(packed.may_select(n, d), d in permitted, f"digest {d} at {n}", votes)
    return 2 + len(seqnos) * (2 + len(digests))


def _same(real, expected, what, votes):
    if real != expected:
        raise Violation(f"{what}: the code says {real}, the model {expected}, of {votes}")


assert OMITTED not in (NULL, FORGED)
