"""`tinybft bench micro`: reads and writes, small and as long as a request may be.

Closed loop with 1 and 4 clients, which are replicas, and then rising target rates (open loop, see
tools/cluster/driver.py): latency against throughput. Every cell is one run of the cluster, after
which everything is read back. Closed loops are interleaved: all cells once, then all again.
"""

from dataclasses import replace

import rich_click as click
from rich.table import Table

from tools.bench.figures import median_of, plural, range_of, rounded, spread
from tools.bench.options import Setting, common_options
from tools.cluster.bench import first_clients
from tools.cluster.commands import Numbers, performed
from tools.cluster.plans import fitting_sizes, size_max
from tools.cluster.table import Silence
from tools.refusal import Refusal
from tools.results import plots

SMALL = 64
# Of the closed loop's rate with all clients; the last ones are more than the group can do.
SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.15)
SATURATED = 0.85  # of the target was reached: higher targets would show only the queue
FIRST_CLIENT = 1  # a backup, as with `bench loss`
MIX_WORDS = {"put": "writes", "get": "reads"}


class Mixes(click.ParamType):
    """Comma-separated kinds of operations."""

    name = "put,get"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        mixes = tuple(value.split(","))
        for mix in mixes:
            if mix not in MIX_WORDS:
                self.fail(f"{mix!r}: is neither put nor get", param, ctx)
        return mixes


@click.command()
@click.option("--clients", "counts", default="1,4", show_default=True, type=Numbers())
@click.option("--sizes", type=Numbers(), help="Bytes of a value. [64 and the longest]")
@click.option("--mix", "mixes", default="put,get", show_default=True, type=Mixes())
@click.option("--rates", type=Numbers(), help="Targets, op/s; 0 = none. [from closed loops]")
@common_options
def micro(counts, sizes, mixes, rates, **common):
    """Reads and writes, small and long: closed loops, then rising target rates.

    The closed loops run with --clients replicas as clients, the target rates with the largest
    number of them. Times are of this machine and of everything that runs on it.
    """
    setting = Setting(**common)
    config, options = setting.prepare()
    sizes = sizes or (SMALL, size_max(config))
    for size in sizes:
        fitting_sizes(config, (size,))
    for count in counts:
        first_clients(config, count, FIRST_CLIENT)
    if rates and min(rates) < 0:
        raise Refusal(f"--rates {min(rates)}: must be 0 (none), or operations per second")
    bench = Micro(setting, config, options)
    closed = bench.closed_loops(counts, sizes, mixes)
    wanted = () if rates == (0,) else bench.open_loops(max(counts), closed, rates)
    figures = {
        "seconds": setting.seconds,
        "runs": setting.runs,
        "closed_loop": closed,
        "target_rates": list(wanted),
        "ok": not bench.failed,
        "failed": bench.failed,
    }
    setting.conclude("micro", config, figures, table_of(figures), lambda to: draw(to, figures))


class Micro:
    """The cells of this benchmark on one prepared cluster."""

    def __init__(self, setting, config, options):
        self.failed = []  # the checks that failed, in words
        self._setting = setting
        self._config = config
        self._options = options

    def closed_loops(self, counts, sizes, mixes):
        """Rows of all combinations: rate and latency, each as a spread."""
        cells = [(mix, size, count) for mix in mixes for size in sizes for count in counts]
        found = {cell: [] for cell in cells}
        for run in range(self._setting.runs):
            for mix, size, count in cells:
                row = self._measured(mix, size, count, None)
                found[mix, size, count].append(row)
                self._setting.measured(run, f"{words(mix, size)}, {plural(count)}", row)
        return [
            {"mix": mix, "size": size, "clients": count} | spreads(found[mix, size, count])
            for mix, size, count in cells
        ]

    def open_loops(self, count, closed, rates):
        """One row per curve (kind and size) and target rate, in the order of rising targets."""
        for row in closed:
            if row["clients"] != count:
                continue
            mix, size = row["mix"], row["size"]
            most = row["rate"]["median"]
            for target in rates or [rounded_rate(share * most) for share in SHARES]:
                runs = [self._measured(mix, size, count, target) for _ in self._repetitions()]
                point = {"mix": mix, "size": size, "clients": count, "target": target}
                point |= spreads(runs)
                rate = point["rate"]["median"]
                self._setting.say(
                    f"{words(mix, size)}, target {target} op/s: {rate:.0f} op/s,"
                    f" p50 {point['p50_ms']['median']} ms"
                )
                yield point
                if rate < SATURATED * target:
                    break

    def _repetitions(self):
        return range(self._setting.runs)

    def _measured(self, mix, size, count, rate):
        clients = first_clients(self._config, count, FIRST_CLIENT)
        options = replace(self._options, clients=clients, sizes=(size,), mix=mix, rate=rate)
        self._setting.folder.clear()
        result = performed(self._setting.folder, self._config, options, Silence())
        self.failed += [
            f"{words(mix, size)}, {plural(count)}: {entry['name']}: {entry['detail']}"
            for entry in result["checks"]
            if not entry["ok"]
        ]
        latency = result["latency_ms"].get("all", {})
        return {
            "rate": result["operations_per_second"],
            "p50_ms": latency.get("p50"),
            "p90_ms": latency.get("p90"),
            "p99_ms": latency.get("p99"),
        }


def spreads(rows):
    """{name: spread} of the figures of some repetitions."""
    return {name: spread([row[name] for row in rows]) for name in rows[0]}


def rounded_rate(rate):
    """A target of two digits."""
    return max(1, int(float(f"{rate:.2g}")))


def words(mix, size):
    return f"{MIX_WORDS[mix]} of {size} bytes"


def table_of(figures):
    """Closed loops, and target rates below them in the same columns."""
    table = Table(title=f"{figures['seconds']} s each, medians of {figures['runs']} runs")
    table.add_column("operation")
    for name in ("clients", "target op/s", "op/s", "range", "p50 ms", "p90 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for row in figures["closed_loop"]:
        _add(table, row, "closed loop")
    table.add_section()
    for row in figures["target_rates"]:
        _add(table, row, str(row["target"]))
    return table


def _add(table, row, target):
    latencies = [median_of(row[name], 2) for name in ("p50_ms", "p90_ms", "p99_ms")]
    rate = (median_of(row["rate"]), range_of(row["rate"]))
    table.add_row(words(row["mix"], row["size"]), str(row["clients"]), target, *rate, *latencies)


def draw(results, figures):
    """Latency against throughput (target rates), and the closed loops as bars."""
    written = []
    for quantile in ("p50_ms", "p99_ms") if figures["target_rates"] else ():
        curves = {}
        for row in figures["target_rates"]:
            point = rounded(row["rate"]["median"]), row[quantile]["median"]
            curves.setdefault(words(row["mix"], row["size"]), []).append(point)
        path = results.file(f"micro-latency-{quantile[:3]}", "svg")
        count = figures["target_rates"][0]["clients"]
        title = f"Latency ({quantile[:3]}) against throughput, {count} clients, unix cluster"
        plots.latency_against_throughput(path, title, curves)
        written.append(path)
    groups = {}
    for row in figures["closed_loop"]:
        rate = row["rate"]
        group = groups.setdefault(words(row["mix"], row["size"]), {})
        group[plural(row["clients"])] = rate["median"], rate["min"], rate["max"]
    path = results.file("micro-closed-loop", "svg")
    plots.bars(path, "Closed loop, unix cluster", groups, "operations per second")
    return [*written, path]
