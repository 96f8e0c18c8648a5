"""The longest message of every type: what the configuration must leave room for.

`tinybft config` refuses a file in which one of these does not fit `message_length_max`, and
memory.py sizes its regions by them. Runs at boot and on the host, never on the message path.
"""

from tinybft.state_fields import fan_out_of
from tinybft.structure import view_change_body_max
from tinybft.wire import (
    BATCH_HEADER_LENGTH,
    DATA_HEADER_LENGTH,
    ENTRY_LENGTH,
    FETCH_BODY_LENGTH,
    HEADER_LENGTH,
    META_DATA_HEADER_LENGTH,
)


def authenticator_length(config):
    return (config.REPLICA_COUNT - 1) * config.TAG_LENGTH


def request_length_max(config):
    """Longest REQUEST message: an external client has one tag for every replica."""
    tags = config.REPLICA_COUNT * config.TAG_LENGTH
    return HEADER_LENGTH + config.REQUEST_LENGTH_MAX + tags


def length_rows(config):
    """((message, longest length in bytes, the sum in words), ...) for all message types."""
    auth = authenticator_length(config)
    tag = config.TAG_LENGTH
    n = config.REPLICA_COUNT
    w = config.WINDOW
    b = config.BATCH_COUNT_MAX
    mask = (n + 7) // 8
    status = 6 + w * (3 + 2 * mask) + config.CHECKPOINT_COUNT * mask
    by_digest = BATCH_HEADER_LENGTH + b * (1 + ENTRY_LENGTH)
    one_inline = min(config.INLINE_LENGTH_MAX, request_length_max(config))
    inline = max(0, one_inline - ENTRY_LENGTH)
    children = min(fan_out_of(config), config.BLOCK_COUNT)
    return (
        (
            "REQUEST",
            request_length_max(config),
            "header 16 + operation + one tag per replica",
        ),
        (
            "PRE-PREPARE",
            HEADER_LENGTH + by_digest + inline + auth,
            "header 16 + batch 8 + entries (41 each, one of them inline) + authenticator",
        ),
        ("PREPARE", HEADER_LENGTH + 32 + auth, "header 16 + digest 32 + authenticator"),
        ("COMMIT", HEADER_LENGTH + 48 + auth, "header 16 + digest 32 + 16 + authenticator"),
        (
            "REPLY",
            HEADER_LENGTH + max(32, config.REPLY_LENGTH_MAX) + tag,
            "header 16 + result (or digest 32) + tag",
        ),
        ("CHECKPOINT", HEADER_LENGTH + 32 + auth, "header 16 + digest 32 + authenticator"),
        (
            "VIEW-CHANGE",
            HEADER_LENGTH + view_change_body_max(config) + auth,
            "header 16 + counts 4 + C (W/K + 1) x 36 + P W x 37 + Q W x (f + 2) x 37"
            " + authenticator",
        ),
        (
            "VIEW-CHANGE-ACK",
            HEADER_LENGTH + 33 + auth,
            "header 16 + replica 1 + digest 32 + authenticator",
        ),
        (
            "NEW-VIEW",
            HEADER_LENGTH + 34 + 33 * n + 32 * w + auth,
            "header 16 + counts 2 + checkpoint 32 + V n x 33 + X W x 32 + authenticator",
        ),
        (
            "STATUS",
            HEADER_LENGTH + status + auth,
            "header 16 + 6 + W x (3 + 2 masks) + W/K + 1 masks + authenticator",
        ),
        ("FETCH", HEADER_LENGTH + FETCH_BODY_LENGTH + tag, "header 16 + 6 + tag"),
        (
            "META-DATA",
            HEADER_LENGTH + META_DATA_HEADER_LENGTH + 36 * children + tag,
            "header 16 + 8 + children x 36 + tag",
        ),
        (
            "DATA",
            HEADER_LENGTH + DATA_HEADER_LENGTH + config.BLOCK_LENGTH + tag,
            "header 16 + 8 + block + tag",
        ),
    )
