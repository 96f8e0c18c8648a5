"""Hunts with early replies: read-only requests and tentative execution (hunts.py has the rest).

The liar echoes: it replies what anybody replies, so that one voice fewer is needed for whatever
is to be believed. The load reads and writes a few numbers.
"""

from tests.sim.hunts import (
    ATTACK_MS,
    LIVENESS_MS,
    Clog,
    Hunt,
    Links,
    Load,
    Story,
    fight,
    recover,
)
from tests.sim.liar import Liar
from tinybft import wire
from tools.simulate import operations
from tools.simulate.oracles import Violation

READS = ("READ_ONLY",)
TENTATIVE = ("TENTATIVE",)
BOTH = READS + TENTATIVE
_CLIENT = 4


class ReadsAndWrites(Load):
    """Half of the operations are reads."""

    def _go_on(self, client):
        if self.stopped:
            return
        sim, draw = self._sim, self._draw
        if sim.is_correct_client(client) and not sim.pending(client):
            name = f"n{draw.randrange(2)}"
            read = draw.random() < 0.5
            sim.submit(client, operations.get(name) if read else operations.increment(name))
        sim.after(draw.randrange(1, 16), lambda: self._go_on(client))


def _skirmish(*styles):
    def run(sim, draw):
        liar = Liar(sim, draw.choice((0, 0, 1, 2, 3)), draw, {"echo", "votes"})
        fight(sim, draw, liar, Clog(sim, draw, styles), ATTACK_MS, ReadsAndWrites)

    return run


def _story(sim, draw):
    liar = Liar(sim, draw.randrange(4), draw, {"echo", "votes", "claims"})
    fight(sim, draw, liar, Story(sim, draw, liar), 2 * ATTACK_MS, ReadsAndWrites)


def _past(sim, draw, links):
    """Some operations; then the network is quiet."""
    load = ReadsAndWrites(sim, draw)
    sim.run(draw.randrange(20, 60))
    load.stopped = True
    sim.run(30)
    return links


def _answered(sim, handle, ms):
    return sim.run_until(lambda: handle.done, ms)


def stale(sim, draw):
    """One replica alone learns that a write is committed, the liar confirms it to the client, and
    the first one goes away. The others must not show what was before, in this view or the next."""
    lies = draw.choice(({"echo"}, {"echo", "votes"}))
    liar = Liar(sim, draw.choice((0, 2, 3)), draw, lies)
    first = draw.choice([i for i in (0, 1, 2, 3) if i != liar.i])
    links = _past(sim, draw, Links(sim))
    links.block("COMMIT", but=first)
    if draw.random() < 0.5:
        second = draw.choice([i for i in (0, 1, 2, 3) if i not in (first, liar.i)])
        if second:
            links.deafen(second, "PRE-PREPARE")
    write = sim.submit(_CLIENT, operations.increment("n0"))
    _answered(sim, write, 30)
    links.away = {first}
    mode = draw.choice(("same view", "next view", "between"))
    if mode != "same view":
        links.block("COMMIT", "PREPARE", *(["NEW-VIEW"] if mode == "between" else []))
        other = next(i for i in (0, 1, 2, 3) if i not in (first, liar.i))
        view = sim.view(other)
        sim.submit(other, operations.increment("n1"))
        sim.run_until(lambda: sim.view(other) > view, 300)
        sim.run(draw.randrange(5, 30))
    for _ in range(2):
        read = sim.submit(_CLIENT, operations.get("n0"), read_only=True)
        _answered(sim, read, 40)
    links.block()
    sim.run(draw.randrange(50, 200))
    links.away = set()
    recover(sim, liar)


def undone(sim, draw):
    """One replica alone has prepared a batch when it goes away, and its client, too. The others
    begin a view without it, and order other things in its place. It comes back, by their
    batches or by their state, before the client asks again."""
    liar = Liar(sim, draw.choice((0, 2, 3)), draw, {"echo", "claims"})
    liar.style = "none"
    first = draw.choice([i for i in (2, 3) if i != liar.i])
    links = _past(sim, draw, Links(sim))
    links.block("COMMIT", "PREPARE", but=first)
    sim.submit(_CLIENT, operations.increment("n0"))
    sim.run(draw.randrange(3, 20))
    links.away = {first, _CLIENT}
    links.block("COMMIT", "PREPARE")
    others = [i for i in (0, 1, 2, 3) if i not in (first, liar.i)]
    view = sim.view(others[0])
    handles = [sim.submit(i, operations.increment("n0")) for i in others]
    sim.run_until(lambda: min(sim.view(i) for i in others) > view, 300)
    links.block()
    sim.run_until(lambda: all(h.done for h in handles), 400)
    if draw.random() < 0.5:
        load = ReadsAndWrites(sim, draw)
        sim.run(draw.randrange(20, 200))
        load.stopped = True
    if draw.random() < 0.5:
        links.away = {first}  # the client is served by the others, and hears one of them
        links.block("REPLY", but=draw.choice((0, 1, 2, 3)))
        sim.run(draw.randrange(20, 100))
        load = ReadsAndWrites(sim, draw)
        sim.run(100)
        load.stopped = True
        sim.filter_to(_CLIENT, lambda f: f if f.src in (first, liar.i) else None)
    links.away = {_CLIENT} if draw.random() < 0.5 else set()
    sim.run(draw.randrange(20, 150))
    links.away = set()
    links.block()
    sim.run(draw.randrange(20, 100))
    sim.filter_to(_CLIENT, None)
    recover(sim, liar)


