"""Requests that wait for execution, one per client, and the last reply to each client.

PBFT, TOCS 4.1: a client has one outstanding request. What a REQUEST meets here:

    older than the last executed one    dropped
    the last executed one               its reply is sent again (rate-limited)
    newer                               kept until it is executed; the primary proposes it
    named by a slot that misses it      stored there: the digest proves it, whoever sent it

A kept request is authentic: its own tag was good. Requests and replies themselves lie in bulk
fields. In RAM the places of the own id belong to the own client (client.py): it writes its
REQUEST where it is to wait, and the result where others' replies are kept; so none is kept of
its own. Layout: `memory.pending_fields`, `memory.replied_fields`. Allocates nothing outside
hashing.
"""

from tinybft import faults, wire
from tinybft.clock import elapsed
from tinybft.compat import const, micropython
from tinybft.memory import offsets, pending_fields, replied_fields
from tinybft.octets import copy, equal, get_u16, get_u32, put_u16, put_u32
from tinybft.slots import ACCEPTED, PRE_PREPARED, PREPARED

NONE = const(0)
WAITING = const(1)
PROPOSED = const(2)

RESULT_INLINE_MAX = const(32)  # a result up to this long is never replaced by its digest

_LENGTH = const(2)  # behind the phase
_ID = const(4)
_RESULT_LENGTH = const(4)  # behind the id
_REPLIED_LENGTH = const(8)
# As in wire.py and faults.py: a constant is inlined only in the module that defines it.
_REPLY = const(5)
_HEADER_LENGTH = const(16)
_SEQNO_AT = const(12)
_MAC = const(7)
_NOT_NEEDED = const(18)
_OLD_REQUEST = const(19)


