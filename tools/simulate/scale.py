"""`tinybft bench scale`: what the number of replicas costs, and what the length of the state.

Replicas: the paper's sizes, one closed-loop client that is a backup, writes of 64 bytes, on the
modelled radio. Processor times are those counted with four replicas (hal/sim_costs.py): what a
message costs more in a larger group, above all the tags it carries, is counted as MACs here and
not in the time.

State: tools/simulate/state_scale.py.
"""

import json
from dataclasses import dataclass

import rich_click as click
from rich.table import Table

from tools.cluster.commands import Numbers, Rate
from tools.config import chosen_file, load
from tools.config_sizes import region_totals, static_rows
from tools.refusal import Refusal
from tools.results import plots
from tools.results.invocation import command_line
from tools.results.store import RESULTS_FOLDER, Results, document
from tools.simulate.closed_loop import ClosedLoop
from tools.simulate.configs import REPLICA_COUNTS, configuration
from tools.simulate.measured import Meter, latency
from tools.simulate.radio import SMALL, Values, measured, wide_console
from tools.simulate.sim import Sim
from tools.simulate.state_scale import BLOCKS, StateCell, measure_state, state_table

WARM_UP = 8
KIB_LENGTHS = (1, 4, 16, 64, 256)
CLIENT = 1  # a backup
# What config.toml has for the paper's PBFT_ESP.
KEPT = ("REQUEST_LENGTH_MAX", "REPLY_LENGTH_MAX", "STATE_LENGTH", "BLOCK_LENGTH")
KEPT += ("BATCH_PAGES_MAX",)
_TAGS = 8  # bytes of inline_length_max that each further replica takes


@dataclass(frozen=True)
class GroupCell:
    replicas: int
    rate: float
    operations: int
    seed: int


def group(replicas, rate, **changed):
    """The configuration of a group with the paper's sizes; a short request stays inline."""
    shipped = load(chosen_file(None, None))
    sizes = {name: getattr(shipped, name) for name in KEPT}
    sizes["INLINE_LENGTH_MAX"] = shipped.INLINE_LENGTH_MAX + _TAGS * (replicas - 4)
    return configuration(replicas, rate, **(sizes | changed), RAM_MAX=10**8)


def messages_needed(config):
    """Of an operation of a replica's client, nothing lost: REQUEST, PRE-PREPARE, PREPARE of all
    backups, COMMIT of all, no REPLY; and of all a CHECKPOINT every K. With turns, fewer."""
    n = config.REPLICA_COUNT
    return 2 + (n - 1) + n + n / config.CHECKPOINT_INTERVAL


def measure_group(cell):
    """The row of a number of replicas."""
    config = group(cell.replicas, cell.rate)
    silent = group(cell.replicas, None, REPAIR_MS=100, RETRY_MS=200)
    sim = Sim(seed=cell.seed, radio=cell.rate, config=config)
    loop = ClosedLoop(sim, (CLIENT,), Values("put", SMALL, (CLIENT,)))
    loop.perform(WARM_UP)
    macs, digests = _crypto(sim)
    meter = Meter(sim)
    loop.perform(cell.operations)
    row = meter.row(len(loop.done), loop.passed_us)
    more_macs, more_digests = _crypto(sim)
    count = len(loop.done) * cell.replicas
    totals = region_totals(static_rows(config))
    return {
        "replicas": cell.replicas,
        "regions": totals,
        "memory": sum(totals.values()),
        "messages_needed": messages_needed(config),
        "messages_ideal": ideal(silent, cell),
        "messages_sent": round(sum(row["messages"].values()), 1),
        "macs": round((more_macs - macs) / count, 1),
        "digests": round((more_digests - digests) / count, 2),
        "per_second": round(1e6 * len(loop.done) / loop.passed_us, 2),
        "ms": latency(loop.times_us()),
        **row,
    }


def ideal(config, cell):
    """Messages per operation on a network that loses and delays nothing, without repairs."""
    sim = Sim(seed=cell.seed, config=config)
    sim.network(delay_ms=1, jitter_ms=0)
    loop = ClosedLoop(sim, (CLIENT,), Values("put", SMALL, (CLIENT,)))
    loop.perform(WARM_UP)
    before = sim.message_count
    loop.perform(cell.operations)
    return round((sim.message_count - before) / cell.operations, 1)


def _crypto(sim):
    cryptos = [sim.device(i).crypto for i in sim.replicas]
    return sum(c.macs for c in cryptos), sum(c.digests for c in cryptos)


