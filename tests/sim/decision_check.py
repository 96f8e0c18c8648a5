"""Model check of the decision procedure of the view change (FAULTS.md F41).

    python -m tests.sim.decision_check            a bounded part, seconds
    python -m tests.sim.decision_check --long     exhaustive, minutes on one core

Demanded of every set S of 2f+1 or more VIEW-CHANGEs, those of faulty replicas being any lie:

    safety         what may be committed at n > n_c is the only thing permitted at n; nothing above
                   n_c + W is committed; a correct replica in S holds the chosen checkpoint
    termination    with those of all correct replicas in S there is a checkpoint, and at each n a
                   digest whose batch a correct replica keeps (P or Q names it), or null
    agreement      the real code and the reference model say the same, for any names of the
                   replicas and any order of entries

Three campaigns: `one_seqno`, all logs of one seqno over successive view changes; `windows`, all
logs of view 0 with checkpoints and state transfers, W = 2, K = 1; `walks`, random, any number of
views and windows, n = 4 and n = 7.
"""

import argparse
import functools
import random
import time
from collections import Counter
from itertools import combinations

from tests.sim import decision_model as model
from tests.sim.decision_model import CHECKPOINT, FORGED, NULL, OMITTED, Rules, Violation, claim
from tests.sim.decision_packed import PackedDecision, compare
from tests.sim.decision_walk import walk
from tinybft.decision import Decision


class OneSeqno:
    """All logs of one seqno: `depth` views, each but the first begun by any valid NEW-VIEW."""

    def __init__(self, rules, packed=None, stride=1, rich_depth=2):
        self.rules = rules
        self.packed = packed
        self.stride = stride
        self.rich_depth = rich_depth
        self.counts = Counter()

    def run(self, depth):
        logs = {model.EMPTY_LOG}
        allowed = {model.EMPTY_LOG: (1, 2)}
        for view in range(depth):
            logs = {after for log in logs for after in model.logs_after(log, view, allowed[log])}
            self.counts["logs"] += len(logs)
            self.lies = model.claim_lies(view + 1, view < self.rich_depth)
            self.pairs = {}
            allowed = {log: self.choices(log) for log in sorted(logs)}
        return self.counts

    def choices(self, log):
        """Check all sets S of a log; what a replica may accept in the next view."""
        permitted = set()
        for pair in combinations(log.claims, 2):
            permitted |= self.of_pair(pair)
        permitted |= self.of_all(log)
        self.check_safety(log, permitted)
        return tuple(sorted(permitted - {OMITTED} | ({1, 2} if OMITTED in permitted else set())))

    def of_pair(self, pair):
        """Everything permitted with two correct votes and any lie."""
        if pair not in self.pairs:
            found = set()
            for lie in self.lies:
                found |= self.decide((*pair, lie))
            self.pairs[pair] = frozenset(found)
        return self.pairs[pair]

    def of_all(self, log):
        found = set(self.check_termination(log, log.claims))
        for lie in self.lies:
            found |= self.check_termination(log, (*log.claims, lie))
        return found

    def check_termination(self, log, claims):
        permitted = self.decide(claims)
        kept = {d for c in log.claims for d, _ in c.prepared + c.pre_prepared} | {NULL}
        if not permitted & kept:
            raise Violation(f"termination: {permitted} permitted of {claims}")
        return permitted

    def check_safety(self, log, permitted):
        if len(log.committed) > 1 or (log.committed and permitted != log.committed):
            raise Violation(f"safety: {permitted} permitted after {log}")

    def decide(self, claims):
        self.counts["sets"] += 1
        permitted = self.rules.permitted(claims)
        if self.packed and self.counts["sets"] % self.stride == 0:
            self.counts["compared"] += self.compare(claims)
        return permitted

    def compare(self, claims):
        return compare(self.rules, self.packed, [_vote_with(c) for c in claims], (1,))


def _vote_with(c):
    """A VIEW-CHANGE that says `c` about seqno 1."""
    low = 0 if c.below else 2
    return model.Vote(
        low,
        ((low, CHECKPOINT + low),),
        tuple((1, d, v) for d, v in c.prepared),
        tuple((1, d, v) for d, v in c.pre_prepared),
    )


