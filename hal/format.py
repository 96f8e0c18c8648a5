"""A new replica's non-volatile memory: what hal/boot.py has for people at the prompt.

A module of its own: one that is imported again when it is asked for has no names in RAM while
the replica runs, neither its own nor the platform's.
"""

import sys

from hal.crypto import digest_into
from tinybft import attached
from tinybft.identity import format_store

if sys.platform == "esp32":
    from hal import esp32c3 as platform
elif sys.platform == "qemu":
    from hal import virt as platform
else:
    from hal import unix_board as platform


def format_board(config):
    """See hal.boot.format_memory."""
    node_id, _ = platform.read_identity(config)
    node = attached.node
    if node is None:
        store = platform.Hal(config, node_id).store
    else:
        # Its store: beside its regions there is no room for a second radio.
        store = node.hal.store
        node.hal.background(None)
        node.stopped = "format_memory"
    for address in getattr(store, "chip_starts", ()):  # what lies there is given up
        store.check_writable(address)
    format_store(store, config, node_id, digest_into)
