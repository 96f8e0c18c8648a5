"""The requesting half: one outstanding request, identical retries, f + 1 matching replies.

    submit     the operation becomes a REQUEST with the next request id, multicast to all
    retry      the same bytes again, at randomised doubling distances; never a new id, or the
               operation would run twice
    on_reply   f + 1 replicas that report the same result: one of them is correct
    on_own_result   of the replica on the same device, which is as correct as this client is: what
               it executed is committed, and counts alone. So replicas do not send each other a
               REPLY before it is asked for by a retry: this one may be behind

A long result comes whole from one replica and as SHA-256 from the others; a retry makes every
replica send it whole. Request ids rise for ever, over restarts too (request_ids.py).

What each replica reported is kept as 36 bytes: result length u32 and the result itself when it
has at most 32 bytes, else 0xFFFF and its SHA-256. Allocates nothing outside hashing.
"""

from tinybft import faults, wire
from tinybft.clock import elapsed
from tinybft.compat import const, micropython
from tinybft.octets import copy, equal, fill, put_u32
from tinybft.requests import RESULT_INLINE_MAX

_REPORT_LENGTH = const(36)
_BY_DIGEST = const(0xFFFF)
_SMOOTHING = const(8)
_RETRIED_MAX = const(4)
_EARLY = const(5)  # FLAG_TENTATIVE | FLAG_UNORDERED
_EVERYBODY = const(-1)