class Windows:
    """All logs of view 0 with checkpoints (W = 2, K = 1) against all lies."""

    def __init__(self, rules, packed=None, stride=1):
        self.rules = rules
        self.packed = packed
        self.stride = stride
        self.counts = Counter()
        self.lies = list(model.vote_lies())

    def run(self, every=1):
        """Check one of `every` distinct logs."""
        for index, (votes, committed) in enumerate(window_cases()):
            if index % every == 0:
                self.counts["logs"] += 1
                self.check(votes, committed)
        return self.counts

    def check(self, votes, committed):
        sets = [(pair, False) for pair in set(combinations(votes, 2))] + [(votes, True)]
        for correct, everybody in sets:
            lies = [(lie,) for lie in self.lies]
            if everybody:
                lies.append(())
            for lie in lies:
                self.check_set([*correct, *lie], correct, committed, everybody)

    def check_set(self, votes, correct, committed, everybody):
        self.counts["sets"] += 1
        if self.packed and self.counts["sets"] % self.stride == 0:
            self.counts["compared"] += compare(
                self.rules, self.packed, votes, range(1, 6), (NULL, 1, FORGED)
            )
        commits = [(n, 1) for n in committed]
        check_votes(self.rules, votes, correct, commits, model.WINDOW, everybody)


@functools.cache
def window_cases():
    """[(votes, seqnos that may be committed)]; a log with more commits covers the others."""
    return sorted(
        {
            (
                tuple(sorted(model.vote_of(r) for r in replicas)),
                tuple(model.committed_seqnos(replicas)),
            )
            for replicas in model.window_logs()
        }
    )


def check_votes(rules, votes, correct, committed, window, everybody):
    """Raise Violation if the decision over `votes` loses a commit or does not terminate.

    `correct` are the votes of correct replicas among them, `committed` the (seqno, digest)
    that may be committed in earlier views; `everybody`: all correct replicas voted.
    """
    chosen = rules.checkpoint(votes)
    if chosen is None:
        if everybody:
            raise Violation(f"termination: no checkpoint in {votes}")
        return
    begin, digest = chosen
    if digest != CHECKPOINT + begin or not any(chosen in vote.checkpoints for vote in correct):
        raise Violation(f"checkpoint {chosen} is not held by a correct replica: {votes}")
    for n, _ in committed:
        if n > begin + window:
            raise Violation(f"safety: {n} is committed, behind {begin} + W: {votes}")
    _check_seqnos(
        rules, votes, correct, committed, range(begin + 1, begin + window + 1), everybody
    )


def _check_seqnos(rules, votes, correct, committed, seqnos, everybody):
    for n in seqnos:
        permitted = rules.permitted([claim(vote, n) for vote in votes])
        lost = [d for s, d in committed if s == n and permitted - {d}]
        if lost:
            raise Violation(f"safety: {permitted} permitted for {lost} at {n}: {votes}")
        if everybody:
            entries = [e for vote in correct for e in vote.prepared + vote.pre_prepared]
            kept = {d for s, d, _ in entries if s == n} | {NULL}
            if not permitted & kept:
                raise Violation(f"termination: {permitted} permitted at {n}: {votes}")


class Walks:
    """Random walks; every set of correct votes with a few lies for each check."""

    def __init__(self, rules, packed=None, lies=6):
        self.rules = rules
        self.packed = packed
        self.lies = lies
        self.counts = Counter()

    def run(self, seeds, fault_count=1, steps=400):
        for seed in seeds:
            group = walk(random.Random(seed), self, fault_count, steps)
            self.counts["walks"] += 1
            self.counts["views"] += max(r.view for r in group.correct)
            self.counts["committed"] += len(group.committed)
            self.counts["stable"] += max(r.low for r in group.correct)
        return self.counts

    def check(self, group, votes, view, everybody):
        self.counts["logs"] += 1
        least = group.f + 1
        for count in range(least, len(votes) + 1):
            for correct in combinations(votes, count):
                self.check_with_lies(group, list(correct), view, everybody)

    def check_with_lies(self, group, correct, view, everybody):
        least = 2 * group.f + 1 - len(correct)
        committed = group.committed_before(view)
        complete = everybody and len(correct) == len(group.correct)
        for _ in range(self.lies):
            number = group.rng.randint(least, group.f)
            votes = correct + [group.lie(view, correct) for _ in range(number)]
            self.counts["sets"] += 1
            check_votes(self.rules, votes, correct, committed, group.window, complete)
            if self.packed and self.counts["sets"] % 8 == 0:
                self.compare(votes, group.window)

    def compare(self, votes, window):
        low = min(vote.low_mark for vote in votes)
        seqnos = range(low + 1, low + 2 * window + 1)
        self.counts["compared"] += compare(self.rules, self.packed, votes, seqnos)


# --- seeded bugs -------------------------------------------------------------------------


class WeakP(Rules):
    """f+1 claims in P instead of A1 and A2."""

    def supported(self, claims):
        digests = [d for c in claims for d in {e for e, _ in c.prepared}]
        return {d for d in digests if digests.count(d) >= self.weak_quorum}


class NoLaterView(Rules):
    """A1 does not look for entries of later views."""

    def a1(self, claims, d, v):
        free = [c for c in claims if c.below and all(w != v or e == d for e, w in c.prepared)]
        return len(free) >= self.quorum


