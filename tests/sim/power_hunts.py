"""Hunts in which power fails and memory suffers, for what must be durable (FAULTS.md, Power).

Regions are in non-volatile memory. Power goes off when it hurts most: amid a write by who has
just said something in the same step, or right behind the step in which it said it; of one
replica, or of all. Who lost nothing but power is correct: all oracles hold it to what it said.
"""

from tests.sim.hunts import Clog, Hunt, Links, Load, Story, _begins_view, recover
from tests.sim.liar import Liar
from tests.sim.scenario import CLIENT, propose, request, vote
from tinybft import wire
from tinybft.layout import areas
from tools.simulate import operations
from tools.simulate.oracles import Violation
from tools.simulate.sim import EVERYBODY

ATTACK_MS = 900
_BINDING = (
    "PRE-PREPARE", "PREPARE", "COMMIT", "CHECKPOINT", "VIEW-CHANGE", "VIEW-CHANGE-ACK", "NEW-VIEW",
)  # fmt: skip
_OFF_MS = (0, 1, 5, 20, 60)
_TORN = ("old", "new", "random")
# One flip in each: two in one record can look like a write that power cut short.
_ROTTING = ("request_ids", "slots", "stable", "view", "acks", "pages")
_LONG = 150  # bytes of a result that the client table holds by digest only


class Blackouts:
    """Power of the replicas `ids` fails when it hurts, and comes back soon; until `stop`.

    share: how often, of all chances. kinds: behind which messages.
    all_off: how often everybody else loses power with it.
    """

    def __init__(self, sim, draw, ids, kinds=_BINDING, share=0.03, all_off=0.15):
        self._sim = sim
        self._draw = draw
        self._ids = tuple(ids)
        self._kinds = {wire.TYPE_NAMES.index(name) for name in kinds}
        self._share = share
        self._all_off = all_off
        self._said = set()
        self._open = True
        self._sent, self._stepped = sim.world.on_sent, sim.world.on_stepped
        self._cut = sim.world.on_power_cut
        sim.world.on_sent, sim.world.on_stepped = self._on_sent, self._on_stepped
        sim.world.on_power_cut = self._on_power_cut
        for i in self._ids:
            sim.device(i).store.on_write = lambda *write, i=i: self._on_write(i, *write)

    def stop(self):
        """Everybody is on, and stays so."""
        self._open = False
        for i in self._ids:
            self._sim.device(i).store.on_write = None
            self._sim.cut_power_after(i, -1)
        self._sim.power_on_all()

    def _is_binding(self, hal, message):
        return message[1] in self._kinds and wire.sender(message) == hal.node_id

    def _on_write(self, i, store, _address, _buf, length):
        """Amid a write: mostly by who has already said something in this step."""
        hal = self._sim.device(i)
        if store.bytes_left >= 0 or hal.node is None:
            return
        late = any(self._is_binding(hal, entry[-1]) for entry in hal._outbox)
        if self._draw.random() < (20 if late else 0.5) * self._share:
            self._sim.cut_power_after(i, self._draw.randrange(length), self._draw.choice(_TORN))

    def _on_sent(self, hal, target, message):
        self._sent(hal, target, message)
        if hal.number in self._ids and self._is_binding(hal, message):
            self._said.add(hal.number)

    def _on_stepped(self, hal):
        self._stepped(hal)
        if hal.number in self._said:
            self._said.discard(hal.number)
            if self._open and hal.up and self._draw.random() < self._share:
                self._sim.crash(hal.number)
                self._come_back(hal.number)

    def _on_power_cut(self, hal):
        self._cut(hal)
        self._come_back(hal.number)

    def _come_back(self, i):
        sim, draw = self._sim, self._draw
        sim.after(draw.choice(_OFF_MS), lambda: self._start(i))
        if self._open and draw.random() < self._all_off:
            sim.after(0, self._outage)

    def _outage(self):
        for i in self._ids:
            if self._open and self._sim.is_up(i):
                self._sim.crash(i)
                self._sim.after(self._draw.choice(_OFF_MS), lambda i=i: self._start(i))

    def _start(self, i):
        if not self._sim.is_up(i):
            self._sim.restart(i)


def dark(sim, draw, lies=(), styles=("calm",), **of_power):
    """Power fails when it hurts, the network is as the adversary likes it; some of `lies`."""
    liar = None
    if lies:
        liar = Liar(sim, draw.choice((0, 0, 1, 2, 3)), draw, set(lies))
    _in_the_dark(sim, draw, liar, Clog(sim, draw, styles), ATTACK_MS, **of_power)


def dark_story(sim, draw):
    """Few know what is committed or prepared, and lose power."""
    liar = Liar(sim, draw.randrange(4), draw, {"votes", "claims"})
    _in_the_dark(sim, draw, liar, Story(sim, draw, liar), 2 * ATTACK_MS, share=0.02)


