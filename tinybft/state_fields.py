"""What the replicated state takes: its fields (state.py), and the nodes of its partition tree.

A module of its own: the regions are laid out before there is a replica.
"""

from tinybft.compat import const

ENTRY_LENGTH = 36
TRAILER_LENGTH = 6
SCRATCH_LENGTH = 42  # borrowed bytes 6, digest or entry to compare with 36

_ENTRY = const(36)
# What a META-DATA message needs besides the entries: header, level, index, authenticator.
_METADATA_OVERHEAD = const(64)
_TABLE_ROW = "execution"


def fan_out_of(config):
    """Children per interior node, so that all their entries fit one META-DATA message."""
    return min(256, (config.MESSAGE_LENGTH_MAX - _METADATA_OVERHEAD) // _ENTRY)


def level_lengths(config):
    """Number of nodes per level, leaves first; the last is 1."""
    fan_out = fan_out_of(config)
    assert fan_out >= 2, "message_length_max leaves no room for two entries of the partition tree"
    lengths = [config.BLOCK_COUNT]
    while lengths[-1] > 1 or len(lengths) < 2:
        lengths.append((lengths[-1] + fan_out - 1) // fan_out)
    return lengths


def live_length(config):
    """Bytes that the live state takes: its last block ends with the last page in use."""
    pages = -(-(config.STATE_LENGTH + config.SYSTEM_LENGTH) // config.PAGE_LENGTH)
    return pages * config.PAGE_LENGTH


def state_fields(config):
    """(field, bytes, how the sum comes about, row of the paper's Table I) of each field."""
    blocks, pool, held = config.BLOCK_COUNT, config.POOL_PAGE_COUNT, config.CHECKPOINT_COUNT
    nodes = sum(level_lengths(config))
    assert config.PAGE_COUNT < 65536 > nodes, "pages and nodes are numbered with 16 bits"
    kept = (held - 1) * (min(blocks, config.CHANGED_PAGES_MAX) + nodes - blocks)
    kept_text = "(CHECKPOINT_COUNT - 1) * (blocks changed in K batches + interiors) * "
    sums = (
        ("modified", (config.PAGE_COUNT + 7) // 8, "a bit per page"),
        ("tree", nodes * ENTRY_LENGTH, "nodes of the partition tree * 36"),
        ("scratch", SCRATCH_LENGTH, "6 + 36"),
        ("pool_pages", pool * 2, "POOL_PAGE_COUNT * 2"),
        ("kept", kept * ENTRY_LENGTH, kept_text + "36"),
        ("kept_nodes", kept * 2, kept_text + "2"),
        ("snapshot_seqnos", held * 4, "CHECKPOINT_COUNT * 4"),
        ("snapshot_counts", held * 4, "CHECKPOINT_COUNT * 4"),
    )
    if config.STORAGE_STATE == "nvm":
        bulk = (
            ("system", config.SYSTEM_LENGTH, "SYSTEM_LENGTH"),
            ("target", nodes * ENTRY_LENGTH, "nodes of the partition tree * 36"),
        )
    else:
        bulk = (
            ("blocks", live_length(config) + TRAILER_LENGTH, "pages in use * PAGE_LENGTH + 6"),
            (
                "pool",
                max(pool * config.PAGE_LENGTH, nodes * ENTRY_LENGTH),
                "POOL_PAGE_COUNT * PAGE_LENGTH, or nodes * 36",
            ),
        )
    return tuple((name, size, text, _TABLE_ROW) for name, size, text in bulk + sums)


def allocate_state(config):
    """The fields as a dict of bytearrays, for who has no StateRegion of `memory`."""
    return {name: bytearray(size) for name, size, _, _ in state_fields(config)}
