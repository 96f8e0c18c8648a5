"""Mutated frames into a replica that is in the middle of work (FAULTS.md, F46).

Oracle, after every frame: no exception; the frame is counted under exactly one fault; unless it
carries a good tag for this node, not one bit of any region, no field of any part of the core
and no random number has changed, and nothing was sent; at most three digests and as many tags
were computed. What is left out of the comparison is scratch: the two message slots, the input
of the MAC, the time of the call.

A frame is authentic if header, body and this node's tag are those of a frame that the victim was
really sent. What goes without a tag is what a digest proves: the body of a request that a slot
names, a VIEW-CHANGE that the NEW-VIEW names, a NEW-VIEW that f + 1 have installed. Header and body
must then be those of a real one.

    python -m tests.tinybft.fuzzing --frames 1000000 --seed 1
"""

import sys

from tests.tinybft.mutation import any_frame, mutate
from tests.tinybft.scenes import SCENE_COUNT, all_scenes
from tinybft import wire
from tinybft.faults import NAMES
from tinybft.jitter import Jitter

# Of each object of the core: its name in Core, and what is scratch in it.
_PARTS = ("progress", "clock", "slots", "state", "requests", "replies", "batches", "agreement") + (
    ("checkpoints", "transfer", "execution", "status", "random", "client")
    + ("timers", "claims", "view_change", "new_view")
)
_PROVEN_BY_DIGEST = (wire.REQUEST, wire.VIEW_CHANGE, wire.NEW_VIEW)
_SCRATCH = ("now", "heard", "_counts", "_digest", "_authentic")
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
_DIGESTS_MAX = 3
_TAGS_MAX = 3


class Violation(AssertionError):
    """The oracle's complaint: scene, frame, what happened."""


def _scalar_fields(thing):
    names = []
    for name in dir(thing):
        if not name.startswith("__") and name not in _SCRATCH:
            value = getattr(thing, name)
            if isinstance(value, (bool, int)) or _is_int_list(value):
                names.append(name)
    return names


def _is_int_list(value):
    return isinstance(value, list) and all(isinstance(v, int) for v in value)


def tag_bounds(frame, node_id, replica_count, tag_length):
    """(end of the body, start of the tag for node_id), computed apart from the code under test."""
    kind = frame[1]
    sender = frame[2] | frame[3] << 8
    if kind == wire.REPLY or kind >= wire.FETCH:
        end = len(frame) - tag_length
        return end, end
    receivers = [r for r in range(replica_count) if r != sender]
    end = len(frame) - len(receivers) * tag_length
    place = receivers.index(node_id) if node_id in receivers else 0
    return end, end + place * tag_length


