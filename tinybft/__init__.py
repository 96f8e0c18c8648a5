"""TinyBFT for MicroPython: PBFT state-machine replication with static memory.

import tinybft
node = tinybft.Node(hal, config, service)
"""

from tinybft.memory import Memory
from tinybft.node import Busy, Node, RequestTooLarge, Timeout, TinyBFTError
from tinybft.service import Service

__all__ = ("Busy", "Memory", "Node", "RequestTooLarge", "Service", "Timeout", "TinyBFTError")
