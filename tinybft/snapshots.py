"""Snapshots of the held checkpoints: a ring of maps over one pool of block copies.

PBFT section 6.3: checkpoints are copy-on-write. A snapshot owns copies only of the blocks
that changed between its checkpoint and the next; any other block of it is found in the next
newer snapshot that owns one, or in the live state. Snapshots go oldest first, so a copy
serves nobody any more when its owner goes.

    field             per                    bytes  content
    pool              pool entry      BLOCK_LENGTH  a block as it was at its owner's checkpoint
    pool_entries      pool entry                36  its entry of the partition tree
    pool_free         pool entry                 2  stack of the free pool entries
    snapshot_seqnos   snapshot                   4  the checkpoint
    snapshot_counts   snapshot                   2  copies owned
    snapshot_changed  snapshot x block           2  blocks owned, in the order of their change
    snapshot_map      snapshot x block           2  pool entry + 1, or 0: not owned
    snapshot_nodes    snapshot x interior       36  entry of the partition tree
    snapshot_kept     snapshot x interior        1  1: the entry above is owned

Why (CHECKPOINT_COUNT - 1) * BLOCK_COUNT pool entries are enough: held are at most the
checkpoints low_mark, low_mark + K, ..., low_mark + W = high_mark, the last of which is never
written over, because nothing above high_mark is executed before low_mark moves and the
oldest snapshot is released. Every other one owns at most one copy of each block. (This is
why W must be a multiple of K.) The assertions below catch a caller that breaks this.

The pool is a bulk field. Allocates nothing.
"""

from tinybft.compat import const
from tinybft.octets import copy, fill, get_u16, get_u32, put_u16, put_u32

_ENTRY = const(36)


class Snapshots:
    """`slot` is a place in the ring; slot -1 means not held."""

    def __init__(self, config, fields, pool, interior_count):
        self.count = 0
        self._oldest = 0
        self._newest = -1
        self._free_count = config.POOL_BLOCK_COUNT
        self._limit = config.CHECKPOINT_COUNT
        self._block_count = config.BLOCK_COUNT
        self._block_length = config.BLOCK_LENGTH
        self._interior_count = interior_count
        self._pool = pool
        self._entries = fields("pool_entries")
        self._free = fields("pool_free")
        self._seqnos = fields("snapshot_seqnos")
        self._counts = fields("snapshot_counts")
        self._changed = fields("snapshot_changed")
        self._map = fields("snapshot_map")
        self._nodes = fields("snapshot_nodes")
        self._kept = fields("snapshot_kept")
        for entry in range(self._free_count):
            put_u16(self._free, entry * 2, entry)
        fill(self._map, 0, len(self._map), 0)

    def newest_slot(self):
        return self._newest

    @property
    def free_count(self):
        return self._free_count

    def newest_seqno(self):
        """Requires: a snapshot is held."""
        assert self.count, "no checkpoint is held"
        return get_u32(self._seqnos, self._newest * 4)

    def oldest_seqno(self):
        """Requires: a snapshot is held."""
        assert self.count, "no checkpoint is held"
        return get_u32(self._seqnos, self._oldest * 4)

    def slot_of(self, seqno):
        slot = self._oldest
        for _ in range(self.count):
            if get_u32(self._seqnos, slot * 4) == seqno:
                return slot
            slot = self.after(slot)
        return -1

    def after(self, slot):
        """The next place in the ring."""
        slot += 1
        return 0 if slot == self._limit else slot

    # The newest snapshot while the state changes.

    def own_copy(self, block, blocks):
        """Effects: the newest snapshot owns a copy of this block. Not yet of its entry."""
        assert self._free_count, "snapshot pool empty: executed above high_mark"
        self._free_count -= 1
        entry = get_u16(self._free, self._free_count * 2)
        blocks.copy_place(block, self._pool, entry)
        newest = self._newest
        first = newest * self._block_count
        count = get_u16(self._counts, newest * 2)
        put_u16(self._map, (first + block) * 2, entry + 1)
        put_u16(self._changed, (first + count) * 2, block)
        put_u16(self._counts, newest * 2, count + 1)

    def changed_count(self):
        """Blocks changed since the newest checkpoint."""
        return get_u16(self._counts, self._newest * 2)

    def changed(self, i):
        """The i-th of them."""
        return get_u16(self._changed, (self._newest * self._block_count + i) * 2)

    def keep_leaf(self, block, entries):
        """Keep the tree entry of an owned block, before the next checkpoint replaces it."""
        entry = get_u16(self._map, (self._newest * self._block_count + block) * 2) - 1
        copy(self._entries, entry * _ENTRY, entries, block * _ENTRY, _ENTRY)

    def keep_interior(self, node, entries):
        """The same for the interior node of that number in `entries`."""
        at = self._newest * self._interior_count + node - self._block_count
        copy(self._nodes, at * _ENTRY, entries, node * _ENTRY, _ENTRY)
        self._kept[at] = 1

    def restore(self, block, blocks):
        """Put the newest snapshot's copy of a block back into the live state."""
        entry = get_u16(self._map, (self._newest * self._block_count + block) * 2) - 1
        length = self._block_length
        self._pool.copy_to(entry * length, blocks, block * length, length)

    def forget_changes(self):
        """Effects: the newest snapshot owns no copy any more."""
        self._give_back(self._newest)

    # The ring.

    def open(self, seqno):
        """Effects: a new, newest snapshot that owns nothing."""
        assert self.count < self._limit, "checkpoint taken above high_mark"
        slot = self.after(self._newest) if self.count else 0
        if not self.count:
            self._oldest = 0
        self.count += 1
        self._newest = slot
        put_u32(self._seqnos, slot * 4, seqno)
        put_u16(self._counts, slot * 2, 0)
        fill(self._kept, slot * self._interior_count, self._interior_count, 0)

    def release_oldest(self):
        """Effects: its pool entries are free again."""
        self._give_back(self._oldest)
        self._oldest = self.after(self._oldest)
        self.count -= 1

    def _give_back(self, slot):
        first = slot * self._block_count
        for i in range(get_u16(self._counts, slot * 2)):
            at = (first + get_u16(self._changed, (first + i) * 2)) * 2
            put_u16(self._free, self._free_count * 2, get_u16(self._map, at) - 1)
            self._free_count += 1
            put_u16(self._map, at, 0)
        put_u16(self._counts, slot * 2, 0)

    # Reading a held checkpoint.

    def block_into(self, slot, block, blocks, out, at):
        """The block as it was at the slot's checkpoint."""
        length = self._block_length
        while True:
            entry = get_u16(self._map, (slot * self._block_count + block) * 2)
            if entry:
                self._pool.get((entry - 1) * length, out, at, length)
                return
            if slot == self._newest:
                blocks.get(block * length, out, at, length)
                return
            slot = self.after(slot)

    def entry_into(self, slot, node, entries, out, at):
        """The entry of a node of the partition tree as it was at the slot's checkpoint.

        The live entries are those of the newest checkpoint until the next one is taken.
        """
        while slot != self._newest:
            if node < self._block_count:
                entry = get_u16(self._map, (slot * self._block_count + node) * 2)
                if entry:
                    copy(out, at, self._entries, (entry - 1) * _ENTRY, _ENTRY)
                    return
            else:
                kept = slot * self._interior_count + node - self._block_count
                if self._kept[kept]:
                    copy(out, at, self._nodes, kept * _ENTRY, _ENTRY)
                    return
            slot = self.after(slot)
        copy(out, at, entries, node * _ENTRY, _ENTRY)
