"""The replicated state: blocks of bytes, their digests, and the checkpoints held of them.

PBFT (TOCS 2002) sections 5.3 and 6.3. The state is BLOCK_COUNT blocks of BLOCK_LENGTH
bytes: what the application owns comes first, what the library owns (execution record, client
table) starts at offset STATE_LENGTH. `partition` holds the digests of the live blocks,
`snapshots` what held checkpoints need of blocks that have changed since.

    field        bytes                      content
    blocks       LIVE                       the live state; 6 bytes more for leaf digests
    modified     a bit per page             1: changed since the newest checkpoint
    tree         36 per node                entries of the partition tree, as of the newest
                                            checkpoint
    scratch      42                         of the partition tree
    system       SYSTEM_LENGTH              with storage "nvm": execution.py's copy
    target       36 per node                entries of the state that is being installed, for
                                            transfer.py; in the pool if that is in RAM
    and the fields of `snapshots`

LIVE = pages in use * PAGE_LENGTH: what the last block has besides is zero, and takes no memory.
With storage "nvm" the bulk fields, blocks and pool, lie in the store. Blocks are the unit of
hashing and transfer; copies are made of pages, PAGE_LENGTH bytes, so that their number depends
on how much is written and not on where.

Rules:
* All bytes change through `write`, which copies a page into the pool of the newest snapshot
  before its first change after a checkpoint. That is also the mark for `take_checkpoint`,
  which hashes the blocks of the copied pages and the paths above them, and nothing else.
* Between `allow(pages)` and `allow(-1)` no more than so many pages are copied: `write` raises
  ValueError before it changes anything. Which write that is depends on the writes since the
  newest checkpoint alone, so it is the same on all correct replicas.
* Which blocks count as modified depends on the writes alone, also on those that change no
  bit, so correct replicas agree on each entry of the tree.
* Before the first checkpoint there is nothing to copy for: genesis writes are free.
* While a fetched state is being installed (`begin_install` .. `finish_install`) there is no
  checkpoint, so that the pool is free; nothing may be written, and `view` shows a mixture:
  execute nothing.
* A broken rule of these is our own bug and an assertion; numbers that a FETCH brought in
  (seqno, level, index) are answered with False.

Allocates: nothing but inside `digest_into` (and for sequence numbers from 2**30 on).
"""

from tinybft.bulk import InRam
from tinybft.compat import const, micropython
from tinybft.octets import copy, equal, fill
from tinybft.partition import PartitionTree
from tinybft.snapshots import Snapshots
from tinybft.state_fields import live_length

_ENTRY = const(36)
_DIGEST = const(32)
_DIGEST_AT = const(4)  # in an entry
_ROOT_AT = const(6)  # in `scratch`


def _attributes_of(region):
    return lambda name: getattr(region, name)


