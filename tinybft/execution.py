"""Ordered execution and the client table.

Committed batches are executed strictly in the order of their seqnos; the reply of every request
goes to its client. What the library itself must replicate lies behind the application's state
and is covered by the same checkpoint digest (offsets from STATE_LENGTH):

    0   execution record, 16 bytes: agreed time_s u32, time_ms u16, zero u16,
        operations executed u32, zero u32
    16  client table, 40 bytes per client: last executed request_id u32, result length u16,
        zero u16, then the result if it has at most 32 bytes, else its SHA-256

An operation that changes more pages of the state than the service declares for it fails like one
that raises: the write beyond the declaration is refused, on all replicas the same one.

Execution looks at the client table again: a faulty primary may put one request into two
batches. It reads this part of the state for every REQUEST that comes in: where the state is not
in RAM a copy of this part is.

Allocates nothing outside hashing (and what the service allocates).
"""

from tinybft import faults, wire
from tinybft.compat import const, micropython
from tinybft.octets import copy, fill, get_u16, get_u32, put_u16, put_u32
from tinybft.service import AppState, Context

_RECORD_LENGTH = const(16)
_TABLE_ENTRY_LENGTH = const(40)
# As in wire.py, slots.py, requests.py: a constant is inlined only in the module that defines it.
_COMMITTED = const(8)
_HEADER_LENGTH = const(16)
_READ_ONLY = const(1)
_RESULT_INLINE_MAX = const(32)

# First byte of a reply that the library writes in place of a service that failed.
SERVICE_FAILED = const(255)


