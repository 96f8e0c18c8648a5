"""`tinybft bench radio`: reads and writes on the modelled radio, small and as long as they can be.

Closed loop, ESP-NOW at several rates: the simulator's channel (hal/sim_radio.py) and the
processor of an ESP32-C3 as counted in rv32imc instructions (hal/sim_costs.py). Nothing here ran on
a board. With one client it is a backup, with four it is all replicas, as in the paper.

Every reply is compared with what the client's books say, and the simulator's safety oracles look
at each step. Figures are a function of sources, configuration and seeds.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import rich_click as click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tinybft.apps.kv_format import OK
from tools.cluster.commands import Numbers, Rate
from tools.config import chosen_file, load
from tools.refusal import Refusal
from tools.results import plots
from tools.results.invocation import command_line
from tools.results.store import RESULTS_FOLDER, Results, document
from tools.simulate import operations
from tools.simulate.closed_loop import ClosedLoop, Mismatch
from tools.simulate.critical_path import BEGINNINGS, WAYS, CriticalPath
from tools.simulate.measured import Meter, latency
from tools.simulate.sim import Sim

SMALL = 64
TABLE_WIDTH = 120
WARM_UP = 24
KEYS = 2  # of each client
MIXES = ("put", "get")
MIX_WORDS = {"put": "write", "get": "read"}
# PERFORMANCE.md, at 1 Mbit/s: ms of a command, operations per second with 4 clients.
TARGETS = {
    "ms": {"small": 25, "long": 40},
    "per_second": {"put": 62, "get": 86},
}
# TinyBFT, RTAS 2024: four ESP32-C3, C++, about.
PAPER = {
    "ms": {"small": 50, "long": 80},
    "per_second": {"put": 31, "get": 43},
}


class Rates(click.ParamType):
    """Comma-separated bit rates of ESP-NOW."""

    name = "MBIT,MBIT,..."

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        return tuple(Rate().convert(part, param, ctx) for part in value.split(","))


@dataclass(frozen=True)
class Cell:
    """One measurement: what, at which rate, with how many clients; `runs` seeds from `seed` on."""

    path: str
    mix: str
    size: int
    clients: int
    rate: float
    operations: int
    seed: int
    runs: int
    read_only: bool
    tentative: bool
    loss: float


class Values:
    """Puts or gets of values that each client can tell. Keys are the client's own."""

    def __init__(self, mix, size, clients, read_only=False):
        self.mix = mix
        self._size = size
        self._read_only = read_only
        self._made = dict.fromkeys(clients, 0)
        self._held = {}  # key: value
        self._asked = {}  # client: (key, value)

    def next(self, client):
        number = self._made[client]
        self._made[client] += 1
        key = b"c%d/%d" % (client, number % KEYS)
        value = b"%0*d" % (self._size, number)
        is_get = self.mix == "get" and key in self._held
        self._asked[client] = key, self._held[key] if is_get else value
        if is_get:
            return operations.get(key), self._read_only
        return operations.put(key, value), False

    def accept(self, client, operation, reply):
        key, value = self._asked[client]
        expected = bytes((OK,))
        if operation == operations.get(key):
            expected += value
        if reply != expected:
            raise Mismatch(f"client {client}, {key.decode()}: reply of {len(reply)} bytes")
        self._held[key] = value


def measure(cell):
    """The row of a cell, JSON-able. Raises Refusal."""
    config = with_options(load(cell.path), cell)
    first = 1 % config.REPLICA_COUNT
    ids = [(first + i) % config.REPLICA_COUNT for i in range(cell.clients)]
    times, rows, chains, passed_us = [], [], {}, 0
    for seed in range(cell.seed, cell.seed + cell.runs):
        sim = Sim(seed=seed, radio=cell.rate, config=config)
        if cell.loss:
            sim.network(loss=cell.loss / 100)
        work = Values(cell.mix, cell.size, ids, cell.read_only)
        path = CriticalPath(sim)
        explained = []

        def on_done(done, path=path, explained=explained):
            explained.append(path.explain(done))
            path.forget()

        loop = ClosedLoop(sim, ids, work, on_done)
        loop.perform(WARM_UP)
        explained.clear()
        meter = Meter(sim)
        loop.perform(cell.operations)
        rows.append(meter.row(len(loop.done), loop.passed_us))
        times += loop.times_us()
        passed_us += loop.passed_us
        for parts, beginning in explained[: len(loop.done)]:
            chains.setdefault(beginning, []).append(parts)
    return {
        "mix": cell.mix,
        "size": cell.size,
        "clients": cell.clients,
        "rate": cell.rate,
        "operations": len(times),
        "per_second": round(1e6 * len(times) / passed_us, 1),
        "ms": latency(times),
        **means(rows),
        "path": {name: summed(chains[name], len(times)) for name in BEGINNINGS if name in chains},
    }


