"""Moments in the life of a small group, frozen for the fuzzers: a node in the middle of work.

    scene.node       the victim, with everything that it had received until then
    scene.frames     {type: [frames sent to it]}, those still in flight first, because they are
                     the ones that it would use
    scene.numbers    values that are of interest in a field of 32 bits

The configuration is small (messages of 768 bytes, a partition tree of three levels), so that
comparing all regions after every frame is cheap.
"""

import tinybft.config as defaults
from tests.tinybft.group import Group
from tests.tinybft.support import Config
from tinybft import wire
from tinybft.service import Service
from tinybft.slots import COMMITTED, PRE_PREPARED

FRAMES_PER_TYPE = 24
_EDGES = (0, 1, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)


_storage = {}  # STORAGE_... of the scenes being made


def small_config(**changed):
    sizes = {
        "REQUEST_LENGTH_MAX": 256,
        "REPLY_LENGTH_MAX": 256,
        "MESSAGE_LENGTH_MAX": 768,
        "STATE_LENGTH": 1024,
        "BLOCK_LENGTH": 64,
    }
    sizes.update(_storage)
    sizes.update(changed)
    config = Config(**sizes)
    for name in dir(defaults):
        if name.endswith("_MS"):
            setattr(config, name, getattr(defaults, name))
    return config


class Recorder(Service):
    """Remembers what was executed, and replies with the operation: `log` of (seqno, client_id,
    operation). The state holds the last operations."""

    name = "recorder"
    state_length = 1024
    reads_view = False

    def __init__(self):
        self.log = []

    def execute(self, state, op, length, reply, ctx):
        self.log.append((ctx.seqno, ctx.client_id, bytes(op[:length])))
        state.write(ctx.seqno * 5 % 30 * 32, op, 0, min(length, 64))
        reply[:length] = op[:length]
        return length


def operation(client, number, length):
    text = b"%d:%d " % (client, number)
    return text + b"." * (length - len(text))


def keep_busy(group, lengths=(20, 200)):
    """Every client submits again as soon as it is answered; alternates the lengths."""
    for client, node in enumerate(group.nodes):
        if node.hal.up and not node.client.busy:
            number = node.client.acknowledged + 1
            node.start(operation(client, number, lengths[number % len(lengths)]))


class Scene:
    def __init__(self, name, group, victim, recorded):
        self.name = name
        self.group = group
        self.node = group.nodes[victim]
        self.now = group.now + 50  # no rate limit is in the way of the first frame
        in_flight = [m[3] for m in group.flying if m[2] == victim]
        self.authentic = in_flight + recorded
        self.frames = {}
        for frame in in_flight + recorded[::-1]:
            same_type = self.frames.setdefault(frame[1], [])
            if len(same_type) < FRAMES_PER_TYPE:
                same_type.append(frame)
        self.numbers = list(_EDGES)
        if self.node.replica:
            self.node.replica.tick(self.now)  # no timer is due when the first frame comes
            progress = self.node.replica.progress
            for mark in (progress.low_mark, progress.last_executed, progress.high_mark()):
                self.numbers += [max(0, mark - 1), mark, mark + 1, mark + 2]


def _run_recorded(group, victim, until, rounds=400):
    """Work until `until()`; returns all frames that were sent to `victim`."""
    recorded = []

    def record(_source, receiver, message):
        if receiver == victim:
            recorded.append(message)
        return message

    group.on_send = record
    for _ in range(rounds):
        keep_busy(group)
        if group.run(5, until):
            group.on_send = None
            return recorded
    raise AssertionError("the scene was never reached")


def _in_flight(group, receiver, kind, number=None):
    """A message of a type is on its way; `number`: one with this in its fourth field."""
    for m in group.flying:
        if m[2] == receiver and m[3][1] == kind and number in (None, wire.seqno(m[3])):
            return True
    return False


def _awaited(node):
    return node.client.report(0)["request_id"]


def _has_open_slot(node):
    """Some slot waits for votes, and some reply is awaited."""
    replica = node.replica
    slots = replica.core.slots
    low = replica.progress.last_executed
    for number in range(low + 1, replica.progress.high_mark() + 1):
        base = slots.find(number)
        if base >= 0 and slots.has(base, PRE_PREPARED) and not slots.has(base, COMMITTED):
            return node.client.busy
    return False