class Victim:
    """A scene's node under the oracle."""

    def __init__(self, scene):
        self.scene = scene
        self.node = scene.node
        memory = self.node.memory
        self.regions = [getattr(memory, name) for name in _REGIONS if hasattr(memory, name)]
        self.objects = [self.node.client]
        if self.node.replica:
            core = self.node.replica.core
            # Six bytes behind the blocks and the tree's scratch field are borrowed for hashing.
            self.regions += [f for name, f in memory.state.items() if name != "scratch"]
            self.objects += [getattr(core, name) for name in _PARTS]
            self.objects += [core.state.snapshots, self.node.replica]
        self.fields = [(thing, _scalar_fields(thing)) for thing in self.objects]
        self.before = [bytes(region) for region in self.regions]
        self.fields_before = self._fields_now()
        self.sent = 0
        self.digests = 0
        self.tags = 0
        self._collect_authentic()
        self._count_work()

    def _collect_authentic(self):
        config = self.node.config
        self._layout = (self.node.node_id, config.REPLICA_COUNT, config.TAG_LENGTH)
        self.authentic = set()
        self.proven = set()
        for frame in self.scene.authentic:
            self.authentic.add(self._essence(frame))
            if frame[1] in _PROVEN_BY_DIGEST:
                self.proven.add(bytes(frame[: tag_bounds(frame, *self._layout)[0]]))

    def _essence(self, frame):
        """Header, body and own tag: what must be untouched for the frame to be authentic."""
        if len(frame) < wire.HEADER_LENGTH:
            return b""
        end, tag_at = tag_bounds(frame, *self._layout)
        if end < wire.HEADER_LENGTH:
            return b""
        return bytes(frame[:end]) + bytes(frame[tag_at : tag_at + self._layout[2]])

    def _count_work(self):
        auth = self.node.auth
        mac_equal, digest_into = auth._mac_equal, auth.digest_into

        def counted_equal(*args):
            self.tags += 1
            return mac_equal(*args)

        def counted_digest(*args):
            self.digests += 1
            digest_into(*args)

        auth._mac_equal = counted_equal
        auth.digest_into = counted_digest

        def silent(_source, _target, _message):
            self.sent += 1

        self.scene.group.send = silent

    def _fields_now(self):
        values = []
        for thing, names in self.fields:
            for name in names:
                value = getattr(thing, name)
                values.append(tuple(value) if isinstance(value, list) else value)
        return values

    def is_authentic(self, frame):
        return self._essence(frame) in self.authentic

    def feed(self, frame):
        """Hand the frame over as the loop of the node would. Raises Violation."""
        node = self.node
        counts = node.faults.counts
        before = sum(counts)
        self.sent = self.digests = self.tags = 0
        node.memory.received[: len(frame)] = frame
        try:
            node._stepping[3](node.memory.received, len(frame), self.scene.now)
        except Exception as error:
            if hasattr(sys, "print_exception"):
                sys.print_exception(error)
            self._complain(frame, "exception " + repr(error))
        if self.digests > _DIGESTS_MAX or self.tags > _TAGS_MAX:
            self._complain(frame, "%d digests, %d tags" % (self.digests, self.tags))
        silent_drop = not len(frame) or not node.replica and frame[1:2] != bytes((wire.REPLY,))
        if sum(counts) == before and not (silent_drop or self._proves_itself(frame)):
            self._complain(frame, "accepted")

    def _proves_itself(self, frame):
        if len(frame) < wire.HEADER_LENGTH or frame[1] not in _PROVEN_BY_DIGEST:
            return False
        return bytes(frame[: tag_bounds(frame, *self._layout)[0]]) in self.proven

    def check_unchanged(self, frame):
        """True if nothing changed; False if it was taken by its digest. Else Violation."""
        same = self.regions == self.before and not self.sent
        if same and self._fields_now() == self.fields_before:
            return True
        if self._proves_itself(frame):
            return False
        what = ["region %d" % i for i, r in enumerate(self.regions) if r != self.before[i]]
        what += ["sent %d" % self.sent] if self.sent else []
        now = self._fields_now()
        i = 0
        for thing, names in self.fields:
            for name in names:
                if now[i] != self.fields_before[i]:
                    what.append("%s.%s" % (type(thing).__name__, name))
                i += 1
        self._complain(frame, "changed: " + ", ".join(what))

    def _complain(self, frame, what):
        raise Violation("%s: %s by %s" % (self.scene.name, what, bytes(frame)))


def run(frames, seed, report=None):
    """Feed `frames` mutated frames, spread over the scenes. Returns counters by name."""
    random = Jitter(seed * 2654435 + 17)
    totals = {"frames": 0, "authentic": 0, "bodies": 0}
    for index, scene in enumerate(all_scenes(seed)):
        victim = Victim(scene)
        faults_before = list(victim.node.faults.counts)
        share = frames * (index + 1) // SCENE_COUNT - frames * index // SCENE_COUNT
        for _ in range(share):
            frame = mutate(random, any_frame(random, scene), scene)
            totals["frames"] += 1
            if victim.is_authentic(frame):
                totals["authentic"] += 1
                continue
            victim.feed(frame)
            if not victim.check_unchanged(frame):
                totals["bodies"] += 1
                victim = Victim(scene)
        _add_faults(totals, faults_before, victim.node.faults.counts)
        if report:
            report("%-24s %s" % (scene.name, sorted(scene.frames)))
    return totals


def _add_faults(totals, before, after):
    for fault, name in enumerate(NAMES):
        if after[fault] > before[fault]:
            key = "fault " + name
            totals[key] = totals.get(key, 0) + after[fault] - before[fault]


def main(arguments):
    import time

    options = {"--frames": 100000, "--seed": 1}
    for i in range(0, len(arguments), 2):
        if arguments[i] not in options or not arguments[i + 1 : i + 2]:
            print("fuzzing: no option", arguments[i], "; there are --frames N and --seed N")
            return 2
        options[arguments[i]] = int(arguments[i + 1])
    began = time.time()
    totals = run(options["--frames"], options["--seed"], print)
    for name in sorted(totals):
        print("%-24s %d" % (name, totals[name]))
    print("%-24s %d" % ("frames/s", totals["frames"] / (time.time() - began)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