class Requests:
    """Pending requests: `open` of them, of which `waiting` are not yet proposed."""

    def __init__(self, core):
        config = core.config
        table = offsets(pending_fields(config))
        self.core = core
        self.buf = core.memory.pending
        self.bulk = core.storage.requests
        self.open = 0
        self.waiting = 0
        self._own_id = core.progress.replica_id
        self._client_count = config.CLIENT_COUNT
        self._size = table["size"]
        self._digest = table["request_digest"]
        assert table["request_id"] == _ID

    @micropython.viper
    def phase(self, client: int) -> int:
        return ptr8(self.buf)[client * int(self._size)]

    @micropython.viper
    def set_phase(self, client: int, phase: int):
        buf = ptr8(self.buf)
        at = client * int(self._size)
        before = buf[at]
        buf[at] = phase
        if phase == before:
            return
        if phase == NONE:
            self.open = int(self.open) - 1
        elif before == NONE:
            self.open = int(self.open) + 1
        if phase == WAITING:
            self.waiting = int(self.waiting) + 1
        elif before == WAITING:
            self.waiting = int(self.waiting) - 1

    @micropython.viper
    def request_at(self, client: int) -> int:
        """Where in `bulk` the request is."""
        return client * int(self.bulk.stride)

    @micropython.viper
    def request_id(self, client: int) -> uint:
        return uint(get_u32(self.buf, client * int(self._size) + _ID))

    @micropython.viper
    def request_length(self, client: int) -> int:
        return int(get_u16(self.buf, client * int(self._size) + _LENGTH))

    @micropython.viper
    def digest_at(self, client: int) -> int:
        return client * int(self._size) + int(self._digest)

    @micropython.viper
    def on_request(self, buf, local) -> int:
        """Take a checked REQUEST. `local`: from this node's own client, no tag to verify."""
        core = self.core
        octets = ptr8(buf)
        client = octets[2] | octets[3] << 8
        number = uint(wire.seqno(buf))
        executed = uint(core.execution.known_request_id(client))
        wanted = bool(core.bodies.wants_body_of(client, number))
        is_own = client == int(self._own_id)
        if not wanted and number <= executed:
            if number < executed or (is_own and not local):
                return _OLD_REQUEST
            return int(core.replies.on_repeated(buf, client, local))
        newest = executed
        if self.phase(client):
            newest = uint(self.request_id(client))
        if not wanted and number <= newest:
            return _NOT_NEEDED
        auth = core.auth
        auth.digest_at(buf, client, 0)
        authentic = bool(local) or bool(auth.check_digested(buf, client, 0))
        # A body that a slot waits for is believed by its digest, and trusted by its tag: by
        # this one, not only as the pending request, of which a faulty client may send several.
        # The own request that a peer relays back has no tag for this node: by digest only.
        used = False
        if wanted:
            used = bool(core.bodies.on_body(buf, client, number, auth.digest, authentic))
        if authentic and number > newest and number > executed:
            if used:  # it may have let this replica begin its view: other digests were taken
                auth.digest_at(buf, client, 0)
            if newest > executed:
                core.status.on_evidence()  # its client has the reply to the one before
            self._keep(buf, client)
            return 0
        if used:
            return 0
        return _NOT_NEEDED if authentic or is_own else _MAC

    @micropython.viper
    def _keep(self, buf, client: int):
        """Requires: `buf` is authentic, and `auth.digest` is its digest."""
        core = self.core
        octets = ptr8(buf)
        length = octets[6] | octets[7] << 8
        at = client * int(self._size)
        own = ptr8(self.buf)
        own[at + _LENGTH] = octets[6]
        own[at + _LENGTH + 1] = octets[7]
        copy(self.buf, at + _ID, buf, _SEQNO_AT, 4)
        copy(self.buf, at + int(self._digest), core.auth.digest, 0, 32)
        if client != int(self._own_id) or not self._is_in_place(buf):
            self.bulk.put(self.request_at(client), buf, 0, length)
        self.set_phase(client, WAITING)
        core.timers.on_waiting(client)
        core.bodies.on_authentic(client)

    def _is_in_place(self, buf):
        """True of the request that this node's own client makes: it lies there already."""
        client = self.core.client
        return self.bulk.in_ram and client is not None and buf is client.request

    @micropython.native
    def release_own(self):
        """The own request is pending no more: its place is about to hold another one."""
        self.set_phase(self._own_id, NONE)

    @micropython.viper
    def holds(self, client: int, digest, digest_at: int) -> bool:
        """True if the pending request of `client` has this digest."""
        if not self.phase(client):
            return False
        return bool(equal(self.buf, self.digest_at(client), digest, digest_at, 32))

    @micropython.viper
    def holds_same(self, client: int, buf, at: int, length: int) -> bool:
        """True if the pending request of `client` is, tags and all, buf[at:at + length]: to
        compare takes an eighth of the time of its digest. False too if it is not in RAM."""
        bulk = self.bulk
        if not self.phase(client) or not bulk.in_ram:
            return False
        if length != int(self.request_length(client)):
            return False
        return bool(equal(bulk.octets, self.request_at(client), buf, at, length))

    @micropython.native
    def is_pending(self, client, number):
        return self.phase(client) != NONE and self.request_id(client) == number

    @micropython.viper
    def on_executed(self, client: int, number: uint):
        """Request `number` of `client` was executed: what waits with it or before it is done."""
        if self.phase(client) and uint(self.request_id(client)) <= number:
            self.set_phase(client, NONE)

    def give_up_doubtful(self):
        """The view is being left: forget requests whose tags may be good for one replica alone.

        A backup forgets what waits of a client if a batch named a request of that client which
        nobody vouched for; the primary what it proposed in vain. A correct client retries. A
        faulty one could else stop every primary in turn, with one request for each, for ever.
        """
        slots = self.core.slots
        progress = self.core.progress
        for seqno in range(progress.last_executed + 1, progress.high_mark() + 1):
            base = slots.find(seqno)
            if base < 0 or not slots.has(base, PRE_PREPARED) or slots.has(base, PREPARED):
                continue
            if progress.is_primary():
                self._forget(base, -1)
            elif not slots.has(base, ACCEPTED):
                self._forget(base, slots.doubts(base))

    def _forget(self, base, mask):
        """The pending requests of the clients that the batch names at `mask`, but the own one."""
        slots = self.core.slots
        for i in range(slots.request_count(base)):
            client = wire.entry_client(slots.buf, slots.entry_at(base, i))
            if mask >> i & 1 and client != self._own_id:
                self.set_phase(client, NONE)

    def propose_again(self):
        """A new view, or a state that was fetched: what no open batch names waits for one."""
        for client in range(self._client_count):
            if self.phase(client) == PROPOSED:
                self.set_phase(client, WAITING)
        core = self.core
        for seqno in range(core.progress.last_executed + 1, core.agreement.last_seen + 1):
            base = core.slots.find(seqno)
            if base >= 0 and core.slots.has(base, ACCEPTED):
                core.batches.mark_proposed(base)

    def relay(self, round_number):
        """Send the primary the requests it has not proposed: it may have missed them.

        The backups take turns, by client and round.
        """
        core = self.core
        post = core.post
        progress = core.progress
        for client in range(self._client_count):
            turn = (client + round_number) % progress.replica_count == progress.replica_id
            if turn and client != progress.primary() and self.phase(client) == WAITING:
                length = self.request_length(client)
                self.bulk.get(self.request_at(client), post.buf, 0, length)
                post.relay(progress.primary(), post.buf, length)