class Client:
    """Fields for the caller: `busy`; after completion `done`, `reply` (a view of the result
    buffer), `reply_length`, `latency_ms`. `on_done`, if set, is called when a reply counts.

    `request` is the outstanding REQUEST; the pending request of its id, in a replica, is that
    same memory (requests.py)."""

    def __init__(self, config, node_id, memory, auth, send, request_ids, jitter):
        self.node_id = node_id
        self.busy = False
        self.done = False
        self.reply_length = 0
        self.latency_ms = 0
        self.retries = 0
        self.acknowledged = 0
        self.on_done = None
        self.replica = None  # set when the node is a replica too: requests are handed over
        self.request, self.reply = memory.own_buffers(node_id)
        self._reports = memory.client  # its first field
        self._length = 0
        self._auth = auth
        self._send = send
        self._ids = request_ids
        self._jitter = jitter
        self._group_id = config.GROUP_ID
        self._weak = config.WEAK_QUORUM
        self._replica_count = config.REPLICA_COUNT
        self._read_flags = wire.FLAG_READ_ONLY
        self.is_unordered = False  # see early.py
        self._operation_length_max = config.REQUEST_LENGTH_MAX
        self._repair_ms = config.REPAIR_MS
        self._retry_ms = config.RETRY_MS
        self._retry_max_ms = config.RETRY_MAX_MS
        self._smoothed = 0
        self._retried = 0  # operations in a row
        self._request_id = 0
        self._reported = 0  # mask of replicas
        self._result_of = -1  # replica whose whole result is in `reply`
        self._own_counts = False  # what the own replica reported was committed
        self._retries_of_this = 0
        self._since = 0
        self._sent_at = 0
        self._delay = 0

    @micropython.native
    def submit(self, operation, length, now, read_only=False):
        """Start the request. False: one is outstanding, or the operation is too long."""
        if self.busy or length > self._operation_length_max or self._ids.lost:
            return False
        self._request_id = self._ids.next()
        if self.replica:
            self.replica.release_own_request()
        buf = self.request
        flags = self._read_flags if read_only else 0
        number = self._request_id
        wire.put_header(buf, wire.REQUEST, flags, self.node_id, self._group_id, 0, number)
        copy(buf, wire.HEADER_LENGTH, operation, 0, length)
        self._seal(wire.HEADER_LENGTH + length)
        self.busy = True
        self.done = False
        self._reported = 0
        self._retries_of_this = 0
        self._result_of = -1
        self._own_counts = False
        self._since = self._sent_at = now
        self._delay = self._retry_ms
        if self.acknowledged:
            usual = self._repair_ms + self._smoothed // _SMOOTHING
            self._delay = min(usual, self._retry_ms)
        self._send_request(True)
        return True

    def forget_ids(self):
        """It is not known which request ids were used: none is, until `recall_ids`."""
        self._ids.forget()

    def recall_ids(self, executed):
        self._ids.recall(executed)

    @property
    def has_lost_ids(self):
        return self._ids.lost

    @micropython.native
    def _seal(self, end):
        tags = self._replica_count - (self.node_id < self._replica_count)
        wire.put_length(self.request, end + tags * self._auth.tag_length)
        self._length = self._auth.seal(self.request, end)

    @micropython.native
    def _send_request(self, first):
        replica = self.replica
        if replica is None:
            self._send(_EVERYBODY, self.request, self._length)
            return
        # The primary's own short request travels inside its pre-prepare, not by itself.
        if not (first and replica.will_inline(self._length)):
            self._send(_EVERYBODY, self.request, self._length)
        replica.on_own_request(self.request)

    @micropython.native
    def tick(self, now):
        if not self.busy or elapsed(now, self._sent_at) < self._delay:
            return
        self._sent_at = now
        delay = self._delay * 2 + self._jitter.below(1 + self._delay)
        self._delay = min(delay, self._retry_max_ms)
        self.retries += 1
        self._retries_of_this += 1
        self._send_request(False)

    @micropython.native
    def repeat(self, now):
        """The request was lost, it is not merely late: a retry that does not wait."""
        if self.busy:
            self._sent_at = now
            self.retries += 1
            self._retries_of_this += 1
            self._send(_EVERYBODY, self.request, self._length)

    @micropython.native
    def remaining_ms(self, now):
        """Milliseconds until the next retry; a large number when there is nothing to retry."""
        if not self.busy:
            return self._retry_max_ms
        return max(0, self._delay - elapsed(now, self._sent_at))

    def report(self, now):
        """The outstanding request: its id, its age, retries, who replied (a mask); {}: none."""
        if not self.busy:
            return {}
        return {
            "request_id": self._request_id,
            "age_ms": elapsed(now, self._since),
            "retries": self._retries_of_this,
            "replied": self._reported,
        }

    # --- replies ---

    @micropython.native
    def on_reply(self, buf, now):
        """A checked REPLY from the radio. Returns a fault, or 0."""
        sender = wire.sender(buf)
        if not self.busy or wire.seqno(buf) != self._request_id:
            return faults.NOT_NEEDED
        if wire.flags(buf) & wire.FLAG_DIGEST and self._reported >> sender & 1:
            return faults.NOT_NEEDED
        if not self._auth.check(buf, sender):
            return faults.MAC
        length = wire.length(buf) - self._auth.tag_length - wire.HEADER_LENGTH
        self.on_result(buf, length, sender, now)
        return 0

    @micropython.native
    def on_own_result(self, buf, length, now, is_committed):  # noqa: PLR0913
        """The same from this node's replica. `is_committed`: it executed what the group committed,
        or has it from a checkpoint that f + 1 replicas agree on."""
        if self.busy and wire.seqno(buf) == self._request_id:
            self._own_counts = is_committed and not wire.flags(buf) & _EARLY
            self.on_result(buf, length, self.node_id, now)

    @micropython.native
    def on_result(self, buf, length, sender, now):
        """Count what `sender` reports. Requires: `buf` is a REPLY known to be authentic."""
        if not self.busy or wire.seqno(buf) != self._request_id:
            return
        self._report(buf, length, sender)
        self._reported |= 1 << sender
        if not wire.flags(buf) & wire.FLAG_DIGEST:
            holder = self._result_of
            if holder < 0 or self._matching(sender) >= self._matching(holder):
                copy(self.reply, 0, buf, wire.HEADER_LENGTH, length)
                self.reply_length = length
                self._result_of = sender
        if self._result_of >= 0 and self._matching(self._result_of) >= self._weak:
            self._complete(now)

    @micropython.native
    def _report(self, buf, length, sender):
        reports = self._reports
        at = sender * _REPORT_LENGTH
        if wire.flags(buf) & wire.FLAG_DIGEST:
            put_u32(reports, at, _BY_DIGEST)
            copy(reports, at + 4, buf, wire.HEADER_LENGTH, 32)
        elif length > RESULT_INLINE_MAX:
            put_u32(reports, at, _BY_DIGEST)
            self._auth.digest_into(buf, wire.HEADER_LENGTH, length, reports, at + 4)
        else:
            put_u32(reports, at, length)
            fill(reports, at + 4, 32, 0)
            copy(reports, at + 4, buf, wire.HEADER_LENGTH, length)

    @micropython.native
    def _matching(self, replica):
        """Number of replicas that report the same as `replica`."""
        at = replica * _REPORT_LENGTH
        count = 0
        for other in range(self._replica_count):
            if self._reported >> other & 1:
                there = other * _REPORT_LENGTH
                same = equal(self._reports, there, self._reports, at, _REPORT_LENGTH)
                count += same
                if same and other == self.node_id and self._own_counts:
                    count += self._weak
        return count

    @micropython.native
    def _complete(self, now):
        self.busy = False
        self.done = True
        self.acknowledged += 1
        self.latency_ms = elapsed(now, self._since)
        if not self.is_unordered:
            self._learn_latency()
        if self.on_done:
            self.on_done(self)

    @micropython.native
    def _learn_latency(self):
        if self._retries_of_this == 0:
            usual = min(self.latency_ms, self._retry_ms)
            if self._smoothed:
                self._smoothed += usual - self._smoothed // _SMOOTHING
            else:
                self._smoothed = usual * _SMOOTHING
            self._retried = 0
        else:
            # A retried one tells no latency (Karn). Many in a row are not loss: the group has
            # become slower, and would be asked again for ever.
            self._retried += 1
            if self._retried > _RETRIED_MAX:
                self._smoothed += 1 + self._smoothed // 4
