"""Hunts: short runs in which a defect of the core has every chance to show.

Time-outs are short, so that a second of virtual time holds many view changes; an adversary
chooses who hears what (F45), in epochs of some tens of milliseconds; and one replica lies
(liar.py) in a few of the ways that the hunt names, drawn from the seed. Then the network heals;
what is pending must be answered, perhaps while the liar goes on; then it falls silent, and the
correct replicas must be able to go on alone.

    sim = HUNTS["claims"].sim(seed)
    HUNTS["claims"].play(sim)              raises Violation
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.liar import Liar
from tinybft.octets import get_u16, get_u32
from tinybft.service import Service
from tools.simulate import operations
from tools.simulate.campaign import Job
from tools.simulate.oracles import Violation
from tools.simulate.sim import Sim

FAST = {
    "REQUEST_MS": 40,
    "VIEW_CHANGE_MS": 80,
    "STATUS_MS": 35,
    "RETRY_MS": 12,
    "RETRY_MAX_MS": 60,
    "STATE_LENGTH": 512,
}
ATTACK_MS = 900
# The longest time-out is 32 times VIEW_CHANGE_MS; a few of them in a row may be due.
LIVENESS_MS = 15000
# One view change and some operations, when no time-out has grown.
PROMPT_MS = 500
_THINK_MS = 12
_AGREEMENT = ("PRE-PREPARE", "PREPARE", "COMMIT")
_VIEWS = ("VIEW-CHANGE", "VIEW-CHANGE-ACK", "NEW-VIEW")


class Clog:
    """The adversary's network: what is blocked for an epoch, then for the next one.

    calm      nothing
    few       some links for some of the votes
    lonely    one replica alone hears the COMMITs, perhaps the PREPAREs; after that it is cut
              off, and the others go on
    primary   that of the highest view is cut off
    views     some links for the messages of a view change
    """

    def __init__(self, sim, draw, styles):
        self._sim = sim
        self._draw = draw
        self._styles = styles
        self._blocked = frozenset()
        self._alone = None
        self._next_alone = None
        self.open = False
        self._next()

    def blocks(self, frame):
        if self.open or frame.src >= 4 or frame.dst >= 4:
            return False
        if self._alone in (frame.src, frame.dst):
            return True
        return (frame.src, frame.dst, frame.name) in self._blocked

    def stop(self):
        self.open = True

    def _next(self):
        if self.open:
            return
        draw = self._draw
        self._blocked = frozenset()
        self._alone = None
        ms = draw.randrange(10, 60)
        if self._next_alone is not None:
            self._alone, self._next_alone = self._next_alone, None
            ms = draw.randrange(100, 300)
        else:
            ms = getattr(self, "_" + draw.choice(self._styles))() or ms
        self._sim.after(ms, self._next)

    def _calm(self):
        return self._draw.randrange(20, 120)

    def _few(self):
        kinds = self._draw.sample(_AGREEMENT, self._draw.randint(1, 3))
        self._block(kinds, self._draw.choice((0.2, 0.4, 0.7)))
        return self._draw.randrange(20, 150)

    def _views(self):
        self._block(_VIEWS, self._draw.choice((0.2, 0.5)))
        self._blocked |= {(a, b, "COMMIT") for a in range(4) for b in range(4)}
        return self._draw.randrange(50, 200)

    def _primary(self):
        sim = self._sim
        self._alone = max(sim.view(i) for i in sim.replicas) % sim.replica_count
        return self._draw.randrange(80, 250)

    def _lonely(self):
        """One replica learns what is committed; nobody else does."""
        victim = self._next_alone = self._draw.randrange(4)
        others = [i for i in range(4) if i != victim]
        blocked = {(a, b, "COMMIT") for a in range(4) for b in others}
        if self._draw.random() < 0.5:
            deaf = self._draw.choice(others)
            blocked |= {(a, deaf, name) for a in range(4) for name in ("PREPARE", "PRE-PREPARE")}
        if self._draw.random() < 0.3:
            blocked |= {(a, b, "PREPARE") for a in range(4) for b in others}
        self._blocked = frozenset(blocked)
        return self._draw.randrange(15, 50)

    def _block(self, kinds, share):
        links = [(a, b, name) for a in range(4) for b in range(4) for name in kinds]
        self._blocked = frozenset(link for link in links if self._draw.random() < share)


class Story:
    """An adversary that makes one replica learn what the others do not, then takes it away.

    Step by step: one correct replica is away; of the other two one is favoured, and the mode
    says in what. It is the next to be away, while the one before comes back; a view begins
    without it. After a few steps everything is open until all are level.

    learn     it alone hears COMMITs; perhaps the third one has not even seen the batch
    prepare   it alone hears PREPAREs, and nobody COMMITs
    propose   it alone hears PRE-PREPAREs
    free      nothing is blocked but who is away
    """

    def __init__(self, sim, draw, liar):
        self._sim = sim
        self._draw = draw
        self._correct = [i for i in sim.replicas if i != liar.i]
        self._away = None
        self._favourite = None
        self._blocked = frozenset()
        self._left = 0
        self._until = 0
        self._mode = "calm"
        self.open = False
        self._poll()

    def blocks(self, frame):
        if self.open or frame.src >= 4 or frame.dst >= 4:
            return False
        return self._away in (frame.src, frame.dst) or (frame.dst, frame.name) in self._blocked

    def stop(self):
        self.open = True

    def _poll(self):
        if self.open:
            return
        if self._is_over():
            self._step()
        self._sim.after(2, self._poll)

    def _is_over(self):
        if self._sim.now_ms >= self._until:
            return True
        executed = [self._sim.executed(i) for i in self._correct]
        if self._mode == "calm":
            return len(set(executed)) == 1 and self._sim.now_ms >= self._until - 60
        ahead = self._sim.executed(self._favourite)
        return self._mode == "learn" and executed.count(ahead) == 1 and ahead == max(executed)

    def _step(self):
        draw = self._draw
        if self._left == 0:
            self._left = draw.randint(2, 4)
            self._away = self._favourite = None
            self._mode = "calm"
            self._blocked = frozenset()
            self._until = self._sim.now_ms + draw.randrange(70, 140)
            return
        self._left -= 1
        self._away = self._favourite
        here = [i for i in self._correct if i != self._away]
        self._favourite = draw.choice(here)
        others = [i for i in self._correct if i != self._favourite]
        self._mode = draw.choice(("learn", "learn", "prepare", "propose", "free"))
        blocked = set()
        if self._mode in ("learn", "prepare"):
            blocked |= {(i, "COMMIT") for i in others}
        if self._mode == "learn" and draw.random() < 0.6:
            deaf = draw.choice([i for i in here if i != self._favourite])
            blocked |= {(deaf, "PREPARE")}
            if draw.random() < 0.7:
                blocked |= {(deaf, "PRE-PREPARE")}
        if self._mode == "prepare":
            blocked |= {(i, "PREPARE") for i in others} | {(self._favourite, "COMMIT")}
        if self._mode == "propose":
            blocked |= {(i, "PRE-PREPARE") for i in others}
        self._blocked = frozenset(blocked)
        self._until = self._sim.now_ms + draw.randrange(60, 220)


class Load:
    """Correct clients, all or some, submit at random moments, one operation at a time."""

    def __init__(self, sim, draw, clients=None):
        self._sim = sim
        self._draw = draw
        self.stopped = False
        for client in clients or range(sim.client_count):
            self._go_on(client)

    def _go_on(self, client):
        if self.stopped:
            return
        sim = self._sim
        if sim.is_correct_client(client) and not sim.pending(client):
            sim.submit(client, operations.increment(f"n{self._draw.randrange(3)}"))
        sim.after(self._draw.randrange(1, 2 * _THINK_MS), lambda: self._go_on(client))


def skirmish(sim, draw, lies, styles):
    """Some of `lies` by one replica, the network as the adversary likes it; then liveness."""
    liar = None
    if lies:
        some = draw.sample(lies, draw.randint(1, min(4, len(lies))))
        liar = Liar(sim, draw.choice((0, 0, 1, 2, 3)), draw, set(some))
        sim.log(f"R{liar.i} lies in {', '.join(some)}")
    fight(sim, draw, liar, Clog(sim, draw, styles), ATTACK_MS)


def story(sim, draw):
    """A liar that votes as it helps, and an adversary that lets few know what is committed."""
    lies = {"votes", "claims", "choice", draw.choice(("votes", "split"))}
    liar = Liar(sim, draw.randrange(4), draw, lies)
    fight(sim, draw, liar, Story(sim, draw, liar), 2 * ATTACK_MS)


def fight(sim, draw, liar, network, ms, load=Load):  # noqa: PLR0913 - all that meets in it
    sim.on_frame(lambda f: None if network.blocks(f) or (liar and liar.refuses(f)) else f)
    load = load(sim, draw)
    sim.run(ms)
    load.stopped = True
    network.stop()
    sim.log("the network heals")
    if liar and draw.random() < 0.5:
        answer_all(sim)
    recover(sim, liar)


def answer_all(sim):
    """L1 while the liar goes on."""
    open_ = [h for h in sim.handles if not h.done and sim.is_correct_client(h.client)]
    if not sim.run_until(lambda: all(h.done for h in open_), LIVENESS_MS):
        left = [h for h in open_ if not h.done]
        raise Violation(sim, "L1", f"{len(left)} operations unanswered, as {left[0]}")


def recover(sim, liar, ms=LIVENESS_MS):
    """Liveness of the correct replicas alone: each of their votes decides."""
    if liar:
        sim.log(f"R{liar.i} falls silent")
        liar.mute()
    clients = [c for c in range(sim.client_count) if sim.is_correct_client(c)]
    sim.submit(clients[-1], operations.increment("last"))
    sim.check_liveness(ms)
    sim.check()


class Links:
    """What hunts with a plot decide: who is away, and which messages reach whom."""

    def __init__(self, sim):
        self.away = set()
        self._blocked = set()
        sim.on_frame(
            lambda f: None if self.away & {f.src, f.dst} or (f.dst, f.name) in self._blocked else f
        )

    def block(self, *kinds, but=None):
        """These messages reach nobody, or `but` alone; all others pass."""
        self._blocked = {(i, kind) for i in range(4) for kind in kinds if i != but}

    def deafen(self, i, kind):
        """Beside what is blocked, replica `i` hears no message of this kind."""
        self._blocked.add((i, kind))


def _begins_view(sim, i, count=1):
    """A predicate: replica `i` is active, `count` views further than now."""
    view = sim.view(i) + count
    return lambda: sim.view(i) >= view and sim.core(i).progress.active


def overtaken(sim, draw):
    """One replica prepares a batch and is away while the next view orders another one in its
    place, which another one alone learns to be committed; that one is away when the first comes
    back. The second batch is the only choice."""
    liar = Liar(sim, draw.randrange(4), draw, {"votes", "claims"})
    first, second = draw.sample([i for i in range(4) if i != liar.i], 2)
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    links.block("COMMIT", "PREPARE", but=first)
    sim.run(draw.randrange(8, 38))
    links.away = {first}
    links.block("COMMIT", but=second)
    sim.run_until(_begins_view(sim, second), 500)
    executed = sim.executed(second)
    sim.run_until(lambda: sim.executed(second) > executed, 150)
    links.away = {second}
    links.block("COMMIT", "PREPARE")
    sim.run_until(_begins_view(sim, first), 300)
    _end(sim, draw, links, load, liar)


def chain(sim, draw):
    """One replica prepares a batch, the next view orders another one in its place, and nobody
    prepares that. Then the f-th replica falls silent, and the first batch is the only choice."""
    liar = Liar(sim, draw.randrange(4), draw, set())
    first, second = draw.sample([i for i in range(4) if i != liar.i], 2)
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    links.block("COMMIT", "PREPARE", but=first)
    sim.run(draw.randrange(8, 38))
    links.away = {first}
    links.block("COMMIT", "PREPARE")
    sim.run_until(_begins_view(sim, second), 500)
    sim.run(draw.randrange(3, 10))
    liar.mute()
    if draw.random() < 0.6:
        links.away = set()
    view = sim.view(second)
    sim.run_until(lambda: min(sim.view(i) for i in sim.correct_replicas()) > view, 300)
    load.stopped = True
    links.away = set()
    links.block()
    recover(sim, liar)


def forget(sim, draw):
    """One replica alone learns what is committed and is away for two views, in the first of
    which nobody prepares anything."""
    liar = Liar(sim, draw.randrange(4), draw, {"votes", "claims"})
    _two_views_without_one(sim, draw, liar)


def invent(sim, draw):
    """The same, and the second of these views is a liar's: it begins with what it claims."""
    liar = Liar(sim, 2, draw, {"votes", "claims", "choice"})
    liar.favourite = "claimed"
    _two_views_without_one(sim, draw, liar)