@click.command()
@click.option("--replicas", default="4,7,10,13,25", show_default=True, type=Numbers())
@click.option("--state", "kib", type=Numbers(), help="KiB of state. [1,4,16,64,256]")
@click.option(
    "--blocks", default=BLOCKS, show_default=True, type=click.IntRange(1), help="Modified."
)
@click.option("--rate", default="1", show_default=True, type=Rate(), help="Of ESP-NOW.")
@click.option("--operations", default=60, show_default=True, type=click.IntRange(4))
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0))
@click.option("--output", default=RESULTS_FOLDER, show_default=True, help="Folder of results.")
@click.option("--plots/--no-plots", "with_plots", default=True, help="Plots, too. [plots]")
@click.option("--json", "as_json", is_flag=True, help="Print the JSON document, nothing else.")
def scale(replicas, kib, blocks, rate, operations, seed, output, with_plots, as_json):
    """What more replicas cost, and a longer state: memory, messages, checkpoint, transfer.

    Simulated. The cost of a checkpoint and of a state transfer is to follow the blocks that were
    modified (--blocks), not the length of the state.
    """
    for count in replicas:
        if count not in REPLICA_COUNTS:
            raise Refusal(
                f"--replicas {count}: choose among {', '.join(map(str, REPLICA_COUNTS))}"
            )
    kib = KIB_LENGTHS if kib is None else kib
    for length in kib:
        if not 1 <= length <= 1024:
            raise Refusal(f"--state {length}: must lie in 1..1024 KiB")
    results = Results(output)
    results.make_folder()
    if with_plots:
        plots.require_matplotlib()
    groups = [GroupCell(count, rate, operations, seed) for count in replicas]
    states = [StateCell(length, blocks, rate, seed) for length in kib]
    figures = {
        "chosen": {"rate": rate, "operations": operations, "seed": seed, "blocks": blocks},
        "replicas": measured(measure_group, groups, as_json),
        "state": measured(measure_state, states, as_json),
        "ok": True,
    }
    content = document("scale", command_line(click.get_current_context()), None, figures)
    written = [results.write(content)]
    if with_plots:
        written += draw(results, figures)
    if as_json:
        click.echo(json.dumps(content, indent=1))
        return
    console = wide_console()
    console.print(group_table(figures))
    console.print(state_table(figures))
    console.print(" ".join(["written:", *map(str, written)]), highlight=False)


def group_table(figures):
    """One row per number of replicas. "needed" is what the protocol asks for, "ideal"
    what is sent when nothing is lost or late."""
    chosen = figures["chosen"]
    title = f"Replicas: writes of {SMALL} B, modelled radio at {chosen['rate']:g} Mbit/s"
    table = Table(title=title, title_justify="left")
    columns = (
        "n",
        "regions B",
        "needed",
        "ideal",
        "messages",
        "frames",
        "air ms",
        "MACs",
        "k instr.",
    )
    columns += ("p50 ms", "mean", "p99", "op/s")
    for column in columns:
        table.add_column(column, justify="right")
    for row in figures["replicas"]:
        table.add_row(
            str(row["replicas"]),
            f"{row['memory']:,}".replace(",", " "),
            f"{row['messages_needed']:.0f}",
            f"{row['messages_ideal']:.1f}",
            f"{row['messages_sent']:.1f}",
            f"{row['frames']:.1f}",
            f"{row['airtime_ms']:.1f}",
            f"{row['macs']:.0f}",
            f"{row['instructions'] / 1000:.0f}",
            *(f"{row['ms'][name]:.0f}" for name in ("p50", "mean", "p99")),
            f"{row['per_second']:.1f}",
        )
    return table


def draw(results, figures):
    """Cost by replicas, and checkpoint and transfer by the length of the state."""
    written = []
    rows = figures["replicas"]
    if rows:
        first = rows[0]
        names = {
            "memory": "regions",
            "messages_sent": "messages, modelled radio",
            "messages_ideal": "messages, nothing lost",
            "instructions": "instructions",
        }
        curves = {
            words: [(row["replicas"], row[name] / first[name]) for row in rows]
            for name, words in names.items()
        }
        curves["median latency"] = [
            (row["replicas"], row["ms"]["p50"] / first["ms"]["p50"]) for row in rows
        ]
        path = results.file("scale-replicas", "svg")
        title = f"Cost per operation against n = {first['replicas']}, modelled radio"
        plots.lines(path, title, curves, ("replicas", "times"), "xy")
        written.append(path)
    rows = figures["state"]
    if rows:
        curves = {
            "checkpoint, bytes hashed": [
                (row["kib"], row["checkpoint"]["digested"]) for row in rows
            ],
            "checkpoint, lines executed": [
                (row["kib"], row["checkpoint"]["lines"]) for row in rows
            ],
            "transfer, bytes sent": [(row["kib"], row["transfer"]["bytes"]) for row in rows],
        }
        path = results.file("scale-state", "svg")
        title = f"{figures['chosen']['blocks']} blocks modified: cost by length of the state"
        plots.lines(path, title, curves, ("KiB of state", "bytes, lines"), "xy")
        written.append(path)
    return written
