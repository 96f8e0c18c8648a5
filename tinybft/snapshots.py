"""Snapshots of the held checkpoints: what was overwritten since, in two rings.

PBFT section 6.3: checkpoints are copy-on-write. Before a page of the state is written for the
first time after a checkpoint, that snapshot gets a copy of the page as it was; before a
checkpoint replaces an entry of the partition tree, the snapshot before it gets that entry. All
else of a snapshot is found in the next newer one, or in the live state. Snapshots go oldest
first, so copies are made and given up in the same order: a ring.

    field             per                    bytes  content
    pool              page copy        PAGE_LENGTH  a page as it was at its owner's checkpoint
    pool_pages        page copy                  2  its number
    kept              entry                     36  entry of the partition tree as it was then
    kept_nodes        entry                      2  its number
    snapshot_seqnos   snapshot                   4  the checkpoint
    snapshot_counts   snapshot                   4  page copies u16, entries u16 that it owns

Why POOL_PAGE_COUNT = (CHECKPOINT_COUNT - 1) * CHANGED_PAGES_MAX page copies are enough: held
are at most the checkpoints low_mark, low_mark + K, ..., low_mark + W = high_mark, the last of
which is never written over, because nothing above high_mark is executed before low_mark moves
and the oldest snapshot is released. (This is why W must be a multiple of K.) Every other one
owns what the K batches behind it changed, each page once at most: of the library's part that
is no more than all of it, of the application's neither that nor more than K * BATCH_PAGES_MAX,
because
* a batch is accepted by a correct replica only if the service declares for its operations
  BATCH_PAGES_MAX pages or less together (batches.py), and what f + 1 correct replicas have not
  accepted is never committed;
* an operation changes no more than the service declared for it (`State.allow`).
The entries that change with them are those of as many blocks, and of all interior nodes. The
assertions below catch a caller that breaks this.

The pool is a bulk field. Allocates nothing.
"""

from tinybft.compat import const, micropython
from tinybft.octets import copy, fill, get_u16, get_u32, put_u16, put_u32
from tinybft.state_fields import live_length

_ENTRY = const(36)
_COUNTS = const(4)
_ENTRIES_AT = const(2)  # in the counts


@micropython.viper
def _note(numbers: ptr8, place: int, number: int, counts: ptr8, at: int):
    """What the newest snapshot has got at this place; one more in its count."""
    numbers[place * 2] = number & 255
    numbers[place * 2 + 1] = number >> 8
    count = (counts[at] | counts[at + 1] << 8) + 1
    counts[at] = count & 255
    counts[at + 1] = count >> 8


@micropython.viper
def _append(ring, limit: int) -> int:
    """The place behind the last one that is taken, and takes it."""
    count = int(ring.count)
    assert count < limit, "snapshot pool full: executed above high_mark"
    ring.count = count + 1
    count += int(ring.first)
    return count if count < limit else count - limit


class Ring:
    """Places 0 .. limit - 1 in a circle, taken at the end, given back at both ends."""

    def __init__(self, limit):
        self.limit = limit
        self.count = 0
        self.first = 0

    @micropython.viper
    def place(self, i: int) -> int:
        """Of the i-th that is taken."""
        i += int(self.first)
        limit = int(self.limit)
        return i if i < limit else i - limit

    @micropython.native
    def drop_first(self, count):
        self.first = self.place(count)
        self.count -= count

    def drop_last(self, count):
        self.count -= count


