"""The rules about sizes that only the code can tell: message lengths and region lengths.

Lengths are asked from `tinybft.wire`, `tinybft.memory` and `hal.frames`, which the replicas
use themselves; nothing is repeated here. What a person can change about them stands here.
"""

from collections import Counter

from hal.espnow_sizes import espnow_memory_rows
from hal.fram_i2c import length_of
from hal.frames import FRAGMENT_COUNT_MAX, HEADER_LENGTH, frame_memory_rows
from tinybft.layout import durable_rows
from tinybft.lengths import length_rows
from tinybft.memory import region_rows
from tools.config_rules import facts_of
from tools.nonvolatile import broken_map

# message -> constants that make it long, the one to lower first in front
_LONG_BECAUSE_OF = {
    "REQUEST": "REQUEST_LENGTH_MAX REPLICA_COUNT TAG_LENGTH",
    "PRE-PREPARE": "INLINE_LENGTH_MAX BATCH_COUNT_MAX REPLICA_COUNT TAG_LENGTH",
    "REPLY": "REPLY_LENGTH_MAX TAG_LENGTH",
    "VIEW-CHANGE": "WINDOW FAULT_COUNT TAG_LENGTH",
    "NEW-VIEW": "WINDOW FAULT_COUNT TAG_LENGTH",
    "STATUS": "WINDOW FAULT_COUNT TAG_LENGTH",
    "META-DATA": "BLOCK_COUNT TAG_LENGTH",
    "DATA": "BLOCK_LENGTH TAG_LENGTH",
}
_OF_THE_GROUP = "FAULT_COUNT TAG_LENGTH"


def broken_sizes(config):
    """Yield (constant, message) per size that exceeds its limit.

    Regions are laid out for messages that fit (a tree node's children travel in one), so
    they are summed up only when all do; so is the map of the non-volatile memory.
    """
    lengths = [*_broken_messages(config), *_broken_fragments(config)]
    yield from lengths or (*_broken_budget(config), *broken_map(config), *_broken_parts(config))


def static_rows(config):
    """((region, field, bytes, the sum in words, row of Table I), ...) of all static memory."""
    frames = (*frame_memory_rows(config), *espnow_memory_rows(config))
    return (*region_rows(config), *durable_rows(config), *frames)


def region_totals(rows):
    """{region: bytes} in the order of the rows."""
    totals = Counter()
    for region, _, length, _, _ in rows:
        totals[region] += length
    return dict(totals)


def _broken_messages(config):
    limit = config.MESSAGE_LENGTH_MAX
    for name, length, text in length_rows(config):
        if length <= limit:
            continue
        because = _LONG_BECAUSE_OF.get(name, _OF_THE_GROUP)
        facts = facts_of(because, vars(config))
        room = (length + 3) // 4 * 4
        yield (
            "MESSAGE_LENGTH_MAX",
            f"the longest {name} must fit into one message (rule: {name} <= message_length_max);"
            f" {name} = {length} ({text}), message_length_max = {limit}, {facts};"
            f" raise message_length_max to {room} or lower {_first_key(because)}",
        )


def _first_key(because):
    return because.split()[0].lower().replace("block_count", "state_length")


def _broken_fragments(config):
    longest, frame = config.MESSAGE_LENGTH_MAX, config.FRAME_LENGTH
    room = FRAGMENT_COUNT_MAX * (frame - HEADER_LENGTH)
    if longest > room:
        needed = -(-longest // FRAGMENT_COUNT_MAX) + HEADER_LENGTH
        yield (
            "FRAME_LENGTH",
            f"a message travels in at most {FRAGMENT_COUNT_MAX} fragments (rule:"
            f" message_length_max <= {FRAGMENT_COUNT_MAX} * (frame_length - {HEADER_LENGTH}));"
            f" message_length_max = {longest}, frame_length = {frame}, room for {room};"
            f" raise frame_length to {needed} or lower message_length_max",
        )


def _broken_budget(config):
    totals = region_totals(static_rows(config))
    total = sum(totals.values())
    if total <= config.RAM_MAX:
        return
    parts = ", ".join(f"{region} {length}" for region, length in totals.items())
    yield (
        "RAM_MAX",
        "all regions together must fit into the RAM budget (rule: sum of regions <= ram_max);"
        f" sum = {total} ({parts}), ram_max = {config.RAM_MAX};"
        f" raise ram_max to {total} or lower window, state_length or client_count",
    )


def _broken_parts(config):
    length = sum(length_of(part) for _, part in config.FRAM_PARTS)
    if config.FRAM_PARTS and length < config.NVM_LENGTH:
        yield (
            "FRAM_PARTS",
            "the chips must hold the non-volatile memory (rule: bytes of parts >= nvm_length);"
            f" bytes of parts = {length}, nvm_length = {config.NVM_LENGTH};"
            " name larger or more chips, or lower nvm_length",
        )
