"""The image: the state at one checkpoint, in non-volatile memory, whole at every moment.

Shadow pages: every page of PAGE_LENGTH bytes has two places. What has changed between the image
and a later checkpoint is written to the places that are not in use; the stable record, written
last (durability.py), names the places that count from then on. A power cut before that leaves
the old image, all of it.

    modified   u32 per block: the checkpoint that changed it last; 0 = as the service began,
               and not in this memory
    places     a bit per page: which of the two places counts

A block that has not changed since genesis has no pages here: `genesis` lays it out at every
boot. Which pages differ from the image is known by the copies that the snapshots own, as long
as all checkpoints since are held; after a state transfer whole blocks are written.

Allocates nothing but in `load`, which is for boot.
"""

from tinybft.compat import micropython
from tinybft.layout import areas, page_map_length
from tinybft.octets import copy, fill, get_u32, put_u32


class Image:
    def __init__(self, config, store, stage):
        self.seqno = 0  # the checkpoint; 0 = genesis, nothing of it is here
        self.fetched = 0  # bytes read back at boot
        self._store = store
        self._stage = stage
        self._at = areas(config)["pages"]
        self._block_count = config.BLOCK_COUNT
        self._block_length = config.BLOCK_LENGTH
        self._page_length = config.PAGE_LENGTH
        self._pages_per_block = config.BLOCK_LENGTH // config.PAGE_LENGTH
        self._state_length = config.BLOCK_COUNT * config.BLOCK_LENGTH
        self._modified = bytearray(4 * config.BLOCK_COUNT)
        self._places = bytearray(page_map_length(config))
        self._changed = bytearray(page_map_length(config))  # since the image, for `advance`
        self._entry = bytearray(36)

    @micropython.native
    def _place(self, page):
        return self._places[page >> 3] >> (page & 7) & 1

    @micropython.native
    def _address(self, page, place):
        return self._at + place * self._state_length + page * self._page_length

    # --- towards a later checkpoint ---

    @micropython.native
    def advance(self, state, seqno, block):
        """Write what makes the image checkpoint `seqno`, which `state` holds.

        It counts once the caller has made `put` durable. `block`: room for one block.
        """
        if seqno == self.seqno:
            return
        snapshots = state.snapshots
        held = snapshots.slot_of(self.seqno)
        if held >= 0:
            fill(self._changed, 0, len(self._changed), 0)
            snapshots.mark_changes(held, snapshots.slot_of(seqno), self._changed)
        for index in range(self._block_count):
            state.entry_into(seqno, 0, index, self._entry, 0)
            modified = get_u32(self._entry, 0)
            known = get_u32(self._modified, 4 * index)
            if modified != known:
                state.block_into(seqno, index, block, 0)
                self._write_block(index, block, known == 0 or held < 0)
                put_u32(self._modified, 4 * index, modified)
        self.seqno = seqno

    @micropython.native
    def _write_block(self, index, block, whole):
        """Neighbours that go to the same place travel in one transfer."""
        first = index * self._pages_per_block
        end = first + self._pages_per_block
        page = first
        while page < end:
            if not whole and not self._has_changed(page):
                page += 1
                continue
            place = 1 - self._place(page)
            start = page
            while page < end and 1 - self._place(page) == place:
                if not whole and not self._has_changed(page):
                    break
                self._places[page >> 3] ^= 1 << (page & 7)
                page += 1
            length = (page - start) * self._page_length
            copy(self._stage, 0, block, (start - first) * self._page_length, length)
            self._store.write(self._address(start, place), self._stage, length)

    @micropython.native
    def _has_changed(self, page):
        """Between the image and the checkpoint that it is to become."""
        return self._changed[page >> 3] >> (page & 7) & 1

    @micropython.native
    def put(self, out, at):
        """What the stable record says of it; returns the bytes."""
        length = 4 * self._block_count
        copy(out, at, self._modified, 0, length)
        copy(out, at + length, self._places, 0, len(self._places))
        return length + len(self._places)

    # --- boot ---

    def get(self, seqno, buf, at):
        """The reverse of `put`: what the record at buf[at:] says."""
        self.seqno = seqno
        length = 4 * self._block_count
        copy(self._modified, 0, buf, at, length)
        copy(self._places, 0, buf, at + length, len(self._places))

    def load(self, state):
        """Read the image into the state, whose blocks are those of genesis."""
        for index in range(self._block_count):
            if get_u32(self._modified, 4 * index):
                self.load_block(state, index)

    def load_block(self, state, index):
        for i in range(self._pages_per_block):
            page = index * self._pages_per_block + i
            length = self._page_length
            self._store.read_into(self._address(page, self._place(page)), self._stage, length)
            state.put_raw(page * length, self._stage, length)
            self.fetched += length

    def modified(self, index):
        return get_u32(self._modified, 4 * index)

    # --- rot ---

    def is_intact(self, state, index, block):
        """Whether the pages of a block have its digest at the image's checkpoint; true if
        nothing of it is here. `block`: room for one, and 6 bytes more."""
        if self.modified(index) == 0 or not state.entry_into(self.seqno, 0, index, self._entry, 0):
            return True
        for i in range(self._pages_per_block):
            page = index * self._pages_per_block + i
            length = self._page_length
            self._store.read_into(self._address(page, self._place(page)), self._stage, length)
            copy(block, i * length, self._stage, 0, length)
        modified = self.modified(index)
        return state.tree.leaf_matches(index, modified, block, 0, self._entry, 4)

    def mend(self, state, index, block):
        """Write a block of the image again; it counts once `put` is durable."""
        state.block_into(self.seqno, index, block, 0)
        self._write_block(index, block, True)

    def bytes_reserved(self):
        return len(self._modified) + len(self._places) + len(self._changed)

    def forget(self):
        """Nothing in it can be trusted: the next checkpoint is written whole."""
        self.seqno = 0
        fill(self._modified, 0, len(self._modified), 0)