def _end(sim, draw, links, load, liar):
    """All is heard again, after a while by who was away too."""
    links.block()
    sim.run(draw.randrange(100, 300))
    load.stopped = True
    links.away = set()
    recover(sim, liar)


def _two_views_without_one(sim, draw, liar):
    first, second = draw.sample([i for i in range(4) if i != liar.i], 2)
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    links.block("COMMIT", but=first)
    sim.run_until(lambda: sim.executed(first) > sim.executed(second), 60)
    links.away = {first}
    links.block("COMMIT", "PREPARE")
    sim.run_until(_begins_view(sim, second, 2), 800)
    _end(sim, draw, links, load, liar)


def void(sim, draw):
    """A new primary begins with nulls, for which there is room as one client alone asks; one
    replica alone learns that they are committed, and is away when the next view begins."""
    liar = Liar(sim, 1, draw, {"votes", "claims", "choice"})
    liar.favourite = "nulls"
    first, second = draw.sample((0, 2, 3), 2)
    links = Links(sim)
    alone = Load(sim, draw, clients=[sim.client_count - 1])
    sim.run(draw.randrange(5, 60))
    links.block("COMMIT", "PREPARE")
    sim.run_until(_begins_view(sim, first), 300)
    links.block("COMMIT", but=first)
    sim.run_until(lambda: sim.executed(first) >= sim.core(first).new_view.end(), 50)
    links.away = {first}
    alone.stopped, load = True, Load(sim, draw)
    sim.run_until(_begins_view(sim, second), 300)
    _end(sim, draw, links, load, liar)


