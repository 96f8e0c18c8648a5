"""The requesting half where replies may come early: read-only and tentative ones (client.py has
the rest). Imported only if [agreement] read_only or tentative is true.

    f + 1 that match                none of them early
    2f + 1 that match               tentative ones from one view, and others; for a request that
                                    is not ordered: replies to that

Matching is the result. Why one view: in different views the batches that were executed before it
may differ; 2f + 1 replicas that executed it tentatively in one view have prepared the same batch
behind the same history, or are faulty, and f + 1 of them are correct.

A read that is not ordered has one try: when it takes longer than reads do, or when 2f + 1 cannot
agree any more, the same operation is ordered, under the same request id, which no replica has
executed. The replies to one of the two are no replies to the other. Allocates nothing outside
hashing.
"""

from tinybft import faults, wire
from tinybft.client import Client
from tinybft.clock import elapsed
from tinybft.compat import const, micropython
from tinybft.octets import copy, equal

_REPORT_LENGTH = const(36)
_EARLY = const(5)  # FLAG_TENTATIVE | FLAG_UNORDERED
_SMOOTHING = const(8)


class EarlyClient(Client):
    """`fallbacks`: reads that had to be ordered."""

    def __init__(self, config, node_id, memory, auth, send, ids, jitter):  # noqa: PLR0913
        Client.__init__(self, config, node_id, memory, auth, send, ids, jitter)
        self.fallbacks = 0
        self._quorum = config.QUORUM
        self._reads_unordered = config.READ_ONLY
        if config.READ_ONLY:
            self._read_flags |= wire.FLAG_UNORDERED
        self._final = 0  # mask of replicas whose report is not early
        self._views = [0] * config.REPLICA_COUNT  # of the tentative reports
        self._read_time = _SMOOTHING * config.RETRY_MS  # _SMOOTHING x the ms that a read takes

    @micropython.native
    def submit(self, operation, length, now, read_only=False):
        if self.busy:
            return False
        self.is_unordered = read_only and self._reads_unordered
        self._final = 0
        started = Client.submit(self, operation, length, now, read_only)
        if self.is_unordered:
            usual = self._repair_ms + 2 * self._read_time // _SMOOTHING
            self._delay = min(usual, self._retry_ms)
        return started

    @micropython.native
    def _send_request(self, first):
        # Inside of a pre-prepare nobody would answer it.
        Client._send_request(self, first and not self.is_unordered)

    @micropython.native
    def tick(self, now):
        if not self.is_unordered:
            Client.tick(self, now)
        elif self.busy and elapsed(now, self._sent_at) >= self._delay:
            # Perhaps it was only late.
            self._read_time = min(2 * self._read_time + _SMOOTHING, _SMOOTHING * self._retry_ms)
            self._fall_back(now)

    def _fall_back(self, now):
        """Have the operation ordered."""
        buf = self.request
        tags = self._replica_count - (self.node_id < self._replica_count)
        buf[0] = wire.VERSION << 4 | wire.FLAG_READ_ONLY
        self._seal(self._length - tags * self._auth.tag_length)
        self.fallbacks += 1
        self.is_unordered = False
        self._reported = self._final = 0
        self._result_of = -1
        self._retries_of_this += 1
        self._sent_at = now
        self._send_request(True)

    # --- replies ---

    @micropython.native
    def on_reply(self, buf, now):
        sender = wire.sender(buf)
        if not self.busy or wire.seqno(buf) != self._request_id:
            return faults.NOT_NEEDED
        if self._is_known(wire.flags(buf), sender):
            return faults.NOT_NEEDED
        if not self._auth.check(buf, sender):
            return faults.MAC
        length = wire.length(buf) - self._auth.tag_length - wire.HEADER_LENGTH
        self.on_result(buf, length, sender, now)
        return 0

    @micropython.native
    def _is_known(self, flags, sender):
        """True if a reply with these flags tells nothing new, or answers the other request."""
        if (flags & wire.FLAG_UNORDERED != 0) != self.is_unordered:
            return True
        if self._final >> sender & 1:
            return flags & (_EARLY | wire.FLAG_DIGEST) != 0
        known = self._reported >> sender & 1
        return known and flags & _EARLY and flags & wire.FLAG_DIGEST

    @micropython.native
    def on_result(self, buf, length, sender, now):
        flags = wire.flags(buf)
        if not self.busy or wire.seqno(buf) != self._request_id or self._is_known(flags, sender):
            return
        known = sender * _REPORT_LENGTH + 4
        if (
            flags & wire.FLAG_DIGEST
            and sender == self._result_of
            and not equal(self._reports, known, buf, wire.HEADER_LENGTH, 32)
        ):
            self._result_of = -1  # what it sent whole before was not this
        self._report(buf, length, sender)
        self._reported |= 1 << sender
        self._views[sender] = wire.view(buf) if flags & wire.FLAG_TENTATIVE else 0
        if not flags & _EARLY:
            self._final |= 1 << sender
        if not flags & wire.FLAG_DIGEST:
            holder = self._result_of
            if holder < 0 or self._matching(sender) >= self._matching(holder):
                copy(self.reply, 0, buf, wire.HEADER_LENGTH, length)
                self.reply_length = length
                self._result_of = sender
        if self._result_of >= 0 and self._is_enough(self._result_of):
            if self.is_unordered:
                passed = min(elapsed(now, self._since), self._retry_ms)
                self._read_time += passed - self._read_time // _SMOOTHING
            self._complete(now)
        elif self.is_unordered and not self._may_agree():
            self._fall_back(now)

    @micropython.native
    def _says_as(self, replica, other):
        """True if both reported, and the same."""
        if not (self._reported >> replica & 1 and self._reported >> other & 1):
            return False
        at, there = replica * _REPORT_LENGTH, other * _REPORT_LENGTH
        return equal(self._reports, at, self._reports, there, _REPORT_LENGTH)

    @micropython.native
    def _is_enough(self, holder):
        """True if what `holder` reported is the answer."""
        if self._own_counts and self._says_as(self.node_id, holder):
            return True
        final = 0
        for replica in range(self._replica_count):
            final += self._final >> replica & 1 and self._says_as(replica, holder)
        if final >= self._weak:
            return True
        for replica in range(self._replica_count):
            early = self._reported & ~self._final
            if early >> replica & 1 and (
                final + self._count_early(holder, self._views[replica]) >= self._quorum
            ):
                return True
        return False

    @micropython.native
    def _count_early(self, holder, view):
        """Replicas with the same early report as `holder`, tentative in this view."""
        count = 0
        for replica in range(self._replica_count):
            if not self._final >> replica & 1 and self._views[replica] == view:
                count += self._says_as(replica, holder)
        return count

    @micropython.native
    def _may_agree(self):
        """True while 2f + 1 replicas may still come to report the same."""
        missing = self._replica_count
        best = 0
        for replica in range(self._replica_count):
            if self._reported >> replica & 1:
                missing -= 1
                best = max(best, self._matching(replica))
        return best + missing >= self._quorum
