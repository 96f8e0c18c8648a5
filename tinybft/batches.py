"""Batches: from requests to PRE-PREPARE and back, always by way of the slot.

A slot stores a batch in its canonical form (wire.py) with the bodies behind it, in the batch's
order. PRE-PREPARE carries the same list, each request by its entry or, if it is short, inline;
the batch digest covers the canonical form, so it does not depend on which. Every body has its
digest in the batch: whoever sends it, it proves itself. A batch of no requests is null, and its
digest zeros.

The requests of a batch have room for their bodies in a slot, and may change no more pages of the
state than the budget of one batch (BATCH_PAGES_MAX). Both follow from the lengths in the entries,
so the primary fills a batch by them, and a backup refuses one that breaks them before PREPARE.

Allocates nothing outside hashing.
"""

from tinybft import faults, requests, wire
from tinybft.compat import const, micropython
from tinybft.octets import copy, equal, fill

# As in wire.py, slots.py, ...: a constant is inlined only in the module that defines it.
_HEADER_LENGTH = const(16)
_BATCH_HEADER_LENGTH = const(8)
_COUNT = const(6)  # in the batch header
_ENTRY_LENGTH = const(40)
_ENTRY_DIGEST = const(8)
_DIGEST_LENGTH = const(32)
_INLINE = const(1)
_TIME_IN_DOUBT = const(32)
_PROPOSED = const(2)
_BATCH = const(8)


