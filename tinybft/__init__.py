"""TinyBFT for MicroPython: PBFT state-machine replication with static memory.

    import tinybft
    node = tinybft.Node(hal, config, service)

The names below load their modules on first use, so that importing one part of the library
(`from tinybft import wire`) costs no more than that part.
"""

_NAMES = {
    "Node": "node",
    "TinyBFTError": "node",
    "RequestTooLarge": "node",
    "Busy": "node",
    "Timeout": "node",
    "Service": "service",
    "Memory": "memory",
}


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError("tinybft has no attribute " + name)
    module = __import__("tinybft." + _NAMES[name], None, None, (name,))
    return getattr(module, name)
