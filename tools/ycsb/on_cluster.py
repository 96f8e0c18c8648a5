"""A YCSB run on the unix cluster: real MicroPython processes, loaded from the host first.

The external client of the host writes all records, the replicas' clients perform their traces,
then the host reads all records back: each must be the last write that one of the clients had
acknowledged there, or the one that was loaded if none wrote it.
"""

from tools.cluster.checks import equal_digests
from tools.cluster.client import ExternalClient
from tools.cluster.plans import network
from tools.cluster.processes import Processes
from tools.cluster.reports import load_latencies, merged
from tools.cluster.result import check
from tools.cluster.run import Course
from tools.cluster.table import Silence
from tools.refusal import Refusal
from tools.ycsb import records
from tools.ycsb.node import GROUPS
from tools.ycsb.trace import trace

PROGRAM = "tools.ycsb.node"
_SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


class TraceCourse(Course):
    """A Course whose clients perform traces. Requires: `lay_out` was called."""

    def plan_of(self, node_id, operations, boot):
        path = self.folder.node_file(node_id, "trace")
        work = {"path": str(path), "records": self.record_count} if operations else None
        return {**super().plan_of(node_id, None, boot), "trace": work}

    def lay_out(self, workload, record_count, seed):
        """Write the traces of all clients."""
        self.record_count = record_count
        for client, count in self.given.items():
            octets = trace(workload, client, count, record_count, seed)
            self.folder.node_file(client, "trace").write_bytes(octets)


def run_on_cluster(folder, config, options, workload, record_count):
    """One run as a row: rate, latency by kind of operation, checks. Nothing is left running."""
    folder.clear()
    processes = Processes(folder, options.heap, PROGRAM)
    with processes.guarded():
        course = TraceCourse(folder, config, options, processes, Silence())
        course.lay_out(workload, record_count, options.seed)
        course.start()
        host = config.REPLICA_COUNT
        checks = []
        try:
            with ExternalClient(folder, config, host, network=network(options, host)) as client:
                load(client, record_count)
            course.work()
            with ExternalClient(folder, config, host, network=network(options, host)) as client:
                checks.append(read_back(client, course, record_count))
                checks.append(equal_digests(course, client))
        except Refusal as refusal:
            checks.append(check("read back", False, str(refusal)))
        views = course.reports.views()
        return row_of(folder, course, [v for v in views if v.workload], checks)


def load(client, record_count):
    """Write all records once; raises Refusal."""
    operation = bytearray(client.config.REQUEST_LENGTH_MAX)
    for record in range(record_count):
        length = records.encode_write(operation, record, client.client_id, 1)
        reply = client.ask(operation, length)
        if reply != bytes((records.OK,)):
            raise Refusal(f"record {record}: was not loaded (status {reply[0]})")


def read_back(client, course, record_count):
    """Whether each record is the last write of one of those that wrote it."""
    operation = bytearray(client.config.REQUEST_LENGTH_MAX)
    own = {v.node_id: v.workload["own"] for v in course.reports.views() if v.workload}
    wrong = []
    for record in range(record_count):
        reply = client.ask(operation, records.encode_read(operation, record))
        possible = {(writer, last[record]) for writer, last in own.items() if last[record]}
        if not is_one_of(reply, record, possible or {(client.client_id, 1)}):
            wrong.append(str(record))
    detail = f"{record_count} records hold the last write of one of their writers"
    if wrong:
        detail = f"{len(wrong)} of {record_count} records differ: {', '.join(wrong[:5])}"
    return check("read back", not wrong, detail, lost=len(wrong))


def is_one_of(reply, record, writes):
    """Whether the reply to a READ is the record as one of {(client, sequence), ...} left it."""
    scratch = bytearray(records.RECORD_LENGTH)
    if len(reply) != 1 + len(scratch) or not records.is_whole(reply, 1, record, scratch):
        return False
    return (reply[3], int.from_bytes(reply[5:9], "little")) in writes


def row_of(folder, course, views, checks):
    """{rate, operations, latency: {kind: {count, mean, p50, p95, p99}}, checks}"""
    operations = sum(view.workload["acknowledged"] for view in views)
    seconds = max((view.workload["busy_us"] for view in views), default=0) / 1e6
    wrong = [view.workload["mismatch"] for view in views if view.workload["mismatched"]]
    wanted = sum(course.given.values())
    detail = f"{operations} of {wanted}, each reply as its client expects"
    if wrong:
        detail = f"a reply was not what was written: {wrong[0]}"
    checks = [
        *(check("running", False, failure) for failure in course.failures),
        check("operations", operations == wanted and not wrong, detail, lost=len(wrong)),
        *checks,
    ]
    histograms = [load_latencies(folder, view.node_id) for view in views]
    latency = {}
    for i, kind in enumerate(GROUPS):
        group = merged([one[i] for one in histograms if one])
        if group.total():
            total_us = sum(view.workload["sums_us"][i] for view in views)
            latency[kind] = {"count": group.total(), "mean": total_us / group.total() / 1000}
            for name, share in _SHARES:
                latency[kind][name] = group.quantile(share) / 1000
            latency[kind] = {k: round(v, 3) for k, v in latency[kind].items()}
    return {
        "operations": operations,
        "per_second": round(operations / seconds, 1) if seconds else 0.0,
        "ms": latency,
        "ok": all(entry["ok"] for entry in checks),
        "failed": [f"{entry['name']}: {entry['detail']}" for entry in checks if not entry["ok"]],
    }
