"""What a node waits for, in words: `reasons(node)` is a list of sentences, the most important
one first, [] if nothing is open. Read in the order of the protocol:

    stopped -> rejoining -> state transfer -> view change, or slots and requests of the view
    -> checkpoint -> the own client's request -> too few replicas heard

Whoever calls it holds the node. Allocates: for people.
"""

from tinybft import requests, wire
from tinybft.clock import elapsed
from tinybft.slots import (
    ACCEPTED,
    COMMITTED,
    NAMED,
    PRE_PREPARED,
    PREPARED,
    TIME_IN_DOUBT,
    VOUCHED_ONLY,
)

_SILENT = 4  # STATUS intervals


def names(mask):
    """ "0, 2", of a mask of replicas; "nobody"."""
    found = []
    replica = 0
    while mask >> replica:
        if mask >> replica & 1:
            found.append(str(replica))
        replica += 1
    return ", ".join(found) or "nobody"


def reasons(node):
    if node.stopped:
        return ["stopped by " + node.stopped + "; restart it"]
    now = node.hal.now_ms()
    if node.replica is None:
        return _own_request(node, now)
    return Reasons(node, now).all() + _own_request(node, now)


def silent(core, now):
    """[(replica, ms or -1)] of those not heard for long; -1: never."""
    found = []
    for replica, heard_at in enumerate(core.status.heard_at):
        if replica != core.progress.replica_id:
            ms = -1 if heard_at < 0 else elapsed(now, heard_at)
            if ms < 0 or ms > _SILENT * core.config.STATUS_MS:
                found.append((replica, ms))
    return found


def heard(core, replica, now):
    heard_at = core.status.heard_at[replica]
    if heard_at < 0:
        return "never heard"
    return "heard %d ms ago" % elapsed(now, heard_at)


def silent_words(found):
    words = []
    for replica, ms in found:
        words.append("%d %s" % (replica, "never" if ms < 0 else "for %d ms" % ms))
    return "not heard: replica " + ", ".join(words)


def _own_request(node, now):
    table = node.client.report(now)
    if not table:
        return []
    words = "own request %d, %d ms old, sent %d times: needs f + 1 = %d equal replies, has from %s"
    words %= (
        table["request_id"],
        table["age_ms"],
        1 + table["retries"],
        node.config.WEAK_QUORUM,
        names(table["replied"]),
    )
    return [words + "; until then submit is refused (Busy)"]


