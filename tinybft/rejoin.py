"""Abstaining: a replica that does not know what it said must not vote: it may contradict itself.

It follows the group with its votes muted (post.py), fetches the state, and votes again once a
checkpoint is stable here that lies beyond everything it can have voted for. Peers bound that
(TOCS 5.4): let c be called stable by one peer while 2f + 1 peers have no higher one and f others
have executed it. Nothing higher was stable when this replica started, so it never voted
beyond c + W. Until then it counts as one of the f faulty ones. A power cut meanwhile begins this
anew.

What this does not cover: a replica that had asked for a view that the group has not reached may
ask for it again with other claims. Wipe a replica only while its group is in one view.
"""

from tinybft.identity import MEMBER, REJOINING
from tinybft.octets import fill


class Rejoin:
    def __init__(self, core):
        self.core = core
        self._lows = [-1] * core.config.REPLICA_COUNT  # as peers said since boot; -1: nothing
        self._executed = [0] * core.config.REPLICA_COUNT
        self._bound = -1

    def begin(self, durability):
        """Nothing in this memory can be trusted: wipe it, and stand aside."""
        durability.identity.write(REJOINING)
        for index in range(durability.headers.count):
            durability.headers.clear(index)
        durability.stable.clear()
        durability.view.clear()
        for index in range(durability.acks.count):
            durability.acks.clear(index)
        fill(durability.known, 0, len(durability.known), 0)
        fill(durability.said, 0, len(durability.said), 0)
        if durability.image:
            durability.image.forget()
            durability.results.clear()
        durability.low_mark = 0
        durability.image_seqno = 0
        durability.abstains = True
        durability.trusted_at_boot = False
        self.core.post.is_muted = True

    def on_status(self, durability, sender, low_mark, last_executed):
        self._lows[sender] = low_mark
        self._executed[sender] = last_executed
        core = self.core
        if self._bound < 0:
            self._bound = self._find_bound()
        progress = core.progress
        if self._bound >= 0 and progress.low_mark >= self.goal():
            self._join(durability)

    def goal(self):
        """The low_mark with which it votes again; -1: its peers have not told enough."""
        return -1 if self._bound < 0 else self._bound + self.core.config.WINDOW

    def _find_bound(self):
        """The highest checkpoint that can have been stable before this replica started."""
        count = self.core.config.REPLICA_COUNT
        fault_count = self.core.config.FAULT_COUNT
        for j in range(count):
            bound = self._lows[j]
            if bound < 0:
                continue
            not_higher = 0
            executed = 0
            for peer in range(count):
                if 0 <= self._lows[peer] <= bound:
                    not_higher += 1
                if peer != j and self._lows[peer] >= 0 and self._executed[peer] >= bound:
                    executed += 1
            if not_higher >= 2 * fault_count + 1 and executed >= fault_count:
                return bound
        return -1

    def _join(self, durability):
        core = self.core
        if core.client:
            core.client.recall_ids(core.execution.last_request_id(core.progress.replica_id))
        low_mark = core.progress.low_mark
        for seqno in range(low_mark - core.config.WINDOW + 1, low_mark + 1):
            base = core.slots.find(seqno)
            if base >= 0:
                core.slots.clear(base)  # accepted in silence; it may have said other before
        durability.identity.write(MEMBER)
        durability.abstains = False
        core.post.is_muted = False
