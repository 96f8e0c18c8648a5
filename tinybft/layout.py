"""The map of the non-volatile memory: which bytes of the store belong to what.

    request_ids   ranges of the own client's request ids (request_ids.py)
    identity      whose memory this is, and of which configuration and map
    slots         per slot of both rings: what was accepted, prepared, committed (two places by
                  turns), and its batch
    stable        low_mark, and the checkpoint whose pages are kept; two places by turns
    view          view, own VIEW-CHANGE (in which P and Q are), NEW-VIEW; two places by turns
    acks          the VIEW-CHANGE-ACKs sent in the present view
    pages         the state at that checkpoint, each page in one of two places
    results       the last long result of each client
    pool, blocks, pending, replies    bulk of "nvm" regions; holds nothing across a restart

An area is in the map if the configuration stores its region outside of RAM. Each is a row
`(name, bytes, the sum in words)`; code takes its addresses from the same table that
`tinybft memory` prints. How a record is made safe against a torn write: records.py.
"""

from tinybft.compat import const
from tinybft.memory import body_length, message_length

LAYOUT_VERSION = const(1)
RECORD_OVERHEAD = const(8)  # mark 1, length 2, check 4, mark 1
SLOT_HEADER_LENGTH = const(102)  # 2 x (prepared 1, committed 1, record of 41)
BATCH_TIME_LENGTH = const(8)
IDENTITY_LENGTH = const(23)
STABLE_LENGTH = const(44)  # generation 4, low_mark 4, image 4, digest 32
VIEW_LENGTH = const(17)  # generation 4, view 4, active 1, view left 4, two lengths 2
ACK_LENGTH = const(36)  # view 4, digest 32
HEADER_LENGTH = const(41)  # of a slot: seqno 4, view 4, digest 32, kind 1
KNOWN_LENGTH = const(45)  # in RAM: the same; two flags; is the batch there; the place

_REQUEST_IDS_LENGTH = const(16)


def stable_length(config):
    """Payload of a stable record: with the state's pages, where each is and how old."""
    if not config.STATE_DURABLE:
        return STABLE_LENGTH
    return STABLE_LENGTH + 4 * config.BLOCK_COUNT + page_map_length(config)


def page_map_length(config):
    return (config.PAGE_COUNT + 7) // 8


def view_length(config):
    """Payload of a view record."""
    messages = message_length(config, "VIEW-CHANGE") + message_length(config, "NEW-VIEW")
    return VIEW_LENGTH + messages


def result_length(config):
    """Payload of a result record."""
    return 4 + config.REPLY_LENGTH_MAX


def slot_length(config):
    """One slot of either ring."""
    return SLOT_HEADER_LENGTH + BATCH_TIME_LENGTH + body_length(config)


def area_rows(config):
    """((area, bytes, the sum in words), ...) in the order of addresses."""
    n = config.REPLICA_COUNT
    rows = [
        ("request_ids", _REQUEST_IDS_LENGTH, "2 x 8"),
        ("identity", RECORD_OVERHEAD + IDENTITY_LENGTH, "record of 23"),
    ]
    if config.DURABLE:
        rows += [
            (
                "slots",
                config.SLOT_COUNT * slot_length(config),
                "(W + pipeline) x (2 headers of 51 + time 8 + one longest REQUEST)",
            ),
            (
                "stable",
                2 * (RECORD_OVERHEAD + stable_length(config)),
                "2 records: marks and digest 44, blocks x 4, a bit per page",
            ),
            (
                "view",
                2 * (RECORD_OVERHEAD + view_length(config)),
                "2 records: view 17, VIEW-CHANGE, NEW-VIEW",
            ),
            ("acks", n * (RECORD_OVERHEAD + ACK_LENGTH), "n records: view 4, digest 32"),
        ]
    if config.STATE_DURABLE:
        length = config.BLOCK_COUNT * config.BLOCK_LENGTH
        rows += [
            ("pages", 2 * length, "2 x blocks x block_length"),
            (
                "results",
                config.CLIENT_COUNT * (RECORD_OVERHEAD + result_length(config)),
                "clients x record of (request id 4 + one longest result)",
            ),
        ]
    if config.STORAGE_STATE == "nvm":
        blocks = config.BLOCK_COUNT
        rows += [
            ("blocks", blocks * config.BLOCK_LENGTH, "blocks x block_length"),
            ("pool", config.POOL_PAGE_COUNT * config.PAGE_LENGTH, "pool pages x page length"),
        ]
    if config.STORAGE_EVENT == "nvm":
        clients = config.CLIENT_COUNT
        reply = message_length(config, "REPLY")
        rows += [
            ("pending", clients * body_length(config), "clients x one longest REQUEST"),
            ("replies", clients * reply, "clients x one longest REPLY"),
        ]
    return tuple(rows)


def stage_length(config):
    """The staging buffer: the longest record, batch or block that is written or read."""
    longest = max(view_length(config), stable_length(config))
    if config.STATE_DURABLE:
        longest = max(longest, result_length(config), config.BLOCK_LENGTH)
    return max(longest + RECORD_OVERHEAD, BATCH_TIME_LENGTH + body_length(config))


def durable_rows(config):
    """What all that needs in RAM, as `memory.region_rows` has it: its region is "durability"."""
    rows = []
    if config.DURABLE:
        rows += [
            ("stage", stage_length(config), "one longest record, batch or block"),
            ("known", config.SLOT_COUNT * KNOWN_LENGTH, "(W + pipeline) x (header 41, flags 4)"),
            ("said", config.REPLICA_COUNT * ACK_LENGTH, "n x (view 4, digest 32)"),
        ]
    if config.STATE_DURABLE:
        pages = page_map_length(config)
        rows += [
            ("image", 4 * config.BLOCK_COUNT + pages, "blocks x 4, a bit per page"),
            ("changed", pages, "a bit per page"),
            ("results", 4 * config.CLIENT_COUNT, "clients x request id 4"),
        ]
    return tuple([("durability",) + row + ("other",) for row in rows])


def areas(config):
    """{area: address}, and behind the last one under "size"."""
    at = 0
    table = {}
    for name, length, _ in area_rows(config):
        table[name] = at
        at += length
    table["size"] = at
    return table
