"""F41: whatever the log and the set of VIEW-CHANGEs, what is committed survives a view change.

The bounded part of `python -m tests.sim.decision_check --long`; see there for what is demanded.
"""

import random

import pytest

from tests.sim import decision_check as check
from tests.sim import decision_walk
from tests.sim.decision_model import (
    CHECKPOINT,
    FORGED,
    NULL,
    OMITTED,
    Claim,
    Rules,
    Violation,
    Vote,
    claim,
    provably_stable,
)
from tests.sim.decision_packed import compare
from tinybft.decision import Decision
from tinybft.octets import get_u32, is_zero


def test_every_log_of_one_seqno_over_two_views():
    """F41: all logs, all sets S, all lies; the real code on every eleventh set."""
    counts = check.OneSeqno(Rules(), check.packed_for(1), 11).run(2)
    assert counts["logs"] > 500
    assert counts["compared"] > 50_000


def test_logs_with_checkpoints():
    """F41: windows that have moved, low marks and checkpoints of all kinds."""
    counts = check.Windows(Rules(), check.packed_for(2, 1, 2, 1), 13).run(60)
    assert counts["logs"] > 30


@pytest.mark.parametrize(("fault_count", "lies", "seeds"), [(1, 6, 30), (2, 2, 4)])
def test_walks_over_many_views(fault_count, lies, seeds):
    """F41: n = 4 and n = 7, old VIEW-CHANGEs among new ones, state transfers."""
    packed = check.packed_for(3, fault_count)
    counts = check.Walks(Rules(fault_count), packed, lies).run(range(seeds), fault_count)
    assert counts["committed"] > 0 and counts["stable"] > 0 and counts["compared"] > 0


# --- seeded bugs -------------------------------------------------------------------------


@pytest.mark.parametrize("bug", check.SEQNO_BUGS)
def test_seeded_bug_about_a_seqno_is_found(bug):
    assert check.finds(check.OneSeqno(bug()), 2), bug.__doc__


@pytest.mark.parametrize("bug", check.CHECKPOINT_BUGS)
def test_seeded_bug_about_the_checkpoint_is_found(bug):
    assert check.finds(check.Windows(bug()), 100), bug.__doc__


class Thresholds:
    """In place of `tinybft.quorum.Quorum`."""

    def __init__(self, quorum, weak):
        self.is_quorum = lambda mask: mask.bit_count() >= quorum
        self.is_weak = lambda mask: mask.bit_count() >= weak


class WeakerQuorum(Decision):
    def __init__(self, *place):
        super().__init__(*place)
        self._quorum = Thresholds(2, 2)


class WeakerWeakQuorum(Decision):
    def __init__(self, *place):
        super().__init__(*place)
        self._quorum = Thresholds(3, 1)


class NeverOpposes(Decision):
    def _opposes(self, replica, seqno, claim_at):
        return False


class AlwaysSupports(Decision):
    def _supports(self, replica, seqno, claim_at):
        return True


class NeverNull(Decision):
    def is_unprepared(self, members, seqno):
        return False


class AsksEverybody(Decision):
    def checkpoint(self, members):
        return super().checkpoint(members | 1)


class LastCandidateLost(Decision):
    def candidate(self, members, seqno, index):
        return super().candidate(members, seqno, index + 1)


class EndsAnywhere(Decision):
    def is_unprepared(self, members, seqno):
        """Before a null of condition A as well."""
        offered = [self.candidate(members, seqno, index) for index in range(4)]
        return super().is_unprepared(members, seqno) or any(
            at >= 0 and is_zero(self._buf, at, 32) for at in offered
        )


class NewestCheckpoints(Decision):
    def _listed_by_quorum(self, members, replica):
        """Whoever lists a later checkpoint counts for this one."""
        newest = []
        for other in range(self._replica_count):
            at = self._base + other * self._size
            if members >> other & 1 and self._buf[at + 16]:
                entries = range(at + 20, at + 20 + 36 * self._buf[at + 16], 36)
                newest.append(max(get_u32(self._buf, entry) for entry in entries))
        newest.sort(reverse=True)
        return newest[self._quorum.quorum - 1] if len(newest) >= self._quorum.quorum else 0


class StableByOne(Decision):
    def _with_low_mark(self, members, seqno):
        return members


@pytest.mark.parametrize("bug", [NewestCheckpoints, StableByOne])
def test_seeded_bug_in_what_is_stable_is_found(bug):
    packed = check.packed_for(8, decision=bug)
    assert "stable" in check.finds(check.Walks(Rules(), packed), range(40))


@pytest.mark.parametrize(
    "bug",
    [
        EndsAnywhere,
        WeakerQuorum,
        WeakerWeakQuorum,
        NeverOpposes,
        AlwaysSupports,
        NeverNull,
        AsksEverybody,
        LastCandidateLost,
    ],
)
def test_seeded_bug_in_the_real_code_is_found(bug):
    assert check.finds(check.OneSeqno(Rules(), check.packed_for(4, decision=bug), 3), 2)


# --- single stories ----------------------------------------------------------------------


