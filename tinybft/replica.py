"""One replica: entry points and dispatch. The rules are in the parts it joins.

    receive(buf, length, now)    one message from the radio
    tick(now)                    time passes
    on_own_request(buf)          a REQUEST of this node's own client

The same calls in the same order give the same bytes out. Path of a message: structure
(wire.check) -> is it of use -> tag -> the part that handles it -> what became possible by it is
executed, checkpointed, proposed. A message that fails is counted (faults.py) and leaves no trace.

    requests, replies   what clients want, and got        execution   runs batches in order
    agreement, batches  pre-prepare, prepare, commit      checkpoints stability, the window
    bodies              requests that batches name        transfer    catching up by state
    status              repair of what was lost           timers      when to lose patience
    view_change, claims leaving a view                    new_view    beginning one
    handover            batches from view to view        durability  what survives a power cut
    scrub               memory that rots            reads, tentative  options (config.toml)
"""

from tinybft import faults, wire
from tinybft.agreement import Agreement
from tinybft.batches import Batches
from tinybft.bodies import Bodies
from tinybft.checkpoint import Checkpoints
from tinybft.claims import Claims
from tinybft.clock import GroupClock
from tinybft.compat import const, micropython
from tinybft.execution import Execution
from tinybft.faults import Faults
from tinybft.handover import Handover
from tinybft.newview import NewView
from tinybft.post import Post
from tinybft.progress import Progress
from tinybft.quorum import Quorum
from tinybft.requests import Replies, Requests
from tinybft.scrub import Scrub
from tinybft.slots import Slots
from tinybft.state import State
from tinybft.status import Status
from tinybft.storage import Storage
from tinybft.structure import Wire
from tinybft.timers import Timers
from tinybft.transfer import Transfer
from tinybft.viewchange import ViewChange
from tinybft.volatile import Volatile

# As in wire.py and faults.py: a constant is inlined only in the module that defines it.
_REQUEST = const(1)
_NEW_VIEW = const(9)
_SENDER = const(5)
_MAC = const(7)


class Core:
    """What the parts of one replica share; each part gets it and keeps what it needs."""

    def __init__(  # noqa: PLR0913 - what a replica is made of
        self, config, replica_id, memory, auth, send, jitter, store=None
    ):
        self.config = config
        self.store = store
        self.memory = memory
        self.storage = Storage(config, memory, store)
        self.auth = auth
        self.random = jitter
        self.wire = Wire(config)
        self.faults = Faults()
        self.bad_tags = [0] * config.CLIENT_COUNT  # per node in whose name the message came
        self.quorum = Quorum(config)
        self.progress = Progress(config, replica_id)
        self.clock = GroupClock(config)
        self.post = Post(config, replica_id, memory, auth, send)
        self.slots = Slots(config, memory, self.storage.bodies)
        blocks, pool = self.storage.blocks, self.storage.pool
        self.state = State(config, memory.state, auth.digest_into, blocks, pool)
        self.client = None
        self.null_digest = bytearray(wire.DIGEST_LENGTH)

    def make_parts(self, service):
        self.durability = self._durability()
        if self.storage.blocks:
            self.storage.blocks.clear(self.state.length)
        self.status = Status(self)
        self.timers = Timers(self)
        self.requests = Requests(self)
        self.reads = self.tentative = None
        self.batches = Batches(self)
        self.bodies = Bodies(self)
        self.agreement = Agreement(self)
        self.handover = Handover(self)
        self.checkpoints = Checkpoints(self)
        self.transfer = Transfer(self)
        self.claims = Claims(self)
        self.view_change = ViewChange(self)
        self.new_view = NewView(self)
        self.scrub = self._scrub()
        self._join_execution(service)
        self.turns = self._turns()
        self.state.take_checkpoint(0)
        self.durability.recover()

    def _durability(self):
        """Imported where it is needed: its modules take memory."""
        if not self.config.DURABLE:
            return Volatile()
        from tinybft.durability import Durability
        from tinybft.recovery import Recovery

        durability = Durability(self, self.store, Recovery(self, self.store))
        durability.identity.read()  # another one's memory is refused untouched
        return durability

    def _turns(self):
        if not self.config.STAGGER_MS:
            return None
        from tinybft.turns import Turns

        return Turns(self)

    def _scrub(self):
        if not self.config.DURABLE:
            return Scrub(self)
        from tinybft.scrub_records import RecordScrub

        return RecordScrub(self)

    def _join_execution(self, service):
        if self.config.READ_ONLY:
            from tinybft.reads import Guarded, Reads

            self.reads = Reads(self)
            service = Guarded(service)
        if self.config.TENTATIVE:
            from tinybft.tentative import TentativeExecution, TentativeReplies

            self.replies = TentativeReplies(self)
            self.execution = self.tentative = TentativeExecution(self, service)
        else:
            self.replies = Replies(self)
            self.execution = Execution(self, service)

    def deliver_reply(self, buf, length):
        """The reply to this node's own client needs no radio."""
        if self.client:
            self.client.on_own_result(buf, length, self.progress.now, not self.durability.abstains)


