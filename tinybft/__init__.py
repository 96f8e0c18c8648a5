"""TinyBFT for MicroPython: PBFT state-machine replication with static memory.

import tinybft
node = tinybft.Node(hal, config, service)

With regions in non-volatile memory, once, before a new replica's first start (identity.py):

tinybft.format_store(hal.store, config, replica_id, hal.crypto.digest_into)

Each name is imported when it is first asked for: on a device the regions are allocated while
the heap is still in one piece (hal.boot), before most modules take their small ones.
"""

_HOMES = (  # a tuple takes no RAM
    ("Busy", "errors"),
    ("Memory", "memory"),
    ("Node", "node"),
    ("Rejoining", "errors"),
    ("RequestTooLarge", "errors"),
    ("Service", "service"),
    ("StoreError", "request_ids"),
    ("Stopped", "errors"),
    ("Timeout", "errors"),
    ("TinyBFTError", "errors"),
    ("format_store", "identity"),
)
__all__ = tuple([name for name, _ in _HOMES])


def __getattr__(name):
    if name.startswith("_"):
        raise AttributeError(name)
    homes = [home for one, home in _HOMES if one == name]
    try:
        module = __import__("tinybft." + (homes or [name])[0], None, None, (name,))
    except ImportError as error:
        if homes:
            raise
        raise AttributeError(str(error)) from None
    return getattr(module, name) if homes else module
