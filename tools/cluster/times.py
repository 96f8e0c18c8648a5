"""When a client submitted each operation, and when it was acknowledged, by one common clock.

Runs on MicroPython (which writes) and CPython (which reads). 16 bytes per operation are appended
to a file of the client's own: submitted u64, acknowledged u64, little-endian, in microseconds of
the host's CLOCK_MONOTONIC. It is one clock for all processes of a machine: time.ticks_us of
MicroPython's unix port (64-bit: no wrap), time.monotonic_ns on CPython. Writing allocates nothing.
"""

import struct

RECORD = "<QQ"
RECORD_LENGTH = 16


class TimesFile:
    """What a client appends to."""

    def __init__(self, path):
        self._file = open(path, "ab", 0)  # noqa: SIM115 - lives as long as it
        self._record = bytearray(RECORD_LENGTH)

    def add(self, submitted, acknowledged):
        struct.pack_into(RECORD, self._record, 0, submitted, acknowledged)
        self._file.write(self._record)


class Acknowledgements:
    """The host's look at the files of some clients, {client_id: path}."""

    def __init__(self, paths):
        self._paths = paths
        self._read = dict.fromkeys(paths, 0)  # bytes
        self._since = 0
        self._found = []

    def begin(self, since):
        """From now on only operations submitted at `since` (us) or later count."""
        self.look()
        self._since = since
        self._found = []

    def look(self, without=None):
        """Times of acknowledgement (us), sorted, but for those of the client `without`."""
        for client_id, path in self._paths.items():
            for submitted, acknowledged in self._new_records(client_id, path):
                if submitted >= self._since:
                    self._found.append((acknowledged, client_id))
        return sorted(at for at, client_id in self._found if client_id != without)

    def latencies(self):
        """[(when acknowledged, how long it took), ...] in us, of all operations so far."""
        found = []
        for path in self._paths.values():
            with open(path, "rb") as file:
                content = file.read()
            content = content[: len(content) // RECORD_LENGTH * RECORD_LENGTH]
            records = struct.iter_unpack(RECORD, content)
            found += [(after, after - before) for before, after in records]
        return found

    def _new_records(self, client_id, path):
        try:
            with open(path, "rb") as file:
                file.seek(self._read[client_id])
                content = file.read()
        except OSError:
            return []
        content = content[: len(content) // RECORD_LENGTH * RECORD_LENGTH]
        self._read[client_id] += len(content)
        return struct.iter_unpack(RECORD, content)
