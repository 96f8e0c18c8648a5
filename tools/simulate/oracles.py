"""The safety oracles: what must hold after every step of every correct replica (FAULTS.md).

S1   one batch digest per executed seqno, over all correct replicas, for ever
S2   executed histories are prefixes of one chain
S3   a correct client's executed command was submitted by it; at most once, in client order
S4   every reply, of a replica or accepted by a client, is that of a reference state machine;
     what clients are told is linearizable (linear.py)
S5   on the air no correct identity says two things about one (type, view, seqno), or votes in a
     lower view than before, and its VIEW-CHANGEs name what it prepared and accepted; over all
     its boots if its memory is durable and was trusted when it started, else since its last
     start. Who abstains says nothing, no early reply either, and has rejoined behind all that it
     voted for
S6   the digest of a checkpoint and the state's bytes are those of the others and the reference
S7   low marks rise, in whole intervals, and only with evidence that this replica has heard:
     2f + 1 matching CHECKPOINTs, or what f + 1 call stable; never more than W open slots
S8   what a client accepted is executed by all that run on, after whatever power cuts; what was
     executed once is executed again as it was, and marks and view never move back. A memory that
     nothing but power cuts struck is trusted and whole, and holds the checkpoints it told of
S9   regions keep their size
S10  no exception escapes from a step

Where correct replicas are: those that are not in `sim.faulty`, from that moment on. The chain
is built when the first of them executes a batch: its `Witness` notes the slot at that moment,
and the reference (a second instance of the service, on plain bytes) executes the same requests.
"""

import hashlib
import traceback

from tinybft import faults, wire
from tinybft.execution import SERVICE_FAILED
from tinybft.octets import get_u16, get_u32
from tinybft.reads import Guarded
from tinybft.service import AppState, Context, Service
from tools.simulate.linear import Linear

_VOTES = (
    wire.PRE_PREPARE,
    wire.PREPARE,
    wire.COMMIT,
    wire.VIEW_CHANGE,
    wire.VIEW_CHANGE_ACK,
    wire.NEW_VIEW,
)
_ABOUT_SEQNOS = (wire.PRE_PREPARE, wire.PREPARE, wire.COMMIT, wire.CHECKPOINT)
_EVIDENCE = (wire.CHECKPOINT, wire.STATUS, wire.VIEW_CHANGE)
_SAID_COUNT_MAX = 20000
# Of what lies further back than this many seqnos, no correct replica can execute or vote.
_CHAIN_LENGTH_MAX = 4096


class Violation(Exception):
    """An oracle found something: its id, what, and how to see it again."""

    def __init__(self, sim, oracle, words):
        self.oracle = oracle
        self.words = words
        self.seed = sim.seed
        self.now_ms = sim.world.now_us / 1000
        self.command = sim.command
        super().__init__(oracle, words)

    def __str__(self):
        return (
            f"{self.oracle} violated at {self.now_ms:.3f} ms, seed {self.seed}: {self.words}\n"
            f"replay: {self.command}"
        )


class Batch:
    """What a slot held when it was executed: digest, and (client, request id) per request."""

    def __init__(self, digest, requests):
        self.digest = digest
        self.requests = requests


class Ran:
    """One executed request as a replica's service saw it."""

    __slots__ = ("client", "op", "reply", "time")

    def __init__(self, client, op, reply, time):
        self.client = client
        self.op = op
        self.reply = reply
        self.time = time


def batch_in_slot(core, seqno):
    """The Batch of a slot, None if it serves another seqno by now."""
    slots = core.slots
    base = slots.find(seqno)
    if base < 0:
        return None
    digest_at = slots.digest_at(base)
    requests = []
    for i in range(slots.request_count(base)):
        entry = slots.entry_at(base, i)
        number = wire.entry_request_id(slots.buf, entry)
        requests.append((wire.entry_client(slots.buf, entry), number))
    return Batch(bytes(slots.buf[digest_at : digest_at + 32]), requests)


