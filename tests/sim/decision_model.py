"""Reference model of the decision procedure of the view change, and the logs it must cope with.

Written from PROTOCOL.md section 6 alone, with tuples in place of octets:

    Vote    what a VIEW-CHANGE says: low mark h, C as (seqno, digest), P and Q as
            (seqno, digest, view)
    Claim   what one vote says about one seqno n: is h < n, P and Q as (digest, view)

Digests are small numbers, `NULL` is the null request. The faulty replicas are not modelled but
for what they say in a VIEW-CHANGE: in the normal case they give every vote that helps, so

    prepared(d, v)    needs f+1 correct replicas that pre-prepared d in v (2f+1 less f)
    committed(d, v)   needs f+1 correct replicas that prepared d in v

whoever is the primary; a faulty primary, which may propose to each replica something else, allows
every log that a correct one allows, and by leaving out views it can be primary of each of them.
"""

from itertools import combinations, product
from typing import NamedTuple

NULL = 0
OMITTED = -1  # behind the end of X: the new primary may propose whatever it likes
FORGED = 9  # a digest that no correct replica ever saw
CHECKPOINT = 100  # digest of the checkpoint at seqno s is CHECKPOINT + s; a false one is FORGED


class Violation(AssertionError):
    """A property of the decision procedure does not hold; the text tells the case."""


class Vote(NamedTuple):
    low_mark: int
    checkpoints: tuple
    prepared: tuple
    pre_prepared: tuple


class Claim(NamedTuple):
    below: bool
    prepared: tuple
    pre_prepared: tuple


def claim(vote, n):
    """What `vote` says about seqno n."""
    return Claim(
        vote.low_mark < n,
        tuple((d, v) for s, d, v in vote.prepared if s == n),
        tuple((d, v) for s, d, v in vote.pre_prepared if s == n),
    )


class Rules:
    """The decision procedure, a rule of PROTOCOL.md section 6 per method."""

    def __init__(self, fault_count=1):
        self.quorum = 2 * fault_count + 1
        self.weak_quorum = fault_count + 1

    def checkpoint(self, votes):
        """The highest (seqno, digest) that may be chosen from a list of votes, None = wait."""
        listed = {entry for vote in votes for entry in vote.checkpoints}
        chosen = [entry for entry in listed if self.may_begin_at(votes, entry)]
        return max(chosen, default=None)

    def may_begin_at(self, votes, entry):
        low_enough = sum(vote.low_mark <= entry[0] for vote in votes)
        listing = sum(entry in vote.checkpoints for vote in votes)
        return low_enough >= self.quorum and listing >= self.weak_quorum

    def supported(self, claims):
        """Digests that satisfy condition A (A1 and A2)."""
        named = {entry for c in claims for entry in c.prepared}
        return {d for d, v in named if self.a1(claims, d, v) and self.a2(claims, d, v)}

    def a1(self, claims, d, v):
        free = [c for c in claims if c.below and not any(contradicts(p, d, v) for p in c.prepared)]
        return len(free) >= self.quorum

    def a2(self, claims, d, v):
        return sum(self.vouches(c, d, v) for c in claims) >= self.weak_quorum

    @staticmethod
    def vouches(c, d, v):
        return any(e == d and w >= v for e, w in c.pre_prepared)

    def b(self, claims):
        """Condition B: nothing was committed, null may be selected."""
        return sum(c.below and not c.prepared for c in claims) >= self.quorum

    def permitted(self, claims):
        """What a valid NEW-VIEW may have at this seqno: digests, NULL, OMITTED."""
        digests = self.supported(claims)
        if self.b(claims):
            digests |= {NULL, OMITTED}
        return digests


def contradicts(entry, d, v):
    e, w = entry
    return w > v or (w == v and e != d)


# --- logs of one seqno over several views ------------------------------------------------


class Log(NamedTuple):
    """Claims of the correct replicas about one seqno, and every digest that may be committed."""

    claims: tuple
    committed: frozenset