class Reasons:
    """Of a replica."""

    def __init__(self, node, now):
        self.core = node.replica.core
        self.progress = self.core.progress
        self.config = node.config
        self.now = now
        self.everybody = (1 << node.config.REPLICA_COUNT) - 1
        self.lines = []

    def all(self):
        self._rejoining()
        self._transfer()
        if not self.progress.active:
            self._view_change()
        else:
            self._slots()
            self._requests()
        self._checkpoint()
        self._behind()
        found = silent(self.core, self.now)
        if len(found) > self.config.FAULT_COUNT:
            words = "; 2f + 1 = %d replicas, this one included, are needed for anything"
            self.lines.append(silent_words(found) + words % self.config.QUORUM)
        return self.lines

    def _say(self, words):
        self.lines.append(words)

    def _votes(self, name, mask, needed, possible):
        """\"COMMIT from 0, 1, needs 3; missing 2 (heard 12 ms ago), 3 (never heard)\"."""
        words = "%s from %s, needs %d; missing " % (name, names(mask), needed)
        return words + self._missing(possible & ~mask)

    def _missing(self, mask):
        found = []
        for replica in range(self.config.REPLICA_COUNT):
            if mask >> replica & 1:
                words = str(replica)
                if replica == self.progress.replica_id:
                    words += " (this one)"
                else:
                    words += " (" + heard(self.core, replica, self.now)
                    bad = self.core.bad_tags[replica]
                    words += "; %d bad tags in its name)" % bad if bad else ")"
                found.append(words)
        return ", ".join(found) or "nobody"

    # --- this replica itself ---

    def _rejoining(self):
        durability = self.core.durability
        if not durability.abstains:
            return
        goal = durability.report()["votes_from"]
        words = "rejoining, because its memory cannot be believed: casts no vote until "
        if goal < 0:
            self._say(words + "2f + 1 replicas have said in STATUS where they are")
        else:
            words += "checkpoint %d is stable here (low mark %d); needs traffic"
            self._say(words % (goal, self.progress.low_mark))

    def _transfer(self):
        transfer = self.core.transfer
        if transfer.running:
            table = transfer.report()
            source = table["source"]
            lost = self.core.durability.report()["mode"] == "without state"
            self._say(
                "fetching the state of checkpoint %d%s: asks %s for %s; executes nothing meanwhile"
                % (
                    table["seqno"],
                    ", which it lost" if lost else "",
                    self._missing(1 << source),
                    "digests of level %d" % table["level"] if table["level"] else "blocks",
                )
            )

    def _behind(self):
        checkpoints = self.core.checkpoints
        peer = checkpoints.find_target()
        if peer >= 0 and not self.core.transfer.running:
            self._say(
                "behind: f + 1 replicas have checkpoint %d, executed here is %d"
                % (checkpoints.peer_seqno(peer), self.progress.last_executed)
            )

    # --- between views ---

    def _view_change(self):
        core = self.core
        view_change = core.view_change
        view = self.progress.view
        primary = self.progress.primary()
        mask = 0
        for replica in range(self.config.REPLICA_COUNT):
            if view_change.view_of(replica) >= view:
                mask |= 1 << replica
        words = "view %d has not begun (primary %d): " % (view, primary)
        if not core.quorum.is_quorum(mask):
            votes = self._votes("VIEW-CHANGE", mask, self.config.QUORUM, self.everybody)
            self._say(words + votes)
            self._active_elsewhere()
        elif primary == self.progress.replica_id:
            self._as_new_primary(words)
        elif not core.new_view.is_held:
            self._say(words + "NEW-VIEW is missing from " + self._missing(1 << primary))
        else:
            lacking = core.new_view.lacking()
            self._say(
                words + "its NEW-VIEW names VIEW-CHANGEs that are not here, of " + names(lacking)
            )
        if core.quorum.is_quorum(mask) and not core.transfer.running:
            left = core.timers.remaining_ms(self.now)
            self._say("view %d is asked for in %d ms, if that does not come" % (view + 1, left))

    def _active_elsewhere(self):
        views = {}
        for replica in range(self.config.REPLICA_COUNT):
            view = self.core.handover.view_of(replica)
            if view >= 0:
                views[view] = views.get(view, 0) | 1 << replica
        for view in sorted(views):
            self._say("said to be active in view %d: %s" % (view, names(views[view])))

    def _as_new_primary(self, words):
        view_change = self.core.view_change
        members = view_change.members()
        if self.core.quorum.is_quorum(members):
            named = self._named()
            words += "this replica, its primary, "
            if named:
                words += "lacks the batch of seqno " + ", ".join(named)
            elif self.core.durability.abstains:
                words += "may not begin it while it rejoins"
            else:
                words += "needs VIEW-CHANGEs of more than " + names(members) + " to decide"
            self._say(words)
            return
        needed = 2 * self.config.FAULT_COUNT - 1
        for replica in range(self.config.REPLICA_COUNT):
            if members >> replica & 1:
                continue
            if view_change.view_of(replica) != self.progress.view:
                self._say(words + "VIEW-CHANGE is missing of " + self._missing(1 << replica))
            else:
                others = self.everybody & ~(1 << replica | 1 << self.progress.replica_id)
                votes = self._votes("ack", view_change.acks(replica), needed, others)
                self._say(words + "VIEW-CHANGE of %d: " % replica + votes)

    def _named(self):
        slots = self.core.slots
        found = []
        for seqno in range(self.progress.low_mark + 1, self.progress.high_mark() + 1):
            base = slots.find(seqno)
            if base >= 0 and slots.has(base, NAMED):
                found.append(str(seqno))
        return found

    # --- in a view ---

    def _slots(self):
        core = self.core
        first = self.progress.last_executed + 1
        if core.handover.reagreeing:
            first = core.handover.first_open()
        last = min(core.agreement.last_seen, self.progress.high_mark())
        for seqno in range(first, last + 1):
            base = core.slots.find(seqno)
            words = "nothing came, others know of it" if base < 0 else self._slot(base)
            if words:
                asked = core.status.asked()
                if asked and seqno == self.progress.last_executed + 1:
                    words += "; asked for %d times" % asked
                self._say("seqno %d: %s" % (seqno, words))

    def _slot(self, base):
        """What the slot waits for; "": only for its turn."""
        core = self.core
        slots = core.slots
        quorum = core.quorum
        me = self.progress.replica_id
        if slots.has(base, COMMITTED):
            return ""
        if not slots.has(base, PRE_PREPARED):
            return self._no_proposal(base)
        backups = self.everybody & ~(1 << self.progress.primary())
        if not slots.has(base, ACCEPTED) and not quorum.is_quorum(slots.commits(base)):
            return self._not_accepted(base, backups)
        if not slots.has(base, PREPARED):
            mask = slots.prepares(base)
            words = self._votes("PREPARE", mask, quorum.prepare_count, backups)
            return words + self._others(base, wire.PREPARE)
        mask = slots.commits(base)
        words = self._votes("COMMIT", mask, quorum.quorum, self.everybody & ~(1 << me))
        return words + self._others(base, wire.COMMIT)

    def _no_proposal(self, base):
        slots = self.core.slots
        if slots.has(base, NAMED):
            return "its digest is known, its batch is missing; any replica may send it"
        words = "no PRE-PREPARE from the primary, " + self._missing(1 << self.progress.primary())
        for kind, name in ((wire.PREPARE, "PREPARE"), (wire.COMMIT, "COMMIT")):
            mask = 0
            for replica in range(self.config.REPLICA_COUNT):
                mask |= (1 if slots.has_voted(base, kind, replica) else 0) << replica
            if mask:
                words += "; %s came from %s" % (name, names(mask))
        return words

    def _not_accepted(self, base, backups):
        """A batch that is here and not believed."""
        slots = self.core.slots
        missing = slots.missing(base)
        if missing:
            return "bodies are missing: " + self._requests_of(base, missing)
        if slots.has(base, VOUCHED_ONLY):
            mask = slots.prepares(base) | slots.commits(base)
            words = "the batch came not from the primary: votes for it "
            return words + self._votes("", mask, self.config.WEAK_QUORUM, backups)
        prepares = slots.prepares(base)
        votes = self._votes("PREPARE", prepares, self.config.FAULT_COUNT, backups)
        if slots.doubts(base):
            doubtful = self._requests_of(base, slots.doubts(base))
            return "bad tag for this replica: %s; to believe it: %s" % (doubtful, votes)
        if slots.has(base, TIME_IN_DOUBT):
            return "its agreed time is too far from the clock here; to believe it: " + votes
        return "this replica spoke for another batch; the others must commit one"

    def _requests_of(self, base, mask):
        slots = self.core.slots
        found = []
        for i in range(slots.request_count(base)):
            if mask >> i & 1:
                at = slots.entry_at(base, i)
                number = wire.entry_request_id(slots.buf, at)
                found.append("request %d of client %d" % (number, self._client(at)))
        return ", ".join(found)

    def _client(self, at):
        return wire.entry_client(self.core.slots.buf, at)

    def _others(self, base, kind):
        """Who voted for another batch."""
        slots = self.core.slots
        own = slots.prepares(base) if kind == wire.PREPARE else slots.commits(base)
        mask = 0
        for replica in range(self.config.REPLICA_COUNT):
            if slots.has_voted(base, kind, replica) and not own >> replica & 1:
                mask |= 1 << replica
        return "; for another batch: " + names(mask) if mask else ""

    def _requests(self):
        """Those that no batch names yet."""
        core = self.core
        for client in range(self.config.CLIENT_COUNT):
            if core.requests.phase(client) == requests.WAITING:
                words = "request %d of client %d, waiting for %d ms: " % (
                    core.requests.request_id(client),
                    client,
                    core.timers.waited_ms(client, self.now),
                )
                self._say(words + self._not_ordered())

    def _not_ordered(self):
        core = self.core
        progress = self.progress
        if not progress.is_primary():
            missing = self._missing(1 << progress.primary())
            return "not ordered by the primary, " + missing
        if core.durability.abstains:
            return "this replica is the primary and may not order while it rejoins"
        if core.transfer.running:
            return "this replica is the primary and fetches the state first"
        if core.agreement.next_seqno() > progress.high_mark():
            return "the window is full, %d .. %d" % (
                progress.low_mark + 1,
                progress.high_mark(),
            )
        return "%d batches are open (pipeline)" % self.config.PIPELINE

    # --- checkpoints ---

    def _checkpoint(self):
        checkpoints = self.core.checkpoints
        interval = self.config.CHECKPOINT_INTERVAL
        seqno = self.progress.low_mark + interval
        while seqno <= self.progress.last_executed:
            equal = checkpoints.matching(seqno)
            other = checkpoints.voters(seqno) & ~equal
            if not equal:
                words = "not taken here"
            else:
                needed = self.config.QUORUM
                possible = self.everybody & ~other
                words = self._votes("CHECKPOINT", equal, needed, possible)
                if other:
                    words += "; another state: " + names(other)
            self._say("checkpoint %d is not stable: %s" % (seqno, words))
            seqno += interval