def impostor(sim, draw):
    """One replica alone learns what is committed and is away; the primary of the next view shows
    a VIEW-CHANGE in somebody else's name that knows of nothing."""
    liar = Liar(sim, 1, draw, {"votes", "claims", "choice"})
    liar.favourite = "forged"
    first, second = draw.sample((0, 2, 3), 2)
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    links.block("COMMIT", but=first)
    links.deafen(second, "PREPARE")
    sim.run_until(lambda: sim.executed(first) > sim.executed(second), 60)
    links.away = {first}
    sim.run_until(_begins_view(sim, second), 300)
    _end(sim, draw, links, load, liar)


def split(sim, draw):
    """A primary proposes two batches for one seqno, lets both prepare and falls silent."""
    liar = Liar(sim, 0, draw, {"split", "votes"})
    links = Links(sim)
    links.block("COMMIT")
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 45))
    load.stopped = True
    liar.mute()
    sim.run(draw.randrange(50, 100))
    links.block()
    recover(sim, liar)


def starve(sim, draw):
    """A primary that serves all clients but one: this one must not wait for ever."""
    liar = Liar(sim, 0, draw, {"starve"})
    starved = draw.choice((1, 2, 3, 4))
    sim.on_frame(lambda f: None if (f.dst, f.name, f.sender) == (0, "REQUEST", starved) else f)
    handle = sim.submit(starved, operations.increment("n"))
    load = Load(sim, draw)
    if not sim.run_until(lambda: handle.done, PROMPT_MS):
        raise Violation(sim, "L1", f"starved: {handle}")
    load.stopped = True
    recover(sim, liar)