class State:
    """`region`: the fields of `state_fields`, as a dict or as attributes of an object;
    `blocks`, `pool`: bulk fields that are not among them.

    `read` gives bytes of the live state. With blocks in RAM `view` shows the application's,
    `raw` those of the library too, both for reading; else they are None.
    """

    def __init__(self, config, region, digest_into, blocks=None, pool=None):
        fields = region.__getitem__ if isinstance(region, dict) else _attributes_of(region)
        self.length = live_length(config)
        self.in_use = config.STATE_LENGTH + config.SYSTEM_LENGTH  # the rest stays zero
        self.installing = False
        self.tree = PartitionTree(config, fields("tree"), fields("scratch"), digest_into)
        self._block_length = config.BLOCK_LENGTH
        self._page_length = config.PAGE_LENGTH
        self._page_count = config.PAGE_COUNT
        self._pages_per_block = config.BLOCK_LENGTH // config.PAGE_LENGTH
        self._allowed = -1
        self._scratch = fields("scratch")
        self._modified = fields("modified")
        self.target = fields("target" if blocks else "pool")
        self.raw = self.view = None
        self.app_length = config.STATE_LENGTH
        if blocks is None:
            blocks = InRam(fields("blocks"), self._block_length)
            pool = InRam(fields("pool"), self._page_length)
            self.raw = memoryview(fields("blocks"))[: self.length]
            self.view = self.raw[: self.app_length]
        self._blocks = blocks
        self.snapshots = Snapshots(config, fields, pool)
        octets = blocks.octets if blocks.in_ram else None
        self._writing = (self._modified, octets, blocks)  # one look for all three
        fill(self._modified, 0, len(self._modified), 255)

    # Execution.

    @micropython.native
    def read(self, offset, out, at, length):
        """out[at:at+length] = state[offset:offset+length], the live bytes."""
        assert offset >= 0 and offset + length <= self.length, "read outside of the state"
        self._blocks.get(offset, out, at, length)

    def content(self, length):
        """The first `length` live bytes. Allocates: for people and tests."""
        octets = bytearray(length)
        self.read(0, octets, 0, length)
        return bytes(octets)

    @micropython.viper
    def write(self, offset: int, buf, start: int, length: int):
        """state[offset:offset+length] = buf[start:start+length], for checkpoints to notice."""
        if length <= 0:
            return
        end = offset + length
        assert offset >= 0, "write outside of the state"
        assert end <= int(self.in_use), "write outside of the state"
        modified, octets, blocks = self._writing
        bits = ptr8(modified)
        page_length = int(self._page_length)
        page = offset // page_length
        last = (end - 1) // page_length
        while page <= last:
            bit = 1 << (page & 7)
            if not bits[page >> 3] & bit:  # its old content is kept first
                assert not self.installing, "write during state transfer"
                allowed = int(self._allowed)
                if allowed == 0:
                    raise ValueError("a service changed more of its state than its pages_max")
                self._allowed = allowed - 1
                self.snapshots.keep_page(page, blocks)
                bits[page >> 3] = bits[page >> 3] | bit
            page += 1
        if octets:
            copy(octets, offset, buf, start, length)
        else:
            blocks.put(offset, buf, start, length)

    @micropython.viper
    def allow(self, pages):
        """Effects: `write` may copy so many pages from now on; -1: any number."""
        self._allowed = pages

    @micropython.native
    def take_checkpoint(self, seqno):
        """Effects: what the state is now is held as checkpoint `seqno`, the newest one."""
        assert not self.installing, "checkpoint during state transfer"
        snapshots = self.snapshots
        if snapshots.count:
            assert seqno > snapshots.newest_seqno(), "checkpoints must rise"
            self._update_tree(seqno)
        else:
            for block in range(self.tree.leaf_count):
                self.tree.update_leaf(block, seqno, self._blocks)
            self.tree.update_interiors()
        self._open(seqno)

    @micropython.native
    def _open(self, seqno):
        fill(self._modified, 0, len(self._modified), 0)
        self.snapshots.open(seqno)

    @micropython.viper
    def _update_tree(self, seqno):
        """The entries of what has changed, level by level."""
        snapshots = self.snapshots
        tree = self.tree
        pages = int(self._pages_per_block)
        for level in range(int(tree.level_count)):
            page = int(self._next_modified(0))
            while page >= 0:
                index = page // pages
                snapshots.keep_entry(int(tree.level_starts[level]) + index, tree.entries)
                if level:
                    tree.update_interior(level, index, seqno)
                else:
                    tree.update_leaf(index, seqno, self._blocks)
                page = int(self._next_modified((index + 1) * pages))
            pages *= int(tree.fan_out)

    @micropython.viper
    def _next_modified(self, page: int) -> int:
        """The first page from this one on that has changed; -1: none."""
        bits = ptr8(self._modified)
        end = int(self._page_count)
        while page < end:
            octet = bits[page >> 3] >> (page & 7)
            if octet & 1:
                return page
            page += 1 if octet else 8 - (page & 7)
        return -1

    def is_intact(self, block):
        """False if the block is not what its digest says. True while that cannot be told."""
        if self.installing or self._is_modified(block):
            return True
        return self.tree.is_leaf_of(block, self._blocks)

    def _is_modified(self, block):
        page = block * self._pages_per_block
        for i in range(page, page + self._pages_per_block):
            if self._modified[i >> 3] >> (i & 7) & 1:
                return True
        return False

    @micropython.native
    def release_below(self, seqno):
        """Effects: checkpoints older than `seqno` are not held any more."""
        snapshots = self.snapshots
        while snapshots.count and snapshots.oldest_seqno() < seqno:
            assert snapshots.count > 1, "the newest checkpoint must stay"
            snapshots.release_oldest()

    def roll_back(self):
        """Effects: the state is that of the newest checkpoint, later writes are undone."""
        if self.snapshots.count:
            self.snapshots.restore(self._blocks)
            fill(self._modified, 0, len(self._modified), 0)

    # Held checkpoints, as state transfer serves them.

    @micropython.native
    def holds(self, seqno):
        return self.snapshots.slot_of(seqno) >= 0

    @micropython.native
    def root_into(self, seqno, out, at):
        """The digest (32 bytes) of a held checkpoint. False: not held."""
        tree = self.tree
        snapshots = self.snapshots
        if snapshots.count and snapshots.newest_seqno() == seqno:
            copy(out, at, tree.entries, tree.root * _ENTRY + _DIGEST_AT, _DIGEST)
            return True
        slot = snapshots.slot_of(seqno)
        if slot < 0:
            return False
        snapshots.entry_into(slot, tree.root, tree.entries, self._scratch, _ROOT_AT)
        copy(out, at, self._scratch, _ROOT_AT + _DIGEST_AT, _DIGEST)
        return True

    def block_into(self, seqno, index, out, at):
        """The block (BLOCK_LENGTH bytes) at a held checkpoint. False: no such block held."""
        slot = self.snapshots.slot_of(seqno)
        if slot < 0 or not self.tree.has(0, index):
            return False
        self.snapshots.block_into(slot, index, self._blocks, out, at)
        return True

    def entry_into(self, seqno, level, index, out, at):
        """The tree entry (36 bytes) of a node at a held checkpoint. False: none held."""
        slot = self.snapshots.slot_of(seqno)
        tree = self.tree
        if slot < 0 or not tree.has(level, index):
            return False
        node = tree.level_starts[level] + index
        self.snapshots.entry_into(slot, node, tree.entries, out, at)
        return True

    def children_into(self, seqno, level, index, out, at):
        """The entries of a node's children at a held checkpoint, one behind the other.

        Returns their bytes, at most fan_out * 36; 0: not held, no such node, or a leaf.
        """
        slot = self.snapshots.slot_of(seqno)
        tree = self.tree
        if slot < 0 or level < 1 or not tree.has(level, index):
            return 0
        node = tree.level_starts[level - 1] + index * tree.fan_out
        count = tree.child_count(level, index)
        for _ in range(count):
            self.snapshots.entry_into(slot, node, tree.entries, out, at)
            node += 1
            at += _ENTRY
        return count * _ENTRY

    # Installing a fetched state.

    def begin_install(self):
        """Effects: no checkpoint is held; entries tell what the blocks really contain.

        Everything is hashed again, so that transfer also mends memory that has rotted. May
        be called again while installing, for a newer target: blocks installed so far stay.
        """
        self.roll_back()
        while self.snapshots.count:
            self.snapshots.release_oldest()
        self.installing = True
        fill(self._modified, 0, len(self._modified), 0)
        for block in range(self.tree.leaf_count):
            self.tree.update_leaf(block, self.tree.seqno_of(0, block), self._blocks)
        self.tree.update_interiors()

    def install_block(self, index, modified_seqno, buf, start, digest, digest_at):
        """Write a fetched block. False: it is not the block that the digest names.

        Requires: 6 bytes behind the block in `buf` (they are borrowed and put back).
        """
        assert self.installing, "begin_install comes first"
        tree = self.tree
        if not tree.leaf_matches(index, modified_seqno, buf, start, digest, digest_at):
            return False
        self._blocks.put(index * self._block_length, buf, start, tree.length_of(index))
        tree.put_entry(0, index, digest, digest_at, modified_seqno)
        return True

    def finish_install(self, seqno, digest, digest_at):
        """Effects: the state is checkpoint `seqno`, the only one held.

        False, and still installing: the root is not the digest, blocks are missing.
        """
        assert self.installing, "begin_install comes first"
        tree = self.tree
        tree.update_interiors()
        if not equal(tree.entries, tree.root * _ENTRY + _DIGEST_AT, digest, digest_at, _DIGEST):
            return False
        self.installing = False
        self._open(seqno)
        return True

    # Boot.

    def put_raw(self, offset, buf, length):
        """Bytes of the image that `restore` is about to check."""
        self._blocks.put(offset, buf, 0, max(0, min(length, self.length - offset)))

    def restore(self, seqno, image, digest, digest_at):
        """Effects: the state is checkpoint `seqno`, the only one held.

        Requires: the blocks are those of `image`, which says when each was modified. False, and
        installing: they do not have the digest.
        """
        while self.snapshots.count:
            self.snapshots.release_oldest()
        self.installing = True
        fill(self._modified, 0, len(self._modified), 0)
        for block in range(self.tree.leaf_count):
            self.tree.update_leaf(block, image.modified(block), self._blocks)
        return self.finish_install(seqno, digest, digest_at)