def with_options(config, cell):
    """The configuration with the options of the cell."""
    config.READ_ONLY |= cell.read_only
    config.TENTATIVE |= cell.tentative
    return config


def means(rows):
    """One row out of those of several seeds: the mean of every figure."""
    table = {}
    for name in {name: None for row in rows for name in row}:
        values = [row.get(name, 0) for row in rows]
        if isinstance(rows[0].get(name), dict):
            table[name] = means([row.get(name, {}) for row in rows])
        else:
            table[name] = round(sum(values) / len(values), 3)
    return table


def summed(chains, count):
    """Of the operations whose chains begin alike: their share of `count`, and ms by message and
    way, means over them."""
    total = {}
    for parts in chains:
        for key, us in parts.items():
            total[key] = total.get(key, 0) + us
    table = {}
    for (message, way), us in total.items():
        if us:
            table.setdefault(message, {})[way] = round(us / len(chains) / 1000, 3)
    ms = sum(total.values()) / len(chains) / 1000
    return {"share": round(len(chains) / count, 3), "ms": round(ms, 2), "messages": table}


def target_of(row, small):
    """({ms}, {per_second}) targets of a row, None where there is none."""
    if row["rate"] != 1:
        return None, None
    if row["clients"] == 1:
        return TARGETS["ms"]["small" if row["size"] == small else "long"], None
    return None, TARGETS["per_second"][row["mix"]] if row["size"] == small else None


def longest(config, keys=KEYS):
    """Bytes of the longest value that can be put and got; raises Refusal if it has no room."""
    key = len(b"c0/0")
    return min(config.REQUEST_LENGTH_MAX - 2 - key, config.REPLY_LENGTH_MAX - 1)


@click.command()
@click.option("--rates", default="1,6,24", show_default=True, type=Rates(), help="Of ESP-NOW.")
@click.option("--clients", "counts", default="1,4", show_default=True, type=Numbers())
@click.option("--sizes", type=Numbers(), help="Bytes of a value. [64 and the longest]")
@click.option("--operations", default=200, show_default=True, type=click.IntRange(10))
@click.option("--runs", default=10, show_default=True, type=click.IntRange(1, 100), help="Seeds.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--loss", default=0.0, type=click.FloatRange(0, 90), help="% of frames. [0]")
@click.option("--read-only", is_flag=True, help="Reads are not ordered (option read_only).")
@click.option("--tentative", is_flag=True, help="Batches are executed when they are prepared.")
@click.option("--path/--no-path", "with_path", default=False, help="Where the time goes.")
@click.option("--config", "file", metavar="FILE", help="Configuration. [the shipped c3]")
@click.option("--name", metavar="NAMED", help="Take another shipped configuration.")
@click.option("--output", default=RESULTS_FOLDER, show_default=True, help="Folder of results.")
@click.option("--plots/--no-plots", "with_plots", default=True, help="Plots, too. [plots]")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON document, nothing else.")
def radio(rates, counts, sizes, file, name, output, with_plots, with_path, as_json, **chosen):
    """Reads and writes on the modelled radio: latency, throughput, frames, airtime, processor.

    Modelled, not measured: counted instructions of an emulated board, and ESP-NOW's airtime.
    """
    path = str(chosen_file(file, name or (None if file else "c3")))
    config = load(path)
    results = Results(output)
    results.make_folder()
    if with_plots:
        plots.require_matplotlib()
    for count in counts:
        if not 1 <= count <= config.REPLICA_COUNT:
            raise Refusal(f"--clients {count}: must lie in 1..{config.REPLICA_COUNT}")
    sizes = sizes or (SMALL, longest(config))
    for size in sizes:
        if not 1 <= size <= longest(config):
            raise Refusal(f"--sizes {size}: must lie in 1..{longest(config)}")
    cells = [
        Cell(path, mix, size, count, rate, **chosen)
        for rate in rates
        for mix in MIXES
        for size in sizes
        for count in counts
    ]
    rows = measured(measure, cells, as_json)
    figures = {
        "chosen": {k: v for k, v in asdict(cells[0]).items() if k in chosen},
        "small": min(sizes),
        "targets": TARGETS,
        "paper": PAPER,
        "rows": rows,
        "ok": True,
    }
    options = (option for option in ("read_only", "tentative") if chosen[option])
    name = "-".join(["radio", *options]).replace("_", "-")
    content = document(name, command_line(click.get_current_context()), config, figures)
    written = [results.write(content)]
    if with_plots:
        written += draw(results, figures, name)
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    console = wide_console()
    console.print(table_of(figures))
    if with_path:
        for row in rows:
            console.print(path_table(row))
    console.print(" ".join(["written:", *map(str, written)]), highlight=False)


