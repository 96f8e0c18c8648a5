"""The static regions: every byte that the protocol keeps, allocated once, sized by the sums below.

    agreement    ring of W slots: batch, votes, request bodies of one seqno each; and a second
                 one of PIPELINE slots for batches that P names and that are not executed
    checkpoint   W/K + 1 certificates and the newest CHECKPOINT of every peer
    event        pending request and last reply per client; P, Q, view-change messages; the
                 digests of a state transfer
    client       what replicas reported to this node's own client; its one outstanding request and
                 the result lie where the event region keeps those of its id, if that is in RAM
    scratch      message slots: one received, one being built; the window to bulk fields
    state        blocks, snapshot pool and partition tree (fields in state_fields.py)

Bulk fields (request bodies, requests, replies, blocks, pool) of a region whose storage is "nvm"
are not here: storage.py has them.

Each region is a table of fields `(name, bytes, the sum in words)`. Code takes its offsets from
the same table that `tinybft memory` prints, so the two cannot disagree. Allocation happens in
`Memory.__init__` only: at import on a device, once per simulated replica in a simulation.
"""

from tinybft.lengths import length_rows, request_length_max
from tinybft.state_fields import TRAILER_LENGTH, state_fields
from tinybft.wire import BATCH_HEADER_LENGTH, DIGEST_LENGTH, ENTRY_LENGTH, HEADER_LENGTH

_WINDOW_LENGTH = 256  # bytes that pass to or from the store at once


def aligned(length):
    """`length` rounded up to four bytes."""
    return (length + 3) // 4 * 4


def offsets(fields):
    """{name: offset} of fields that lie one behind the other, and their sum under "size"."""
    at = 0
    table = {}
    for name, length, _ in fields:
        table[name] = at
        at += length
    table["size"] = at
    return table


def message_length(config, name):
    """Longest message of that name, rounded up to four bytes."""
    for row in length_rows(config):
        if row[0] == name:
            return aligned(row[1])
    raise KeyError(name)


def body_length(config):
    """Room for the request bodies of one batch: one of the longest, or several shorter ones."""
    return aligned(request_length_max(config))


def slot_fields(config):
    """One slot of the agreement ring: all that is known of one seqno in the current view."""
    candidates = config.WEAK_QUORUM
    return (
        ("seqno", 4, "u32, 0 = free"),
        ("flags", 4, "u8 flags, u8 zero, u16 mask of requests still in doubt"),
        ("held", 4, "u16 mask of bodies held, u16 total length of bodies"),
        ("digest", DIGEST_LENGTH, "SHA-256 of the batch"),
        ("prepares", 4, "u32 mask of matching PREPAREs"),
        ("commits", 4, "u32 mask of matching COMMITs"),
        (
            "candidates",
            candidates * (DIGEST_LENGTH + 8),
            "(f + 1) x (digest 32 + two masks 4): votes for digests not (yet) accepted",
        ),
        (
            "batch",
            BATCH_HEADER_LENGTH + config.BATCH_COUNT_MAX * ENTRY_LENGTH,
            "batch header 8 + requests per batch x entry 40",
        ),
    )


def body_fields(config):
    """Bulk of one slot: the requests that its batch names."""
    return (("bodies", body_length(config), "one longest REQUEST message"),)


def pending_fields(_config):
    """The newest request of one client that waits for execution."""
    return (
        ("phase", 4, "u8: none, waiting, proposed; zero; u16 length of the request"),
        ("request_id", 4, "u32"),
        ("request_digest", DIGEST_LENGTH, "SHA-256 of the request"),
    )


def request_fields(config):
    """Bulk of one pending request."""
    return (("request", body_length(config), "one longest REQUEST message"),)


def replied_fields(_config):
    """What the last reply to one client answers."""
    return (
        ("replied_id", 4, "u32 request id"),
        ("result_length", 4, "u16 and padding"),
    )


def reply_fields(config):
    """Bulk of the last reply to one client: the message that carries it."""
    return (("reply", message_length(config, "REPLY"), "one longest REPLY message"),)


