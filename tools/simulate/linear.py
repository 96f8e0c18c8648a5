"""Linearizability of what clients were told, where replies come early (S4, the options).

The group's chain is the one order of all writes; what is to be shown is that everything a client
was told fits into it between the moments at which it asked and was answered:

* an ordered operation lies behind all that any client had been told when it was begun;
* what a client was told tentatively is committed later, with that reply, or a read that was begun
  after it and does not know it is a violation;
* a read that was not ordered shows the state behind some batch that is committed by now, and
  none before what had been told when it was begun. The lowest such batch counts as told.

With a total order of writes that choice is exact: no other one allows more.
"""

_STATES_KEPT = 600


class Open:
    """An operation under way: `low`, the seqno of what was told before it was begun;
    `untraced`, (client, request id) of what was told then and not yet committed."""

    def __init__(self, low, untraced):
        self.low = low
        self.untraced = untraced


class Linear:
    """`told`: the highest seqno that some client knows of; `early`: what was accepted and is not
    yet committed, {(client, request id): reply}. `fail(oracle, words)` raises."""

    def __init__(self, reference, fail):
        self.told = 0
        self.height = 0
        self._reference = reference
        self._fail = fail
        self.early = {}
        self._open = {}  # (client, request id): Open
        self._states = {0: (reference.content(), None)}  # seqno: (state behind it, its time)

    def begun(self, key):
        self._open = {k: v for k, v in self._open.items() if k[0] != key[0]}
        self._open[key] = Open(self.told, set(self.early))

    def extended(self, seqno, ran):
        """The group has committed `seqno`."""
        _, time = self._states[self.height]
        self.height = seqno
        self._states[seqno] = self._reference.content(), ran[-1].time if ran else time
        needed = min([op.low for op in self._open.values()], default=seqno)
        for old in list(self._states):
            if old >= max(needed, seqno - _STATES_KEPT):
                break
            del self._states[old]

    def committed(self, key, reply, seqno):
        """An operation was executed. True if its client knows the reply already."""
        early = self.early.pop(key, None)
        if early is None:
            return False
        if early != reply:
            words = f"was told {early[:16].hex()} early, committed is {reply[:16].hex()}"
            self._fail("S4", f"client {key[0]}, request {key[1]}: {words}")
        self.told = max(self.told, seqno)
        for op in self._open.values():
            if key in op.untraced:
                op.untraced.discard(key)
                op.low = max(op.low, seqno)
        return True

    def told_early(self, key, reply):
        """A client accepted a reply to what no correct replica has committed yet."""
        self.early[key] = reply

    def told_ordered(self, key, seqno):
        """A client accepted the reply of an operation that was committed as `seqno`."""
        op = self._open.pop(key, None)
        if op and (seqno < op.low or op.untraced):
            words = f"lies in {seqno}, before {op.low}, which was told when it was begun"
            self._fail("S4", f"client {key[0]}, request {key[1]}: {words}")
        self.told = max(self.told, seqno)

    def told_at_once(self, key, operation, reply):
        """A client accepted a reply to a read that was not ordered."""
        op = self._open.pop(key)
        place = f"client {key[0]}, request {key[1]}"
        if op.untraced:
            client, number = op.untraced.pop()
            words = f"knows nothing of request {number} of {client}, which was answered before"
            self._fail("S4", f"{place}: the read {words}")
        for seqno in range(max(op.low, min(self._states)), self.height + 1):
            octets, time = self._states[seqno]
            if self._reference.read(octets, key[0], operation, seqno, time) == reply:
                self.told = max(self.told, seqno)
                return
        words = f"{reply[:16].hex()} is no state from {op.low} to {self.height}"
        self._fail("S4", f"{place}: the read is not linearizable, {words}")

    def check_survival(self):
        """When all are level: what was told early is committed."""
        for client, number in self.early:
            words = "was told a reply that nobody committed"
            self._fail("S8", f"client {client}, request {number}: {words}")
