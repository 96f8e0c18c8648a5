"""`tinybft ycsb`: the workloads A, B and C on the unix cluster and on the modelled radio."""

import json
import sys
from dataclasses import dataclass

import rich_click as click
from rich.console import Console
from rich.table import Table

from tools.bench.figures import median_of, spread, whisker
from tools.cluster.bench import first_clients
from tools.cluster.commands import LEAN, Numbers, prepared
from tools.cluster.files import RunFolder
from tools.cluster.kept import refuse_if_kept, refuse_if_running
from tools.config import chosen_file, load
from tools.refusal import Refusal
from tools.results import plots
from tools.results.invocation import command_line
from tools.results.store import RESULTS_FOLDER, Results, document
from tools.simulate.radio import Rates, measured
from tools.ycsb.on_cluster import run_on_cluster
from tools.ycsb.on_radio import run_on_radio
from tools.ycsb.records import RECORD_LENGTH, WRITE_LENGTH
from tools.ycsb.trace import READ_SHARES

MEDIA = ("cluster", "radio")
FIRST_CLIENT = 1  # a backup
RECORDS = 60  # the paper: "about 60" of 256 bytes in 16 KiB
OPERATIONS = {"cluster": 2000, "radio": 300}


class Workloads(click.ParamType):
    """Comma-separated letters of the core workloads."""

    name = "a,b,c"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        found = tuple(part.strip().lower() for part in value.split(","))
        for part in found:
            if part not in READ_SHARES:
                self.fail(f"{part!r}: choose among {', '.join(READ_SHARES)}", param, ctx)
        return found


@dataclass(frozen=True)
class Cell:
    """One run on the modelled radio."""

    path: str
    workload: str
    clients: int
    rate: float
    operations: int
    records: int
    seed: int
    read_only: bool


