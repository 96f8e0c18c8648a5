"""Random walks of a group of correct replicas over views, checkpoints and state transfers.

Faulty replicas help every certificate and lie in every VIEW-CHANGE (`decision_model`); so a walk
reaches logs of any number of views and windows, also old VIEW-CHANGEs of replicas in a set S while
others went on in lower views. `Walk.check` demands the properties of `decision_check`.
"""

from tests.sim.decision_model import (
    CHECKPOINT,
    FORGED,
    NULL,
    OMITTED,
    Violation,
    Vote,
    claim,
    provably_stable,
)


class Replica:
    """A correct replica: what it would keep, without messages."""

    def __init__(self):
        self.view = 0
        self.active = True
        self.low = 0
        self.executed = 0
        self.held = {0}
        self.log = {}  # seqno: [digest, prepared, committed] in this view
        self.p = {}
        self.q = {}
        self.selected = {}  # X of this view
        self.first = 1  # the first seqno that this view agrees on
        self.sent = {}  # view: its VIEW-CHANGE
        self.outdated = False  # that of its view says less than the replica holds by now


class Walk:
    def __init__(self, rng, rules, fault_count=1, window=4, interval=2):
        self.rng = rng
        self.rules = rules
        self.f = fault_count
        self.window = window
        self.interval = interval
        self.correct = [Replica() for _ in range(2 * fault_count + 1)]
        self.prepares = {}
        self.commits = {}
        self.history = {}  # seqno: digest executed
        self.committed = {}  # (seqno, digest): the first view it was committed in

    # --- normal case ---

    def step(self):
        replica = self.rng.choice(self.correct)
        pace = self.rng.random()
        if pace < 0.03:
            self.leave(replica, replica.view + self.rng.choice((1, 1, 1, 2)))
        elif pace < 0.12:
            self.install(replica)
        elif pace < 0.15:
            self.fetch(replica)
        elif pace < 0.25:
            self.stabilise(replica)
        elif replica.active:
            self.progress(replica)

    def progress(self, r):
        n = self.rng.randint(r.low + 1, r.low + self.window)
        if n not in r.log:
            self.accept(r, n)
            return
        entry = r.log[n]
        d = entry[0]
        if not entry[1] and self.vote(self.prepares, r, n, d):
            entry[1] = True
            self.commits.setdefault((r.view, n, d), set()).add(r)
            if len(self.commits[r.view, n, d]) > self.f:
                self.committed.setdefault((n, d), r.view)
        elif entry[1] and self.vote(self.commits, r, n, d):
            entry[2] = True
        while r.log.get(r.executed + 1, (0, 0, False))[2]:
            self.execute(r)

    def vote(self, votes, r, n, d):
        return len(votes.get((r.view, n, d), ())) > self.f

    def accept(self, r, n):
        if n < r.first:
            return
        if n in r.selected:
            d = r.selected[n]
        elif self.rng.random() < 0.8:
            d = 1 + (r.view + n) % 2
        else:
            d = self.rng.choice((1, 2))
        r.log[n] = [d, False, False]
        self.prepares.setdefault((r.view, n, d), set()).add(r)

    def execute(self, r):
        r.executed += 1
        d = r.log[r.executed][0]
        if self.history.setdefault(r.executed, d) != d:
            raise Violation(f"S1: {d} and {self.history[r.executed]} at seqno {r.executed}")
        if r.executed % self.interval == 0:
            r.held.add(r.executed)

    # --- checkpoints ---

    def stabilise(self, r):
        for s in sorted(r.held, reverse=True):
            if (
                s > r.low
                and sum(max(other.held, default=0) >= s for other in self.correct) > self.f
            ):
                if self.announced(s) > self.f:
                    self.raise_low(r, s)
                return

    def announced(self, s):
        """Correct replicas that held the checkpoint s at some time."""
        return sum(s in r.held or r.low > s for r in self.correct)

    def raise_low(self, r, s):
        r.low = s
        r.held = {h for h in r.held if h >= s}
        for kept in (r.log, r.p, r.q):
            for n in [n for n in kept if n <= s]:
                del kept[n]

    def fetch(self, r):
        """State transfer to a checkpoint that at least one correct replica holds."""
        targets = sorted({s for other in self.correct for s in other.held if s > r.executed})
        if targets:
            self.transfer(r, self.rng.choice(targets))

    def transfer(self, r, s):
        r.executed = s
        r.held.add(s)
        r.outdated = True
        if any(other.low >= s for other in self.correct):
            self.raise_low(r, s)
        elif s > r.low + self.window:
            self.raise_low(r, s - self.window)  # who has s above its window had this one stable

    # --- view change ---

    def claims_of(self, r):
        """P and Q after the log of this view: ({n: (d, v)}, {n: {d: v}})"""
        p = dict(r.p)
        q = {n: dict(digests) for n, digests in r.q.items()}
        for n, (d, prepared, _) in r.log.items():
            if prepared:
                p[n] = (d, r.view)
            digests = q.setdefault(n, {})
            digests[d] = r.view
            if len(digests) > self.f + 2:
                del digests[min(digests, key=digests.get)]
        return p, q

    def vote_of(self, r):
        p, q = self.claims_of(r)
        return Vote(
            r.low,
            tuple((s, CHECKPOINT + s) for s in sorted(r.held) if s <= r.low + self.window),
            tuple((n, d, v) for n, (d, v) in p.items()),
            tuple((n, d, v) for n, digests in q.items() for d, v in digests.items()),
        )

    def leave(self, r, view):
        self.close(r, view)
        r.active = False
        r.sent[view] = self.vote_of(r)
        r.outdated = False

    def close(self, r, view):
        r.p, r.q = self.claims_of(r)
        r.log = {}
        r.view = view
        r.selected = {}

    def install(self, r):
        """Accept some valid NEW-VIEW from a faulty primary, if there can be one."""
        views = {v for other in self.correct for v in other.sent}
        views = [v for v in views if v > r.view or (v == r.view and not r.active)]
        if not views:
            return
        view = self.rng.choice(sorted(views))
        votes = self.some_set([o.sent[view] for o in self.correct if view in o.sent], view)
        if votes:
            self.install_from(r, view, votes)

    def some_set(self, votes, view):
        """A set S of at least 2f+1 of these votes and of lies, or None."""
        lies = [self.lie(view, votes) for _ in range(self.rng.randint(0, self.f))]
        least = 2 * self.f + 1 - len(lies)
        if len(votes) < least:
            return None
        return self.rng.sample(votes, self.rng.randint(least, len(votes))) + lies

    def install_from(self, r, view, votes):
        chosen = self.rules.checkpoint(votes)
        choice = self.choose(votes, chosen) if chosen else None
        if choice is None:
            return
        begin = chosen[0]
        if r.executed < begin and not self.reach(r, begin):
            return
        if view > r.view:
            self.close(r, view)
        r.active = True
        r.selected = choice
        r.first = begin + 1
        stable = provably_stable(votes, self.f, begin)
        if stable > r.low and stable in r.held:
            self.raise_low(r, stable)

    def reach(self, r, begin):
        if not any(begin in other.held or other.low > begin for other in self.correct):
            raise Violation(f"nobody holds the chosen checkpoint {begin}")
        if not any(begin in other.held for other in self.correct):
            return False
        self.transfer(r, begin)
        return True

    def choose(self, votes, chosen):
        """X as {seqno: digest}, one of those that are valid, or None."""
        selected = {}
        end = self.rng.randint(chosen[0], chosen[0] + self.window)
        for n in range(chosen[0] + 1, chosen[0] + self.window + 1):
            permitted = self.rules.permitted([claim(vote, n) for vote in votes])
            if n > end and OMITTED in permitted:
                continue
            digests = sorted(permitted - {OMITTED})
            if not digests:
                return None
            for gap in range(end + 1, n):
                selected.setdefault(gap, NULL)
            end = max(end, n)
            selected[n] = self.rng.choice(digests)
        return selected

    # --- lies and checks ---

    def lie(self, view, votes=()):
        """A well-formed VIEW-CHANGE for `view`, half of them a changed copy of a vote."""
        rng = self.rng
        top = max([r.executed for r in self.correct]) // self.interval + 1
        low = rng.randint(0, top) * self.interval
        if votes and rng.random() < 0.7:
            low = rng.choice(votes).low_mark
        marks = range(low, low + self.window + 1, self.interval)
        false = rng.random() < 0.2
        listed = [(s, FORGED if false else CHECKPOINT + s) for s in marks if rng.random() < 0.7]
        prepared, pre_prepared = [], []
        for n in range(low + 1, low + self.window + 1):
            d, v = rng.choice((NULL, 1, 2, FORGED)), rng.randrange(view)
            if rng.random() < 0.6:
                prepared.append((n, d, v))
            for e in rng.sample((NULL, 1, 2), rng.randint(0, 3)):
                pre_prepared.append((n, e, v if rng.random() < 0.5 else rng.randrange(view)))
        return Vote(low, tuple(listed), tuple(prepared), tuple(pre_prepared))

    def check(self, checker):
        """All sets S for a view that all enter now, and for views that some wait for."""
        view = max([r.view for r in self.correct]) + 1
        checker.check(self, [self.vote_of(r) for r in self.correct], view, True)
        for waited in {v for r in self.correct for v in r.sent}:
            votes = [r.sent[waited] for r in self.correct if waited in r.sent]
            checker.check(self, votes, waited, self.all_wait(waited))

    def all_wait(self, view):
        """All correct replicas sent VIEW-CHANGEs for `view` that still tell what they hold.

        Who fetches a checkpoint after its VIEW-CHANGE can make it stable elsewhere, and then
        the group may need the next view: its VIEW-CHANGE of this one does not list it.
        """
        return all(r.view == view and not r.active and not r.outdated for r in self.correct)

    def committed_before(self, view):
        return [(n, d) for (n, d), v in self.committed.items() if v < view]


def walk(rng, checker, fault_count=1, steps=400):
    """One random walk, checked every now and then."""
    group = Walk(rng, checker.rules, fault_count)
    for _ in range(steps):
        group.step()
        if rng.random() < 0.05:
            group.check(checker)
    return group
