"""`tinybft bench compare`: the library beside the machine's floor and beside Raft, interleaved.

    tinybft      four MicroPython replicas, closed loop of puts by replicas
    floor        the same MACs, digests and datagrams without a protocol (floor_node.py)
    pysyncobj    four CPython nodes of Raft, closed loop of puts by nodes (raft_node.py)

A repetition measures all of them, one after another; a ratio is taken within a repetition, and
the median of the ratios counts. So a machine that is slow for a while slows both sides.
"""

from dataclasses import replace

import rich_click as click
from rich.table import Table

from tools.bench.figures import median_of, plural, ratios, spread, whisker
from tools.bench.floor import FloorGroup
from tools.bench.options import Setting, common_options
from tools.bench.raft import RaftGroup, require_pysyncobj
from tools.cluster.bench import RATE_TARGETS, first_clients
from tools.cluster.commands import Numbers, performed
from tools.cluster.table import Silence
from tools.results import plots

SYSTEMS = ("tinybft", "floor", "pysyncobj")
FLOOR_TARGET = 0.5
FIRST_CLIENT = 1
SMALL = 64


class Systems(click.ParamType):
    """Some of SYSTEMS; the library itself is always among them."""

    name = "NAME,..."

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        chosen = value.split(",")
        for name in chosen:
            if name not in SYSTEMS:
                self.fail(f"{name!r}: is none of {', '.join(SYSTEMS)}", param, ctx)
        return tuple(name for name in SYSTEMS if name in chosen or name == SYSTEMS[0])


@click.command()
@click.option("--clients", "counts", default="1,4", show_default=True, type=Numbers())
@click.option("--size", default=SMALL, show_default=True, help="Bytes of each value.")
@click.option("--systems", default=",".join(SYSTEMS), show_default=True, type=Systems())
@common_options
def compare(counts, size, systems, **common):
    """Puts in a closed loop, beside the floor of the machine and beside PySyncObj.

    The floor exchanges as many datagrams and computes as many MACs and hashes of the same
    lengths, without any protocol. PySyncObj is Raft in CPython: it survives crashes, no lies.
    """
    setting = Setting(**common)
    if "pysyncobj" in systems:
        require_pysyncobj()
    config, options = setting.prepare(value_sizes=(size,), mix="put")
    comparison = Comparison(setting, config, options, systems)
    rows = comparison.rows(counts, size)
    figures = {
        "size": size,
        "seconds": setting.seconds,
        "runs": setting.runs,
        "rows": rows,
        "ok": not comparison.failed,
        "failed": comparison.failed,
    }
    setting.conclude("compare", config, figures, table_of(figures), lambda to: draw(to, figures))


class Comparison:
    """All systems on one machine, one folder."""

    def __init__(self, setting, config, options, systems):
        self.failed = []  # the checks that failed, in words
        self._setting = setting
        self._config = config
        self._options = options
        self._systems = systems

    def rows(self, counts, size):
        """One row per number of clients; see `_row`."""
        groups = {count: self._groups(count, size) for count in counts}
        found = {count: {name: [] for name in self._systems} for count in counts}
        for run in range(self._setting.runs):
            for count in counts:
                for name in self._systems:
                    figures = self._measured(name, count, groups[count])
                    found[count][name].append(figures)
                    self._setting.measured(run, f"{name}, {plural(count)}", figures)
        return [self._row(count, found[count], groups[count]) for count in counts]

    def _groups(self, count, size):
        """{system: what measures it} of the other systems."""
        folder, config = self._setting.folder, self._config
        clients = first_clients(config, count, FIRST_CLIENT)
        groups = {}
        if "floor" in self._systems:
            groups["floor"] = FloorGroup(folder, config, clients, size)
        if "pysyncobj" in self._systems:
            groups["pysyncobj"] = RaftGroup(folder, config.REPLICA_COUNT, count, size)
        return groups

    def _measured(self, name, count, groups):
        """{rate, ...} of one repetition; what must not be is noted in `failed`."""
        if name == "tinybft":
            return self._run(count)
        figures = groups[name].measure(self._setting.seconds)
        wrong = figures.get("stalls") or figures.get("failed")
        if wrong:
            what = "datagrams lost" if name == "floor" else "operations failed"
            self.failed.append(f"{name}, {plural(count)}: {wrong} {what}")
        return figures

    def _run(self, count):
        clients = first_clients(self._config, count, FIRST_CLIENT)
        self._setting.folder.clear()
        options = replace(self._options, clients=clients)
        result = performed(self._setting.folder, self._config, options, Silence())
        self.failed += [
            f"tinybft, {plural(count)}: {entry['name']}: {entry['detail']}"
            for entry in result["checks"]
            if not entry["ok"]
        ]
        latency = result["latency_ms"].get("all", {})
        batches = max(replica["last_executed"] for replica in result["replicas"])
        return {
            "rate": result["operations_per_second"],
            "cpu_us": result["cpu_us"],
            "p50_ms": latency.get("p50"),
            "p99_ms": latency.get("p99"),
            "batch": result["operations"] / batches if batches else None,
        }

    def _row(self, count, found, groups):
        """{clients, target, systems: {name: {figure: spread}}, ratio, cpu_ratio, work}.

        ratio: {name: spread}, the library's rate to that of each other system; cpu_ratio: time of
        the processor that the other takes per operation, to what the library takes; work: what
        the floor does per operation and replica.
        """
        systems = {
            name: {figure: spread([run[figure] for run in runs]) for figure in runs[0]}
            for name, runs in found.items()
        }
        ours = found["tinybft"]
        return {
            "clients": count,
            "target": RATE_TARGETS.get(count),
            "systems": systems,
            "ratio": {
                name: ratios(*([run["rate"] for run in of] for of in (ours, runs)))
                for name, runs in found.items()
                if name != "tinybft"
            },
            "cpu_ratio": {
                name: ratios(*([run["cpu_us"] for run in of] for of in (runs, ours)))
                for name, runs in found.items()
                if name != "tinybft"
            },
            "work": groups["floor"].recording.per_operation() if "floor" in groups else None,
        }