def starved(sim, draw):
    """A primary that keeps its proposals from one backup and its replies from all clients. Who is
    starved asks the others, and clients are served without a view change."""
    liar = Liar(sim, 0, draw, set())
    victim = draw.choice((1, 2, 3))
    sim.filter_from(0, lambda f: None if _is_kept_back(f, victim) else f)
    clients = [c for c in (1, 2, 3, _CLIENT)]
    for _ in range(8):
        handles = [sim.submit(c, operations.increment("n"), False) for c in clients]
        if not sim.run_until(lambda h=handles: all(one.done for one in h), LIVENESS_MS):
            raise Violation(sim, "L1", "unanswered while one backup is starved")
    if any(sim.view(i) for i in (1, 2, 3)):
        raise Violation(sim, "L3", "a view change, though all could be served")
    if not sim.run_until(lambda: len({sim.executed(i) for i in (1, 2, 3)}) == 1, 200):
        raise Violation(sim, "L2", "who is starved does not follow")
    recover(sim, liar)


def _is_kept_back(frame, victim):
    if frame.name == "REPLY":
        return True
    return frame.dst == victim and frame.name in ("PRE-PREPARE", "REQUEST")


def deaf(sim, draw):
    """The same, and nobody else may help the victim: f + 1 replies have to do."""
    liar = Liar(sim, 0, draw, set())
    victim = draw.choice((1, 2, 3))
    sim.filter_from(0, lambda f: None if _is_kept_back(f, victim) else f)
    sim.on_frame(
        lambda f: None if f.dst == victim and f.name in ("PRE-PREPARE", "META-DATA") else f
    )
    for _ in range(4):
        handle = sim.submit(_CLIENT, operations.increment("n"))
        if not sim.run_until(lambda h=handle: h.done, LIVENESS_MS):
            raise Violation(sim, "L1", f"f + 1 replies do not do: {handle}")
    sim.on_frame(None)
    recover(sim, liar)


def fetched(sim, draw):
    """A replica misses checkpoints and comes back when its vote, and its replies, are needed."""
    liar = Liar(sim, draw.choice((0, 1, 2, 3)), draw, {"echo"})
    away = draw.choice([i for i in (0, 1, 2, 3) if i != liar.i])
    links = Links(sim)
    for _ in range(2):
        links.away = {away}
        load = ReadsAndWrites(sim, draw)
        sim.run(draw.randrange(80, 250))
        links.block("COMMIT", but=away)
        sim.run(draw.randrange(5, 30))
        links.away = set()
        sim.run(draw.randrange(5, 60))
        links.block()
        load.stopped = True
        sim.run(draw.randrange(20, 150))
    recover(sim, liar)


def _is_early(message):
    flags = wire.FLAG_TENTATIVE | wire.FLAG_UNORDERED
    return message[1] == wire.REPLY and wire.flags(message) & flags


def _dark(sim, draw):
    """Power of one replica is cut when it has sent an early reply; and all lose it at the end."""
    links = Links(sim)
    sent = sim.world.on_sent
    victims = []

    def on_sent(hal, target, message):
        sent(hal, target, message)
        if load.stopped or victims or hal.number > 3:
            return
        if _is_early(message) and draw.random() < 0.05:
            victims.append(hal.number)
            sim.cut_power_after(hal.number, draw.choice((0, 1, 60, 200)))

    load = ReadsAndWrites(sim, draw)
    sim.world.on_sent = on_sent
    for _ in range(6):
        links.block(*draw.choice(((), (), ("COMMIT",), ("CHECKPOINT",))), but=draw.randrange(4))
        sim.run(draw.randrange(20, 90))
        for i in victims:
            sim.cut_power_after(i, -1)
            if not sim.is_up(i):
                sim.restart(i)
        victims.clear()
    load.stopped = True
    sim.outage()
    sim.power_on_all(draw.sample((0, 1, 2, 3), 4))
    links.block()
    recover(sim, None)


def _wiped(sim, draw):
    """A replica comes back without memory, into the midst of reads and writes."""
    load = ReadsAndWrites(sim, draw)
    sim.run(draw.randrange(20, 80))
    victim = draw.randrange(4)
    sim.crash(victim)
    sim.run(draw.randrange(1, 30))
    sim.restart(victim, wipe=True)
    sim.run(draw.randrange(100, 300))
    load.stopped = True
    recover(sim, None)


EARLY_HUNTS = {
    hunt.name: hunt
    for hunt in (
        Hunt(
            "reads",
            "reads that are not ordered, and a liar who echoes",
            _skirmish("calm", "few", "lonely", "lonely", "views"),
            options=READS,
        ),
        Hunt(
            "ahead",
            "tentative execution, reads, and a liar who echoes",
            _skirmish("calm", "few", "lonely", "primary", "views"),
            options=BOTH,
        ),
        Hunt("told", "few learn what is committed, and are away later", _story, options=BOTH),
        Hunt("stale", "one replica alone knows the last write", stale, options=READS),
        Hunt("stale_ahead", "the same with tentative execution", stale, options=BOTH),
        Hunt("undone", "what one replica executed is ordered otherwise", undone, options=BOTH),
        Hunt("starved", "a primary that starves a backup", starved, options=TENTATIVE),
        Hunt("starved_reads", "the same, with reads", starved, options=BOTH),
        Hunt("deaf", "nobody may help who is starved", deaf, options=TENTATIVE),
        Hunt("fetched", "a replica misses checkpoints", fetched, options=BOTH),
        Hunt("wiped_ahead", "one replica is wiped", _wiped, None, "mirror", BOTH),
        Hunt("dark_ahead", "power cuts after early replies", _dark, None, "mirror", BOTH),
    )
}