def _in_the_dark(sim, draw, liar, network, ms, **of_power):
    ids = [i for i in sim.replicas if not (liar and i == liar.i)]
    sim.on_frame(lambda f: None if network.blocks(f) or (liar and liar.refuses(f)) else f)
    power = Blackouts(sim, draw, ids, **of_power)
    load = Load(sim, draw)
    sim.run(ms)
    load.stopped = True
    network.stop()
    power.stop()
    recover(sim, liar)


def dark_chain(sim, draw):
    """One replica prepares a batch; the next view orders another one in its place, which the
    first accepts too, and nobody prepares. All lose power; the first batch is the only choice."""
    liar = Liar(sim, draw.randrange(4), draw, set())
    first, second = draw.sample([i for i in sim.replicas if i != liar.i], 2)
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    links.block("COMMIT", "PREPARE", but=first)
    sim.run(draw.randrange(8, 38))
    links.away = {first}
    links.block("COMMIT", "PREPARE")
    sim.run_until(_begins_view(sim, second), 500)
    sim.run(draw.randrange(3, 10))
    links.away = set()
    if draw.random() < 0.7:
        sim.run_until(lambda: sim.view(first) == sim.view(second), 300)
        sim.run(draw.randrange(3, 30))
    liar.mute()
    view = sim.view(second)
    order = [i for i in sim.replicas if i != liar.i]
    sim.run_until(lambda: min(sim.view(i) for i in order) > view, 300 * draw.randrange(2))
    sim.outage(order)
    sim.power_on_all(draw.sample(order, len(order)))
    load.stopped = True
    links.block()
    recover(sim, liar)


def dark_split(sim, draw):
    """A primary proposes two batches; who spoke for the one is overruled by the other, and loses
    power again and again."""
    liar = Liar(sim, 0, draw, {"split", "votes"})
    power = Blackouts(sim, draw, (1, 2, 3), ("PREPARE", "CHECKPOINT"), share=0.08, all_off=0)
    load = Load(sim, draw)
    for _ in range(40):
        sim.run(draw.randrange(3, 30))
        i = draw.choice((1, 2, 3))
        if sim.is_up(i):
            sim.restart(i)
    load.stopped = True
    power.stop()
    recover(sim, liar)


def overruled(sim, draw):
    """A primary proposes one batch to one replica, another one to the others, which commit that.
    The first loses power again and again; one of the others needs votes."""
    victim, behind, third = draw.sample((1, 2, 3), 3)
    sim.byzantine(0)
    sim.filter_from(0, lambda frame: None)
    sim.faulty_clients.add(CLIENT)
    links = Links(sim)
    links.block("CHECKPOINT")
    if draw.random() < 0.7:
        links.deafen(behind, "COMMIT")
    commits = []
    for seqno in (1, 2):
        one = request(sim, CLIENT, seqno, operations.increment("n"))
        propose(sim, 0, seqno, [one], victim, time_ms=1)
        for i in (behind, third):
            digest = propose(sim, 0, seqno, [one], i, time_ms=2)
        commits.append(vote(sim, "COMMIT", 0, seqno, digest))
    for _ in range(8):
        for commit in commits:
            sim.send_as(0, EVERYBODY, commit)
        if draw.random() < 0.3:
            sim.cut_power_after(victim, draw.randrange(200), draw.choice(_TORN))
        sim.run(draw.randrange(1, 12))
        sim.restart(victim)
    sim.cut_power_after(victim, -1)
    sim.power_on_all()
    links.block()
    recover(sim, None)


def two_faces(sim, draw):
    """A liar shows two VIEW-CHANGEs, and who has confirmed the one loses power before the view
    begins, and hears of the other."""
    liar = Liar(sim, draw.randrange(4), draw, {"claims"})
    liar.style = "two faces"
    others = [i for i in sim.replicas if i != liar.i]
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 100))
    links.block("NEW-VIEW", "PRE-PREPARE")
    for _ in range(12):
        sim.run(draw.randrange(5, 60))
        sim.restart(draw.choice(others))
    load.stopped = True
    links.block()
    recover(sim, liar)


def late_change(sim, draw):
    """A new primary loses power amid its NEW-VIEW, which nobody hears; before it begins its view
    once more another VIEW-CHANGE has come, and one that it had is late."""
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    power = Blackouts(sim, draw, (1, 2), ("NEW-VIEW",), share=0.04, all_off=0)
    late, now = draw.sample((0, 2, 3), 2)
    links.block("NEW-VIEW", "PRE-PREPARE", "CHECKPOINT")
    links.away = {late}
    sim.run(draw.randrange(60, 110))
    links.away = {now}
    sim.run(draw.randrange(20, 60))
    links.away = set()
    sim.run(draw.randrange(20, 60))
    load.stopped = True
    links.block()
    power.stop()
    recover(sim, None)