def certificate_fields(config):
    """Votes for one checkpoint."""
    return (
        ("seqno", 4, "u32, 0 = free"),
        ("own", DIGEST_LENGTH, "digest of the own snapshot"),
        ("own_mask", 4, "u32 mask of votes that match it; bit of oneself = taken"),
        (
            "candidates",
            config.WEAK_QUORUM * (DIGEST_LENGTH + 4),
            "(f + 1) x (digest 32 + mask 4): votes for other digests",
        ),
    )


def peer_fields(_config):
    """The newest CHECKPOINT of one peer, and the newest that it calls stable."""
    return (
        ("seqno", 4, "u32"),
        ("digest", DIGEST_LENGTH, "its digest"),
        ("stable", 4, "u32"),
    )


def event_fields(config):
    """View change and state transfer; the client part of the region has tables of its own."""
    n = config.REPLICA_COUNT
    w = config.WINDOW
    return (
        ("p", w * 40, "W x (seqno 4 + view 4 + digest 32): what prepared here"),
        ("q", w * (config.FAULT_COUNT + 2) * 40, "W x (f + 2) x 40: what pre-prepared here"),
        (
            "view_changes",
            n * message_length(config, "VIEW-CHANGE"),
            "one VIEW-CHANGE message per replica",
        ),
        ("view_change_digests", n * DIGEST_LENGTH, "n x digest 32 of the VIEW-CHANGE"),
        ("acks", n * 4, "n x u32 mask of matching VIEW-CHANGE-ACKs"),
        ("new_view", message_length(config, "NEW-VIEW"), "one NEW-VIEW message"),
        ("installs", n * DIGEST_LENGTH, "n x digest 32 of the NEW-VIEW that it has installed"),
    )


def client_fields(config):
    """The requesting half of a replica's node."""
    if not is_in_store(config, "STORAGE_EVENT"):
        return (_report_field(config),)
    return external_client_fields(config)


def external_client_fields(config):
    """The requesting half of a node that has no event region in RAM."""
    return (
        _report_field(config),
        ("request", body_length(config), "the outstanding REQUEST message"),
        ("result", aligned(config.REPLY_LENGTH_MAX), "the result it brought"),
    )


def _report_field(config):
    return (
        "replies",
        config.REPLICA_COUNT * (4 + DIGEST_LENGTH),
        "n x (result length 4 + digest, or short result, 32) as each replica reported",
    )


def window_length(config):
    """Bytes between RAM and bulk fields in the store; a block and 6 bytes are hashed in it."""
    if config.STORAGE_STATE == "nvm":
        return aligned(config.BLOCK_LENGTH + TRAILER_LENGTH)
    if "nvm" in (config.STORAGE_AGREEMENT, config.STORAGE_EVENT):
        return _WINDOW_LENGTH
    return 0


def scratch_fields(config):
    messages = (
        ("received", aligned(config.MESSAGE_LENGTH_MAX), "one message"),
        ("sent", aligned(config.MESSAGE_LENGTH_MAX), "one message"),
    )
    length = window_length(config)
    if not length:
        return messages
    window = ("window", length, "what passes to or from the store: a block, or less")
    return messages + (window,)


# region, table, how many of them, in words, row of the paper's Table I, storage if it is bulk
_TABLES = (
    ("agreement", slot_fields, "SLOT_COUNT", "(W + pipeline)", "agreement", None),
    ("agreement", body_fields, "SLOT_COUNT", "(W + pipeline)", "agreement", "STORAGE_AGREEMENT"),
    ("checkpoint", certificate_fields, "CHECKPOINT_COUNT", "(W/K + 1)", "execution", None),
    ("checkpoint", peer_fields, "REPLICA_COUNT", "n", "execution", None),
    ("event", pending_fields, "CLIENT_COUNT", "clients", "client", None),
    ("event", request_fields, "CLIENT_COUNT", "clients", "client", "STORAGE_EVENT"),
    ("event", replied_fields, "CLIENT_COUNT", "clients", "client", None),
    ("event", reply_fields, "CLIENT_COUNT", "clients", "client", "STORAGE_EVENT"),
    ("event", event_fields, None, "1", "view", None),
    ("client", client_fields, None, "1", "client", None),
    ("scratch", scratch_fields, None, "1", "other", None),
)


