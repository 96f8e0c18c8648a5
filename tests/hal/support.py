"""Stand-ins that the tests of the HAL share; they run on both interpreters."""

import gc
import os
import sys

from hal import HalError

ON_MICROPYTHON = sys.implementation.name == "micropython"


class Config:
    """The attributes of tinybft/config.py that the HAL reads; keywords replace values."""

    GROUP_ID = 1
    REPLICA_COUNT = 4
    CLIENT_COUNT = 5
    MESSAGE_LENGTH_MAX = 1152
    TAG_LENGTH = 8
    FRAME_LENGTH = 250
    MULTICAST_GROUP = "239.66.84.1"
    PORT = 20000
    INTERFACE = "127.0.0.1"
    HOSTS = ()

    def __init__(self, **values):
        for name in values:
            setattr(self, name, values[name])


def raises(error, function, *arguments):
    """The error that function(*arguments) must raise."""
    try:
        function(*arguments)
    except error as caught:
        return caught
    raise AssertionError("no " + error.__name__)


def bytes_allocated(function):
    """Bytes that the second of two calls takes; the third has the heap locked. CPython: 0."""
    function()
    if not ON_MICROPYTHON:
        return 0
    import micropython

    gc.collect()
    gc.disable()
    try:
        before = gc.mem_alloc()
        function()
        after = gc.mem_alloc()
    finally:
        gc.enable()
    micropython.heap_lock()
    try:
        function()
    finally:
        micropython.heap_unlock()
    return after - before


def message_of(length, start=0):
    """A message whose bytes tell their place."""
    return bytearray((start + 7 * i) & 255 for i in range(length))


_ports_taken = 0


def config_for_air(**values):
    """A Config with ports of its own, so that tests which run side by side do not meet."""
    global _ports_taken
    seed = int.from_bytes(os.urandom(2), "little")
    _ports_taken += 1
    port = 20000 + (seed % 600 * 16 + _ports_taken * 16) % 9900
    return Config(PORT=port, **values)


def received(hal, within_ms=1000):
    """The next whole message as bytes, or None when nothing comes within that time."""
    buf = bytearray(1152)
    until = hal.now_ms() + within_ms
    while True:
        length = hal.receive_into(buf)
        if length:
            return bytes(buf[:length])
        left = until - hal.now_ms()
        if left <= 0:
            return None
        hal.wait(min(left, 20))


def temporary_path(name):
    """A file name of this test process in the system's folder for such files."""
    folder = (os.getenv("TMPDIR") or "/tmp").rstrip("/")
    return "%s/tinybft-%s-%d" % (folder, name, int.from_bytes(os.urandom(4), "little"))


def with_nodes(count, test, **options):
    """Run test(config, hals) on `count` nodes; a port that is taken means another try."""
    from hal.unix import Hal  # needs sockets, which not every MicroPython has

    for attempt in range(5):
        config = config_for_air()
        hals = []
        try:
            for node_id in range(count):
                hals.append(Hal(config, node_id, **options))
        except HalError as error:
            for hal in hals:
                hal.close()
            if attempt == 4 or "in use" not in str(error):
                raise
            continue
        try:
            for hal in hals:
                received(hal, 0)  # the probes of those that came later
            test(config, hals)
        finally:
            for hal in hals:
                hal.close()
        return


def counted(hal):
    faults = hal.faults
    return {name: getattr(faults, name) for name in faults.names() if getattr(faults, name)}