NOTHING = Claim(True, (), ())
EMPTY_LOG = Log((NOTHING,) * 3, frozenset())
_SWAPPED = {1: 2, 2: 1}


def canonical(log):
    """The same log up to the names of the replicas and of the digests 1 and 2."""
    return min(_sorted(log), _sorted(_swap(log)))


def _sorted(log):
    return Log(tuple(sorted(log.claims)), log.committed)


def _swap(log):
    claims = tuple(
        Claim(c.below, _swap_digests(c.prepared), _swap_digests(c.pre_prepared))
        for c in log.claims
    )
    return Log(claims, frozenset(_SWAPPED.get(d, d) for d in log.committed))


def _swap_digests(entries):
    return tuple(sorted((_SWAPPED.get(d, d), v) for d, v in entries))


def logs_after(log, view, allowed):
    """Yield every log that `view` can make of `log` (f = 1) if it accepts digests `allowed`."""
    for accepted in product((None, *allowed), repeat=3):
        able = [i for i in range(3) if accepted[i] is not None and accepted.count(accepted[i]) > 1]
        for count in range(len(able) + 1):
            for prepared in combinations(able, count):
                yield canonical(_log_with(log, view, accepted, prepared))


def _log_with(log, view, accepted, prepared):
    claims = list(log.claims)
    for i in range(3):
        d = accepted[i]
        if d is None:
            continue
        later = ((d, view),) if i in prepared else claims[i].prepared
        others = [entry for entry in claims[i].pre_prepared if entry[0] != d]
        claims[i] = Claim(True, later, tuple(sorted([*others, (d, view)])))
    digests = [accepted[i] for i in prepared]
    return Log(tuple(claims), log.committed | {d for d in digests if digests.count(d) > 1})


def claim_lies(new_view, rich=True):
    """What a faulty replica may claim about a seqno in a VIEW-CHANGE for `new_view`.

    P: nothing or any one entry; Q: all combinations (rich), or the extreme ones.
    """
    views = range(new_view)
    entries = [(d, v) for d in (NULL, 1, 2, FORGED) for v in views]
    p_lies = [(), *((entry,) for entry in entries)]
    lies = [Claim(False, (), ())]
    for p in p_lies:
        lies += [Claim(True, p, q) for q in _q_lies(views, p, rich)]
    return lies


def _q_lies(views, p, rich):
    if rich:
        for choice in product((None, *views), repeat=3):
            yield tuple((d, v) for d, v in enumerate(choice) if v is not None)
        return
    last = views[-1]
    yield ()
    yield tuple((d, last) for d in (NULL, 1, 2))
    yield tuple((d, last) for d in (1, 2, FORGED))
    yield tuple((d, 0) for d in (NULL, 1, 2))
    if p:
        yield p[:1]


# --- logs with checkpoints: view 0, window 2, interval 1 ----------------------------------

WINDOW = 2
SEQNOS = (1, 2, 3)
_NONE, _PRE_PREPARED, _PREPARED, _COMMITTED = range(4)


class Replica(NamedTuple):
    """A correct replica in view 0: a state per seqno, checkpoints held, low mark."""

    states: tuple
    held: tuple
    low_mark: int


def window_logs():
    """Yield every reachable triple of correct replicas (f = 1), up to their names.

    One digest per seqno; `logs_after` has the equivocating primary.
    """
    singles = sorted(product(range(4), repeat=len(SEQNOS)))
    for a in range(len(singles)):
        for b in range(a, len(singles)):
            for c in range(b, len(singles)):
                triple = (singles[a], singles[b], singles[c])
                if _reachable(triple):
                    yield from _with_checkpoints(triple)


def _reachable(triple):
    for states in zip(*triple, strict=True):
        if max(states) >= _PREPARED and sum(s >= _PRE_PREPARED for s in states) < 2:
            return False
        if max(states) >= _COMMITTED and sum(s >= _PREPARED for s in states) < 2:
            return False
    return True