class Snapshots:
    """`slot` is a place in the ring of snapshots; slot -1 means not held."""

    def __init__(self, config, fields, pool):
        self.count = 0
        self.pages = Ring(config.POOL_PAGE_COUNT)
        self.entries = Ring(len(fields("kept")) // _ENTRY)
        self._oldest = 0
        self._newest = -1
        self._limit = config.CHECKPOINT_COUNT
        self._block_length = config.BLOCK_LENGTH
        self._live_length = live_length(config)
        self._page_length = config.PAGE_LENGTH
        self._pages_per_block = config.BLOCK_LENGTH // config.PAGE_LENGTH
        self._pool = pool
        self._numbers = fields("pool_pages")
        self._kept = fields("kept")
        self._nodes = fields("kept_nodes")
        self._seqnos = fields("snapshot_seqnos")
        self._counts = fields("snapshot_counts")
        octets = pool.octets if pool.in_ram else None  # the state is there, too
        # For `keep_page`: to unpack a tuple costs less than to look up one attribute.
        pages = self.pages
        page_length = self._page_length
        self._keeping = (pages, pages.limit, octets, self._numbers, self._counts, page_length)

    @micropython.native
    def newest_seqno(self):
        """Requires: a snapshot is held."""
        assert self.count, "no checkpoint is held"
        return get_u32(self._seqnos, self._newest * 4)

    @micropython.native
    def oldest_seqno(self):
        """Requires: a snapshot is held."""
        assert self.count, "no checkpoint is held"
        return get_u32(self._seqnos, self._oldest * 4)

    @micropython.native
    def slot_of(self, seqno):
        slot = self._oldest
        for _ in range(self.count):
            if get_u32(self._seqnos, slot * 4) == seqno:
                return slot
            slot = self._after(slot)
        return -1

    @micropython.native
    def _after(self, slot):
        """The next place in the ring."""
        slot += 1
        return 0 if slot == self._limit else slot

    # The newest snapshot while the state changes.

    @micropython.viper
    def keep_page(self, page: int, blocks):
        """Effects: the newest snapshot owns a copy of this page."""
        ring, limit, octets, numbers, counts, page_length = self._keeping
        place = int(_append(ring, int(limit)))
        length = int(page_length)
        if octets:
            copy(octets, place * length, blocks.octets, page * length, length)
        else:
            blocks.copy_to(page * length, self._pool, place * length, length)
        _note(numbers, place, page, counts, int(self._newest) * _COUNTS)

    @micropython.viper
    def keep_entry(self, node: int, entries):
        """Effects: it owns the entry of this node, which the next checkpoint is to replace."""
        ring = self.entries
        place = int(_append(ring, int(ring.limit)))
        copy(self._kept, place * _ENTRY, entries, node * _ENTRY, _ENTRY)
        at = int(self._newest) * _COUNTS + _ENTRIES_AT
        _note(self._nodes, place, node, self._counts, at)

    def changed_count(self):
        """Pages changed since the newest checkpoint."""
        return get_u16(self._counts, self._newest * _COUNTS)

    def restore(self, blocks):
        """Effects: the live state is as the newest snapshot has it, which owns nothing then."""
        pages = self.pages
        length = self._page_length
        count = self.changed_count()
        for i in range(pages.count - count, pages.count):
            place = pages.place(i)
            page = get_u16(self._numbers, place * 2)
            self._pool.copy_to(place * length, blocks, page * length, length)
        pages.drop_last(count)
        put_u16(self._counts, self._newest * _COUNTS, 0)

    # The ring.

    @micropython.native
    def open(self, seqno):
        """Effects: a new, newest snapshot that owns nothing."""
        assert self.count < self._limit, "checkpoint taken above high_mark"
        slot = self._after(self._newest) if self.count else 0
        if not self.count:
            self._oldest = 0
        self.count += 1
        self._newest = slot
        put_u32(self._seqnos, slot * 4, seqno)
        fill(self._counts, slot * _COUNTS, _COUNTS, 0)

    @micropython.native
    def release_oldest(self):
        """Effects: its places are free again."""
        at = self._oldest * _COUNTS
        self.pages.drop_first(get_u16(self._counts, at))
        self.entries.drop_first(get_u16(self._counts, at + _ENTRIES_AT))
        self._oldest = self._after(self._oldest)
        self.count -= 1

    @micropython.native
    def _owned_before(self, slot, at):
        """How many page copies (`at` 0) or entries (2) the snapshots before this one own."""
        total = 0
        older = self._oldest
        while older != slot:
            total += get_u16(self._counts, older * _COUNTS + at)
            older = self._after(older)
        return total

    # Reading a held checkpoint.

    @micropython.native
    def block_into(self, slot, block, blocks, out, at):  # noqa: PLR0913
        """The block as it was at the slot's checkpoint: as it is, older and older pages on it;
        zeros where the last one has no more pages."""
        pages = self.pages
        length = self._page_length
        first = block * self._pages_per_block
        start = block * self._block_length
        in_use = min(self._block_length, self._live_length - start)
        blocks.get(start, out, at, in_use)
        fill(out, at + in_use, self._block_length - in_use, 0)
        end = self._owned_before(slot, 0)
        i = pages.count
        while i > end:
            i -= 1
            place = pages.place(i)
            page = get_u16(self._numbers, place * 2) - first
            if 0 <= page < self._pages_per_block:
                self._pool.get(place * length, out, at + page * length, length)

    @micropython.native
    def entry_into(self, slot, node, entries, out, at):  # noqa: PLR0913
        """The entry of a node of the partition tree as it was at the slot's checkpoint.

        The live entries are those of the newest checkpoint until the next one is taken.
        """
        ring = self.entries
        i = self._owned_before(slot, _ENTRIES_AT)
        while i < ring.count:
            place = ring.place(i)
            if get_u16(self._nodes, place * 2) == node:
                copy(out, at, self._kept, place * _ENTRY, _ENTRY)
                return
            i += 1
        copy(out, at, entries, node * _ENTRY, _ENTRY)

    @micropython.native
    def mark_changes(self, slot, later, bits):
        """Set in a bitmap the pages that have changed between two held checkpoints."""
        i = self._owned_before(slot, 0)
        end = self._owned_before(later, 0)
        while i < end:
            page = get_u16(self._numbers, self.pages.place(i) * 2)
            bits[page >> 3] |= 1 << (page & 7)
            i += 1
