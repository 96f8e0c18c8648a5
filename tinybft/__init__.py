"""TinyBFT for MicroPython: PBFT state-machine replication with static memory.

import tinybft
node = tinybft.Node(hal, config, service)

With regions in non-volatile memory, once, before a new replica's first start (identity.py):

tinybft.format_store(hal.store, config, replica_id, hal.crypto.digest_into)
"""

from tinybft.identity import format_store
from tinybft.memory import Memory
from tinybft.node import (
    Busy,
    Node,
    Rejoining,
    RequestTooLarge,
    Stopped,
    Timeout,
    TinyBFTError,
)
from tinybft.request_ids import StoreError
from tinybft.service import Service

__all__ = (
    "Busy",
    "Memory",
    "Node",
    "Rejoining",
    "RequestTooLarge",
    "Service",
    "Stopped",
    "StoreError",
    "Timeout",
    "TinyBFTError",
    "format_store",
)