def unseen(sim, draw):
    """A view that ends at once; a liar's VIEW-CHANGEs for the eyes of the new primary alone."""
    liar = Liar(sim, draw.choice((2, 3)), draw, {"tags"})
    sim.on_frame(lambda f: None if f.type == "PRE-PREPARE" and f.view == 0 else f)
    handle = sim.submit(4, operations.increment("n"))
    if not sim.run_until(lambda: handle.done, PROMPT_MS):
        raise Violation(sim, "L1", f"no new view: {handle}")
    recover(sim, liar)


def alone(sim, draw):
    """A replica is cut off for some time; then another one falls silent. It must not have gone
    far ahead, or the others need many views to reach it."""
    liar = Liar(sim, draw.randrange(4), draw, set())
    away = draw.choice([i for i in range(4) if i != liar.i])
    sim.submit(away, operations.increment("n"))
    sim.partition([[i for i in range(4) if i != away], [away]])
    sim.run(draw.randrange(1000, 3000))
    sim.heal()
    recover(sim, liar, PROMPT_MS)


def slow(sim, draw):
    """A primary that says nothing, in a network that is slower than the time-outs."""
    Liar(sim, 0, draw, set()).mute()
    sim.network(delay_ms=draw.randrange(40, 90), jitter_ms=5)
    handle = sim.submit(4, operations.increment("n"))
    if not sim.run_until(lambda: handle.done, LIVENESS_MS):
        raise Violation(sim, "L1", f"unanswered in a slow network: {handle}")


def absence(sim, draw):
    """A replica misses some checkpoints under load and returns; another one lies to it."""
    lies = {"transfer", *draw.sample(("checkpoint", "votes", "storm"), draw.randint(0, 2))}
    liar = Liar(sim, draw.randrange(4), draw, lies)
    away = draw.choice([i for i in range(4) if i != liar.i])
    load = Load(sim, draw)
    sim.run(draw.randrange(5, 40))
    for _ in range(2):
        sim.partition([[i for i in range(4) if i != away], [away]])
        sim.run(draw.randrange(30, 250))
        sim.heal()
        sim.run(draw.randrange(20, 150))
    load.stopped = True
    if draw.random() < 0.5:
        answer_all(sim)
    recover(sim, liar)


