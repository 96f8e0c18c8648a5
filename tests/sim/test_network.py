"""F42 to F49: what the network may do, and what strangers may put on it.

While it lasts safety is what counts; when it ends everything pending must be answered.
"""

import random
from collections import Counter

import pytest

from hal.frames import Fragments, Reassembly
from tests.sim.load import FixedCosts, Load, execute, highest
from tinybft import wire
from tools.simulate import operations
from tools.simulate.sim import EVERYBODY, Sim

LIVENESS_MS = 60000


def heal(sim, load):
    """The network is good again: nothing stays pending, nobody stays behind."""
    load.stop()
    sim.on_frame(None)
    sim.heal()
    sim.network(loss=0, duplicate=0, delay_ms=1, jitter_ms=1)
    result = sim.check_liveness(LIVENESS_MS)
    sim.check()
    return result


# --- loss, delay, bursts


@pytest.mark.parametrize("loss", [0.05, 0.1, 0.2, 0.3, 0.4, 0.5])
def test_f42_loss(loss):
    """Every receiver loses that share of all messages, and gets some twice."""
    sim = Sim(seed=42)
    sim.network(loss=loss, duplicate=0.1, jitter_ms=3)
    load = Load(sim, pause_ms=5)
    sim.run(2500)
    assert highest(sim) > (20 if loss < 0.35 else 1)
    heal(sim, load)


@pytest.mark.parametrize("mean_ms", [5, 30, 100])
def test_f42_exponential_delays(mean_ms):
    """Messages overtake each other by as much as several operations take."""
    sim = Sim(seed=43)
    draw = random.Random(mean_ms)
    late = []

    def delayed(frame):
        ms = draw.expovariate(1 / mean_ms)
        late.append(ms)
        return frame.later(ms)

    sim.on_frame(delayed)
    load = Load(sim, pause_ms=20)
    sim.run(4000)
    assert max(late) > 4 * mean_ms and highest(sim) > 0
    heal(sim, load)


def test_f43_bursts():
    """All are deaf for 60 ms, again and again, at moments of their own."""
    sim = Sim(seed=44)
    until = dict.fromkeys(range(sim.client_count), 0)
    lost = Counter()

    def bursts(frame):
        if sim.now_ms < until[frame.dst]:
            lost[frame.dst] += 1
            return None
        if sim.random.random() < 0.01:
            until[frame.dst] = sim.now_ms + 60
        return frame

    sim.on_frame(bursts)
    load = Load(sim)
    sim.run(2500)
    assert len(lost) == 5 and highest(sim) > 10
    heal(sim, load)


@pytest.mark.parametrize("clog_ms", [30, 300, 1500])
def test_f43_clogs(clog_ms):
    """A link holds back everything for a while and then delivers it at once, out of order."""
    sim = Sim(seed=45)
    opens = {}
    held = Counter()

    def clogged(frame):
        link = (frame.src, frame.dst)
        if link not in opens or sim.now_ms >= opens[link] + clog_ms // 3:
            opens[link] = sim.now_ms + sim.random.randrange(1, clog_ms)
        wait = opens[link] - sim.now_ms
        if wait <= 0:
            return frame
        held[link] += 1
        return frame.later(wait + sim.random.random())

    sim.on_frame(clogged)
    load = Load(sim, pause_ms=10)
    sim.run(3000 + 2 * clog_ms)
    assert len(held) >= 12
    heal(sim, load)


# --- partitions