class Witness(Service):
    """Stands between replica and service and takes notes; never raises by itself."""

    def __init__(self, service):
        self.name = service.name
        self.state_length = service.state_length
        self.reads_view = service.reads_view
        self.core = None
        self._service = service
        self._noted = []  # [seqno, Batch, [Ran, ...]]
        self._ahead = None  # the same, of what is tentative

    def setup(self, state):
        self._service.setup(state)

    def genesis(self, state):
        self._service.genesis(state)

    def pages_max(self, length, page_length):
        return self._service.pages_max(length, page_length)

    def execute(self, state, op, length, reply, ctx):
        octets = bytes(op[:length])
        try:
            reply_length = self._service.execute(state, op, length, reply, ctx)
        except Exception:
            self._note(ctx, octets, None)
            raise
        fits = type(reply_length) is int and 0 <= reply_length <= len(reply)
        self._note(ctx, octets, bytes(reply[:reply_length]) if fits else None)
        return reply_length

    def _note(self, ctx, op, reply):
        core = self.core
        if core.reads and ctx is core.reads.context:
            return  # clients show whether that was right
        time = (ctx.time_s, ctx.time_ms, ctx.read_only)
        reply = bytes((SERVICE_FAILED,)) if reply is None else reply
        ran = Ran(ctx.client_id, op, reply, time)
        if core.tentative and core.tentative.repeats:
            return  # what comes after it shows whether that was right
        self._look_ahead()
        if core.tentative and core.tentative.ahead == ctx.seqno:
            self._ahead = self._ahead or [ctx.seqno, batch_in_slot(core, ctx.seqno), []]
            self._ahead[2].append(ran)
            return
        if not self._noted or self._noted[-1][0] != ctx.seqno:
            self._noted.append([ctx.seqno, batch_in_slot(core, ctx.seqno), []])
        self._noted[-1][2].append(ran)

    def _look_ahead(self):
        """What was tentative is committed, or undone."""
        ahead = self._ahead
        if ahead and self.core.tentative.ahead != ahead[0]:
            self._ahead = None
            if self.core.progress.last_executed >= ahead[0]:
                self._noted.append(ahead)

    def taken(self):
        """[(seqno, Batch, [Ran, ...]), ...] since the last call."""
        self._look_ahead()
        noted = self._noted
        if noted:
            self._noted = []
        return noted


class _PlainState:
    """What AppState needs of a state, as a bytearray."""

    def __init__(self, length):
        self.octets = bytearray(length)
        self.view = memoryview(self.octets)

    def write(self, offset, buf, start, length):
        self.octets[offset : offset + length] = bytes(buf[start : start + length])


class Reference:
    """The service once more, alone, and the client table as it should be."""

    def __init__(self, config, service):
        self._state = _PlainState(config.STATE_LENGTH)
        self._app = AppState(self._state.view, self._state.write)
        self._service = Guarded(service()) if config.READ_ONLY else service()
        self._service.setup(self._app)
        self._service.genesis(self._app)
        self._op = bytearray(config.MESSAGE_LENGTH_MAX)
        self._reply = bytearray(config.REPLY_LENGTH_MAX)
        self._context = Context()
        self.last_request_id = [0] * config.CLIENT_COUNT

    def execute(self, client, op, seqno, time):
        context = self._context
        context.client_id = client
        context.seqno = seqno
        context.time_s, context.time_ms, context.read_only = time
        self._op[: len(op)] = op
        reply = memoryview(self._reply)
        try:
            length = self._service.execute(self._app, self._op, len(op), reply, context)
            if 0 <= length <= len(reply):
                return bytes(reply[:length])
        except Exception:  # noqa: BLE001 - the library answers for a service that fails
            pass
        return bytes((SERVICE_FAILED,))

    def digest(self):
        return hashlib.sha256(self._state.octets).digest()

    def content(self):
        return bytes(self._state.octets)

    def read(self, octets, client, op, seqno, time):  # noqa: PLR0913 - what an operation needs
        """The reply to a read on a state as `content` gave it."""
        kept = self.content()
        self._state.octets[:] = octets
        reply = self.execute(client, op, seqno, (*(time or (0, 0))[:2], True))
        self._state.octets[:] = kept
        return reply


