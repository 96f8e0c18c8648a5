"""Long results, kept for clients that ask again after everything was off.

The client table, which is part of the state, holds a result of up to 32 bytes, and the digest
of a longer one. Batches above the image are executed again after a restart and give their
results again; those below are not. If all replicas lost power together, nobody could tell such
a result any more, and its client would ask for ever. So before low_mark moves past them, the
last long result of each client is written: a record of request id u32 and result. One that is
torn belongs to a batch that is executed again.

Allocates nothing outside hashing.
"""

from tinybft.compat import const, micropython
from tinybft.octets import get_u32, put_u32
from tinybft.records import GOOD
from tinybft.requests import RESULT_INLINE_MAX

_ID_LENGTH = const(4)


class Results:
    def __init__(self, core, records):
        self._core = core
        self._records = records
        self._saved = bytearray(_ID_LENGTH * core.config.CLIENT_COUNT)

    @micropython.native
    def save(self):
        """Write the long results that are not there yet."""
        core = self._core
        records = self._records
        replies = core.replies
        for client in range(records.count):
            number = core.execution.last_request_id(client)
            length = core.execution.table_result_length(client)
            if length <= RESULT_INLINE_MAX or number == get_u32(self._saved, client * _ID_LENGTH):
                continue
            if core.tentative and core.tentative.marks[client]:
                continue  # its batch lies above, and may yet be another one
            if replies.holds(client, number):
                put_u32(records.stage, records.at, number)
                replies.save_result(client, records.stage, records.at + _ID_LENGTH, length)
                put_u32(self._saved, client * _ID_LENGTH, number)
                records.write(client, _ID_LENGTH + length)

    def load(self):
        """At boot, when the state is there: results that the client table still names."""
        core = self._core
        records = self._records
        for client in range(records.count):
            if records.read(client) != GOOD:
                continue
            number = get_u32(records.stage, records.at)
            put_u32(self._saved, client * _ID_LENGTH, number)
            if number == core.execution.last_request_id(client):
                at = records.at + _ID_LENGTH
                length = records.length - _ID_LENGTH
                core.replies.restore_result(client, number, records.stage, at, length)

    def bytes_reserved(self):
        return len(self._saved)

    def clear(self):
        for client in range(self._records.count):
            self._records.clear(client)