def dark_void(sim, draw):
    """A new primary begins with nulls; one replica learns that they are committed. The others
    have prepared them, and lose power before the next view begins without it."""
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
    links.block("COMMIT", "PREPARE")
    others = [i for i in (0, 2, 3) if i != first]
    sim.outage(others)
    sim.power_on_all(others)
    sim.run_until(_begins_view(sim, second), 300)
    sim.run(draw.randrange(50, 200))
    load.stopped = True
    links.away = set()
    links.block()
    recover(sim, liar)


def dark_ids(sim, draw):
    """Clients on replicas ask for more and more; their devices lose power as often."""
    load = Load(sim, draw)
    power = Blackouts(sim, draw, sim.replicas, ("REQUEST",), share=0.1, all_off=0.02)
    sim.run(ATTACK_MS)
    load.stopped = True
    power.stop()
    recover(sim, None)


def outages(sim, draw):
    """A client does not hear of its long result; the window moves on; all are off at once."""
    sim.submit(0, operations.put("long", "y" * _LONG))
    sim.run(60)
    sim.on_frame(lambda f: None if f.type == "REPLY" and f.dst == CLIENT else f)
    handle = sim.submit(CLIENT, operations.get("long"))
    load = Load(sim, draw)
    for _ in range(draw.randint(1, 3)):
        sim.run(draw.randrange(60, 200))
        sim.outage()
        sim.power_on_all(draw.sample(sim.replicas, 4))
    load.stopped = True
    sim.on_frame(None)
    recover(sim, None)
    if not handle.done:
        raise Violation(sim, "L1", f"no result after an outage: {handle}")


def absent_in_the_dark(sim, draw):
    """Replicas miss checkpoints, fetch the state, and lose power, all at once in the end."""
    links = Links(sim)
    load = Load(sim, draw)
    power = Blackouts(sim, draw, sim.replicas, ("CHECKPOINT",), share=0.02, all_off=0.05)
    for _ in range(3):
        away = draw.randrange(4)
        links.block("CHECKPOINT")  # then some at once become stable
        sim.run(draw.randrange(10, 40))
        links.block()
        sim.partition([[i for i in sim.replicas if i != away], [away]])
        sim.run(draw.randrange(60, 250))
        sim.heal()
        sim.run(draw.randrange(20, 150))
    load.stopped = True
    power.stop()
    sim.run(100)
    sim.outage()
    sim.power_on_all(draw.sample(sim.replicas, 4))
    recover(sim, None)


def rot(sim, draw):
    """While a replica is off a bit flips, in one area after the other; it votes or abstains."""
    victim = draw.choice((0, 1, 2))
    network = Clog(sim, draw, ("calm", "few", "lonely", "views"))
    sim.on_frame(lambda f: None if network.blocks(f) else f)
    load = Load(sim, draw)
    for area in draw.sample(_ROTTING, 4):
        sim.run(draw.randrange(40, 160))
        sim.crash(victim)
        sim.corrupt_store(victim, _some_byte(sim, draw, victim, area), 1 << draw.randrange(8))
        sim.restart(victim)
    load.stopped = True
    network.stop()
    recover(sim, None)


def _some_byte(sim, draw, i, area):
    """The address of a byte of the area that is in use."""
    octets = sim.device(i).store.octets
    table = areas(sim.config)
    end = min(at for at in table.values() if at > table[area])
    return draw.choice([at for at in range(table[area], end) if octets[at]] or [table[area]])


def rotten_flags(sim, draw):
    """A replica has prepared what one other knows to be committed; a bit of the flag that says
    so flips while it is off."""
    victim = draw.randrange(4)
    first = draw.choice([i for i in sim.replicas if i != victim])
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    links.block("COMMIT", but=first)
    sim.run(draw.randrange(10, 40))
    sim.crash(victim)
    slots = areas(sim.config)["slots"]
    octets = sim.device(victim).store.octets
    stride = (areas(sim.config)["stable"] - slots) // sim.config.SLOT_COUNT
    for index in range(sim.config.SLOT_COUNT):
        if octets[slots + index * stride] == 0xFF:
            sim.corrupt_store(victim, slots + index * stride, 1 << draw.randrange(8))
    sim.restart(victim)
    links.away = {first}
    sim.run_until(_begins_view(sim, victim), 500)
    load.stopped = True
    links.away = set()
    links.block()
    recover(sim, None)