class Execution:
    """Runs what is committed. `operations` counts executed requests since the group began."""

    def __init__(self, core, service):
        config = core.config
        self.core = core
        self.state = core.state
        self._system_at = config.STATE_LENGTH
        self._system_length = config.SYSTEM_LENGTH
        self._is_copied = core.state.raw is None
        # The library's part for reading: the state's own bytes, or the copy of them.
        self._raw = core.memory.state["system"] if self._is_copied else core.state.raw
        self._record = 0 if self._is_copied else config.STATE_LENGTH
        self._table = self._record + _RECORD_LENGTH
        self._interval = config.CHECKPOINT_INTERVAL
        self._reply_length_max = config.REPLY_LENGTH_MAX
        self._entry = bytearray(_TABLE_ENTRY_LENGTH)
        self._record_copy = bytearray(_RECORD_LENGTH)
        # The operation is copied here: a service sees it at offset 0, whatever slot it is in.
        self.operation = core.memory.received
        self._context = Context()
        self._is_ahead = False  # see tentative.py
        self._header = bytearray(wire.HEADER_LENGTH)
        self._service = service
        self._app_state = self._part_of_application()
        self._page_length = config.PAGE_LENGTH
        self._is_bounded = config.BATCH_PAGES_MAX < config.STATE_PAGE_COUNT
        if self._is_bounded:
            self._require_declaration(config)
        service.setup(self._app_state)
        service.genesis(self._app_state)

    def _part_of_application(self):
        """What the service gets of the state. ValueError: it needs `view`, which RAM has."""
        state = self.core.state
        service = self._service
        if state.view is not None:
            return AppState(state.view, state.write)
        if service.reads_view:
            raise ValueError(
                'service "'
                + service.name
                + '" reads state.view, which [storage] state = "nvm" does not have: choose'
                + ' "mirror" or "ram", or let it use state.read, get_u16, ... and say'
                + " reads_view = False"
            )
        from tinybft.service_stored import StoredAppState

        return StoredAppState(state.read, state.app_length, state.write)

    # --- the budget of pages ---

    def _require_declaration(self, config):
        most = self._service.pages_max(config.REQUEST_LENGTH_MAX, self._page_length)
        if most > config.BATCH_PAGES_MAX:
            raise ValueError(
                'service "%s" may change %d pages of the state with one operation, more than'
                " [state] batch_pages_max = %d allows a batch: raise that, or lower"
                " request_length_max, or let the service override pages_max"
                % (self._service.name, most, config.BATCH_PAGES_MAX)
            )

    @micropython.native
    def pages_max(self, client, length):
        """Pages of the state that a REQUEST message of that length may change."""
        if not self._is_bounded:
            return 0
        operation_length = self.core.wire.operation_length(client, length)
        return self._service.pages_max(operation_length, self._page_length)

    # --- client table ---

    @micropython.viper
    def last_request_id(self, client: int) -> uint:
        return uint(get_u32(self._raw, int(self._table) + client * _TABLE_ENTRY_LENGTH))

    @micropython.viper
    def known_request_id(self, client: int) -> uint:
        """The same, and 0 while the state is a mixture: nothing is known to be executed then."""
        if self.core.transfer.running:
            return uint(0)
        return uint(get_u32(self._raw, int(self._table) + client * _TABLE_ENTRY_LENGTH))

    @micropython.native
    def table_result_length(self, client):
        return get_u16(self._raw, self._table + client * _TABLE_ENTRY_LENGTH + 4)

    @micropython.native
    def table_result_into(self, client, buf, at, length):
        start = self._table + client * _TABLE_ENTRY_LENGTH + 8
        copy(buf, at, self._raw, start, length)

    @micropython.native
    def operations(self):
        return get_u32(self._raw, self._record + 8)

    def load_clock(self):
        """Continue from the agreed time in the state (at boot, after a state transfer)."""
        raw = self._raw
        if self._is_copied:
            self.state.read(self._system_at, raw, 0, self._system_length)
        self.core.clock.agree(get_u32(raw, self._record), get_u16(raw, self._record + 4))

    def on_installed(self, seqno):
        """The state is checkpoint `seqno` now: go on from there."""
        core = self.core
        core.progress.last_executed = seqno
        core.checkpoints.adopt(seqno)
        self.load_clock()
        core.timers.restart()
        for client in range(core.config.CLIENT_COUNT):
            number = self.last_request_id(client)
            is_owed = self._is_owed(client, number)
            core.requests.on_executed(client, number)
            if is_owed:
                core.replies.repeat(client, number)
        core.requests.propose_again()
        core.agreement.on_executed()

    def _is_owed(self, client, number):
        """After a state transfer: may the client still wait for this replica's reply?"""
        return self.core.requests.is_pending(client, number)

    # --- running batches ---

    @micropython.viper
    def run(self) -> bool:
        """Execute every batch whose turn has come. True if there was one."""
        core = self.core
        slots = core.slots
        progress = core.progress
        ran = False
        going = True
        while going:
            number = uint(progress.last_executed) + 1
            base = int(slots.find(number))
            # During a transfer the state is a mixture. One may begin in the midst of this loop:
            # the checkpoint that is taken may turn out to contradict a quorum.
            going = base >= 0 and bool(slots.has(base, _COMMITTED))
            if going and (core.transfer.running or not progress.in_window(number)):
                going = False
            if going:
                self._execute_batch(base)
                progress.last_executed = number
                self._consider_checkpoint(progress.last_executed)
                core.agreement.on_executed()
                ran = True
        return ran

    @micropython.native
    def _consider_checkpoint(self, number):
        if number % self._interval == 0:
            self.core.checkpoints.take(number)

    @micropython.viper
    def _execute_batch(self, base: int):
        core = self.core
        slots = core.slots
        buf = slots.buf
        batch = int(slots.batch_at(base))
        count = int(wire.batch_count(buf, batch))
        if count == 0:
            return  # the null request of a view change: advances the seqno, nothing else
        time_s = wire.batch_time_s(buf, batch)
        time_ms = int(wire.batch_time_ms(buf, batch))
        if self._is_before_record(time_s, time_ms):
            # Backups compared it with the time agreed then, not with batches in between.
            time_s = get_u32(self._raw, self._record)
            time_ms = int(get_u16(self._raw, int(self._record) + 4))
        core.clock.agree(time_s, time_ms)
        context = self._context
        context.seqno = slots.seqno(base)
        context.time_s = time_s
        context.time_ms = time_ms
        executed = 0
        i = 0
        while i < count:
            entry = int(slots.entry_at(base, i))
            client = int(wire.entry_client(buf, entry))
            number = wire.entry_request_id(buf, entry)
            if uint(number) > uint(self.last_request_id(client)):
                self._execute(client, number, slots.bodies, slots.body_at(base, i))
                executed += 1
            i += 1
        self._write_record(time_s, time_ms, executed)

    @micropython.viper
    def _is_before_record(self, time_s: uint, time_ms: int) -> bool:
        record_s = uint(get_u32(self._raw, self._record))
        if time_s != record_s:
            return time_s < record_s
        return time_ms < int(get_u16(self._raw, int(self._record) + 4))

    @micropython.viper
    def _execute(self, client: int, number, bodies, at: int):
        core = self.core
        header = self._header
        bodies.get(at, header, 0, _HEADER_LENGTH)
        length = int(core.auth.end_of(header, client, 0)) - _HEADER_LENGTH
        bodies.get(at + _HEADER_LENGTH, self.operation, 0, length)
        context = self._context
        context.client_id = client
        context.read_only = ptr8(header)[0] & _READ_ONLY != 0
        replies = core.replies
        result = replies.result
        result_length = int(self.call_service(length, result, context))
        self._write_table(client, number, result, result_length)
        if not self._is_ahead:
            core.requests.on_executed(client, number)
            core.timers.on_executed(client)
        replies.answer(client, number, result_length)

    @micropython.native
    def call_service(self, length, result, context):
        """Run the service; one that fails gives the same error reply on every replica."""
        service = self._service
        if self._is_bounded:
            self.state.allow(service.pages_max(length, self._page_length))
        try:
            reply_length = service.execute(
                self._app_state, self.operation, length, result, context
            )
            if 0 <= reply_length <= self._reply_length_max:
                return reply_length
        except Exception:  # noqa: BLE001 - whatever the application raises must stop here
            pass
        finally:
            self.state.allow(-1)  # what the library writes has places of its own
        self.core.faults.count(faults.SERVICE)
        result[0] = SERVICE_FAILED
        return 1

    @micropython.viper
    def _write_table(self, client: int, number, result, result_length: int):
        entry = self._entry
        put_u32(entry, 0, number)
        put_u16(entry, 4, result_length)
        if result_length <= _RESULT_INLINE_MAX:
            fill(entry, 8, _RESULT_INLINE_MAX, 0)
            copy(entry, 8, result, 0, result_length)
        else:
            self.core.auth.digest_into(result, 0, result_length, entry, 8)
        at = _RECORD_LENGTH + client * _TABLE_ENTRY_LENGTH
        self._write_system(at, entry, _TABLE_ENTRY_LENGTH)

    @micropython.viper
    def _write_record(self, time_s, time_ms, executed: int):
        record = self._record_copy
        put_u32(record, 0, time_s)
        put_u16(record, 4, time_ms)
        put_u32(record, 8, uint(self.operations()) + uint(executed))
        self._write_system(0, record, _RECORD_LENGTH)

    @micropython.viper
    def _write_system(self, at: int, buf, length: int):
        """buf[:length] to the library's part of the state."""
        self.state.write(int(self._system_at) + at, buf, 0, length)
        if self._is_copied:
            copy(self._raw, at, buf, 0, length)