def table_of(figures):
    title = f"puts of {figures['size']} bytes, {figures['seconds']} s each,"
    table = Table(title=f"{title} medians of {figures['runs']} runs")
    for name in ("clients", "system"):
        table.add_column(name)
    for name in ("op/s", "p50 ms", "p99 ms", "ratio", "cpu us", "ratio", "target"):
        table.add_column(name, justify="right")
    for row in figures["rows"]:
        for name, system in row["systems"].items():
            ratio = row["ratio"].get(name)
            table.add_row(
                str(row["clients"]),
                name,
                median_of(system["rate"]),
                median_of(system.get("p50_ms"), 2),
                median_of(system.get("p99_ms"), 2),
                median_of(ratio, 2) if ratio else "",
                median_of(system.get("cpu_us")),
                median_of(row["cpu_ratio"][name], 2) if ratio else "",
                _target(name, row),
            )
        table.add_section()
    table.caption = "\n".join(
        ["cpu: of an operation and replica; ratios: above 1 tinybft is the faster one"]
        + [work_words(row["clients"], row["work"]) for row in figures["rows"] if row["work"]]
    )
    return table


def _target(name, row):
    if name == "tinybft" and row["target"]:
        return _met(row["systems"][name]["rate"]["median"], row["target"])
    if name == "floor" and row["ratio"][name]:
        return _met(row["ratio"][name]["median"], FLOOR_TARGET)
    return ""


def _met(value, target):
    return f"{target} {'met' if value >= target else 'missed'}"


def work_words(count, work):
    """What the floor repeats, in words."""
    return (
        f"{plural(count)}, batches of {work['batch']}, per operation and replica:"
        f" {work['macs']} MACs,"
        f" {work['digests']} digests of {work['digest_bytes'] / work['digests']:.0f} B,"
        f" {work['sent']} datagrams out, {work['received']} in"
    )


def draw(results, figures):
    """Rates of all systems side by side, and the ratios."""
    rates, quotients = {}, {}
    for row in figures["rows"]:
        words = plural(row["clients"])
        rates[words] = {name: whisker(of["rate"]) for name, of in row["systems"].items()}
        quotients[words] = {f"to {name}": whisker(of) for name, of in row["ratio"].items()}
    size = figures["size"]
    paths = [results.file("compare-rates", "svg"), results.file("compare-ratios", "svg")]
    plots.bars(paths[0], f"Puts of {size} bytes, closed loop", rates, "operations per second")
    references = [(FLOOR_TARGET, "target: half of the floor")]
    title = f"Rate of tinybft, as a ratio; puts of {size} bytes"
    plots.bars(paths[1], title, quotients, "ratio of the rates", references)
    return paths