class Batches:
    def __init__(self, core):
        config = core.config
        self.core = core
        self.slots = core.slots
        self._client_count = config.CLIENT_COUNT
        self._count_max = config.BATCH_COUNT_MAX
        self._inline_max = config.INLINE_LENGTH_MAX
        self._pages_max = config.BATCH_PAGES_MAX
        self._next_client = 0

    # --- the primary: requests -> slot -> message ---

    @micropython.native
    def fill(self, base):
        """Put waiting requests into the slot as a batch. False if there is none.

        Clients take turns: the next batch starts behind the last client that this one served.
        """
        core = self.core
        slots = self.slots
        pending = core.requests
        room = slots.bodies_length_max
        pages = self._pages_max
        count = 0
        client = self._next_client
        for _ in range(self._client_count):
            if pending.phase(client) == requests.WAITING and count < self._count_max:
                length = pending.request_length(client)
                cost = core.execution.pages_max(client, length)
                if length <= room and cost <= pages:
                    self._append(base, count, client)
                    room -= length
                    pages -= cost
                    count += 1
                    self._next_client = client + 1 if client + 1 < self._client_count else 0
            client = client + 1 if client + 1 < self._client_count else 0
        if count:
            self._stamp(base, count)
            self._digest(base)
        return count > 0

    @micropython.native
    def _stamp(self, base, count):
        """The own estimate of the time, but none before that of a batch which the backups will
        have executed until then: a new primary's own clock may have begun anew."""
        core = self.core
        slots = self.slots
        buf = slots.buf
        core.clock.advance(core.progress.now)
        time_s = core.clock.time_s
        time_ms = core.clock.time_ms
        for number in range(core.progress.last_executed + 1, slots.seqno(base)):
            earlier = slots.find(number)
            if earlier >= 0 and slots.request_count(earlier):
                at = slots.batch_at(earlier)
                earlier_s = wire.batch_time_s(buf, at)
                earlier_ms = wire.batch_time_ms(buf, at)
                if earlier_s > time_s or (earlier_s == time_s and earlier_ms > time_ms):
                    time_s = earlier_s
                    time_ms = earlier_ms
        wire.put_batch_header(buf, slots.batch_at(base), time_s, time_ms, count)

    @micropython.native
    def _append(self, base, index, client):
        slots = self.slots
        pending = self.core.requests
        entry = slots.entry_at(base, index)
        length = pending.request_length(client)
        wire.put_entry(slots.buf, entry, client, length, pending.request_id(client))
        copy(slots.buf, entry + wire.ENTRY_DIGEST, pending.buf, pending.digest_at(client), 32)
        slots.take_body(base, index, pending.bulk, pending.request_at(client))
        pending.set_phase(client, requests.PROPOSED)

    @micropython.native
    def send(self, base, receiver):
        """PRE-PREPARE of the slot's batch, to all (receiver -1) or to one that missed it.

        A backup may send it too: it travels under the own name and is believed by votes.
        """
        core = self.core
        slots = self.slots
        buf = core.post.begin(wire.PRE_PREPARE, 0, core.progress.view, slots.seqno(base))
        at = wire.HEADER_LENGTH
        copy(buf, at, slots.buf, slots.batch_at(base), wire.BATCH_HEADER_LENGTH)
        at += wire.BATCH_HEADER_LENGTH
        inline_room = self._inline_max
        for i in range(slots.request_count(base)):
            entry = slots.entry_at(base, i)
            length = wire.entry_length(slots.buf, entry)
            if length <= inline_room and slots.held(base) >> i & 1:
                buf[at] = wire.INLINE
                slots.body_into(base, i, buf, at + 1)
                inline_room -= length
                at += 1 + length
            else:
                buf[at] = wire.BY_DIGEST
                copy(buf, at + 1, slots.buf, entry, wire.ENTRY_LENGTH)
                at += 1 + wire.ENTRY_LENGTH
        if receiver < 0:
            core.post.multicast(at)
        else:
            core.post.unicast(receiver, at)

    def send_bodies(self, base, mask, receiver):
        """The bodies in `mask` that are held here, as the client sent them."""
        slots = self.slots
        post = self.core.post
        mask &= slots.held(base)
        for i in range(slots.request_count(base)):
            if mask >> i & 1:
                length = slots.body_into(base, i, post.buf, 0)
                post.relay(receiver, post.buf, length)

    # --- a backup: message -> slot ---

    @micropython.native
    def store(self, base, buf, wanted=None):
        """Write the batch of a checked, authentic PRE-PREPARE into the empty slot.

        Marks the requests that are held, and those in doubt. Returns a fault, or 0.
        `wanted`: the digest that the batch must have. Bodies come last: they may lie in
        non-volatile memory, which is not written for a batch that does not stay.
        """
        slots = self.slots
        fault = self._store_entries(base, buf)
        if not fault:
            self._digest(base)
            if wanted and not equal(slots.buf, slots.digest_at(base), wanted, 0, 32):
                fault = faults.NOT_NEEDED
        if fault:
            slots.drop_batch(base)
            return fault
        self._store_bodies(base, buf)
        self.look_up(base)
        self.check_time(base)
        return 0

    @micropython.viper
    def _store_entries(self, base: int, buf) -> int:
        core = self.core
        slots = self.slots
        octets = ptr8(buf)
        count = octets[_HEADER_LENGTH + _COUNT]
        copy(slots.buf, slots.batch_at(base), buf, _HEADER_LENGTH, _BATCH_HEADER_LENGTH)
        slots.set_doubts(base, (1 << count) - 1)
        slots.set_held(base, 0)
        at = _HEADER_LENGTH + _BATCH_HEADER_LENGTH
        room = int(slots.bodies_length_max)
        pages = int(self._pages_max)
        i = 0
        while i < count:
            entry = int(slots.entry_at(base, i))
            if octets[at] == _INLINE:
                self._store_entry_of(base, i, buf, at + 1)
            else:
                copy(slots.buf, entry, buf, at + 1, _ENTRY_LENGTH)
            length = int(wire.entry_length(slots.buf, entry))
            room -= length
            pages -= int(core.execution.pages_max(wire.entry_client(slots.buf, entry), length))
            if room < 0 or pages < 0:
                return _BATCH
            if octets[at] == _INLINE:
                self._authenticate(base, i, buf, at + 1)
                at += 1 + length
            else:
                at += 1 + _ENTRY_LENGTH
            i += 1
        return 0

    @micropython.viper
    def _store_bodies(self, base: int, buf):
        """Those inline in the PRE-PREPARE of the slot's batch."""
        slots = self.slots
        octets = ptr8(buf)
        at = _HEADER_LENGTH + _BATCH_HEADER_LENGTH
        count = octets[_HEADER_LENGTH + _COUNT]
        i = 0
        while i < count:
            if octets[at] == _INLINE:
                slots.put_body(base, i, buf, at + 1)
                at += 1 + (octets[at + 7] | octets[at + 8] << 8)
            else:
                at += 1 + _ENTRY_LENGTH
            i += 1

    @micropython.viper
    def _store_entry_of(self, base: int, index: int, buf, start: int):
        """Entry of the REQUEST inline at buf[start]; leaves its digest in `auth.digest` too."""
        core = self.core
        slots = self.slots
        auth = core.auth
        pending = core.requests
        entry = int(slots.entry_at(base, index))
        client = int(wire.request_sender(buf, start))
        length = int(wire.length_at(buf, start))
        if pending.holds_same(client, buf, start, length):
            copy(auth.digest, 0, pending.buf, pending.digest_at(client), 32)
        else:
            auth.digest_at(buf, client, start)
        wire.put_entry(slots.buf, entry, client, length, wire.seqno_at(buf, start))
        copy(slots.buf, entry + _ENTRY_DIGEST, auth.digest, 0, 32)

    @micropython.viper
    def _authenticate(self, base: int, index: int, buf, start: int):
        """Clear the doubt of the request at buf[start] if this node knows it as authentic."""
        core = self.core
        client = int(wire.request_sender(buf, start))
        known = bool(core.requests.holds(client, core.auth.digest, 0))
        if known or core.auth.check_digested(buf, client, start):
            self.trust(base, index)

    @micropython.native
    def look_up(self, base):
        """Take bodies, and with them trust, from the pending requests.

        What was executed already will not be executed again: it is beyond doubt.
        """
        slots = self.slots
        if not slots.doubts(base):
            return
        pending = self.core.requests
        execution = self.core.execution
        for i in range(slots.request_count(base)):
            if slots.doubts(base) >> i & 1:
                entry = slots.entry_at(base, i)
                client = wire.entry_client(slots.buf, entry)
                if pending.holds(client, slots.buf, entry + wire.ENTRY_DIGEST) and (
                    self._describes_pending(entry, client)
                ):
                    if not slots.held(base) >> i & 1:
                        slots.take_body(base, i, pending.bulk, pending.request_at(client))
                    self.trust(base, i)
                elif wire.entry_request_id(slots.buf, entry) <= execution.known_request_id(client):
                    self.trust(base, i)

    @micropython.native
    def _describes_pending(self, entry, client):
        """True if length and id in the entry are the pending request's own: the digest proves
        the request, not what a faulty primary wrote beside it."""
        buf = self.slots.buf
        pending = self.core.requests
        return pending.request_id(client) == wire.entry_request_id(buf, entry) and (
            pending.request_length(client) == wire.entry_length(buf, entry)
        )

    @micropython.viper
    def trust(self, base: int, index: int):
        """The request is authentic: its tag was good here."""
        self.slots.set_doubts(base, int(self.slots.doubts(base)) & ~(1 << index))

    @micropython.viper
    def check_time(self, base: int):
        """Is the batch's time plausible here? It may become so as time passes."""
        core = self.core
        slots = self.slots
        batch = slots.batch_at(base)
        core.clock.advance(core.progress.now)
        slots.clear_flag(base, _TIME_IN_DOUBT)
        if not slots.request_count(base):
            return
        time_s = wire.batch_time_s(slots.buf, batch)
        if not core.clock.is_plausible(time_s, wire.batch_time_ms(slots.buf, batch)):
            slots.set_flag(base, _TIME_IN_DOUBT)

    @micropython.viper
    def _digest(self, base: int):
        slots = self.slots
        buf = slots.buf
        count = int(slots.request_count(base))
        at = int(slots.digest_at(base))
        if count == 0:
            fill(buf, at, _DIGEST_LENGTH, 0)  # null
            return
        length = _BATCH_HEADER_LENGTH + count * _ENTRY_LENGTH
        self.core.auth.digest_into(buf, slots.batch_at(base), length, buf, at)

    # --- after a restart ---

    def restore(self, base, store, address):
        """Read time and bodies of a batch from the store; entries and digest follow from them.

        False if they are not well-formed. Allocates.
        """
        core = self.core
        slots = self.slots
        message = core.memory.received
        store.read_into(address, message, wire.BATCH_HEADER_LENGTH)
        copy(slots.buf, slots.batch_at(base), message, 0, wire.BATCH_HEADER_LENGTH)
        count = slots.request_count(base)
        if count > self._count_max:
            return False
        address += wire.BATCH_HEADER_LENGTH
        room = slots.bodies_length_max
        for i in range(count):
            if room < wire.HEADER_LENGTH:
                return False
            store.read_into(address, message, wire.HEADER_LENGTH)
            length = wire.length(message)
            if not wire.HEADER_LENGTH <= length <= room:
                return False
            store.read_into(address, message, length)
            if not core.wire.is_request(message, 0, length):
                return False
            self._store_entry_of(base, i, message, 0)
            if slots.bodies.in_ram:
                slots.put_body(base, i, message, 0)
            address += length
            room -= length
        slots.set_held(base, (1 << count) - 1)
        slots.set_doubts(base, 0)
        self._digest(base)
        return True

    # --- entries ---

    @micropython.native
    def names(self, entry, client, number):
        """True if the entry (an offset in the slots) is request `number` of `client`."""
        buf = self.slots.buf
        return wire.entry_client(buf, entry) == client and (
            wire.entry_request_id(buf, entry) == number
        )

    @micropython.native
    def is_body(self, entry, message, digest):
        """True if the REQUEST `message` with this digest is what the entry names."""
        buf = self.slots.buf
        return equal(buf, entry + wire.ENTRY_DIGEST, digest, 0, 32) and (
            wire.entry_length(buf, entry) == wire.length(message)
        )

    @micropython.viper
    def mark_proposed(self, base: int):
        """The requests of an accepted batch need not be proposed again in this view."""
        slots = self.slots
        pending = self.core.requests
        i = int(slots.request_count(base))
        entry = int(slots.entry_at(base, 0))
        while i > 0:
            client = wire.entry_client(slots.buf, entry)
            if pending.holds(client, slots.buf, entry + _ENTRY_DIGEST):
                pending.set_phase(client, _PROPOSED)
            entry += _ENTRY_LENGTH
            i -= 1
