"""A YCSB run on the modelled radio: the simulator's channel and an ESP32-C3's processor.

The external client writes all records first, then replicas perform the same traces as on the
cluster, and all records are read back. Deterministic; the simulator's oracles look on.
"""

from statistics import mean

from tools.config import load as load_config
from tools.simulate.closed_loop import ClosedLoop, Mismatch
from tools.simulate.measured import Meter, latency
from tools.simulate.sim import Sim
from tools.ycsb import records
from tools.ycsb.on_cluster import is_one_of
from tools.ycsb.trace import READ, trace

_GROUPS = {READ: "read", 2: "update"}


class Loading:
    """Writes of all records, or reads, one after the other."""

    def __init__(self, record_count, client=None):
        self.replies = []
        self._client = client
        self._records = iter(range(record_count))

    def next(self, _client):
        record = next(self._records, None)
        if record is None:
            return None
        buf = bytearray(records.WRITE_LENGTH)
        if self._client is None:
            return bytes(buf[: records.encode_read(buf, record)]), False
        return bytes(buf[: records.encode_write(buf, record, self._client, 1)]), False

    def accept(self, _client, _operation, reply):
        if reply[0] != records.OK:
            raise Mismatch(f"status {reply[0]} while records were loaded or read back")
        self.replies.append(reply)


class Traces:
    """The work of a ClosedLoop: a trace per client; times of whole operations by kind."""

    def __init__(self, traces, record_count, client_count, read_only=False):
        self.commands = {
            client: records.Commands(octets, records.Books(client, record_count, client_count))
            for client, octets in traces.items()
        }
        self.times_us = {name: [] for name in _GROUPS.values()}
        self.commands_us = {"read command": [], "write command": []}
        self._read_only = read_only
        self._buf = bytearray(records.WRITE_LENGTH)
        self._began = {}
        self._completed = {}

    def next(self, client):
        length = self.commands[client].next_into(self._buf)
        if not length:
            return None
        return bytes(self._buf[:length]), self._read_only and self._buf[0] == records.READ

    def accept(self, client, _operation, reply):
        commands = self.commands[client]
        self._completed[client] = commands.accept(reply, len(reply))
        if commands.mismatch:
            raise Mismatch(f"client {client}: {commands.mismatch}")

    def on_done(self, done):
        is_read = done.operation[0] == records.READ
        name = "read command" if is_read else "write command"
        self.commands_us[name].append(done.end_us - done.begin_us)
        if is_read:
            self._began[done.client] = done.begin_us
        kind = self._completed[done.client]
        if kind:
            self.times_us[_GROUPS[kind]].append(done.end_us - self._began[done.client])


def run_on_radio(cell):
    """The row of a `command.Cell`, JSON-able."""
    config = load_config(cell.path)
    config.READ_ONLY |= cell.read_only
    first = 1 % config.REPLICA_COUNT
    ids = [(first + i) % config.REPLICA_COUNT for i in range(cell.clients)]
    sim = Sim(seed=cell.seed, service=records.Records, radio=cell.rate, config=config)
    host = config.REPLICA_COUNT
    ClosedLoop(sim, [host], Loading(cell.records, host)).perform()
    each, rest = divmod(cell.operations, cell.clients)
    work = Traces(
        {
            client: trace(cell.workload, client, each + (i < rest), cell.records, cell.seed)
            for i, client in enumerate(ids)
        },
        cell.records,
        config.CLIENT_COUNT,
        cell.read_only,
    )
    meter = Meter(sim)
    loop = ClosedLoop(sim, ids, work, work.on_done)
    loop.perform()
    passed_us = loop.passed_us
    count = sum(len(times) for times in work.times_us.values())
    row = meter.row(count, passed_us)
    wrong = _wrong_records(sim, host, cell.records, work)
    return {
        "operations": count,
        "per_second": round(1e6 * count / passed_us, 1),
        "ms": {
            name: {"count": len(times), **latency(times)}
            for name, times in (work.times_us | work.commands_us).items()
            if times
        },
        **row,
        "mean_ms": round(mean(t for times in work.times_us.values() for t in times) / 1000, 2),
        "ok": not wrong,
        "failed": [f"records {wrong} are not what was written last"] if wrong else [],
    }


def _wrong_records(sim, host, record_count, work):
    """Records that are not the last write of one of those that wrote them."""
    back = Loading(record_count)
    ClosedLoop(sim, [host], back).perform()
    wrong = []
    for record, reply in enumerate(back.replies):
        own = {c: commands.books.own(record) for c, commands in work.commands.items()}
        possible = {(writer, last) for writer, last in own.items() if last}
        if not is_one_of(reply, record, possible or {(host, 1)}):
            wrong.append(record)
    return wrong