def measured(measure_one, cells, silent):
    """The rows of all cells, on all cores, in the order of the cells."""
    workers = min(len(cells), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers) as pool:
        found = pool.map(measure_one, cells)
        if silent or not sys.stderr.isatty():
            return list(found)
        console = Console(stderr=True)
        return list(track(found, "simulating", len(cells), console=console))


def wide_console():
    """The tables have many columns: a terminal that is narrower wraps their lines."""
    console = Console()
    return console if console.width >= TABLE_WIDTH else Console(width=TABLE_WIDTH)


def words(row):
    return f"{MIX_WORDS[row['mix']]} {row['size']} B"


def table_of(figures):
    """The figures beside their targets; "lost" are collisions per operation, CPU is that of the
    primary and of a backup."""
    table = Table(title="Modelled radio (ESP-NOW), closed loop", title_justify="left")
    columns = ("Mbit/s", "clients", "p50 ms", "mean", "p99", "target", "op/s", "target", "frames")
    columns += ("air ms", "lost", "channel", "CPU")
    table.add_column("operation", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    last = None
    for row in figures["rows"]:
        if last not in (None, row["rate"]):
            table.add_section()
        last = row["rate"]
        ms, per_second = target_of(row, figures["small"])
        cpu = row["processor"]
        table.add_row(
            words(row),
            f"{row['rate']:g}",
            str(row["clients"]),
            *(f"{row['ms'][name]:.1f}" for name in ("p50", "mean", "p99")),
            _judged(row["ms"]["p50"], ms, -1),
            f"{row['per_second']:.1f}",
            _judged(row["per_second"], per_second, 1),
            f"{row['frames']:.1f}",
            f"{row['airtime_ms']:.1f}",
            f"{row['collisions']:.2f}",
            f"{100 * row['channel']:.0f} %",
            f"{100 * cpu['primary']:.0f}/{100 * cpu['backups']:.0f} %",
        )
    return table


def _judged(value, target, sign):
    if target is None:
        return ""
    return f"{target} " + ("met" if sign * (value - target) >= 0 else "missed")


def path_table(row):
    """Where the time of an operation goes, by the way its chain begins."""
    title = f"{words(row)}, {row['rate']:g} Mbit/s, {row['clients']} clients: mean ms on the path"
    table = Table(title=title, title_justify="left")
    ways = (*WAYS, *BEGINNINGS)
    table.add_column("message")
    for way in ways:
        table.add_column(way, justify="right")
    for beginning, chain in row["path"].items():
        for message, parts in chain["messages"].items():
            table.add_row(message, *(_cell(parts.get(way)) for way in ways))
        total = {way: sum(p.get(way, 0) for p in chain["messages"].values()) for way in ways}
        head = f"{beginning}: {100 * chain['share']:.0f} %, {chain['ms']:.1f} ms"
        table.add_row(head, *(_cell(total[way]) for way in ways), style="bold")
        table.add_section()
    return table


def _cell(value):
    return "" if not value else f"{value:.2f}"


def draw(results, figures, name):
    """Latency of one client, and throughput of all, by rate."""
    rows = figures["rows"]
    most = max(row["clients"] for row in rows)
    latencies, throughputs = {}, {}
    for row in rows:
        group = f"{row['rate']:g} Mbit/s"
        if row["clients"] == 1:
            latencies.setdefault(group, {})[words(row)] = row["ms"]["p50"]
        if row["clients"] == most:
            throughputs.setdefault(group, {})[words(row)] = row["per_second"]
    written = []
    if latencies:
        path = results.file(f"{name}-latency", "svg")
        lines = [(ms, f"paper (C++), {kind}") for kind, ms in PAPER["ms"].items()]
        plots.bars(path, "Modelled radio, 1 client: median latency", latencies, "ms", lines)
        written.append(path)
    if most > 1:
        path = results.file(f"{name}-throughput", "svg")
        lines = [(n, f"paper, {MIX_WORDS[mix]}s") for mix, n in PAPER["per_second"].items()]
        title = f"Modelled radio, {most} clients: closed loop"
        plots.bars(path, title, throughputs, "operations per second", lines)
        written.append(path)
    return written
