"""Power-on of a replica on a device: radio first, regions once, then a node that serves.

A board's main.py is three lines:

    from hal.boot import boot
    from tinybft.apps.kv import KeyValueStore
    node = boot(KeyValueStore())

The node goes on in the background: the REPL, or whatever follows in main.py, has the device
beside it (`import tinybft.repl as t`). What hinders a start is said in words on the console,
and the REPL comes up without a node: a replica never runs with half of what it needs.
"""

import gc
import sys

from hal import HalError, after_boot  # which is first: see there
from hal.keys import KeyFileError
from hal.store import StoreError
from tinybft.request_ids import StoreError as UntrustedStore

if sys.platform == "esp32":
    from hal import esp32c3 as platform
elif sys.platform == "qemu":
    from hal import virt as platform
else:
    from hal import unix_board as platform


def boot(service, config=None, background=True):
    """A running Node, or None after saying why there is none.

    background=False: the caller steps it (`node.run()`, or `await node.serve()`).
    """
    try:
        node = start(service, config)
    except (HalError, KeyFileError, StoreError, UntrustedStore) as error:
        print("tinybft: not started: " + str(error))
        return None
    if background:
        node.background()
    return node


def start(service, config=None):
    """The same without a background; raises what hinders it.

    Modules are imported as late as they are needed: see tinybft/__init__.py.
    """
    if config is None:
        from tinybft import config
    node_id, keys = platform.read_identity(config)
    hal = platform.Hal(config, node_id)
    from tinybft.memory import Memory

    gc.collect()
    memory = Memory(config)
    from hal.crypto import Crypto
    from tinybft.node import Node

    hal.crypto = Crypto(node_id, keys, config.TAG_LENGTH)
    node = Node(hal, config, service, memory)
    after_boot.give_back()
    gc.collect()
    role = "replica" if node.replica else "client"
    print("tinybft: %s %d of group %d serves" % (role, node_id, config.GROUP_ID))
    return node


def format_memory(config=None):
    """Make this board's non-volatile memory that of a new replica: once, before its first start.

    What it holds is given up. Requires an identity. A node that runs is stopped: restart the
    board then. Raises StoreError if a chip is write-protected: some acknowledge all the same.
    """
    if config is None:
        from tinybft import config
    from hal.format import format_board

    format_board(config)
