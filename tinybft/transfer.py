"""State transfer: a replica that fell behind fetches the blocks that differ (TOCS 4.6).

The target is a checkpoint that f + 1 replicas report: its root digest is believed, and every
answer is checked against a digest that is believed already. So one replica at a time is asked,
and a lie or a silence costs one time-out. Under load targets are released soon; who is asked
for an older one says so (CHECKPOINT with FLAG_GONE), and the transfer asks for the newest one and
goes on towards that, keeping the blocks that came.

    FETCH level, index          META-DATA: the entries of a node's children
    FETCH 0, index, mask        DATA: up to 16 blocks

Under load a checkpoint is held for K batches, and that is all the time there is for the last
round trip of a transfer: one per level and one for blocks. So up to three nodes of a level are
asked for at once, and each newer target starts with another source.

A group at full speed is faster than that: what was fetched is older than its window. So the
primary, which is asked first, proposes nothing while it is asked, for `_HOLD` times `repair_ms`
at most, and so again `_HOLD_EVERY` times `repair_ms` after it began. A faulty replica that
asks for ever costs that share of the time, a quarter.

The tree is walked from the root down, one level at a time, into the target table (`State.target`,
laid out like the state's own entries; it means nothing while no transfer runs); where an entry
equals the live one, the live entries below it are taken over and nothing is fetched. While blocks
are installed the state is a mixture: nothing is executed until the root is the agreed digest.

Serving reads snapshots only. Allocates nothing outside hashing.
"""

from tinybft import faults, wire
from tinybft.clock import elapsed
from tinybft.compat import const, micropython
from tinybft.octets import copy, equal, fill, put_u32

_ENTRY_LENGTH = const(36)
_ENTRY_DIGEST = const(4)
_BLOCKS_PER_FETCH = const(16)
_FETCHES_PER_INTERVAL = const(4)
_HOLD = const(16)  # in repair_ms, as the two below
_HOLD_EVERY = const(64)
_HOLD_IDLE = const(4)  # after so long without a question it proposes again
_NODES_PER_ROUND = const(3)  # fewer than that, so that a source answers all of them