def test_several_digests_may_be_permitted():
    """F41: then none of them is committed, and the choice is the primary's."""
    votes = [
        Vote(0, ((0, CHECKPOINT),), (), ((1, 2, 0),)),
        Vote(0, ((0, CHECKPOINT),), ((1, 1, 0),), ((1, 1, 0),)),
        Vote(0, ((0, CHECKPOINT),), (), ((1, 1, 0), (1, 2, 0))),
        Vote(0, ((0, CHECKPOINT),), ((1, 2, 1),), ((1, 2, 1),)),
    ]
    assert Rules().supported([claim(vote, 1) for vote in votes]) == {1}
    votes[0] = votes[0]._replace(pre_prepared=((1, 2, 1),))
    assert Rules().supported([claim(vote, 1) for vote in votes]) == {1, 2}
    assert compare(Rules(), check.packed_for(5), votes, (1,))


def test_a_null_that_may_be_committed_must_not_be_cut_off():
    """F41: behind the end of X a primary proposes anew, so only condition B allows the end.

    View 1 began with X = (null, d) and the null was committed; d was not prepared. If view 2
    might begin with an empty X, another batch could be committed at seqno 1.
    """
    null_prepared = Claim(True, ((NULL, 1),), ((NULL, 1),))
    claims = [null_prepared, null_prepared, Claim(True, (), ())]
    assert Rules().permitted(claims) == {NULL}
    assert OMITTED in check.AllowOmission().permitted(claims)
    found = check.finds(check.OneSeqno(check.AllowOmission()), 2)
    assert found.startswith("safety")


def test_a_later_checkpoint_does_not_prove_an_earlier_one_stable():
    """F41: n = 7; 2f+1 that list checkpoint 2 or a later one do not make 2 stable.

    A fetched 4 and never had 2. If C raised its low mark to 2, the votes of all the correct
    replicas would have no common checkpoint any more.
    """

    def vote(*held):
        return Vote(held[0], tuple((s, CHECKPOINT + s) for s in held), (), ())

    a, b, c, d, e, faulty = (
        vote(*held) for held in ((0, 4), (0, 2, 4), (0, 2), (0,), (0,), (0, 2))
    )
    seven = Rules(2)
    votes = [a, b, c, faulty, faulty]
    assert seven.checkpoint(votes) == (2, CHECKPOINT + 2)
    assert sum(max(v.checkpoints)[0] >= 2 for v in votes) == 5
    assert seven.checkpoint([a, b, c, d, e]) == (0, CHECKPOINT)
    assert seven.checkpoint([a, b, vote(2), d, e]) is None
    assert provably_stable(votes, 2, 2) == 0


def literal_provably_stable(votes, fault_count, begin):
    """The (2f+1)-th largest newest checkpoint, whether the votes list that one or not."""
    marks = sorted((vote.low_mark for vote in votes), reverse=True)
    newest = sorted((max(vote.checkpoints)[0] for vote in votes), reverse=True)
    return min(begin, max(marks[fault_count], newest[2 * fault_count]))


@pytest.mark.parametrize(("rule", "stalls"), [(None, False), (literal_provably_stable, True)])
def test_a_stall_that_the_newest_checkpoints_bring(monkeypatch, rule, stalls):
    """F41: the same story as a run of five correct replicas of seven, from the first seqno on."""
    if rule:
        monkeypatch.setattr(decision_walk, "provably_stable", rule)
    checker = check.Walks(Rules(2))
    group = decision_walk.Walk(random.Random(1), checker.rules, 2)
    a, b, c, d, e = group.correct
    for n in range(1, 5):
        for r in (b, c, d):
            r.log[n] = [1, True, n <= {b: 4, c: 2, d: 0}[r]]
    for r, last in ((b, 4), (c, 2)):
        while r.executed < last:
            group.execute(r)
    for r in group.correct:
        group.leave(r, 1)
    lie = Vote(0, ((0, CHECKPOINT), (4, CHECKPOINT + 4)), (), ())
    group.install_from(a, 1, [r.sent[1] for r in (b, c, d)] + [lie, lie])
    assert a.held == {0, 4} and a.low == 0
    for r in group.correct:
        group.leave(r, 2)
    lie = Vote(0, ((0, CHECKPOINT), (2, CHECKPOINT + 2)), (), ((3, 1, 0), (4, 1, 0)))
    group.install_from(c, 2, [r.sent[2] for r in (a, b, c)] + [lie, lie])
    assert c.active
    for r in group.correct:
        group.leave(r, 3)
    assert (checker.rules.checkpoint([r.sent[3] for r in group.correct]) is None) == stalls


def test_a_false_checkpoint_of_f_replicas_is_never_chosen():
    """F41: with and without a true one that f+1 hold."""
    lie = Vote(0, ((0, FORGED), (2, FORGED), (4, FORGED)), (), ())
    votes = [Vote(0, ((0, CHECKPOINT), (2, CHECKPOINT + 2)), (), ()) for _ in range(2)]
    assert Rules().checkpoint([*votes, lie]) == (2, CHECKPOINT + 2)
    apart = [votes[0], Vote(2, ((2, FORGED - 1),), (), ()), lie]
    assert Rules().checkpoint(apart) is None
    assert compare(Rules(), check.packed_for(6), apart, (1, 2))


def test_the_comparison_sees_a_difference():
    packed = check.packed_for(7, decision=NeverNull)
    votes = [Vote(0, ((0, CHECKPOINT),), (), ())] * 3
    with pytest.raises(Violation):
        compare(Rules(), packed, random.Random(1).sample(votes, 3), (1,))