def wipes(sim, draw):
    """One replica learns what is committed and is away. Another one is wiped and, when it has
    rejoined, one more: who has forgotten is never more than one."""
    first, second, third = draw.sample(sim.replicas, 3)
    links = Links(sim)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 120))
    links.block("COMMIT", but=first)
    sim.run_until(lambda: sim.executed(first) > sim.executed(second), 60)
    links.away = {first} if draw.random() < 0.7 else set()
    links.block("COMMIT")
    for i in (second, third):
        sim.crash(i)
        sim.wipe(i, draw.choice((0, 0xFF)))
        sim.restart(i)
        if draw.random() < 0.3:
            sim.run(draw.randrange(1, 60))
            sim.restart(i)
        if not sim.run_until(lambda i=i: not sim.abstains(i), 150):
            break
    links.block()
    sim.run(200)
    links.away = set()
    sim.run(100)
    load.stopped = True
    recover(sim, None)


def rejoins(sim, draw):
    """A replica is far behind when another one is wiped: it rejoins among those whose windows
    differ, and loses power now and then."""
    victim = draw.choice((0, 0, 1, 2))
    behind = draw.choice([i for i in sim.replicas if i != victim])
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 60))
    links = Links(sim)
    links.away = {behind}
    sim.run(draw.randrange(60, 150))
    sim.crash(victim)
    sim.wipe(victim)
    sim.restart(victim)
    links.away = set()
    for _ in range(3):
        sim.run(draw.randrange(5, 150))
        sim.restart(victim)
    sim.run(draw.randrange(50, 250))
    load.stopped = True
    recover(sim, None)
    sim.restart(victim)
    recover(sim, None)


def swapped(sim, draw):
    """Somebody puts the memories of two replicas into each other's devices."""
    one, other = draw.sample(sim.replicas, 2)
    load = Load(sim, draw)
    sim.run(draw.randrange(20, 100))
    sim.partition([[i for i in sim.replicas if i != one], [one]])
    sim.run(draw.randrange(50, 150))
    sim.heal()
    sim.outage((one, other))
    sim.swap_stores(one, other)
    sim.power_on_all()
    sim.run(draw.randrange(50, 200))
    sim.outage((one, other))
    sim.swap_stores(one, other)
    sim.power_on_all()
    load.stopped = True
    recover(sim, None)


def _dark(lies, *styles, **of_power):
    return lambda sim, draw: dark(sim, draw, lies, styles, **of_power)


_VIEWS = ("VIEW-CHANGE", "VIEW-CHANGE-ACK", "NEW-VIEW")
_AGREEMENT = ("PRE-PREPARE", "PREPARE", "COMMIT")

POWER_HUNTS = {
    hunt.name: hunt
    for hunt in (
        Hunt(
            "dark",
            "power fails when it hurts, nobody lies",
            _dark((), "calm", "few", "lonely", "primary", "views"),
            durable="mirror",
        ),
        Hunt(
            "dark_views",
            "the same, amid view changes",
            _dark((), "primary", "views", "lonely", kinds=_VIEWS, share=0.1),
            durable="mirror",
        ),
        Hunt(
            "dark_primary",
            "power fails while a primary equivocates",
            _dark(("split", "second", "votes"), "calm", "few", kinds=_AGREEMENT, share=0.05),
            durable="mirror",
        ),
        Hunt(
            "dark_claims",
            "power fails amid view changes, and a liar makes contradictory claims",
            _dark(("claims", "votes"), "primary", "views", kinds=_VIEWS, share=0.1),
            durable="mirror",
        ),
        Hunt("dark_story", "few know what is committed, and lose power", dark_story,
             durable="mirror"),
        Hunt("dark_chain", "what one prepared is needed after an outage", dark_chain,
             durable="mirror"),
        Hunt("dark_split", "who is overruled loses power", dark_split, durable="mirror"),
        Hunt("overruled", "who spoke for another batch than the others loses power", overruled,
             durable="mirror"),
        Hunt("two_faces", "who confirmed one of two VIEW-CHANGEs loses power", two_faces,
             durable="mirror"),
        Hunt("late_change", "a new primary loses power as it begins its view", late_change,
             durable="mirror"),
        Hunt("dark_void", "who prepared a null loses power", dark_void, durable="mirror"),
        Hunt("dark_ids", "devices of clients lose power", dark_ids, durable="mirror"),
        Hunt("outages", "a long result is asked for after an outage", outages, durable="mirror"),
        Hunt("dark_absence", "power fails while state is fetched", absent_in_the_dark,
             durable="mirror"),
        Hunt("rot", "bits flip while a replica is off", rot, durable="mirror"),
        Hunt("rotten_flags", "a flag that a view change needs loses a bit", rotten_flags,
             durable="mirror"),
        Hunt("wipes", "one replica is wiped, then another one", wipes, durable="mirror"),
        Hunt("rejoins", "a wiped replica among some that are behind", rejoins, durable="mirror"),
        Hunt("swapped", "two replicas have the memory of each other", swapped, durable="mirror"),
    )
}  # fmt: skip