class Stopwatch(Service):
    """Replies whether the agreed time went back since the last operation."""

    name = "stopwatch"
    state_length = 64

    def execute(self, state, op, length, reply, ctx):
        before = get_u32(state.view, 0), get_u16(state.view, 4)
        reply[0] = (ctx.time_s, ctx.time_ms) < before
        state.put_u32(0, ctx.time_s)
        state.put_u16(4, ctx.time_ms)
        return 1


def clock(sim, draw):
    """A primary that turns the time back."""
    Liar(sim, 0, draw, {"late"})
    handles = []
    for _ in range(6):
        sim.run(draw.randrange(5, 60))
        handles += [sim.submit(c, bytes((c,))) for c in (1, 2, 3, 4)]
    sim.check_liveness(LIVENESS_MS)
    if any(handle.reply == b"\x01" for handle in handles):
        raise Violation(sim, "S4", "the agreed time went back")


@dataclass(frozen=True)
class Hunt:
    name: str
    words: str
    run: Callable  # (sim, draw)
    service: type = None
    durable: str = None  # see tools/simulate/configs.py
    options: tuple = ()  # constants that are True in it

    def sim(self, seed, trace=None):
        command = f"python -m tests.sim.seeded_bugs --hunt {self.name} --seed {seed}"
        changed = FAST | dict.fromkeys(self.options, True)
        changed["PIPELINE"] = 1 + 2 * (seed % 2)  # with more than one, views begin with nulls
        changed["STAGGER_MS"] = 2 * (seed % 3 == 0)
        if self.service:
            changed["service"] = self.service
        return Sim(seed, durable=self.durable, command=command, trace=trace, **changed)

    def play(self, sim):
        """Raises Violation."""
        self.run(sim, random.Random(f"hunt {self.name} {sim.seed}"))


def _skirmish(lies, *styles):
    return lambda sim, draw: skirmish(sim, draw, lies, styles)


def _swarm(sim, _draw):
    job = Job(seed=sim.seed, ms=1500)
    job.course.play(sim, job, job.course.plan(sim, job))


PROTOCOL_HUNTS = {
    hunt.name: hunt
    for hunt in (
        Hunt("swarm", "random faults of all kinds, mostly mild", _swarm),
        Hunt(
            "clog",
            "nobody lies, the adversary chooses who hears what",
            _skirmish((), "calm", "few", "few", "lonely", "primary", "views"),
        ),
        Hunt(
            "primary",
            "a primary that lies in what it proposes, votes for everything",
            _skirmish(
                ("split", "second", "forge", "again", "far", "starve", "votes", "reply"),
                "calm", "calm", "few", "lonely",
            ),
        ),
        Hunt(
            "backup",
            "a replica that votes, proposes and asks in other names",
            _skirmish(("usurp", "votes", "names", "reply", "storm"), "calm", "few", "lonely"),
        ),
        Hunt(
            "claims",
            "view change after view change, with votes and claims of a liar",
            _skirmish(("claims", "votes", "split"), "lonely", "lonely", "few", "views", "calm"),
        ),
        Hunt("story", "few learn what is committed, and are away when a view begins", story),
        Hunt(
            "choice",
            "the same, and the liar chooses what its own views begin with",
            _skirmish(("claims", "choice", "votes"), "lonely", "primary", "calm"),
        ),
        Hunt(
            "tags",
            "VIEW-CHANGEs that some cannot check, and for views that nobody wants",
            _skirmish(("tags", "storm", "claims"), "primary", "calm", "views"),
        ),
        Hunt("absence", "a replica misses checkpoints and is lied to on its return", absence),
        Hunt("overtaken", "what one replica prepared, one knows to be outdated", overtaken),
        Hunt("chain", "what one replica prepared is needed after all", chain),
        Hunt("forget", "what one replica executed must be kept over two views", forget),
        Hunt("invent", "a primary claims to have prepared something else", invent),
        Hunt("void", "one replica knows that a null is committed", void),
        Hunt("impostor", "a primary that makes up the VIEW-CHANGE of another one", impostor),
        Hunt("split", "a primary that equivocates and falls silent", split),
        Hunt("starve", "a primary that serves all clients but one", starve),
        Hunt("unseen", "VIEW-CHANGEs that only the new primary can check", unseen),
        Hunt("alone", "a replica was cut off and another one falls silent", alone),
        Hunt("slow", "a silent primary and a network slower than the time-outs", slow),
        Hunt("clock", "a primary that turns the time back", clock, Stopwatch),
    )
}  # fmt: skip