@click.command()
@click.option("--workloads", default="a,b,c", show_default=True, type=Workloads())
@click.option("--on", "media", type=click.Choice(MEDIA), help="[both]")
@click.option("--clients", "counts", default="1,4", show_default=True, type=Numbers())
@click.option("--rates", default="1,6,24", show_default=True, type=Rates(), help="Radio: Mbit/s.")
@click.option("--operations", type=click.IntRange(8), help="Per run. [cluster 2000, radio 300]")
@click.option("--records", default=RECORDS, show_default=True, type=click.IntRange(1, 65535))
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1, 100), help="Cluster.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--read-only", is_flag=True, help="Radio: reads are not ordered (option read_only).")
@click.option("--heap", default="640K", show_default=True, help="Heap of each replica.")
@LEAN
@click.option("--config", "file", metavar="FILE", help="[config.toml; on the radio c3]")
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead.")
@click.option("--run-dir", default="build/ycsb", show_default=True, help="Folder of the runs.")
@click.option("--output", default=RESULTS_FOLDER, show_default=True, help="Folder of results.")
@click.option("--plots/--no-plots", "with_plots", default=True, help="Plots, too. [plots]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
def ycsb(media, output, with_plots, as_json, **chosen):
    """YCSB core workloads: 256-byte records, a read fetches one, an update reads and writes it.

    A: 50 % reads, B: 95 %, C: only reads; records by a scrambled Zipfian distribution. All is
    loaded first, every reply is checked, and all records are read back.
    """
    results = Results(output)
    results.make_folder()
    if with_plots:
        plots.require_matplotlib()
    console = Console(quiet=as_json, highlight=False)
    documents = []
    for medium in [media] if media else MEDIA:
        config, figures = MEASURES[medium](chosen, console)
        command = command_line(click.get_current_context())
        documents.append(document(f"ycsb-{medium}", command, config, figures))
        console.print(table_of(figures))
        written = [results.write(documents[-1])]
        if with_plots:
            written.append(draw(results, figures))
        console.print(" ".join(["written:", *map(str, written)]))
    if as_json:
        click.echo(json.dumps(documents, indent=1))
    sys.exit(0 if all(one["figures"]["ok"] for one in documents) else 1)


def on_cluster(chosen, console):
    """(config, figures) of the unix cluster."""
    folder = RunFolder(chosen["run_dir"])
    refuse_if_running(folder)
    refuse_if_kept(folder)
    path = chosen_file(chosen["file"], chosen["name"])
    checked = load(path)
    check_records(checked, chosen["records"])
    clients = {count: first_clients(checked, count, FIRST_CLIENT) for count in chosen["counts"]}
    operations = chosen["operations"] or OPERATIONS["cluster"]
    given = {"value_sizes": None, "loss": 0.0, "power_cuts": 0}
    given |= {"heap": chosen["heap"], "lean": chosen["lean"]}
    config, options = prepared(folder, path, given, True)
    found = {(w, count): [] for w in chosen["workloads"] for count in chosen["counts"]}
    failed = []
    for run in range(chosen["runs"]):
        for (workload, count), runs in found.items():
            mine = changed(
                options,
                clients=clients[count],
                operations=operations,
                seed=chosen["seed"] + run,
            )
            row = run_on_cluster(folder, config, mine, workload, chosen["records"])
            runs.append(row)
            failed += row["failed"]
            rate = row["per_second"]
            console.print(f"run {run + 1}: {workload.upper()}, {count} clients: {rate:.0f} op/s")
    rows = [
        {
            "workload": workload,
            "clients": count,
            "per_second": spread([row["per_second"] for row in runs]),
            "ms": latency_spreads([row["ms"] for row in runs]),
        }
        for (workload, count), runs in found.items()
    ]
    return config, {
        "medium": "cluster",
        "operations": operations,
        "records": chosen["records"],
        "runs": chosen["runs"],
        "seed": chosen["seed"],
        "rows": rows,
        "ok": not failed,
        "failed": failed,
    }


def changed(options, **values):
    """The options of a run with other values."""
    return type(options)(**{**vars(options), **values})


def latency_spreads(tables):
    """{kind: {p50, ...: spread}} of the latencies of several runs."""
    kinds = dict.fromkeys(kind for table in tables for kind in table)
    return {
        kind: {
            name: spread([table[kind][name] for table in tables if kind in table])
            for name in ("mean", "p50", "p95", "p99")
        }
        for kind in kinds
    }


def on_radio(chosen, console):
    """(config, figures) of the modelled radio."""
    name = chosen["name"] or (None if chosen["file"] else "c3")
    path = str(chosen_file(chosen["file"], name))
    config = load(path)
    check_records(config, chosen["records"])
    for count in chosen["counts"]:
        first_clients(config, count, FIRST_CLIENT)
    operations = chosen["operations"] or OPERATIONS["radio"]
    common = (operations, chosen["records"], chosen["seed"], chosen["read_only"])
    cells = [
        Cell(path, workload, count, rate, *common)
        for rate in chosen["rates"]
        for workload in chosen["workloads"]
        for count in chosen["counts"]
    ]
    rows = [
        {"workload": cell.workload, "clients": cell.clients, "rate": cell.rate, **row}
        for cell, row in zip(cells, measured(run_on_radio, cells, console.quiet), strict=True)
    ]
    failed = [words for row in rows for words in row.pop("failed")]
    return config, {
        "medium": "radio",
        "operations": operations,
        "records": chosen["records"],
        "seed": chosen["seed"],
        "read_only": chosen["read_only"],
        "rows": rows,
        "ok": not failed,
        "failed": failed,
    }


MEASURES = {"cluster": on_cluster, "radio": on_radio}


def check_records(config, count):
    """Raises Refusal unless the state has room for so many records, and a request for one."""
    room = config.STATE_LENGTH // RECORD_LENGTH
    if count > room:
        raise Refusal(
            f"--records {count}: state_length = {config.STATE_LENGTH} has room for {room} records"
            f" of {RECORD_LENGTH} bytes; choose fewer, or a larger state_length"
        )
    least = min(config.REQUEST_LENGTH_MAX, config.REPLY_LENGTH_MAX + WRITE_LENGTH - 257)
    if least < WRITE_LENGTH:
        raise Refusal(
            f"request_length_max = {config.REQUEST_LENGTH_MAX}, reply_length_max ="
            f" {config.REPLY_LENGTH_MAX}: a record needs {WRITE_LENGTH} and 257 bytes"
        )


def _number(figure, digits):
    return median_of(figure, digits) if isinstance(figure, dict) else f"{figure:.{digits}f}"


def table_of(figures):
    """One row per workload, number of clients, and kind of operation."""
    is_radio = figures["medium"] == "radio"
    where = "modelled radio" if is_radio else "unix cluster, medians of the runs"
    table = Table(title=f"YCSB on the {where}", title_justify="left")
    table.add_column("workload")
    for name in (*(("Mbit/s",) if is_radio else ()), "clients", "op/s"):
        table.add_column(name, justify="right")
    table.add_column("operation")
    for name in ("mean ms", "p50", "p95", "p99"):
        table.add_column(name, justify="right")
    digits = 1 if is_radio else 2
    for row in figures["rows"]:
        head = [row["workload"].upper()]
        head += [f"{row['rate']:g}"] if is_radio else []
        head += [str(row["clients"]), _number(row["per_second"], int(is_radio))]
        for kind in ("read", "update"):
            if kind in row["ms"]:
                ms = row["ms"][kind]
                cells = [_number(ms[name], digits) for name in ("mean", "p50", "p95", "p99")]
                table.add_row(*head, kind, *cells)
                head = [""] * len(head)
    return table


def draw(results, figures):
    """Operations per second by workload."""
    groups = {}
    for row in figures["rows"]:
        rate = row["per_second"]
        if isinstance(rate, dict):
            rate = whisker(rate)
        label = f"{row['clients']} clients"
        if "rate" in row:
            label = f"{row['rate']:g} Mbit/s, {label}"
        groups.setdefault(row["workload"].upper(), {})[label] = rate
    path = results.file(f"ycsb-{figures['medium']}", "svg")
    words = "modelled radio" if figures["medium"] == "radio" else "unix cluster"
    plots.bars(path, f"YCSB, closed loop, {words}", groups, "operations per second")
    return path
