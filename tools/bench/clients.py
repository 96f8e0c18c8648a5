"""`tinybft bench clients`: one group and more and more external clients, as many as 250.

The paper's experiment on servers. The named configuration `server` has the room: what limits the
number is client_count, at most 255 (a frame's address), and the replicas' memory, of which each
client takes a part whether it speaks or not. Clients are played by host processes (crowd.py);
everything runs on one machine here, so clients and replicas share its processors. cpu_us is time
of the processor per operation, mean of the replicas.
"""

import sys
import time
from dataclasses import replace

import rich_click as click
from rich.table import Table

from tools.bench.figures import median_of, plural, spread
from tools.bench.floor import awaited
from tools.bench.options import Setting, common_options
from tools.cluster.commands import Numbers
from tools.cluster.files import ROOT
from tools.cluster.plans import fitting_sizes
from tools.cluster.processes import Processes
from tools.cluster.reports import load_latencies, merged
from tools.cluster.run import Course
from tools.cluster.table import Silence
from tools.refusal import Refusal
from tools.results import plots

PROGRAM = "tools.bench.crowd"
NAMED = "server"
COUNTS = (1, 4, 16, 64, 128, 250)
SMALL = 64
HEAP = "16M"
FIRST_CROWD = 1000  # files of host processes are named after numbers that no node has


class CrowdProcesses(Processes):
    """CPython processes that run from the project's own folder."""

    def command(self, _replica):
        return [sys.executable, "-m", PROGRAM], ROOT


@click.command()
@click.option("--clients", "counts", type=Numbers(), help=f"[{','.join(map(str, COUNTS))}]")
@click.option("--size", default=SMALL, show_default=True, help="Bytes of each value.")
@click.option("--hosts", default=1, show_default=True, type=click.IntRange(1, 16))
@common_options
def clients(counts, size, hosts, **common):
    """Puts of up to 250 external clients in closed loops: throughput and latency.

    Takes the configuration `server` unless another one is named; --hosts processes share the
    clients. Each client reads back at the end what it wrote last.
    """
    if common["name"] is None and common["file"] is None:
        common["name"] = NAMED
    if common["heap"] == "640K":
        common["heap"] = HEAP
    setting = Setting(**common)
    config, options = setting.prepare(value_sizes=(size,), mix="put", clients=())
    counts = counts or tuple(n for n in COUNTS if n <= external(config))
    check_counts(config, counts)
    crowds = Crowds(setting, config, options, size, hosts)
    rows = crowds.rows(counts)
    figures = {
        "size": size,
        "seconds": setting.seconds,
        "runs": setting.runs,
        "hosts": hosts,
        "rows": rows,
        "ok": not crowds.failed,
        "failed": crowds.failed,
    }
    setting.conclude("clients", config, figures, table_of(figures), lambda to: draw(to, figures))


def external(config):
    """How many clients are no replicas."""
    return config.CLIENT_COUNT - config.REPLICA_COUNT


def check_counts(config, counts):
    """Raises Refusal unless the configuration knows so many external clients."""
    for count in counts:
        if not 1 <= count <= external(config):
            raise Refusal(
                f"--clients {count}: must lie in 1..{external(config)} (client_count ="
                f" {config.CLIENT_COUNT}, of them {config.REPLICA_COUNT} replicas); --name"
                f" {NAMED} has 250"
            )


