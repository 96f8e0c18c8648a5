"""One simulated group and everything a scenario can do to it.

    sim = Sim(seed=7)
    handle = sim.submit(0, operations.put("lamp", "on"))
    sim.crash(2)
    assert sim.run_until(lambda: handle.done, 5000)
    sim.check_liveness(10000)

Replicas have the ids 0 .. n - 1 and are clients too; ids n .. client_count - 1 are external
clients. A device number is its node id; a twin gets the next free number. Wherever a device is
meant (crash, partition, view, ...) that number is taken.

After every step of a correct replica the safety oracles look at it (oracles.py); a `Violation`
is raised out of `run`. A run is a function of seed, configuration and scenario.

Regions are RAM unless `durable` says otherwise. A replica that was switched off comes back
without memory then, with `wipe` or without: it rejoins by state transfer, and may have forgotten
what it voted for. So it is one of the f faulty ones while it does (S5 does not hold it to what
it said before), and its store holds no more than the request ids of its client. What happens to
power and stores: power.py.
"""

import hashlib
import random
from collections import Counter, deque

from hal import sim_costs
from hal.sim import Network, World
from hal.sim_parts import make_crypto
from hal.sim_radio import Radio
from tinybft import wire
from tinybft.apps.kv import KeyValueStore
from tinybft.auth import Authenticator
from tinybft.identity import format_store
from tinybft.node import Node
from tinybft.structure import Wire
from tools.simulate import operations
from tools.simulate.byzantine import behaviours
from tools.simulate.configs import configuration
from tools.simulate.frames import Frame
from tools.simulate.liveness import Liveness
from tools.simulate.oracles import Oracles, Violation, Witness
from tools.simulate.power import Power
from tools.simulate.trace import Trace

__all__ = ("EVERYBODY", "Handle", "Sim", "Violation")

EVERYBODY = -1
_HANDLES_KEPT = 4096


class _Injected(bytes):
    """What a script sends in somebody's name: no filter looks at it."""


class Handle:
    """A submitted operation. `done` and `reply` (bytes) say what the client accepted.

    `lost`: the client's device lost power while it was outstanding; nobody will tell.
    """

    def __init__(self, client, op, read_only, now_ms):
        self.client = client
        self.op = op
        self.read_only = read_only
        self.submitted_ms = now_ms
        self.request_id = None
        self.done = False
        self.reply = None
        self.latency_ms = None
        self.lost = False
        self.unordered = False  # a read that was answered at once

    def __repr__(self):
        state = "done" if self.done else "lost" if self.lost else "open"
        return f"<operation of client {self.client}, request {self.request_id}, {state}>"


