"""The partition tree: one digest for the whole state, and a proof for each of its blocks.

PBFT section 6.3 (thesis 5.3.1). Level 0 holds one entry per block of the state, every
higher level one entry per `fan_out` entries below, the top level one entry, the root.
The tree has the levels that the block count needs, and never fewer than two:

    entry     u32 seqno of the checkpoint that last modified what it covers, u8[32] digest
    entries   level 0 (leaves) | level 1 | ... | root       contiguous, 36 bytes each

    leaf digest       SHA-256(block, u16 block index, u32 last modifying checkpoint); of the last
                      block only the bytes that are in use, what is behind them stays zero
    interior digest   SHA-256(entries of its children, as they lie in `entries`)
    interior seqno    the largest of its children

An interior digest covers the exact bytes of a META-DATA body, so a fetcher that believes a
root can check each level with one hash. Leaf and interior inputs need no tag to tell them
apart: a verifier always knows at which level the digest it compares with stands.

The leaf digest is computed in place: the 6 bytes behind the block are borrowed for index
and seqno, and put back. A buffer that holds a block has therefore 6 bytes behind it; for
the state they are part of the field `blocks` or of the window (bulk.py), in a DATA message the
authenticator lies there.

Allocates: only inside `digest_into`.
"""

from tinybft.compat import const, micropython
from tinybft.octets import copy, equal, get_u32, put_u16, put_u32
from tinybft.state_fields import fan_out_of, level_lengths

_ENTRY = const(36)
_DIGEST = const(32)
_DIGEST_AT = const(4)  # in an entry
_TRAILER = const(6)


class PartitionTree:
    """The entries of the live state; `level` and `index` name a node, leaves are level 0."""

    def __init__(self, config, entries, scratch, digest_into):
        lengths = level_lengths(config)
        self.fan_out = fan_out_of(config)
        self.level_lengths = tuple(lengths)
        self.level_count = len(lengths)
        self.level_starts = tuple(sum(lengths[:i]) for i in range(len(lengths)))
        self.leaf_count = lengths[0]
        self.root = sum(lengths) - 1
        self.entries = entries
        self._scratch = scratch
        self._digest_into = digest_into
        self._block_length = config.BLOCK_LENGTH
        in_use = config.STATE_LENGTH + config.SYSTEM_LENGTH
        self._last_length = in_use - (config.BLOCK_COUNT - 1) * config.BLOCK_LENGTH
        for node in range(self.root + 1):
            put_u32(entries, node * _ENTRY, 0)

    def has(self, level, index):
        """Whether the tree has such a node (the numbers may come from a FETCH)."""
        return 0 <= level < self.level_count and 0 <= index < self.level_lengths[level]

    @micropython.native
    def child_count(self, level, index):
        """Children of an interior node, `level` >= 1; the first is `index * fan_out`."""
        left = self.level_lengths[level - 1] - index * self.fan_out
        return left if left < self.fan_out else self.fan_out

    @micropython.viper
    def length_of(self, block: int) -> int:
        """Bytes of the block that are in use."""
        if block == int(self.leaf_count) - 1:
            return int(self._last_length)
        return int(self._block_length)

    @micropython.viper
    def leaf_digest_into(  # noqa: PLR0913
        self, block: int, seqno, buf, start: int, out, at: int
    ):
        """Leaf digest of the block that lies at buf[start:]; borrows the 6 bytes behind it."""
        length = int(self.length_of(block))
        end = start + length
        assert end + _TRAILER <= int(len(buf)), "a block must have 6 bytes behind it"
        copy(self._scratch, 0, buf, end, _TRAILER)
        put_u16(buf, end, block)
        put_u32(buf, end + 2, seqno)
        try:
            self._digest_into(buf, start, length + _TRAILER, out, at)
        finally:
            copy(buf, end, self._scratch, 0, _TRAILER)

    @micropython.viper
    def update_leaf(self, block: int, seqno, blocks):
        """The entry of a block as it stands in the live state, a bulk field."""
        entries = self.entries
        at = block * _ENTRY
        put_u32(entries, at, seqno)
        start = int(blocks.open(block))
        self.leaf_digest_into(block, seqno, blocks.octets, start, entries, at + _DIGEST_AT)

    def is_leaf_of(self, block, blocks):
        """Whether the entry of a block is that of its bytes in the live state."""
        entries = self.entries
        at = block * _ENTRY
        seqno = get_u32(entries, at)
        start = blocks.open(block)
        return self.leaf_matches(block, seqno, blocks.octets, start, entries, at + _DIGEST_AT)

    def seqno_of(self, level, index):
        """The checkpoint that last modified what the node covers."""
        return get_u32(self.entries, (self.level_starts[level] + index) * _ENTRY)

    def put_entry(self, level, index, digest, digest_at, seqno):
        at = (self.level_starts[level] + index) * _ENTRY
        put_u32(self.entries, at, seqno)
        copy(self.entries, at + _DIGEST_AT, digest, digest_at, _DIGEST)

    @micropython.native
    def update_interior(self, level, index, seqno):
        """The entry of an interior node from its children's entries."""
        at = (self.level_starts[level] + index) * _ENTRY
        children = (self.level_starts[level - 1] + index * self.fan_out) * _ENTRY
        length = self.child_count(level, index) * _ENTRY
        put_u32(self.entries, at, seqno)
        self._digest_into(self.entries, children, length, self.entries, at + _DIGEST_AT)

    def update_interiors(self):
        """All interior entries, bottom up."""
        for level in range(1, self.level_count):
            for index in range(self.level_lengths[level]):
                self.update_interior(level, index, self._newest_child(level, index))

    def _newest_child(self, level, index):
        at = (self.level_starts[level - 1] + index * self.fan_out) * _ENTRY
        newest = 0
        for _ in range(self.child_count(level, index)):
            seqno = get_u32(self.entries, at)
            if seqno > newest:
                newest = seqno
            at += _ENTRY
        return newest

    def leaf_matches(self, block, seqno, buf, start, digest, digest_at):
        """Whether a received block belongs at this index and seqno under this digest."""
        self.leaf_digest_into(block, seqno, buf, start, self._scratch, _TRAILER)
        return equal(self._scratch, _TRAILER, digest, digest_at, _DIGEST)

    def children_match(self, level, index, buf, start, digest, digest_at):
        """Whether received entries are the children of a node whose digest is believed."""
        length = self.child_count(level, index) * _ENTRY
        self._digest_into(buf, start, length, self._scratch, _TRAILER)
        return equal(self._scratch, _TRAILER, digest, digest_at, _DIGEST)