class Crowds:
    """One run of the cluster per number of clients and repetition."""

    def __init__(self, setting, config, options, size, hosts):
        fitting_sizes(config, (size,))
        self.failed = []
        self._setting = setting
        self._config = config
        self._options = replace(options, sizes=(size,))
        self._size = size
        self._hosts = hosts

    def rows(self, counts):
        """{clients, rate, p50_ms, p99_ms, cpu_us, batch, retries, heap} per count, as spreads."""
        found = {count: [] for count in counts}
        for run in range(self._setting.runs):
            for count in counts:
                row = self._measured(count)
                found[count].append(row)
                self._setting.measured(run, f"{plural(count)}", row)
        return [
            {"clients": count} | {name: spread([row[name] for row in rows]) for name in rows[0]}
            for count, rows in found.items()
        ]

    def _measured(self, count):
        folder = self._setting.folder
        folder.clear()
        replicas = Processes(folder, self._setting.heap)
        crowd = CrowdProcesses(folder, "0")
        with replicas.guarded(), crowd.guarded():
            course = Course(folder, self._config, self._options, replicas, Silence())
            course.start()
            replicas.tell("go")
            multicast = all(view.report["air"]["multicast"] for view in course.reports.views())
            numbers = range(FIRST_CROWD, FIRST_CROWD + min(self._hosts, count))
            for number in numbers:
                plan = self._plan(number, self._share(number - FIRST_CROWD, count), multicast)
                crowd.start(number, plan, False)
            awaited(folder, crowd, "ready")
            crowd.tell("go")
            time.sleep(self._setting.seconds)
            reports = list(awaited(folder, crowd, "operations").values())
            at_rest = course.rest()
            views = course.live_replicas()
        self._check(count, reports, at_rest, course)
        latency = merged([h for number in numbers for h in load_latencies(folder, number)])
        return self._row(reports, latency, views)

    def _share(self, index, count):
        """The client ids that one of the host processes plays."""
        ids = range(self._config.REPLICA_COUNT, self._config.REPLICA_COUNT + count)
        return list(ids[index :: self._hosts])

    def _plan(self, number, client_ids, multicast):
        folder = self._setting.folder
        return {
            "boot": 0,
            "tap": None,
            "folder": str(folder.path),
            "client_ids": client_ids,
            "seconds": self._setting.seconds,
            "size": self._size,
            "multicast": multicast,
            "report_path": str(folder.node_file(number, "json")),
            "latency_path": str(folder.node_file(number, "latency")),
        }

    def _check(self, count, reports, at_rest, course):
        wrong = sum(report["mismatched"] for report in reports)
        unanswered = sum(report["unanswered"] for report in reports)
        complaints = list(course.failures)
        if wrong:
            complaints.append(f"{wrong} replies were not what the client had written")
        if unanswered:
            complaints.append(f"{unanswered} clients were not answered")
        if at_rest is None:
            complaints.append("the replicas did not come to rest alike")
        self.failed += [f"{plural(count)}: {words}" for words in complaints]

    def _row(self, reports, latency, views):
        seconds = max(report["busy_us"] for report in reports) / 1e6
        operations = sum(report["operations"] for report in reports)
        executed = max((view.status["operations"] for view in views), default=0)
        cpu_us = [view.report["cpu_us"] / executed for view in views if executed]
        batches = max((view.status["last_executed"] for view in views), default=0)
        heap = max((view.report["heap"]["most"] for view in views), default=0)
        return {
            "rate": operations / seconds,
            "p50_ms": latency.quantile(0.5) / 1000,
            "p99_ms": latency.quantile(0.99) / 1000,
            "cpu_us": sum(cpu_us) / len(cpu_us) if cpu_us else None,
            "batch": executed / batches if batches else None,
            "retries": sum(report["retries"] for report in reports),
            "heap": heap,
        }


def table_of(figures):
    title = f"external clients, puts of {figures['size']} bytes, {figures['seconds']} s each"
    table = Table(title=f"{title}, median of {figures['runs']} runs")
    names = ("op/s", "p50 ms", "p99 ms", "cpu us", "batch", "retries", "heap")
    for name in ("clients", *names):
        table.add_column(name, justify="right")
    for row in figures["rows"]:
        table.add_row(
            str(row["clients"]),
            median_of(row["rate"]),
            median_of(row["p50_ms"], 2),
            median_of(row["p99_ms"], 2),
            median_of(row["cpu_us"]),
            median_of(row["batch"], 1),
            median_of(row["retries"]),
            median_of(row["heap"]),
        )
    return table


def draw(results, figures):
    """Throughput against the number of clients, and latency against throughput."""
    size = figures["size"]
    rates = [(row["clients"], row["rate"]["median"]) for row in figures["rows"]]
    curves = {
        quantile[:3]: [(row["rate"]["median"], row[quantile]["median"]) for row in figures["rows"]]
        for quantile in ("p50_ms", "p99_ms")
    }
    paths = [results.file("clients-rate", "svg"), results.file("clients-latency", "svg")]
    title = f"Puts of {size} bytes by external clients"
    axes = ("clients in closed loops", "operations per second")
    plots.lines(paths[0], title, {"tinybft": rates}, axes, logarithmic="x")
    plots.latency_against_throughput(paths[1], title, curves)
    return paths