def is_in_store(config, storage):
    """True if the bulk of the region with this constant ("STORAGE_EVENT") is not in RAM."""
    return storage is not None and getattr(config, storage) == "nvm"


def region_rows(config):
    """((region, field, bytes, the sum in words, row of Table I), ...) of everything reserved."""
    rows = []
    for region, table, count_name, count_text, row, storage in _TABLES:
        if is_in_store(config, storage):
            continue
        count = getattr(config, count_name) if count_name else 1
        for name, length, text in table(config):
            if count_name:
                text = count_text + " x (" + text + ")"
            rows.append((region, name, count * length, text, row))
    for name, length, text, row in state_fields(config):
        rows.append(("state", name, length, text, row))
    return tuple(rows)


def _views(octets, table, config):
    """Of the fields "request" and "result" in a client region."""
    octets = memoryview(octets)
    request, result = table["request"], table["result"]
    request = octets[request : request + body_length(config)]
    return request, octets[result : result + config.REPLY_LENGTH_MAX]


def _ring(config, fields, count, storage=None):
    if is_in_store(config, storage):
        return bytearray()
    return bytearray(count * offsets(fields)["size"])


class ClientMemory:
    """What a node needs that is a client only."""

    def __init__(self, config):
        self._config = config
        self._table = offsets(external_client_fields(config))
        self.client = bytearray(self._table["size"])
        self.received = bytearray(aligned(config.MESSAGE_LENGTH_MAX))

    def own_buffers(self, _node_id):
        """Two views: for the outstanding REQUEST of the own client, and for its result."""
        return _views(self.client, self._table, self._config)

    def bytes_reserved(self):
        return {"client": len(self.client), "scratch": len(self.received)}


class Memory:
    """One set of regions: bytearrays, all zero."""

    def __init__(self, config):
        self._config = config
        self.slots = _ring(config, slot_fields(config), config.SLOT_COUNT)
        self.bodies = _ring(config, body_fields(config), config.SLOT_COUNT, "STORAGE_AGREEMENT")
        self.certificates = _ring(config, certificate_fields(config), config.CHECKPOINT_COUNT)
        self.peers = _ring(config, peer_fields(config), config.REPLICA_COUNT)
        self.pending = _ring(config, pending_fields(config), config.CLIENT_COUNT)
        self.requests = _ring(config, request_fields(config), config.CLIENT_COUNT, "STORAGE_EVENT")
        self.replied = _ring(config, replied_fields(config), config.CLIENT_COUNT)
        self.replies = _ring(config, reply_fields(config), config.CLIENT_COUNT, "STORAGE_EVENT")
        self.event = _ring(config, event_fields(config), 1)
        self.client = _ring(config, client_fields(config), 1)
        self.received = bytearray(aligned(config.MESSAGE_LENGTH_MAX))
        self.sent = bytearray(aligned(config.MESSAGE_LENGTH_MAX))
        self.window = bytearray(window_length(config))
        self.state = {}
        for name, length, _, _ in state_fields(config):
            self.state[name] = bytearray(length)

    def own_buffers(self, node_id):
        """Two views: for the outstanding REQUEST of the own client, and for its result."""
        config = self._config
        if not self.requests:
            return _views(self.client, offsets(client_fields(config)), config)
        length = body_length(config)
        request = memoryview(self.requests)[node_id * length : (node_id + 1) * length]
        start = node_id * message_length(config, "REPLY") + HEADER_LENGTH
        return request, memoryview(self.replies)[start : start + config.REPLY_LENGTH_MAX]

    def bytes_reserved(self):
        """{region: bytes} as allocated, for comparison with `region_rows`."""
        return {
            "agreement": len(self.slots) + len(self.bodies),
            "checkpoint": len(self.certificates) + len(self.peers),
            "event": len(self.pending)
            + len(self.requests)
            + len(self.replied)
            + len(self.replies)
            + len(self.event),
            "client": len(self.client),
            "scratch": len(self.received) + len(self.sent) + len(self.window),
            "state": sum(len(field) for field in self.state.values()),
        }