def _in_normal_case(name, victim, seed):
    group = Group(small_config(), Recorder, seed, loss=15, duplicate=5, delay_ms=(1, 4))
    node = group.nodes[victim]

    def reached():
        if node.client.acknowledged < 8:
            return False
        if node.replica:
            return _has_open_slot(node)
        return node.client.busy and _in_flight(group, victim, wire.REPLY, _awaited(node))

    return Scene(name, group, victim, _run_recorded(group, victim, reached))


def _behind(name, awaited, seed):
    """R3 was away for longer than the window and is fetching the state."""
    group = Group(small_config(), Recorder, seed, loss=5, delay_ms=(1, 3))
    node = group.nodes[3]

    _run_recorded(group, 3, lambda: node.client.acknowledged >= 3)
    group.crash(3)
    before = group.nodes[1].client.acknowledged
    _run_recorded(group, 3, lambda: group.nodes[1].client.acknowledged > before + 12)
    group.nodes[3].hal.up = True

    def reached():
        return node.replica.core.transfer.running and _in_flight(group, 3, awaited)

    return Scene(name, group, 3, _run_recorded(group, 3, reached))


def _serving(seed):
    """R1 hears R3 fetch."""
    group = Group(small_config(), Recorder, seed, loss=5, delay_ms=(1, 3))
    _run_recorded(group, 1, lambda: group.nodes[3].client.acknowledged >= 3)
    group.crash(3)
    before = group.nodes[1].client.acknowledged
    _run_recorded(group, 1, lambda: group.nodes[1].client.acknowledged > before + 12)
    group.nodes[3].hal.up = True

    def reached():
        return _in_flight(group, 1, wire.FETCH)

    return Scene("serving", group, 1, _run_recorded(group, 1, reached))


def _between_views(name, victim, awaited, seed, primary=0):
    """The primary is gone; `victim` has left its view and the next message helps it on."""
    config = small_config()
    config.STATUS_MS, config.REQUEST_MS, config.VIEW_CHANGE_MS = 50, 60, 120
    group = Group(config, Recorder, seed, loss=10, delay_ms=(1, 3))
    node = group.nodes[victim]
    recorded = _run_recorded(group, victim, lambda: node.client.acknowledged >= 4)
    group.crash(primary)

    def reached():
        return not node.replica.progress.active and _in_flight(group, victim, awaited)

    return Scene(name, group, victim, recorded + _run_recorded(group, victim, reached))


def _returning(seed):
    """R0 was away while the view changed and is told about it: acks, NEW-VIEW, VIEW-CHANGEs."""
    config = small_config()
    config.STATUS_MS, config.REQUEST_MS, config.VIEW_CHANGE_MS = 50, 60, 120
    group = Group(config, Recorder, seed, loss=10, delay_ms=(1, 3))
    node = group.nodes[0]
    recorded = _run_recorded(group, 0, lambda: node.client.acknowledged >= 4)
    group.crash(0)
    _run_recorded(group, 0, lambda: group.nodes[3].replica.progress.view > 0)
    group.nodes[0].hal.up = True

    def reached():
        return not node.replica.progress.active and _in_flight(group, 0, wire.VIEW_CHANGE_ACK)

    return Scene("returning", group, 0, recorded + _run_recorded(group, 0, reached))


SCENE_COUNT = 10


def all_scenes(seed, storage=None):
    """One after the other: six groups at once are too much for a small heap. `storage`: the
    STORAGE_... constants, if not all "ram"."""
    _storage.clear()
    _storage.update(storage or {})
    try:
        yield from _scenes(seed)
    finally:
        _storage.clear()


def _scenes(seed):
    yield _in_normal_case("backup", 1, seed)
    yield _in_normal_case("primary", 0, seed)
    yield _in_normal_case("external client", 4, seed)
    yield _behind("behind, META-DATA to come", wire.META_DATA, seed)
    yield _behind("behind, DATA to come", wire.DATA, seed)
    yield _serving(seed)
    yield _between_views("VIEW-CHANGE to come", 2, wire.VIEW_CHANGE, seed)
    yield _between_views("new primary, acks to come", 1, wire.VIEW_CHANGE_ACK, seed)
    yield _between_views("NEW-VIEW to come", 2, wire.NEW_VIEW, seed)
    yield _returning(seed)