class NoOtherDigest(Rules):
    """A1 does not look for another digest in the same view."""

    def a1(self, claims, d, v):
        free = [c for c in claims if c.below and all(w <= v for _, w in c.prepared)]
        return len(free) >= self.quorum


class WeakA1(Rules):
    """A1 with 2f messages."""

    def a1(self, claims, d, v):
        free = [c for c in claims if c.below and not any(_clash(p, d, v) for p in c.prepared)]
        return len(free) >= self.quorum - 1


def _clash(entry, d, v):
    return model.contradicts(entry, d, v)


class WeakA2(Rules):
    """A2 with f replicas."""

    def a2(self, claims, d, v):
        return sum(self.vouches(c, d, v) for c in claims) >= self.weak_quorum - 1


class AnyViewA2(Rules):
    """A2 takes entries of any view."""

    @staticmethod
    def vouches(c, d, v):
        return any(e == d for e, _ in c.pre_prepared)


class StrictA2(Rules):
    """A2 with a quorum: waits for ever."""

    def a2(self, claims, d, v):
        return sum(self.vouches(c, d, v) for c in claims) >= self.quorum


class ExactA2(Rules):
    """A2 takes entries of the very view only: waits for ever."""

    @staticmethod
    def vouches(c, d, v):
        return (d, v) in c.pre_prepared


class WeakB(Rules):
    """Null by f+1 messages without a P entry."""

    def b(self, claims):
        return sum(c.below and not c.prepared for c in claims) >= self.weak_quorum


class AllowOmission(Rules):
    """A null that satisfies A may be cut off the end of X as well."""

    def permitted(self, claims):
        digests = super().permitted(claims)
        return digests | {OMITTED} if NULL in digests else digests


class OneClaim(Rules):
    """The checkpoint that one message lists."""

    def may_begin_at(self, votes, entry):
        low_enough = sum(vote.low_mark <= entry[0] for vote in votes)
        return low_enough >= self.quorum and any(entry in vote.checkpoints for vote in votes)


class AnyLowMark(Rules):
    """A checkpoint whatever the low marks, and the lowest: its window lies below the group's."""

    def checkpoint(self, votes):
        listed = {entry for vote in votes for entry in vote.checkpoints}
        claimed = [e for e in listed if sum(e in v.checkpoints for v in votes) >= self.weak_quorum]
        return min(claimed, default=None)


class QuorumCheckpoint(Rules):
    """A checkpoint that 2f+1 list: waits for ever."""

    def may_begin_at(self, votes, entry):
        return sum(entry in vote.checkpoints for vote in votes) >= self.quorum


SEQNO_BUGS = (
    WeakP,
    NoLaterView,
    NoOtherDigest,
    WeakA1,
    WeakA2,
    AnyViewA2,
    StrictA2,
    ExactA2,
    WeakB,
    AllowOmission,
)
CHECKPOINT_BUGS = (OneClaim, AnyLowMark, QuorumCheckpoint)


def finds(campaign, *args):
    """What a campaign meets, a violation or an assertion of the code, as text, or None."""
    try:
        campaign.run(*args)
    except AssertionError as found:
        return str(found)
    return None


# --- command line ------------------------------------------------------------------------


def packed_for(seed, fault_count=1, window=4, interval=2, decision=Decision):
    """The real code, with names, orders and number ranges drawn from `seed`."""
    return PackedDecision(random.Random(seed), fault_count, window, interval, decision)


def campaigns(long):
    """Yield (name, function that runs it and returns its counts)."""
    rules, seven = Rules(), Rules(2)
    depth, every, seeds = (3, 1, 1500) if long else (2, 40, 60)
    one = OneSeqno(rules, packed_for(1), 97 if long else 7)
    yield f"one seqno, {depth} views", lambda: one.run(depth)
    windows = Windows(rules, packed_for(2, 1, 2, 1), 97 if long else 11)
    yield "windows", lambda: windows.run(every)
    four = Walks(rules, packed_for(3))
    yield "walks, n = 4", lambda: four.run(range(seeds))
    many = Walks(seven, packed_for(4, 2), 3)
    yield "walks, n = 7", lambda: many.run(range(seeds // 10), 2)


def main():
    parser = argparse.ArgumentParser(description="Model check of the view change's decision (F41)")
    parser.add_argument("--long", action="store_true", help="exhaustive; minutes on one core")
    long = parser.parse_args().long
    for name, run in campaigns(long):
        start = time.monotonic()
        counts = run()
        listed = ", ".join(f"{value} {key}" for key, value in counts.items())
        print(f"{name}: {listed}, 0 violations, {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