_LINKS = [(a, b) for a in range(4) for b in range(4) if a != b]
_SHAPES = {
    "2-2": [(a, b) for a, b in _LINKS if a // 2 != b // 2],
    "2-2 crossed": [(a, b) for a, b in _LINKS if a % 2 != b % 2],
    "3-1": [(a, b) for a, b in _LINKS if 3 in (a, b)],
    "3-1 primary": [(a, b) for a, b in _LINKS if 0 in (a, b)],
    "1-1-2": [(a, b) for a, b in _LINKS if {a, b} != {0, 1}],
    "1-1-1-1": _LINKS,
    "one-way from the primary": [(0, 1), (0, 2), (0, 3)],
    "one-way to the primary": [(1, 0), (2, 0), (3, 0)],
    "one-way from a backup": [(3, 0), (3, 1), (3, 2)],
    "one-way to a backup": [(0, 3), (1, 3), (2, 3)],
    "one-way circle": [(0, 1), (1, 2), (2, 3), (3, 0)],
    "one link": [(0, 2), (2, 0)],
    "star around the primary": [(a, b) for a, b in _LINKS if 0 not in (a, b)],
    "star around a backup": [(a, b) for a, b in _LINKS if 2 not in (a, b)],
    "ring": [(a, b) for a, b in _LINKS if abs(a - b) == 2],
    "chain": [(a, b) for a, b in _LINKS if abs(a - b) > 1],
}
# Shapes in which no replica can collect a quorum of the others' votes.
_STANDS = {"2-2", "2-2 crossed", "1-1-2", "1-1-1-1", "star around the primary"}
_STANDS |= {"star around a backup", "chain"}


@pytest.mark.parametrize("shape", _SHAPES)
def test_f44_partition(shape):
    """Cut, heal, cut again: the external client reaches everybody all the time. Where three
    replicas hear each other requests go on, else they wait for the end of it."""
    sim = Sim(seed=46)
    load = Load(sim, pause_ms=40)
    for _ in range(3):
        sim.run(100)
        before = highest(sim)
        for source, receiver in _SHAPES[shape]:
            sim.one_way(source, receiver)
        sim.run(2500)
        if shape in _STANDS:
            assert highest(sim) <= before + sim.config.WINDOW
        elif shape == "ring":  # each seqno waits for a batch that a backup hands on
            assert highest(sim) > before
        elif shape != "one-way circle":
            assert highest(sim) > before + 20
        sim.heal()
        sim.run(300)
    heal(sim, load)


def test_f44_shapes_in_turn():
    """Every few hundred milliseconds another one."""
    sim = Sim(seed=47)
    load = Load(sim, pause_ms=10)
    shapes = list(_SHAPES.values())
    sim.random.shuffle(shapes)
    for shape in shapes:
        sim.heal()
        for source, receiver in shape:
            sim.one_way(source, receiver)
        sim.run(sim.random.randrange(50, 1500))
    heal(sim, load)


# --- an adversary at every broadcast


def _one_misses(draw, ids):
    return set(ids) - {draw.choice(ids)}


def _one_hears(draw, ids):
    return {draw.choice(ids)}


def _any_set(draw, ids):
    return {i for i in ids if draw.random() < 0.5}


@pytest.mark.parametrize("choose", [_one_misses, _one_hears, _any_set])
@pytest.mark.parametrize("seed", [48, 49])
def test_f45_the_adversary_picks_who_hears_each_broadcast(choose, seed):
    """For each message the set of its receivers is drawn anew."""
    sim = Sim(seed=seed)
    draw = random.Random(seed)
    sets = {}

    def picked(frame):
        key = (frame.src, sim.world.now_us, frame.bytes)
        if key not in sets:
            sets[key] = choose(draw, [i for i in range(5) if i != frame.src])
        return frame if frame.dst in sets[key] else None

    sim.on_frame(picked)
    load = Load(sim, pause_ms=10)
    sim.run(2500)
    if choose is _one_misses:
        assert highest(sim) > 50
    heal(sim, load)


@pytest.mark.parametrize("seed", [50, 51, 52])
def test_f45_the_adversary_spoils_every_certificate(seed):
    """It lets each replica but one hear of a seqno what it needs for a certificate less one
    vote; the one is drawn per seqno and view. So batches commit at a single replica, at best."""
    sim = Sim(seed=seed)
    heard = {}

    def spoiled(frame):
        if frame.type not in (wire.PREPARE, wire.COMMIT):
            return frame
        favoured = (frame.seqno * 7 + frame.view * 3 + seed) % 4
        if frame.dst == favoured:
            return frame
        votes = heard.setdefault((frame.type, frame.view, frame.seqno, frame.dst), set())
        votes.add(frame.src)
        least = sorted(votes)[0]
        return frame if frame.src == least and len(votes) == 1 else None

    sim.on_frame(spoiled)
    load = Load(sim, pause_ms=20)
    sim.run(6000)
    assert max(sim.view(i) for i in sim.replicas) >= 1
    heal(sim, load)


# --- every bit of every type


class Listening:
    """A run in which every type of message reaches replica 2 while it can use it.

    `accepted`: {type: place among all messages it heard}, of the first of each type that it
    took without a fault. `attack(hal, message)` is called before those in `places` are taken.
    """

    TARGET = 2

    def __init__(self, places=(), attack=None):
        self.sim = sim = Sim(seed=53)
        self.accepted = {}
        self._places = places
        self._attack = attack
        self._count = 0
        self._heard = sim.world.on_heard
        self._stepped = sim.world.on_stepped
        self._before = None
        sim.world.on_heard = self._on_heard
        sim.world.on_stepped = self._on_stepped
        self._play()

    def _play(self):
        """Requests, checkpoints, a transfer from replica 2 and one to it, a view change."""
        sim = self.sim
        for i in range(6):
            execute(sim, client=i % 5, op=operations.put(f"k{i}", "v" * 40))
        sim.one_way(0, 2)
        lost = sim.submit(2, operations.get("k0"))  # the primary's replies alone do not come
        sim.on_frame(lambda f: None if f.dst == 2 and f.name == "COMMIT" else f)
        assert sim.run_until(lambda: lost.done, 2000)
        sim.on_frame(None)
        sim.heal()
        sim.run(1200)
        sim.crash(3)
        execute(sim, count=12, client=1)
        sim.restart(3)
        for link in ((0, 3), (1, 3)):
            sim.one_way(*link)  # both are slow to answer: replica 2 is asked at last
        sim.run(300)
        sim.heal()
        sim.run(1500)
        sim.crash(2)
        execute(sim, count=12)
        sim.restart(2)
        sim.run(1500)
        for other in (1, 2, 3):  # replica 0 does not hear, and is not heard
            sim.one_way(0, other)
            sim.one_way(other, 0)
        sim.submit(4, operations.put("k1", "later"))
        sim.run(1800)
        sim.heal()
        sim.run(3000)
        sim.check_liveness(10000)

    def _on_heard(self, hal, message):
        if hal.number == self.TARGET:
            if self._count in self._places:
                self._attack(hal, message)
            self._before = (message[1], list(hal.node.faults.counts), _memory_of(hal))
        self._heard(hal, message)

    def _on_stepped(self, hal):
        if hal.number == self.TARGET and self._before:
            kind, counts, memory = self._before
            self._before = None
            taken = hal.node.faults.counts == counts
            if taken and (kind in _ANSWERED or memory != _memory_of(hal)):
                self.accepted.setdefault(kind, self._count)
            self._count += 1
        self._stepped(hal)


# What is answered at once and changes nothing that is kept.
_ANSWERED = (wire.STATUS, wire.FETCH)
_REGIONS = (
    "slots",
    "bodies",
    "certificates",
    "peers",
    "pending",
    "requests",
    "replied",
    "replies",
    "event",
    "client",
)


def _memory_of(hal):
    memory = hal.node.memory
    return [bytes(getattr(memory, name)) for name in _REGIONS] + [
        bytes(field) for name, field in memory.state.items() if name != "scratch"
    ]


def _numbers_of(hal):
    """All plain numbers in the parts of the replica."""
    core = hal.node.replica.core
    numbers = []
    for name, part in sorted(vars(core).items()):
        if name not in ("faults", "config", "memory", "auth", "wire"):  # counters, constants
            for field, value in sorted(getattr(part, "__dict__", {}).items()):
                if isinstance(value, (int, list)) and field not in ("now", "heard"):
                    numbers.append((name, field, repr(value)))
    return numbers


def mutations(message, untagged):
    """Each bit flipped, each length cut to, longer ones, noise behind a good header.

    untagged: range of the tags of other receivers, which say nothing to this one.
    """
    for at in range(len(message)):
        if at not in untagged:
            for bit in range(8):
                changed = bytearray(message)
                changed[at] ^= 1 << bit
                yield changed
    for length in range(len(message)):
        yield bytearray(message[:length])
        if length >= wire.HEADER_LENGTH:
            told = bytearray(message[:length])
            wire.put_length(told, length)
            yield told
    for more in (1, 2, 8, 40):
        yield bytearray(message + bytes(more))
        told = bytearray(message + bytes(more))
        wire.put_length(told, len(told))
        yield told
    draw = random.Random(message[1])
    for length in range(16, len(message) + 40, 3):
        noise = bytearray(message[:16] + draw.randbytes(length - 16))
        wire.put_length(noise, length)
        yield noise
        yield bytearray(draw.randbytes(length))


class Attacker:
    """Gives all mutations of a message to the replica that is about to take it."""

    def __init__(self):
        self.counts = Counter()

    def __call__(self, hal, message):
        kind = message[1]
        node = hal.node
        buf = node.memory.received
        untagged = self._untagged(hal, message)
        memory, numbers = _memory_of(hal), _numbers_of(hal)
        digest = bytes(node.auth.digest)
        for changed in mutations(message, untagged):
            if not 0 < len(changed) <= len(buf):
                continue  # the HAL gives no such message: of length 0, there is none
            before = sum(node.faults.counts)
            buf[: len(changed)] = changed
            node.replica.receive(buf, len(changed), hal.now_ms())
            self.counts[kind] += 1
            name = f"{wire.TYPE_NAMES[kind]} {bytes(changed).hex()}"
            assert sum(node.faults.counts) == before + 1, f"not counted: {name}"
            assert not hal._outbox, f"answered: {name}"
            if self.counts[kind] % 64 == 0:
                assert _memory_of(hal) == memory, f"memory changed, up to: {name}"
        assert _memory_of(hal) == memory and _numbers_of(hal) == numbers, wire.TYPE_NAMES[kind]
        node.auth.digest[:] = digest
        buf[: len(message)] = message

    @staticmethod
    def _untagged(hal, message):
        tags = hal.world.config.TAG_LENGTH
        checked = hal.node.replica.core.wire
        end = checked.body_end(message)
        index = checked.tag_index(message[1], wire.sender(message), hal.node_id)
        own = range(end + index * tags, end + (index + 1) * tags)
        return set(range(end, len(message))) - set(own)


def test_f46_every_type_mutated():
    """One message of each of the 13 types that replica 2 takes in a run: each bit flipped, cut
    at each length, extended, random. All are counted, none changes anything: the run goes on
    to the same bytes on the air as one without them."""
    plain = Listening()
    assert sorted(plain.accepted) == list(range(1, wire.TYPE_MAX + 1))
    attacker = Attacker()
    attacked = Listening(set(plain.accepted.values()), attacker)
    assert sorted(attacker.counts) == list(range(1, wire.TYPE_MAX + 1))
    assert sum(attacker.counts.values()) > 10000
    assert attacked.sim.air_digest() == plain.sim.air_digest()


def test_f46_in_the_name_of_a_replica_with_good_tags():
    """The same bits flipped by replica 3 itself, which then computes good tags: no exception
    and no oracle's complaint, whatever the others make of it."""
    sim = Sim(seed=54)
    sim.byzantine(3)
    count = Counter()
    limit = 4000

    def flipped(frame):
        if frame.sender != 3 or frame.src != 3 or sum(count.values()) > limit:
            return frame
        octets = bytearray(frame.bytes)
        tags = sim.wire_of_group.tag_count(octets[1], 3) * sim.config.TAG_LENGTH
        bits = 8 * (len(octets) - tags)
        at = count[int(frame.type)] * 13 % bits
        count[int(frame.type)] += 1
        if 8 <= at < 32 or 48 <= at < 64:  # type, sender and length stay: else it has no tags
            return frame
        octets[at // 8] ^= 1 << at % 8
        return frame.replaced(sim.seal(3, octets, to=frame.dst))

    sim.filter_from(3, flipped)
    load = Load(sim, clients=(0, 1, 2, 4), pause_ms=2)
    for _ in range(3):
        sim.run(600)
        for other in (1, 2):
            sim.one_way(0, other)  # the primary is not heard: a view change with its lies
        sim.run(2600)
        sim.heal()
    assert len(count) >= 8 and sum(count.values()) > 500
    sim.filter_from(3, None)
    heal(sim, load)


# --- fragments


def _frames(fragments, message):
    fragments.begin(message, len(message))
    frames = []
    while length := fragments.put_next():
        frames.append(bytes(fragments.frame[:length]))
    return frames


def _spoilt(draw, frames):
    """The frames of a message with one missing, twice, all out of order, or overlapped."""
    kind = draw.randrange(5)
    if kind == 0:
        del frames[draw.randrange(len(frames))]
    elif kind == 1:
        frames.append(draw.choice(frames))
    elif kind == 2:
        draw.shuffle(frames)
    elif kind == 3:  # as if it were the only one of a shorter message
        frames.insert(0, frames[0][:3] + bytes((frames[0][3] & 240,)) + frames[0][4:])
    return frames


def _message(draw, config, sender, length=None):
    """It begins with its sender."""
    length = length or draw.randrange(2, config.MESSAGE_LENGTH_MAX)
    return bytes((sender,)) + draw.randbytes(length - 1)


@pytest.mark.parametrize("seed", range(20))
def test_f47_four_senders_interleaved(seed):
    """Fragments missing, twice, overlapping, late, never completed; of four transmitters at
    once. A message that comes out is its sender's, whole; of six that are sent afterwards
    without loss at most four are taken for late ones."""
    config = Sim(seed=1).config
    draw = random.Random(seed)
    reassembly = Reassembly(config, 4)
    out = bytearray(config.MESSAGE_LENGTH_MAX)
    senders = [Fragments(config, i, number=draw.randrange(256)) for i in range(4)]
    sent = [set() for _ in range(4)]
    queues = [[] for _ in range(4)]
    for _ in range(60):
        i = draw.randrange(4)
        message = _message(draw, config, i)
        room = config.FRAME_LENGTH - 4
        sent[i] |= {message, message[:room]}
        queues[i] += _spoilt(draw, _frames(senders[i], message))
    done = 0
    while any(queues):
        i = draw.choice([k for k in range(4) if queues[k]])
        frame = queues[i].pop(min(draw.choice((0, 0, 0, 1, 2)), len(queues[i]) - 1))
        length = reassembly.offer(frame, len(frame), out)
        if length:
            done += 1
            assert bytes(out[:length]) in sent[i]
    assert done > 10
    for i in range(4):
        arrived = []
        for _ in range(6):
            message = _message(draw, config, i, config.MESSAGE_LENGTH_MAX)
            for frame in _frames(senders[i], message):
                length = reassembly.offer(frame, len(frame), out)
            arrived.append(bytes(out[:length]) == message)
        assert arrived[-2:] == [True, True]


@pytest.mark.parametrize("count", [1, 15, 200, 600])
def test_f47_messages_that_are_never_completed(count):
    """Each lacks one fragment; numbers wrap. The next whole one comes through."""
    config = Sim(seed=1).config
    reassembly = Reassembly(config, 0)
    fragments = Fragments(config, 2)
    out = bytearray(config.MESSAGE_LENGTH_MAX)
    message = bytes(range(256)) * 2
    for i in range(count):
        frames = _frames(fragments, message)
        del frames[i % len(frames)]
        assert not any(reassembly.offer(frame, len(frame), out) for frame in frames)
    lengths = [reassembly.offer(f, len(f), out) for f in _frames(fragments, message)]
    assert lengths[-1] == len(message) and bytes(out[: len(message)]) == message


# --- floods


def _garbage(sim):
    return sim.random.randbytes(sim.random.randrange(1, sim.config.MESSAGE_LENGTH_MAX))


def _valid_looking(sim):
    """Every type in turn in the name of any replica, with fields that fit; the tags do not."""
    number = sim.message_count
    kind = ("PREPARE", "COMMIT", "CHECKPOINT", "STATUS", "FETCH", "REQUEST")[number % 6]
    body = sim.random.randbytes(32)
    if kind == "STATUS":
        body = bytes(6 + 2 + 1)
    elif kind == "FETCH":
        body = bytes(6)
    view = 0 if kind == "REQUEST" else sim.view(0)
    sender = number % 4
    message = sim.message(kind, sender, view, highest(sim) + number % 3, body)
    sealed = bytearray(sim.seal(sender, message, to=0))
    sealed[-1] ^= 255
    for at in range(len(message), len(sealed)):
        sealed[at] ^= 165
    return bytes(sealed)


@pytest.mark.parametrize("what", [_garbage, _valid_looking])
@pytest.mark.parametrize("cpu_us", [0, 100])
def test_f48_flood_of_a_stranger(what, cpu_us):
    """Somebody without keys sends five messages per millisecond; with processors that need
    100 us per message half of their time goes there. The group goes on, and remembers nothing."""
    sim = Sim(seed=55)
    for i in range(5):
        sim.device(i).costs = FixedCosts(cpu_us) if cpu_us else None
    execute(sim)
    for i in range(5 * 600):
        sim.after(i / 5, lambda: sim.send_as(4, EVERYBODY, what(sim)))
    load = Load(sim, clients=(0, 1, 2, 3))
    before = highest(sim)
    sim.run(600)
    assert highest(sim) > before + 30
    faults = sim.faults(2)
    assert sum(faults.values()) > 1500
    heal(sim, load)
    assert sim.view(2) == 0


def test_f48_flood_of_a_replica_with_good_tags():
    """A faulty replica fills every place that votes can take: candidates of each slot and
    checkpoint, for digests of its own. Its quota is one vote; the others' find room."""
    sim = Sim(seed=56)
    execute(sim)
    sim.byzantine(3)
    sim.filter_from(3, lambda frame: frame if frame.sender != 3 or flooding[0] else None)
    flooding = [False]

    def flood():
        flooding[0] = True
        for ahead in range(5):
            for kind in ("PREPARE", "COMMIT", "CHECKPOINT"):
                seqno = highest(sim) + ahead
                message = sim.message(kind, 3, sim.view(0), seqno, sim.random.randbytes(32))
                sim.send_as(3, EVERYBODY, sim.seal(3, message))
        flooding[0] = False
        sim.after(1, flood)

    flood()
    load = Load(sim, clients=(0, 1, 2, 4))
    before = highest(sim)
    sim.run(600)
    assert highest(sim) > before + 60
    assert all(sim.view(i) == 0 for i in (0, 1, 2))
    assert sim.faults(0)["equivocation"] + sim.faults(0)["not_needed"] > 1000
    load.stop()
    sim.check_liveness(5000)


# --- a jam


@pytest.mark.parametrize("radio", [None, 11, 1])
def test_f49_jam_of_ten_seconds(radio):
    """Nothing gets through for 10 s while every client has a request; then everybody repeats
    itself at once."""
    sim = Sim(seed=57, radio=radio)
    execute(sim, ms=30000)
    jammed = []

    def jam(frame):
        jammed.append(frame.src)
        return None

    sim.on_frame(jam)
    handles = [sim.submit(client, operations.increment("n")) for client in range(5)]
    sim.run(10000)
    assert not any(h.done for h in handles) and set(jammed) == set(range(5))
    sim.on_frame(None)
    result = sim.check_liveness(LIVENESS_MS)
    assert all(h.done for h in handles)
    assert result["answered_ms"] < (10000 if radio is None else 30000)