class Replica:
    def __init__(  # noqa: PLR0913 - what a replica is made of
        self, config, replica_id, memory, auth, send, service, jitter, store=None
    ):
        core = Core(config, replica_id, memory, auth, send, jitter, store)
        core.make_parts(service)
        self.core = core
        self.progress = core.progress
        self._settling = False
        self._is_durable = config.DURABLE
        self._resuming = config.DURABLE
        self._stagger_ms = config.STAGGER_MS
        self._executed = 0  # where the progress stood when it was last reported to `status`
        self._low_mark = 0
        self._inline_max = config.INLINE_LENGTH_MAX
        self._count = core.faults.count
        self._counts = core.faults.counts
        dispatch = [self._unexpected] * (wire.TYPE_MAX + 1)
        self._holds_reads = config.READ_ONLY
        self._on_request = core.requests.on_request
        if self._holds_reads:
            self._on_request = core.reads.on_request
        dispatch[wire.PRE_PREPARE] = core.agreement.on_pre_prepare
        dispatch[wire.PREPARE] = dispatch[wire.COMMIT] = core.agreement.on_vote
        dispatch[wire.REPLY] = self._on_reply
        dispatch[wire.CHECKPOINT] = core.checkpoints.on_checkpoint
        dispatch[wire.VIEW_CHANGE] = core.view_change.on_view_change
        dispatch[wire.VIEW_CHANGE_ACK] = core.view_change.on_ack
        dispatch[wire.NEW_VIEW] = core.new_view.on_new_view
        dispatch[wire.STATUS] = self._on_status
        dispatch[wire.FETCH] = core.transfer.on_fetch
        dispatch[wire.META_DATA] = core.transfer.on_meta_data
        dispatch[wire.DATA] = core.transfer.on_data
        # For `receive`: to unpack a tuple costs less than to look up one attribute.
        self._taking = (core.wire.check, replica_id, tuple(dispatch), core.status.heard_at)

    def start(self, now):
        self.progress.now = now
        self.core.clock.start(now)
        self.core.status.start(now)

    @micropython.viper
    def receive(self, buf, received: int, now):  # noqa: C901, PLR0912, PLR0915
        """Handle one message, if `received` is not 0, and the timers that are due: one function,
        for every message comes with a look at the time, and attributes are looked up once.

        Remote bytes never raise: what is wrong is counted.
        """
        core = self.core
        progress = core.progress
        progress.now = now
        if bool(self._is_durable) and self._resuming:
            self._resume()
        if received:
            if int(self._stagger_ms):
                progress.heard = now
            check, own_id, dispatch, heard_at = self._taking
            fault = int(check(buf, received))
            if not fault:
                octets = ptr8(buf)
                kind = octets[1]
                sender = octets[2] | octets[3] << 8
                if kind == _REQUEST:
                    fault = int(self._on_request(buf, False))
                elif sender == int(own_id) and kind != _NEW_VIEW:
                    fault = _SENDER  # what a peer hands back: a request; a view that I began
                else:
                    fault = int(dispatch[kind](buf))
                    if fault <= 0:
                        heard_at[sender] = now
            if fault > 0:
                counts = self._counts
                counts[fault] = int(counts[fault]) + 1
                if fault == _MAC:
                    self._blame(buf)
            elif fault == 0:  # not UNCHANGED
                self._settle()
        timers = core.timers
        status = core.status
        expired = False
        # Almost every step ends here: no call before a look at the time is due.
        passed = int(now) - int(timers.checked_at) & 0x3FFFFFFF
        if passed >= int(timers.period_ms) or not progress.active:
            expired = bool(core.view_change.tick(now))
            core.scrub.tick(now)
        if int(now) - int(status.since) & 0x3FFFFFFF >= int(status.delay):
            status.ask(now)
            expired = True
        if int(self._stagger_ms) and core.turns.tick(now):
            expired = True
        if expired:
            self._settle()

    def tick(self, now):
        """Time passes."""
        self.receive(None, 0, now)

    @micropython.native
    def _blame(self, buf):
        self.core.bad_tags[wire.sender(buf)] += 1

    def _resume(self):
        """The first step after boot, before anything new is taken in."""
        self._resuming = False
        self.core.durability.resume()
        self._settle()

    @micropython.native
    def on_own_request(self, buf):
        if self._is_durable and self._resuming:
            self._resume()
        fault = self._on_request(buf, True)
        if fault:
            self._count(fault)
        self._settle()

    @micropython.native
    def release_own_request(self):
        """Before the own client writes its next REQUEST: the last one has its answer."""
        self.core.requests.release_own()

    @micropython.native
    def will_inline(self, length):
        """True if a REQUEST of this length goes out inside this replica's next pre-prepare."""
        return length <= self._inline_max and self.core.agreement.may_propose()

    @micropython.viper
    def remaining_ms(self, now) -> int:
        """Milliseconds until a timer of this replica is due."""
        if bool(self._is_durable) and self._resuming:
            return 0
        core = self.core
        status = core.status
        remaining = int(status.delay) - (int(now) - int(status.since) & 0x3FFFFFFF)
        if remaining < 0:
            return 0
        if remaining > int(core.timers.period_ms):
            until_expired = int(core.timers.remaining_ms(now))
            remaining = until_expired if until_expired < remaining else remaining
        if int(self._stagger_ms):
            remaining = int(core.turns.remaining_ms(now, remaining))
        return remaining

    @micropython.viper
    def _settle(self):
        """Do everything that has become possible.

        An own client that submits from its `on_done` comes back here in the middle of it;
        then the loop that is under way goes on with what was added.
        """
        if self._settling:
            return
        self._settling = True
        core = self.core
        progress = core.progress
        going = True
        while going:
            going = bool(core.execution.run())
            if not going and core.requests.waiting:
                going = bool(core.agreement.propose())
            if not going and bool(self._holds_reads):
                going = bool(core.reads.run())
        executed = uint(progress.last_executed)
        low_mark = uint(progress.low_mark)
        is_higher = low_mark != uint(self._low_mark)
        if is_higher or executed != uint(self._executed):
            self._executed = executed
            if is_higher:
                self._low_mark = low_mark
                core.new_view.apply()
            core.status.on_progress()
        self._settling = False

    def _on_reply(self, buf):
        client = self.core.client
        if client is None:
            return faults.NOT_NEEDED
        return client.on_reply(buf, self.progress.now)

    def _on_status(self, buf):
        core = self.core
        sender = wire.sender(buf)
        if not core.status.may_answer(sender):
            return faults.RATE_LIMITED
        if not core.auth.check(buf, sender):
            return faults.MAC
        core.status.on_status(buf)
        return 0

    def _unexpected(self, _buf):
        return faults.TYPE