class Transfer:
    """`running` while a state is being fetched."""

    def __init__(self, core):
        self.core = core
        self.running = False
        self.fetched = 0  # blocks installed since the node started
        self._target = core.state.target
        self._seqno = 0
        self._level = 0
        self._source = core.progress.replica_id
        # Grows while answers come whole, shrinks when they do not: the frames of many blocks in
        # a row lose more to a bad channel than those of one.
        self._blocks_per_fetch = _BLOCKS_PER_FETCH
        self._awaited = 0  # answers to what was asked last that have not come
        self._repair_ms = core.config.REPAIR_MS
        self._served_at = [0] * core.config.REPLICA_COUNT
        self._served = [0] * core.config.REPLICA_COUNT
        self._is_asked = False
        self._asked_at = self._hold_since = 0
        self._tree = core.state.tree

    def report(self):
        """While it runs: checkpoint, level of the tree (0: blocks), whom it asks."""
        return {"seqno": self._seqno, "level": self._level, "source": self._source}

    # --- the fetching side ---

    def start(self, seqno, digest, digest_at):
        """Go for checkpoint `seqno` with this root digest; a newer target replaces an older."""
        core = self.core
        if self.running and seqno <= self._seqno:
            return
        if not self.running:
            self._source = core.progress.primary()
        self.running = True
        self._seqno = seqno
        if core.tentative:
            core.tentative.abandon()
        tree = self._tree
        if core.state.installing:
            tree.update_interiors()  # they lag behind the blocks that came so far
        else:
            core.state.begin_install()
        put_u32(self._target, self._entry(tree.root), 0)
        copy(self._target, self._entry(tree.root) + _ENTRY_DIGEST, digest, digest_at, 32)
        self._level = tree.level_count - 1
        core.status.on_progress()  # its sources have the whole time-out to answer
        self._proceed()

    def ask_again(self):
        """Nothing came for a while: a newer target, or the next source."""
        if not self._go_on_to_newer():
            if self._level == 0:
                self._blocks_per_fetch = max(1, self._blocks_per_fetch // 2)
            self._next_source()
            self._proceed()

    def on_gone(self, source):
        """`source` does not hold the target any more."""
        if self.running and source == self._source:
            self.core.status.hasten(0)  # for what is the newest by now: any other is about to go

    def on_checkpoint(self):
        """A peer has a newer checkpoint. If that makes a newer target the present one is about
        to go: with nothing but digests fetched so far, the way to the newer one is as long."""
        if self.running and self._level > 0:
            self._go_on_to_newer()

    def _go_on_to_newer(self):
        checkpoints = self.core.checkpoints
        peer = checkpoints.find_target()
        if peer < 0 or checkpoints.peer_seqno(peer) <= self._seqno:
            return False
        self._next_source()  # this one did not bring it in time
        checkpoints.start_transfer_to(peer)
        return True

    def _entry(self, node):
        return node * _ENTRY_LENGTH

    def _node(self, level, index):
        return self._tree.level_starts[level] + index

    def _is_live(self, level, index):
        """True if the live state has what the target has at this node (by digest)."""
        node = self._node(level, index)
        entries = self._tree.entries
        live = node * _ENTRY_LENGTH + _ENTRY_DIGEST
        return equal(entries, live, self._target, self._entry(node) + _ENTRY_DIGEST, 32)

    def _proceed(self):
        """Descend through all levels whose nodes are settled; then install or ask."""
        while self._level > 0 and self._settle_level():
            self._level -= 1
        if self._level == 0 and self._first_missing() < 0:
            self._finish()
        else:
            self._ask()

    def _settle_level(self):
        """Take over what is equal. True if the children of every node here are known."""
        tree = self._tree
        settled = True
        for index in range(tree.level_lengths[self._level]):
            if self._is_live(self._level, index):
                self._take_over_children(index)
            elif not self._knows_children(index):
                settled = False
        return settled

    def _take_over_children(self, index):
        tree = self._tree
        first = self._node(self._level - 1, index * tree.fan_out)
        length = tree.child_count(self._level, index) * _ENTRY_LENGTH
        copy(self._target, self._entry(first), tree.entries, first * _ENTRY_LENGTH, length)

    def _knows_children(self, index):
        tree = self._tree
        first = self._node(self._level - 1, index * tree.fan_out)
        believed = self._entry(self._node(self._level, index)) + _ENTRY_DIGEST
        return tree.children_match(
            self._level, index, self._target, self._entry(first), self._target, believed
        )

    def _first_missing(self):
        for index in range(self._tree.leaf_count):
            if not self._is_live(0, index):
                return index
        return -1

    def _ask(self):
        if self._source == self.core.progress.replica_id:
            self._next_source()
        self._awaited = 0
        if self._level > 0:
            self._ask_for_nodes()
            return
        first = self._first_missing()
        mask = 0
        for i in range(self._blocks_per_fetch):
            if first + i < self._tree.leaf_count and not self._is_live(0, first + i):
                mask |= 1 << i
                self._awaited += 1
        self._send_fetch(0, first, mask)

    def _ask_for_nodes(self):
        for index in range(self._tree.level_lengths[self._level]):
            if self._awaited == _NODES_PER_ROUND:
                return
            if not self._is_live(self._level, index) and not self._knows_children(index):
                self._send_fetch(self._level, index, 0)
                self._awaited += 1

    def _send_fetch(self, level, index, mask):
        post = self.core.post
        buf = post.begin(wire.FETCH, 0, self.core.progress.view, self._seqno)
        wire.put_fetch(buf, level, index, mask)
        end = wire.HEADER_LENGTH + wire.FETCH_BODY_LENGTH
        post.unicast_single(self._source, buf, end)
        self.core.status.on_work()

    def _next_source(self):
        progress = self.core.progress
        self._source = (self._source + 1) % progress.replica_count
        if self._source == progress.replica_id:
            self._source = (self._source + 1) % progress.replica_count

    def _misplaced(self, buf, kind):
        if not self.running or wire.seqno(buf) != self._seqno:
            return faults.NOT_NEEDED
        if not self.core.auth.check(buf, wire.sender(buf)):
            return faults.MAC
        return 0

    def on_meta_data(self, buf):
        level = wire.fetch_level(buf)
        index = wire.fetch_index(buf)
        tree = self._tree
        if level != self._level or level == 0 or not tree.has(level, index):
            return faults.NOT_NEEDED
        if wire.meta_data_count(buf) != tree.child_count(level, index):
            return faults.FIELD
        fault = self._misplaced(buf, wire.META_DATA)
        if fault:
            return fault
        if self._knows_children(index):
            return faults.NOT_NEEDED  # a source that repeats itself must not look alive
        believed = self._entry(self._node(level, index)) + _ENTRY_DIGEST
        start = wire.HEADER_LENGTH + wire.META_DATA_HEADER_LENGTH
        if not tree.children_match(level, index, buf, start, self._target, believed):
            return self._disbelieve(wire.sender(buf))
        first = self._entry(self._node(level - 1, index * tree.fan_out))
        copy(self._target, first, buf, start, wire.meta_data_count(buf) * _ENTRY_LENGTH)
        self.core.status.on_progress()
        self._awaited -= 1
        if self._awaited <= 0:
            self._proceed()
        return 0

    def on_data(self, buf):
        index = wire.data_index(buf)
        if self._level != 0 or index >= self._tree.leaf_count or self._is_live(0, index):
            return faults.NOT_NEEDED
        fault = self._misplaced(buf, wire.DATA)
        if fault:
            return fault
        believed = self._entry(index) + _ENTRY_DIGEST
        start = wire.HEADER_LENGTH + wire.DATA_HEADER_LENGTH
        modified = wire.data_modified(buf)
        if not self.core.state.install_block(index, modified, buf, start, self._target, believed):
            return self._disbelieve(wire.sender(buf))
        self.fetched += 1
        self.core.status.on_progress()
        self._awaited -= 1
        if self._awaited <= 0:
            self._blocks_per_fetch = min(2 * self._blocks_per_fetch, _BLOCKS_PER_FETCH)
            self._proceed()
        return 0

    def _disbelieve(self, sender):
        """A bad answer ends its sender's turn; whoever was not asked has none to end, or it
        could turn the question away from every correct replica."""
        if sender == self._source:
            self._next_source()
        return faults.TRANSFER

    def _finish(self):
        core = self.core
        root = self._entry(self._tree.root) + _ENTRY_DIGEST
        if not core.state.finish_install(self._seqno, self._target, root):
            # The blocks match their entries but the root does not match: memory has rotted.
            # Nothing here is believed then; the next round hashes and asks from the root down.
            core.faults.count(faults.TRANSFER)
            fill(self._target, 0, self._tree.root * _ENTRY_LENGTH, 0)
            core.state.begin_install()
            self._level = self._tree.level_count - 1
            return
        self.running = False
        core.execution.on_installed(self._seqno)
        core.status.send()  # at once: the batches behind it are about to leave the others' windows

    # --- the serving side ---

    def on_fetch(self, buf):
        core = self.core
        sender = wire.sender(buf)
        seqno = wire.seqno(buf)
        if not self._may_serve(sender):
            return faults.RATE_LIMITED
        if not core.auth.check(buf, sender):
            return faults.MAC
        self._count_served(sender)
        self._hold()
        if not core.state.holds(seqno):
            newest = core.checkpoints.last_taken
            if newest:
                core.checkpoints.send(newest, sender, wire.FLAG_GONE)
            return 0
        level = wire.fetch_level(buf)
        index = wire.fetch_index(buf)
        if level:
            return self._send_meta_data(sender, seqno, level, index)
        mask = wire.fetch_mask(buf)
        while mask:
            if mask & 1 and not self._send_data(sender, seqno, index):
                return faults.FIELD
            mask >>= 1
            index += 1
        return 0

    def _hold(self):
        now = self.core.progress.now
        if elapsed(now, self._hold_since) >= _HOLD_EVERY * self._repair_ms:
            self._hold_since = now
        self._asked_at = now
        self._is_asked = True

    @micropython.native
    def holds_off(self):
        """True while this replica should propose nothing, for another one to fetch the state."""
        if self._is_asked:
            now = self.core.progress.now
            left = _HOLD * self._repair_ms - elapsed(now, self._hold_since)
            left = min(left, _HOLD_IDLE * self._repair_ms - elapsed(now, self._asked_at))
            if left > 0:
                self.core.status.hasten(left)  # to be asked for proposals again then
            else:
                self._is_asked = False
        return self._is_asked

    def _may_serve(self, peer):
        """True at most `_FETCHES_PER_INTERVAL` times per `repair_ms` and peer."""
        return self._is_interval_over(peer) or self._served[peer] < _FETCHES_PER_INTERVAL

    def _is_interval_over(self, peer):
        return elapsed(self.core.progress.now, self._served_at[peer]) >= self._repair_ms

    def _count_served(self, peer):
        """Requires: the tag was good, or a forger could use up the peer's turns."""
        if self._is_interval_over(peer):
            self._served_at[peer] = self.core.progress.now
            self._served[peer] = 0
        self._served[peer] += 1

    def _send_meta_data(self, receiver, seqno, level, index):
        core = self.core
        buf = core.post.begin(wire.META_DATA, 0, core.progress.view, seqno)
        start = wire.HEADER_LENGTH + wire.META_DATA_HEADER_LENGTH
        length = core.state.children_into(seqno, level, index, buf, start)
        if not length:
            return faults.FIELD
        wire.put_meta_data_header(buf, level, index, length // _ENTRY_LENGTH)
        core.post.unicast_single(receiver, buf, start + length)
        return 0

    def _send_data(self, receiver, seqno, index):
        core = self.core
        buf = core.post.begin(wire.DATA, 0, core.progress.view, seqno)
        start = wire.HEADER_LENGTH + wire.DATA_HEADER_LENGTH
        # The entry lands where the block goes next; only its seqno is kept.
        if not core.state.entry_into(seqno, 0, index, buf, start):
            return False
        wire.put_data_header(buf, index, wire.entry_modified(buf, start))
        core.state.block_into(seqno, index, buf, start)
        core.post.unicast_single(receiver, buf, start + core.config.BLOCK_LENGTH)
        return True