class Sim(Power):
    """service: called without arguments for each replica; radio: Mbit/s, None = ideal network;
    trace: called with each line of the story; durable: what survives a power cut (configs.py);
    changed: constants of the configuration."""

    def __init__(  # noqa: PLR0913 - each is an option of the command line
        self,
        seed=1,
        replicas=4,
        service=KeyValueStore,
        radio=None,
        config=None,
        trace=None,
        command=None,
        durable=None,
        **changed,
    ):
        self.seed = seed
        self.config = config or configuration(replicas, radio, durable, **changed)
        self.replica_count = self.config.REPLICA_COUNT
        self.fault_count = self.config.FAULT_COUNT
        self.client_count = self.config.CLIENT_COUNT
        self.replicas = tuple(range(self.replica_count))
        self.random = random.Random(f"scenario {seed}")
        self.command = command or f"tinybft simulate --seed {seed} --replicas {replicas}"
        self.faulty = set()
        self.faulty_clients = set()
        self.tampered = {}  # device: in which of its boots more than power struck its memory
        self.handles = []
        self.message_count = 0
        self._service = service
        self._air = hashlib.sha256()
        self._waiting = [deque() for _ in range(self.client_count)]
        self._outstanding = [None] * self.client_count
        self._finished = []
        self._script_filter = None
        self._filters = {}
        self._filters_to = {}
        self.wire_of_group = Wire(self.config)
        self._sealers = {}
        self.world = world = World(self.config, seed)
        world.medium = Network(world) if radio is None else Radio(world, radio)
        self.trace = Trace(self, trace) if trace else None
        self.oracles = Oracles(self, service)
        self._liveness = Liveness(self)
        world.on_sent = self._on_sent
        world.on_heard = self.oracles.heard
        world.on_stepped = self._on_stepped
        world.on_power_cut = self._on_power_cut
        world.on_failed = self._on_failed
        if self.trace:
            world.on_aired = self.trace.aired
        for node_id in range(self.client_count):
            hal = world.add(node_id, self._make_node)
            hal.costs = None if radio is None else sim_costs
            self._format_store(hal)
            self._power_on(hal)

    # --- time ---

    @property
    def now_ms(self):
        return self.world.now_us // 1000

    def run(self, ms):
        """Let `ms` milliseconds pass."""
        self.world.run(ms)

    def run_until(self, predicate, ms):
        """Let time pass until `predicate()` holds; False if it did not within `ms`."""
        return self.world.run(ms, predicate)

    def after(self, ms, action):
        """Call `action()` when `ms` milliseconds have passed."""
        self.world.at(self.world.now_us + int(ms * 1000), lambda _: action(), None)

    # --- clients ---

    def submit(self, client, op, read_only=None):
        """Have `client` request `op` (bytes, or text); queued behind what it waits for.

        read_only: None means that it is if it only reads and the configuration has the option.
        """
        if not 0 <= client < self.client_count:
            raise ValueError(f"client {client}: ids are 0..{self.client_count - 1}")
        op = op.encode() if isinstance(op, str) else bytes(op)
        if len(op) > self.config.REQUEST_LENGTH_MAX:
            limit = self.config.REQUEST_LENGTH_MAX
            raise ValueError(f"operation of {len(op)} bytes, request_length_max is {limit}")
        if read_only is None:
            read_only = self.config.READ_ONLY and self._is_read(op)
        handle = Handle(client, op, read_only, self.now_ms)
        if len(self.handles) > _HANDLES_KEPT:
            self.handles = [h for h in self.handles if not (h.done or h.lost)]
        self.handles.append(handle)
        self._waiting[client].append(handle)
        self._submit_next(client)
        return handle

    def pending(self, client):
        """Operations of a client that are not answered yet."""
        return len(self._waiting[client]) + (self._outstanding[client] is not None)

    def _submit_next(self, client):
        hal = self.world.hals[client]
        if not self._waiting[client] or self._outstanding[client] is not None:
            return
        if not hal.up or hal.frozen or hal.node.client.has_lost_ids:
            return
        if not hal.node.client.busy:
            handle = self._waiting[client].popleft()
            self._outstanding[client] = handle
            took = hal.costs.submit_us(len(handle.op)) if hal.costs else 0
            hal.act(lambda: self._begin(hal, handle), took)

    def _begin(self, hal, handle):
        node = hal.node
        before = wire.seqno(node.client.request)
        try:
            node.start(handle.op, handle.read_only)
        finally:  # the request may have left when power is lost amid this
            handle.request_id = wire.seqno(node.client.request)
            if handle.request_id != before:
                self.oracles.submitted(handle)

    def _on_done(self, client_id, client):
        """A client accepted a reply: inside of its node's step, so only take note."""
        handle = self._outstanding[client_id]
        if handle is not None:
            self._outstanding[client_id] = None
            handle.reply = bytes(client.reply[: client.reply_length])
            handle.latency_ms = self.now_ms - handle.submitted_ms
            handle.unordered = client.is_unordered
            handle.done = True
            self._finished.append(handle)

    # --- devices ---

    def _make_node(self, hal):
        service = None
        if hal.node_id < self.replica_count:
            service = Witness(self._service())
        node = Node(hal, self.config, service)
        if service:
            service.core = node.replica.core
            hal.witness = service
            self.oracles.booted(hal, service.core)
        if hal.number < self.client_count:
            node.client.on_done = lambda client: self._on_done(hal.node_id, client)
        return node

    def _format_store(self, hal):
        """What provisioning does: the memory says whose it is."""
        if self.config.DURABLE and hal.node_id < self.replica_count:
            format_store(hal.store, self.config, hal.node_id, hal.crypto.digest_into)
            hal.store.reset_counts()

    def _power_on(self, hal):
        self.oracles.booting(hal)
        hal.power_on()
        if hal.number < self.client_count:
            self._submit_next(hal.number)

    def device(self, i):
        """The SimHal of a device; `.node` is what runs on it."""
        if not 0 <= i < len(self.world.hals):
            raise ValueError(f"device {i}: there are 0..{len(self.world.hals) - 1}")
        return self.world.hals[i]

    def core(self, i):
        """The parts of replica `i` (tinybft.replica.Core), None while it is off."""
        hal = self.device(i)
        return hal.node.replica.core if hal.up and hal.node.replica else None

    def is_up(self, i):
        return self.device(i).up

    def is_correct(self, i):
        """Neither Byzantine nor a twin; it may be switched off."""
        return i < self.client_count and i not in self.faulty

    def is_correct_client(self, i):
        """The same, and its store was never wiped: then it would use request ids twice."""
        return self.is_correct(i) and i not in self.faulty_clients

    def correct_replicas(self):
        """Those that are on and correct."""
        return [i for i in self.replicas if self.is_up(i) and self.is_correct(i)]

    def freeze(self, i):
        """Stop the processor of a device; memory and clock go on, messages wait (few fit)."""
        self.log(f"{self.name(i)} freezes")
        self.device(i).freeze()

    def thaw(self, i):
        self.log(f"{self.name(i)} thaws")
        self.device(i).thaw()

    def clock_jump(self, i, ms):
        """Move the clock of a device by `ms`, forward or back (modulo 2**30)."""
        hal = self.device(i)
        self.log(f"{self.name(i)}: clock jumps {ms:+} ms")
        hal.set_local_us(hal.local_us() + int(ms * 1000))

    def set_ticks(self, i, value):
        """Let `now_ms` of a device be `value` now."""
        self.log(f"{self.name(i)}: ticks are {value}")
        self.device(i).set_local_us(value * 1000)

    def drift(self, i, percent):
        """Let the clock of a device run faster, or slower if below zero."""
        self.device(i).set_rate(int(percent * 10000))

    # --- network ---

    def partition(self, groups):
        """Messages pass within each group of devices only. Replaces earlier cuts.

        Replicas that are named in no group form one more; external clients that are named in
        none reach everybody.
        """
        named = [set(group) for group in groups]
        rest = set(self.replicas).union(range(self.client_count, len(self.world.hals)))
        named.append(rest.difference(*named))
        self.log("partition " + " | ".join(str(sorted(g)) for g in named if g))
        self.world.cut = {
            (a, b) for one in named for other in named if one is not other
            for a in one for b in other if a != b
        }  # fmt: skip

    def one_way(self, src, dst, blocked=True):
        """Block what device `src` sends from reaching `dst`, or let it pass again."""
        self.log(f"{self.name(src)} -> {self.name(dst)} " + ("blocked" if blocked else "open"))
        if blocked:
            self.world.cut.add((src, dst))
        else:
            self.world.cut.discard((src, dst))

    def heal(self):
        """Open all links that `partition` and `one_way` blocked."""
        self.log("all links are open")
        self.world.cut = set()

    def network(self, loss=None, duplicate=None, delay_ms=None, jitter_ms=None):
        """Change the medium; None = leave. loss, duplicate: shares up to 1, or per cent above.

        Loss strikes each receiver by itself (on the radio each frame of a message).
        """
        medium = self.world.medium
        for name, value in (("loss", loss), ("duplicate", duplicate)):
            if value is not None:
                if not 0 <= value <= 100:
                    raise ValueError(f"{name} is {value}, must be a share 0..1 or % up to 100")
                setattr(medium, name, value / 100 if value > 1 else value)
        for name, value in (("delay_ms", delay_ms), ("jitter_ms", jitter_ms)):
            if value is not None:
                if value < 0:
                    raise ValueError(f"{name} is {value}, must not be negative")
                setattr(medium, name, value)
        self.log(
            f"network: loss {medium.loss:.3g}, duplicates {medium.duplicate:.3g},"
            f" delay {medium.delay_ms:g} ms, jitter {medium.jitter_ms:g} ms"
        )

    def on_frame(self, function):
        """`function(frame)` decides on every (message, receiver): None drops it, else the frame
        or a list of frames. Replaces the function given before; `on_frame(None)` ends it."""
        self._script_filter = function
        self._set_route()

    def filter_from(self, i, function):
        """The same for what device `i` sends alone, and before `on_frame`; None ends it."""
        self._filters.pop(i, None)
        if function:
            self._filters[i] = function
        self._set_route()

    def filter_to(self, i, function):
        """The same for what is sent to device `i`, before loss and delay."""
        self._filters_to.pop(i, None)
        if function:
            self._filters_to[i] = function
        self._set_route()

    def _set_route(self):
        wanted = self._script_filter or self._filters or self._filters_to
        self.world.route = self._route if wanted else None

    def _route(self, hal, peer, message):
        if type(message) is _Injected:
            return ((0, message),)
        frames = [Frame(hal.number, peer.number, message)]
        functions = (self._filters.get(hal.number), self._filters_to.get(peer.number))
        for function in (*functions, self._script_filter):
            if function:
                frames = [new for old in frames for new in _as_list(function(old))]
        return [(int(f.delay_ms * 1000), bytes(f.bytes)) for f in frames]

    # --- adversaries ---

    def byzantine(self, i, behaviour=None):
        """From now on `i` is not counted as correct. behaviour: a name of byzantine.behaviours,
        or a function(sim, i); None: its device goes on as it is, the script speaks for it."""
        if isinstance(behaviour, str):
            if behaviour not in behaviours:
                known = ", ".join(sorted(behaviours)) or "none"
                raise ValueError(f"no behaviour {behaviour!r}; known: {known}")
            self.log(f"{self.name(i)} turns Byzantine: {behaviour}")
            behaviour = behaviours[behaviour]
        else:
            self.log(f"{self.name(i)} turns Byzantine")
        self.faulty.add(i)
        if behaviour:
            behaviour(self, i)

    def twin(self, i):
        """Start a second device with the identity of `i` and its own memory; its number.

        The identity is not counted as correct from then on.
        """
        self.faulty.add(i)
        hal = self.world.add(i, self._make_node)
        hal.costs = self.device(i).costs
        self.faulty.add(hal.number)
        self.log(f"{self.name(hal.number)} starts as a twin of {self.name(i)}")
        self._format_store(hal)
        self._power_on(hal)
        return hal.number

    def message(self, kind, sender, view, seqno, body=b"", flags=0):
        """Header and body of a message, without tags: what `seal` takes."""
        if isinstance(kind, str):
            kind = wire.TYPE_NAMES.index(kind.upper().replace("_", "-"))
        head = bytearray(wire.HEADER_LENGTH)
        wire.put_header(head, kind, flags, sender, self.config.GROUP_ID, view, seqno)
        return bytes(head) + bytes(body)

    def seal(self, i, message_bytes, bad_for=(), to=None):
        """`message_bytes` with tags by the keys of `i`, wrong ones for the ids in `bad_for`.

        Takes header and body, or a whole message whose tags are to be replaced (its length
        field says so). to: the receiver, needed by types with one tag (REPLY, FETCH, ...).
        """
        message = bytes(message_bytes)
        kind = message[1]
        tag_length = self.config.TAG_LENGTH
        tags_length = self.wire_of_group.tag_count(kind, i) * tag_length
        body = self._body_of(message, tags_length)
        buf = bytearray(body + bytes(tags_length))
        wire.put_length(buf, len(buf))
        if i not in self._sealers:
            crypto = make_crypto(self.config, i, self.seed)
            self._sealers[i] = Authenticator(self.config, i, crypto)
        if tags_length == tag_length and (kind == wire.REPLY or kind >= wire.FETCH):
            if to is None:
                raise ValueError(f"{wire.TYPE_NAMES[kind]} has one tag: seal(..., to=receiver)")
            self._sealers[i].seal_for(to, buf, len(body), 1)
        else:
            self._sealers[i].seal(buf, len(body))
        for receiver in bad_for:
            at = len(body) + self.wire_of_group.tag_index(kind, i, receiver) * tag_length
            if at < len(buf) and receiver != i:
                buf[at] ^= 1
        return bytes(buf)

    def _body_of(self, message, tags_length):
        """Header and body of what may be a whole message or lack its tags."""
        longer = bytearray(message + bytes(tags_length))
        wire.put_length(longer, len(longer))
        claims_whole = wire.length(message) == len(message) >= wire.HEADER_LENGTH + tags_length
        if not claims_whole:
            return message
        is_whole = self.wire_of_group.check(message, len(message)) == 0
        lacks_tags = self.wire_of_group.check(longer, len(longer)) == 0
        if lacks_tags and not is_whole:
            return message
        return message[: len(message) - tags_length]

    def send_as(self, i, dst, message_bytes):
        """Put bytes on the air from device `i`, to a node id or to EVERYBODY (-1).

        They pass by `on_frame` and `filter_from`, but not by cuts, loss and delay.
        """
        hal = self.device(i)
        message = _Injected(message_bytes)
        self._on_sent(hal, dst, message)
        self.world.medium.send(hal, dst, message)

    # --- looking ---

    def view(self, i):
        """-1 while the device is off; so are the next two."""
        core = self.core(i)
        return core.progress.view if core else -1

    def executed(self, i):
        core = self.core(i)
        return core.progress.last_executed if core else -1

    def stable(self, i):
        core = self.core(i)
        return core.progress.low_mark if core else -1

    def state_digest(self, i):
        """SHA-256 (hex) of all replicated bytes, the client table included; "" while off."""
        core = self.core(i)
        if core is None:
            return ""
        length = self.config.STATE_LENGTH + self.config.SYSTEM_LENGTH
        return hashlib.sha256(core.state.content(length)).hexdigest()

    def faults(self, i):
        """{name: count} of what device `i` counted since it started; 0 for other names."""
        hal = self.device(i)
        return Counter(hal.node.faults.as_dict() if hal.up else {})

    def name(self, i):
        if i < self.replica_count:
            return f"R{i}"
        if i < self.client_count:
            return f"C{i}"
        return f"R{self.device(i).node_id}'" + ("" if i == self.client_count else str(i))

    def air_digest(self):
        """SHA-256 (hex) of everything sent so far, with time, sender and target."""
        return self._air.copy().hexdigest()

    def log(self, text):
        """A line of your own in the trace."""
        if self.trace:
            self.trace.line(text)

    # --- oracles ---

    def check(self):
        """The safety oracles on all correct replicas, now; raises Violation."""
        self.oracles.check()

    def check_liveness(self, ms):
        """The liveness oracles: call it when faults have stopped. Raises Violation.

        Within `ms` all pending operations of correct clients are answered and all correct
        replicas that are on reach the same seqno (L1, L2); then each of them casts a deciding
        vote while as many others are silent as the group can spare. Returns what it measured.
        """
        return self._liveness.check(ms)

    def throughput(self, ms, clients=None):
        """Operations per virtual second while `clients` (all correct ones that are on) submit
        one after the other for `ms` milliseconds."""
        if clients is None:
            ids = range(self.client_count)
            clients = [i for i in ids if self.is_up(i) and self.is_correct_client(i)]
        done = 0
        end_us = self.world.now_us + ms * 1000

        def refill():
            nonlocal done
            for client, handle in list(latest.items()):
                if handle.done or handle.lost:
                    done += handle.done
                    latest[client] = self.submit(client, self.sample_operation())
            return self.world.now_us >= end_us

        latest = {client: self.submit(client, self.sample_operation()) for client in clients}
        self.run_until(refill, ms)
        return 1000 * done / ms

    def check_throughput(self, ms, reference, share):
        """L4: at least `share` of the rate `reference` of a fault-free run; returns the rate."""
        rate = self.throughput(ms)
        if rate < share * reference:
            words = f"{rate:.1f} operations per second, {share:.0%} of {reference:.1f} are due"
            raise Violation(self, "L4", words)
        return rate

    def sample_operation(self, draw=None):
        """Some operation for the service: of its own `sample(draw)` if it has one; `draw`: a
        random.Random, else that of the scenario."""
        draw = draw or self.random
        sample = getattr(self._service, "sample", None)
        if sample:
            return sample(draw)
        if self._service is KeyValueStore:
            return operations.sample(draw, self.config.REQUEST_LENGTH_MAX)
        return draw.randbytes(draw.randrange(1, min(32, self.config.REQUEST_LENGTH_MAX)))

    def _is_read(self, op):
        """Whether the service says so: by `is_read(op)`; of the key-value store it is known."""
        if self._service is KeyValueStore:
            return operations.is_read(op)
        is_read = getattr(self._service, "is_read", None)
        return bool(is_read and is_read(op))

    # --- observers ---

    def _on_sent(self, hal, target, message):
        self.message_count += 1
        self._air.update(b"%d %d %d " % (self.world.now_us, hal.number, target))
        self._air.update(message)
        self.oracles.sent(hal, message)

    def _on_stepped(self, hal):
        if self.trace:
            self.trace.stepped(hal)
        self.oracles.stepped(hal)
        while self._finished:
            self.oracles.answered(self._finished.pop())
        if hal.number < self.client_count and self._waiting[hal.number]:
            self._submit_next(hal.number)


def _as_list(result):
    if result is None:
        return ()
    return result if isinstance(result, (list, tuple)) else (result,)