class _Mark:
    """Where a replica stood when it was last looked at, and what it has heard since its start."""

    def __init__(self, hal):
        self.executed = 0
        self.low = 0
        self.view = 0
        self.resumes = False  # started, and did not yet execute again what it had executed
        self.regions = hal.node.memory.bytes_reserved()
        self.checkpoints = {}  # seqno: {digest: set of senders}
        self.newest = {}  # sender: highest seqno of its CHECKPOINTs
        self.called_stable = {}  # sender: highest seqno that it called stable

    def note_checkpoint(self, sender, seqno, digest):
        self.checkpoints.setdefault(seqno, {}).setdefault(digest, set()).add(sender)
        self.newest[sender] = max(self.newest.get(sender, 0), seqno)
        for old in [s for s in self.checkpoints if s < self.low]:
            del self.checkpoints[old]


class Oracles:
    def __init__(self, sim, service):
        config = sim.config
        self._sim = sim
        self._n = config.REPLICA_COUNT
        self._f = config.FAULT_COUNT
        self._window = config.WINDOW
        self._interval = config.CHECKPOINT_INTERVAL
        self._tags_length = sim.wire_of_group.tag_count(wire.PREPARE, 0) * config.TAG_LENGTH
        self.chain = {}  # seqno: (Batch or None, [Ran, ...])
        self.height = 0
        self.operations = 0  # executed by the group
        self.reference = Reference(config, service)
        self._state_at = {}  # seqno: digest of the reference's state
        self._root_at = {}  # seqno: root digest of the first replica that took the checkpoint
        self._expected = {}  # (client, request id): (reply, seqno)
        self._submitted = {}  # (client, request id): op
        self._marks = {}
        self._heard = {}  # device: _Mark of the boot under way
        self._said = {}
        self._vote_view = {}
        self._prepared = {}  # replica: {seqno: (view, digest) of its last COMMIT}
        self._accepted = {}  # replica: {seqno: {digest: view} of what it proposed or PREPAREd}
        self._held = {}  # device: highest checkpoint that it said it holds
        self.linear = Linear(self.reference, self._fail)
        self._is_early = config.READ_ONLY or config.TENTATIVE
        self._root = bytearray(32)

    def _fail(self, oracle, words):
        raise Violation(self._sim, oracle, words)

    # --- what happens to the group ---

    def submitted(self, handle):
        self._submitted[handle.client, handle.request_id] = handle.op
        if self._sim.is_correct_client(handle.client):
            self.linear.begun((handle.client, handle.request_id))

    def booting(self, hal):
        """A device starts. Without durable memory, nobody holds it to what it said before."""
        if not self._sim.config.DURABLE or hal.number not in self._said:
            self.forget(hal)

    def booted(self, hal, core):
        """Its replica has recovered what it could; nothing has left it yet."""
        if not self._sim.config.DURABLE:
            return
        mark = self._marks.get(hal.number)
        self._look_at_trust(hal, core)
        if not core.durability.trusted_at_boot:
            if hal.number not in self._sim.tampered and hal.number not in self._sim.faulty:
                words = "does not trust its memory, which lost nothing but power"
                self._fail("S8", f"R{hal.number} {words}")
            said = self._said[hal.number]
            self.forget(hal)
            kept = {key: digest for key, digest in said.items() if key[0] in _ABOUT_SEQNOS}
            self._said[hal.number] = kept
        elif mark:
            progress = core.progress
            mark.executed = min(progress.low_mark, progress.last_executed)
            mark.resumes = self._sim.config.STATE_DURABLE

    def forget(self, hal):
        """A device may contradict what it said before."""
        self._marks.pop(hal.number, None)
        self._said[hal.number] = {}
        self._vote_view[hal.number] = 0
        self._prepared[hal.number] = {}
        self._accepted[hal.number] = {}
        self._held[hal.number] = 0

    def cut(self, hal):
        """Power is lost amid a step: what it executed counts, what it kept only then if it is
        there at the next start."""
        noted = hal.witness.taken()
        if hal.number in self._sim.faulty:
            return
        for seqno, batch, ran in noted:
            if seqno > self.height and len(ran) == self._count_new(batch):
                core = hal.node.replica.core
                for null in range(self.height + 1, seqno):
                    self._agree_unseen(hal.number, core, null, seqno)
                self._extend(hal.number, seqno, batch, ran)
            elif seqno in self.chain:  # perhaps not all requests of the batch were executed
                agreed, agreed_ran = self.chain[seqno]
                if batch and agreed:
                    self._compare_digests(hal.number, seqno, batch, agreed)
                for mine, other in zip(ran, agreed_ran, strict=False):
                    self._compare_runs(hal.number, seqno, mine, other)

    def _count_new(self, batch):
        table = self.reference.last_request_id
        return sum(number > table[client] for client, number in batch.requests) if batch else 0

    def escaped(self, hal, error):
        """An exception came out of a step."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.filename.rsplit('/', 2)[-1]}:{where.lineno} {where.name}"
        name = self._sim.name(hal.number)
        violation = Violation(
            self._sim, "S10", f"{type(error).__name__} escaped from {name}: {error} ({place})"
        )
        raise violation from error

    def _mark(self, hal):
        mark = self._marks.get(hal.number)
        if mark is None:
            mark = self._marks[hal.number] = _Mark(hal)
        return mark

    # --- after a step ---

    def stepped(self, hal):
        """The oracles about one replica; cheap when nothing moved."""
        number = hal.number
        if number >= self._n:
            return
        noted = hal.witness.taken()
        if number in self._sim.faulty:
            return
        progress = hal.node.replica.core.progress
        mark = self._mark(hal)
        if progress.view != mark.view:
            self._look_at_view(number, progress.view, mark)
        if mark.resumes and not hal.node.replica._resuming:
            self._look_at_resumption(hal, mark)
        if noted or progress.last_executed != mark.executed:
            self._look_at_execution(hal, mark, noted)
        if number in self._sim.tampered and self._has_rejoined(hal):
            del self._sim.tampered[number]
        if progress.low_mark != mark.low:
            self._look_at_low_mark(hal, mark)
        elif not self._is_in_window(hal.node.replica.core):
            self._fail("S7", f"R{number} executed {progress.last_executed}, low mark {mark.low}")

    def check(self):
        """All of it again, of all correct replicas, whether they moved or not."""
        for i in self._sim.correct_replicas():
            hal = self._sim.device(i)
            self.stepped(hal)
            core = hal.node.replica.core
            mark = self._mark(hal)
            if hal.node.memory.bytes_reserved() != mark.regions:
                self._fail("S9", f"regions of R{i} changed their size")
            self._look_at_checkpoint(i, core, core.progress.low_mark)
            self._look_at_slots(i, core)
            if self._sim.config.DURABLE:
                self._look_at_trust(hal, core)

    def _look_at_slots(self, i, core):
        """Executed batches that slots still hold are those of the chain (S1)."""
        executed = core.progress.last_executed
        for seqno in range(max(1, executed - self._window + 1), executed + 1):
            batch = batch_in_slot(core, seqno)
            known = self.chain.get(seqno)
            if batch and known and known[0] and core.progress.low_mark < seqno:
                self._compare_digests(i, seqno, batch, known[0])

    # S1 to S4

    def _look_at_execution(self, hal, mark, noted):
        number = hal.number
        core = hal.node.replica.core
        executed = core.progress.last_executed
        if executed < mark.executed:
            self._fail("S2", f"R{number} went back from {mark.executed} to {executed}")
        done = {}
        last = mark.executed
        for seqno, batch, ran in noted:
            if seqno in done or not last < seqno <= executed:
                self._fail("S2", f"R{number} executed {seqno} after {last}")
            last = seqno
            done[seqno] = (batch, ran)
        for seqno in range(mark.executed + 1, executed + 1):
            if seqno in done:
                self._agree(number, seqno, *done[seqno])
            else:
                self._agree_unseen(number, core, seqno, executed)
        first = mark.executed // self._interval + 1
        mark.executed = executed
        for i in range(first, executed // self._interval + 1):
            self._look_at_checkpoint(number, core, i * self._interval)
        is_ahead = core.tentative and core.tentative.ahead
        if executed % self._interval == 0 and not core.transfer.running and not is_ahead:
            self._compare_states(number, core, executed)
            if hal.node.memory.bytes_reserved() != mark.regions:
                self._fail("S9", f"regions of R{number} changed their size")

    def _agree_unseen(self, number, core, seqno, executed):
        """A seqno without any execution: a null batch, nothing new in it, or a transfer."""
        if seqno <= self.height:
            return
        batch = batch_in_slot(core, seqno)
        # A slot may serve the next round of the ring by the end of the step that executed it.
        if batch is None and core.slots.find(seqno + self._window) < 0:
            self._fail("S2", f"R{number} is at {executed}, nobody correct executed {seqno}")
        self._agree(number, seqno, batch, [])

    def _agree(self, number, seqno, batch, ran):
        if seqno > self.height:
            self._extend(number, seqno, batch, ran)
            return
        agreed, agreed_ran = self.chain.get(seqno, (None, None))
        if agreed_ran is None:
            self._fail("S2", f"R{number} executed {seqno}, the group is at {self.height}")
        if batch and agreed:
            self._compare_digests(number, seqno, batch, agreed)
        if len(ran) != len(agreed_ran):
            counts = f"{len(ran)} requests, the others {len(agreed_ran)}"
            self._fail("S3", f"R{number} executed in {seqno} {counts}")
        for mine, other in zip(ran, agreed_ran, strict=True):
            self._compare_runs(number, seqno, mine, other)

    def _compare_digests(self, number, seqno, batch, agreed):
        if batch.digest != agreed.digest:
            digests = f"{batch.digest.hex()[:16]}, another one {agreed.digest.hex()[:16]}"
            self._fail("S1", f"R{number} executed {seqno} with batch {digests}")

    def _compare_runs(self, number, seqno, mine, other):
        if (mine.client, mine.op, mine.time) != (other.client, other.op, other.time):
            words = f"a request of {mine.client} ({mine.op[:16].hex()}...) where others ran one"
            self._fail("S1", f"R{number} executed in {seqno} {words} of {other.client}")
        if mine.reply != other.reply:
            replies = f"{mine.reply[:16].hex()} instead of {other.reply[:16].hex()}"
            self._fail("S4", f"R{number} replied in {seqno} to {mine.client}: {replies}")

    def _extend(self, number, seqno, batch, ran):
        """The first correct replica executes `seqno`: run the reference, compare."""
        if seqno != self.height + 1:
            self._fail("S2", f"R{number} executed {seqno}, nobody executed {self.height + 1}")
        table = self.reference.last_request_id
        todo = list(ran)
        for client, request_id in batch.requests if batch else ():
            if request_id <= table[client]:
                continue
            table[client] = request_id
            if not todo or todo[0].client != client:
                words = f"did not execute request {request_id} of {client}, or not in order"
                self._fail("S3", f"R{number} in {seqno} {words}")
            self._run_reference(number, seqno, request_id, todo.pop(0))
        if todo:
            words = f"executed a request of {todo[0].client} twice, or out of its order"
            self._fail("S3", f"R{number} in {seqno} {words}")
        self.chain[seqno] = (batch, ran)
        self.height = seqno
        for table in (self.chain, self._state_at, self._root_at):
            table.pop(seqno - _CHAIN_LENGTH_MAX, None)
        if seqno % self._interval == 0:
            self._state_at[seqno] = self.reference.digest()
        if self._is_early:
            self.linear.extended(seqno, ran)

    def _run_reference(self, number, seqno, request_id, mine):
        client = mine.client
        if self._sim.is_correct_client(client):
            told = self._submitted.pop((client, request_id), None)
            if told != mine.op:
                words = f"request {request_id} that {client} did not submit"
                self._fail("S3", f"R{number} executed in {seqno} {words}: {mine.op[:16].hex()}")
        reply = self.reference.execute(client, mine.op, seqno, mine.time)
        if not self.linear.committed((client, request_id), reply, seqno):
            self._expected[client, request_id] = reply, seqno
        self.operations += 1
        if reply != mine.reply:
            replies = f"{mine.reply[:16].hex()} instead of {reply[:16].hex()}"
            self._fail("S4", f"R{number} replied in {seqno} to {client}: {replies}")

    def answered(self, handle):
        """A client accepted a reply (S4)."""
        if not self._sim.is_correct_client(handle.client):
            return
        key = handle.client, handle.request_id
        expected, seqno = self._expected.pop(key, (None, 0))
        if handle.unordered:
            self.operations += 1
            self.linear.told_at_once(key, handle.op, handle.reply)
            return
        if expected is None and self._sim.config.TENTATIVE:
            self.linear.told_early(key, handle.reply)
            return
        if expected is None:
            words = f"accepted {handle.reply[:16].hex()} that no correct replica computed"
            self._fail("S4", f"client {handle.client}, request {handle.request_id}: {words}")
        if expected != handle.reply:
            replies = f"{handle.reply[:16].hex()} instead of {expected[:16].hex()}"
            self._fail("S4", f"client {handle.client}, request {handle.request_id}: {replies}")
        self.linear.told_ordered(key, seqno)

    # S8

    def _look_at_resumption(self, hal, mark):
        """After a restart: the checkpoints that it said it holds, it holds; or it fetches."""
        mark.resumes = False
        core = hal.node.replica.core
        held, executed = self._held[hal.number], core.progress.last_executed
        if executed < held and not core.transfer.running:
            words = f"R{hal.number} restarted at {executed}, had checkpoint {held}"
            self._fail("S8", words)

    def check_survival(self):
        """All correct replicas that are on have executed what clients accepted. Ask when they
        are level."""
        self.linear.check_survival()
        for i in self._sim.correct_replicas():
            executed = self._sim.executed(i)
            if executed < self.linear.told:
                words = f"R{i} stands at {executed}, a client accepted a reply of"
                self._fail("S8", f"{words} {self.linear.told}")

    def refused(self, hal, error):
        """A node does not start because of what its memory holds."""
        number = hal.number
        if number not in self._sim.tampered and number not in self._sim.faulty:
            self._fail("S8", f"{self._sim.name(number)} does not start: {error}")

    def _look_at_trust(self, hal, core):
        number = hal.number
        if number in self._sim.tampered or number in self._sim.faulty:
            return
        if core.durability.trusted_at_boot and core.faults.counts[faults.ROTTEN]:
            self._fail("S8", f"R{number} finds its memory rotten, which lost nothing but power")

    def _has_rejoined(self, hal):
        """It did not trust its memory, has written it anew, and nobody touched it since."""
        durability = hal.node.replica.core.durability
        is_over = not durability.trusted_at_boot and not durability.abstains
        return is_over and self._sim.tampered[hal.number] < hal.boots

    # S6

    def _look_at_checkpoint(self, number, core, seqno):
        root = self._root
        if not core.state.root_into(seqno, root, 0):
            return
        agreed = self._root_at.setdefault(seqno, bytes(root))
        if agreed != root:
            digests = f"{root.hex()[:16]}, another one {agreed.hex()[:16]}"
            self._fail("S6", f"R{number} has checkpoint {seqno} with digest {digests}")

    def _compare_states(self, number, core, seqno):
        expected = self._state_at.get(seqno)
        content = core.state.content(core.config.STATE_LENGTH)
        if expected and hashlib.sha256(content).digest() != expected:
            self._fail("S6", f"the state of R{number} at {seqno} is not that of the reference")

    # S7

    def _look_at_low_mark(self, hal, mark):
        progress = hal.node.replica.core.progress
        number, low = hal.number, progress.low_mark
        if low < mark.low:
            self._fail("S7", f"the window of R{number} moved back from {mark.low} to {low}")
        if low % self._interval or not self._is_in_window(hal.node.replica.core):
            self._fail("S7", f"R{number}: low mark {low}, executed {progress.last_executed}")
        if not self._is_proven(hal, mark, low):
            self._fail("S7", f"R{number} moved its window to {low} without evidence")
        mark.low = low

    def _is_in_window(self, core):
        """Executed from the low mark on; or the state of the low mark was lost, not the mark."""
        low, executed = core.progress.low_mark, core.progress.last_executed
        has_state = self._sim.config.STATE_DURABLE or not self._sim.config.DURABLE
        return executed <= low + self._window and (low <= executed or not has_state)

    def _look_at_view(self, number, view, mark):
        if view < mark.view:
            self._fail("S5", f"R{number} went back from view {mark.view} to {view}")
        mark.view = view

    def _is_proven(self, hal, mark, low):
        quorum = 2 * self._f + 1
        own = {hal.node_id}
        said = mark.checkpoints.get(low, {})
        for digest, who in said.items():  # 16 bytes of it came with a COMMIT
            if len(who | said.get(digest[:16], set()) | own) >= quorum:
                return True
        if _rank(mark.called_stable, self._f + 1) >= low:
            return True
        return _rank(mark.newest, self._f + 1) >= low + self._window

    def heard(self, hal, message):
        """A message reaches a node: remember what could move its window."""
        if hal.number >= self._n or len(message) < wire.HEADER_LENGTH + 32:
            return
        if message[1] == wire.COMMIT and wire.flags(message) & wire.FLAG_CHECKPOINT:
            self._note_attached(hal, message)
        if message[1] in _EVIDENCE:
            self._note_evidence(self._mark(hal), message[1], message)

    def _note_attached(self, hal, message):
        """Half a digest: it counts for those that begin with it."""
        seqno, half = wire.seqno(message) - 1, bytes(message[48:64])
        mark = self._mark(hal)
        mark.note_checkpoint(wire.sender(message), seqno, half)

    def _note_evidence(self, mark, kind, message):
        sender = wire.sender(message)
        seqno = wire.seqno(message)
        if kind == wire.CHECKPOINT:
            mark.note_checkpoint(sender, seqno, bytes(message[16:48]))
            if not wire.flags(message) & wire.FLAG_STABLE:
                return
        elif kind == wire.VIEW_CHANGE:
            for at in range(20, min(20 + 36 * message[16], len(message) - 35), 36):
                taken = get_u32(message, at)
                mark.note_checkpoint(sender, taken, bytes(message[at + 4 : at + 36]))
        mark.called_stable[sender] = max(mark.called_stable.get(sender, 0), seqno)

    # S5

    def sent(self, hal, message):
        """A message leaves a device: what does its identity commit itself to?"""
        number = hal.number
        if not self._is_statement(number, message):
            self._look_at_reply(number, message)
            return
        kind, view, seqno = message[1], wire.view(message), wire.seqno(message)
        if kind != wire.CHECKPOINT and self._sim.abstains(number):
            self._fail("S5", f"R{number} abstains, but sends {wire.TYPE_NAMES[kind]}")
        if kind == wire.CHECKPOINT:
            key, digest = (kind, seqno), bytes(message[16:48])
            self._held[number] = max(self._held[number], seqno)
        else:
            if view < self._vote_view[number]:
                words = f"{wire.TYPE_NAMES[kind]} in view {view} after {self._vote_view[number]}"
                self._fail("S5", f"R{number} sends {words}")
            self._vote_view[number] = view
            key, digest = self._claim(kind, view, seqno, message)
            self._look_at_claims(number, kind, message)
            self._note_vote(number, kind, view, seqno, digest)
        said = self._said[number]
        if said.setdefault(key, digest) != digest:
            what = f"{wire.TYPE_NAMES[kind]}, view {view}, seqno {seqno}"
            digests = f"{said[key].hex()[:16]} and {digest.hex()[:16]}"
            self._fail("S5", f"R{number} says two things: {what}: {digests}")
        if len(said) > _SAID_COUNT_MAX:
            self._said[number] = dict(list(said.items())[_SAID_COUNT_MAX // 2 :])

    def _look_at_reply(self, number, message):
        """An early reply says what its sender has prepared."""
        is_reply = len(message) >= wire.HEADER_LENGTH and message[1] == wire.REPLY
        if is_reply and number < self._n and number not in self._sim.faulty:
            early = wire.flags(message) & (wire.FLAG_TENTATIVE | wire.FLAG_UNORDERED)
            if early and self._sim.abstains(number):
                self._fail("S5", f"R{number} abstains, but sends an early reply")

    def _note_vote(self, number, kind, view, seqno, digest):
        if kind == wire.COMMIT:
            self._prepared[number][seqno] = view, digest
        elif kind in (wire.PREPARE, wire.PRE_PREPARE):
            self._accepted[number].setdefault(seqno, {})[digest] = view
        for table in (self._prepared[number], self._accepted[number]):
            table.pop(seqno - 2 * self._window, None)

    def _look_at_claims(self, number, kind, message):
        """A NEW-VIEW proposes what it lists; a VIEW-CHANGE names what its sender said."""
        view, low = wire.view(message), wire.seqno(message)
        said = self._said[number]
        if kind == wire.NEW_VIEW:
            at = 50 + 33 * message[16]
            for i in range(message[17]):
                digest = bytes(message[at + 32 * i : at + 32 * i + 32])
                if said.setdefault((wire.PRE_PREPARE, view, low + 1 + i), digest) != digest:
                    self._fail("S5", f"R{number} proposes two batches in {view} for {low + 1 + i}")
        elif kind == wire.VIEW_CHANGE:
            at = 20 + 36 * message[16]
            p = _claims_at(message, at, message[17], low)
            q = _claims_at(message, at + 37 * message[17], message[18], low)
            self._look_at_p(number, view, low, p)
            self._look_at_q(number, view, low, q)

    def _look_at_p(self, number, next_view, low, claims):
        for seqno, (view, digest) in self._prepared[number].items():
            if view < next_view and low < seqno <= low + self._window:
                later = [c for c in claims.get(seqno, ()) if c[0] > view or c == (view, digest)]
                if not later:
                    words = f"said COMMIT for {seqno} in view {view}, its VIEW-CHANGE has no P"
                    self._fail("S5", f"R{number} {words} of it")

    def _look_at_q(self, number, next_view, low, claims):
        """Unless there is no room, or all know by now that another batch was committed."""
        for seqno, accepted in self._accepted[number].items():
            mine = claims.get(seqno, ())
            agreed = self.chain.get(seqno)
            if not low < seqno <= low + self._window or len(mine) >= self._f + 2:
                continue
            for digest, view in accepted.items():
                is_over = agreed and (agreed[0] is None or agreed[0].digest != digest)
                is_old = view < next_view and not is_over
                if is_old and not any(c[0] >= view and c[1] == digest for c in mine):
                    words = f"accepted a batch for {seqno} in view {view}, its VIEW-CHANGE"
                    self._fail("S5", f"R{number} {words} has no Q of it")

    def _is_statement(self, number, message):
        """Does a correct replica say something here that it must not contradict?"""
        if number >= self._n or number in self._sim.faulty or len(message) < wire.HEADER_LENGTH:
            return False
        kind = message[1]
        if wire.sender(message) != number or kind not in (*_VOTES, wire.CHECKPOINT):
            return False  # relayed for somebody else, or no vote
        # A backup's PRE-PREPARE is a batch that somebody lacks; it says nothing in its own name.
        return kind != wire.PRE_PREPARE or wire.view(message) % self._n == number

    def _claim(self, kind, view, seqno, message):
        """(what it is about, digest of what it says)."""
        if kind == wire.PREPARE or kind == wire.COMMIT:
            return (kind, view, seqno), bytes(message[16:48])
        if kind == wire.PRE_PREPARE:
            return (kind, view, seqno), canonical_digest(message, self._sim.wire_of_group)
        if kind == wire.VIEW_CHANGE_ACK:
            return (kind, view, message[16]), bytes(message[17:49])
        # The whole VIEW-CHANGE or NEW-VIEW of a view, its seqno included.
        body = message[12 : len(message) - self._tags_length]
        return (kind, view), hashlib.sha256(body).digest()


def _rank(table, position):
    """The position-th largest value, 0 if there are fewer."""
    values = sorted(table.values(), reverse=True)
    return values[position - 1] if 0 < position <= len(values) else 0


def _claims_at(message, at, count, low):
    """{seqno: [(view, digest), ...]} of P or Q in a VIEW-CHANGE."""
    claims = {}
    for start in range(at, at + 37 * count, 37):
        claim = get_u32(message, start + 1), bytes(message[start + 5 : start + 37])
        claims.setdefault(low + message[start], []).append(claim)
    return claims


def canonical_digest(message, checked_wire):
    """Batch digest of a well-formed PRE-PREPARE, whether requests are inline or not."""
    at = wire.HEADER_LENGTH
    canonical = bytearray(message[at : at + wire.BATCH_HEADER_LENGTH])
    at += wire.BATCH_HEADER_LENGTH
    for _ in range(canonical[6]):
        if message[at] == wire.BY_DIGEST:
            canonical += message[at + 1 : at + 1 + wire.ENTRY_LENGTH]
            at += 1 + wire.ENTRY_LENGTH
            continue
        start = at + 1
        length = get_u16(message, start + 6)
        entry = bytearray(wire.ENTRY_LENGTH)
        number = get_u32(message, start + 12)
        wire.put_entry(entry, 0, wire.request_sender(message, start), length, number)
        end = start + checked_wire.body_end(message, start)
        entry[wire.ENTRY_DIGEST :] = hashlib.sha256(message[start:end]).digest()
        canonical += entry
        at = start + length
    return hashlib.sha256(canonical).digest()