def _run(states, start):
    """Last seqno executed by a replica that starts behind `start`."""
    while start < len(states) and states[start] == _COMMITTED:
        start += 1
    return start


def _with_checkpoints(triple):
    """With every choice of state transfers and of low marks that the group allows."""
    executed = [_run(states, 0) for states in triple]
    newest = max(executed)
    choices = [_held_choices(triple[i], executed[i], newest) for i in range(3)]
    for held in product(*choices):
        marks = [[s for s in h if sum(s in other for other in held) >= 2] for h in held]
        for low in product(*marks):
            replicas = [
                Replica(triple[i], tuple(s for s in held[i] if s >= low[i]), low[i])
                for i in range(3)
            ]
            if all(_inside_window(r) for r in replicas):
                yield tuple(replicas)


def _held_choices(states, executed, newest):
    """Checkpoints taken by execution, or with one fetched from a correct replica besides."""
    own = range(executed + 1)
    yield tuple(own)
    for fetched in range(executed + 1, newest + 1):
        yield (*own, *range(fetched, _run(states, fetched) + 1))


def _inside_window(replica):
    """No slot and no checkpoint above the high mark: who fetches one raises its low mark."""
    high = replica.low_mark + WINDOW
    return not any(replica.states[high:]) and max(replica.held) <= high


def vote_of(replica):
    """The VIEW-CHANGE(1) of a replica of `window_logs`; its digest at every seqno is 1."""
    low, high = replica.low_mark, replica.low_mark + WINDOW
    inside = [(n, replica.states[n - 1]) for n in SEQNOS if low < n <= high]
    return Vote(
        low,
        tuple((s, CHECKPOINT + s) for s in replica.held),
        tuple((n, 1, 0) for n, state in inside if state >= _PREPARED),
        tuple((n, 1, 0) for n, state in inside if state >= _PRE_PREPARED),
    )


def committed_seqnos(replicas):
    """Seqnos that may be committed somewhere: f+1 correct replicas prepared them."""
    return [n for n in SEQNOS if sum(r.states[n - 1] >= _PREPARED for r in replicas) >= 2]


def vote_lies():
    """VIEW-CHANGE(1) of a faulty replica: all low marks, checkpoints true, false or none, and
    the same claims for each seqno of its window."""
    per_seqno = [((), ()), ((), ((1, 0),)), (((1, 0),), ()), (((1, 0),), ((1, 0),))]
    per_seqno += [(((d, 0),), ((d, 0), (1, 0))) for d in (NULL, FORGED)]
    for low in range(4):
        true = [(s, CHECKPOINT + s) for s in range(low, low + WINDOW + 1)]
        false = [(s, FORGED) for s, _ in true]
        sets = [[], true, false, true + false, *([entry] for entry in true + false)]
        for listed, (p, q) in product(sets, per_seqno):
            seqnos = range(low + 1, low + WINDOW + 1)
            yield Vote(
                low,
                tuple(listed),
                tuple((n, d, v) for n in seqnos for d, v in p),
                tuple((n, d, v) for n in seqnos for d, v in q),
            )


# --- the low mark that a set of votes proves ----------------------------------------------


def provably_stable(votes, fault_count, begin):
    """The checkpoint that a replica may take for stable after a NEW-VIEW that begins at `begin`.

    One correct replica has it or a later one stable (f+1 low marks), or f+1 correct replicas hold
    *this* one (2f+1 list it). Listing a later one is not enough: who fetched that one may lack
    this one, and then a later set of votes may have no checkpoint that f+1 list.
    """
    marks = sorted((vote.low_mark for vote in votes), reverse=True)
    listed = [entry for vote in votes for entry in set(vote.checkpoints)]
    shared = [s for s, d in listed if listed.count((s, d)) > 2 * fault_count]
    return min(begin, max([marks[fault_count], *shared]))