class Replies:
    """The last reply to every client, ready to be sent again.

    A service writes its result straight into the message that is built (`post`): `result` is
    that part of it. `answer` keeps the message, then sends it.
    """

    def __init__(self, core):
        config = core.config
        self.core = core
        self.result = memoryview(core.post.buf)[wire.HEADER_LENGTH :][: config.REPLY_LENGTH_MAX]
        self._buf = core.memory.replied
        self._bulk = core.storage.replies
        self._replica_count = config.REPLICA_COUNT
        self._interval_ms = config.REPAIR_MS
        self.flags = 0  # of the replies that are built; see tentative.py
        self._sent_at = [0] * config.CLIENT_COUNT
        assert offsets(replied_fields(config))["size"] == _REPLIED_LENGTH

    @micropython.native
    def holds(self, client, number):
        """True if the result of this request is here: not after a state transfer, nor that of
        the own client, which has got it."""
        return get_u32(self._buf, client * _REPLIED_LENGTH) == number

    @micropython.viper
    def answer(self, client: int, number, length: int):
        """Request `number` of `client` has the result in `result`: keep it, and send it.

        One replica sends the result (TOCS 4.4, digest replies), a different one for each
        request, the others its digest; a short result always travels whole.
        """
        core = self.core
        progress = core.progress
        buf = core.post.begin(_REPLY, self.flags, progress.view, number)
        end = _HEADER_LENGTH + length
        if client == int(progress.replica_id):
            core.deliver_reply(buf, length)
            return
        at = client * _REPLIED_LENGTH
        put_u32(self._buf, at, number)
        put_u16(self._buf, at + _RESULT_LENGTH, length)
        bulk = self._bulk
        bulk.put(client * int(bulk.stride), buf, 0, end)
        if client < int(self._replica_count) and not self.flags:
            return  # its own replica executes it too; if that is behind, its retry brings this
        if length <= RESULT_INLINE_MAX or self._is_designated(client, number):
            core.post.unicast_single(client, buf, end)
        else:
            self._send_from_table(client, number)

    def _is_designated(self, client, number):
        return (number + client) % self._replica_count == self.core.progress.replica_id

    def on_repeated(self, buf, client, local):
        """The client asks again for its last reply: send the whole result if it is here."""
        core = self.core
        now = core.progress.now
        if not local:
            if elapsed(now, self._sent_at[client]) < self._interval_ms:
                return faults.RATE_LIMITED
            if not core.auth.check(buf, client):
                return faults.MAC
            self._sent_at[client] = now
        self.repeat(client, wire.seqno(buf))
        return 0

    def repeat(self, client, number):
        """Send the reply to `client` once more: the whole result if it is here."""
        core = self.core
        if not self.holds(client, number):
            self._send_from_table(client, number)
            return
        length = get_u16(self._buf, client * _REPLIED_LENGTH + _RESULT_LENGTH)
        buf = core.post.buf
        self._bulk.get(client * self._bulk.stride, buf, 0, wire.HEADER_LENGTH + length)
        buf[0] = wire.VERSION << 4 | self.flags  # what was tentative may be committed by now
        core.post.unicast_single(client, buf, wire.HEADER_LENGTH + length)

    # --- for results.py ---

    def save_result(self, client, out, at, length):
        """Copy the result that is held to out[at:]."""
        self._bulk.get(client * self._bulk.stride + wire.HEADER_LENGTH, out, at, length)

    def restore_result(self, client, number, buf, at, length):  # noqa: PLR0913
        """After a restart: hold buf[at:at + length] as the result of request `number`."""
        core = self.core
        if client == core.progress.replica_id:
            return
        message = core.post.begin(wire.REPLY, 0, core.progress.view, number)
        copy(message, wire.HEADER_LENGTH, buf, at, length)
        put_u32(self._buf, client * _REPLIED_LENGTH, number)
        put_u16(self._buf, client * _REPLIED_LENGTH + _RESULT_LENGTH, length)
        self._bulk.put(client * self._bulk.stride, message, 0, wire.HEADER_LENGTH + length)

    @micropython.native
    def _send_from_table(self, client, number):
        core = self.core
        execution = core.execution
        length = execution.table_result_length(client)
        flags = self.flags
        if length > RESULT_INLINE_MAX:
            flags |= wire.FLAG_DIGEST
            length = 32
        buf = core.post.begin(wire.REPLY, flags, core.progress.view, number)
        execution.table_result_into(client, buf, wire.HEADER_LENGTH, length)
        if client == core.progress.replica_id:
            core.deliver_reply(buf, length)
        else:
            core.post.unicast_single(client, buf, wire.HEADER_LENGTH + length)
