"""`tinybft bench loss`: throughput and latency under loss beside the targets; instruction counts.

A cell of the matrix is a run of the cluster for a few seconds, or the medians of several: closed
loop, no kill, then everything is read back as in any run. Under loss frames are also duplicated
(2 %). Ratios are taken to the loss-free cell of the same command, because machines differ and are
noisy. --failover measures something else, see failover.py.
"""

import importlib
import json
import sys
from dataclasses import replace
from statistics import median

import rich_click as click

from tools.bench.figures import ratios, spread
from tools.cluster.commands import LEAN, Numbers, performed, prepared
from tools.cluster.failover import measure_failover
from tools.cluster.files import RunFolder
from tools.cluster.instructions import count_instructions, print_instructions
from tools.cluster.kept import refuse_if_kept, refuse_if_running
from tools.cluster.table import Silence
from tools.config import chosen_file
from tools.refusal import Refusal

LOSSES = (0, 5, 10, 20, 30)
DUPLICATE_PERCENT = 2.0
# Twice the C++ TinyBFT on such a host without loss; under loss shares of the own loss-free rate.
RATE_TARGETS = {1: 1140, 4: 2050}
RATIO_TARGETS = {5: 0.5, 10: 0.25, 20: 0.1}


@click.command()
@click.option("--loss", "losses", type=Numbers(), help="% of frames. [0,5,10,20,30]")
@click.option("--failover", type=click.IntRange(1, 1000), help="Kill the primary so often.")
@click.option("--clients", "counts", default="1,4", type=Numbers(), help="Numbers of clients.")
@click.option("--first-client", default=1, show_default=True, help="Id of the first client.")
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 600))
@click.option("--runs", default=1, show_default=True, type=click.IntRange(1, 100), help="Medians.")
@click.option("--size", type=int, help="Bytes of each value. [64; with --failover of all sizes]")
@click.option("--mix", type=click.Choice(["put", "get", "all"]), help="[put; --failover: all]")
@click.option("--jitter-ms", default=0, type=click.IntRange(0, 1000), help="Reorders frames.")
@click.option("--seed", default=1, show_default=True)
@click.option("--heap", default="640K", show_default=True, help="Heap of each replica.")
@click.option("--instructions", is_flag=True, help="Count instructions per operation instead.")
@click.option("--virt", is_flag=True, help="Count those of an emulated rv32imc board instead.")
@click.option("--functions", is_flag=True, help="With --virt: also by function.")
@click.option("--write-costs", is_flag=True, help="With --virt: the radio simulator's, anew.")
@LEAN
@click.option("--config", "file", metavar="FILE", help="Configuration. [config.toml]")
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead.")
@click.option("--run-dir", default="build/bench", show_default=True, help="Folder of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
def loss(run_dir, as_json, virt, functions, write_costs, **chosen):
    """Measure a cluster: operations per second under loss, instructions, or view changes.

    --failover N kills the primary N times under load (at 0 % loss unless --loss is given): time
    to the next operation, to the return of the killed one, and to its deciding vote.
    --virt counts rv32imc instructions and heap per message, operation and event, in QEMU.
    """
    if virt:
        path = chosen_file(chosen["file"], chosen["name"])
        importlib.import_module("tools.virt.bench").report(
            run_dir, path, as_json, functions, write_costs
        )
        return
    if functions or write_costs:
        raise Refusal("--functions and --write-costs belong to --virt; give that, too")
    folder = RunFolder(run_dir)
    refuse_if_running(folder)
    path = chosen_file(chosen.pop("file"), chosen.pop("name"))
    matrix = {name: chosen.pop(name) for name in ("losses", "counts", "first_client", "runs")}
    failover = chosen.pop("failover")
    refuse_if_kept(folder)
    size = chosen.pop("size") or (None if failover else 64)
    chosen.update(
        value_sizes=size and (size,), mix=chosen["mix"] or ("all" if failover else "put")
    )
    if failover:
        del chosen["instructions"]
        rows = measure_failover(folder, path, chosen, failover, matrix["losses"] or (0,), as_json)
        if as_json:
            click.echo(json.dumps({"failover": rows}, indent=1))
        sys.exit(0 if all(row["ok"] for row in rows) else 1)
    matrix["losses"] = matrix["losses"] or LOSSES
    if chosen.pop("instructions"):
        result = count_instructions(folder, path, chosen, as_json)
        click.echo(json.dumps(result, indent=1)) if as_json else print_instructions(result)
        return
    config, options = prepared(folder, path, {**chosen, "operations": 10**9}, as_json)
    rows = measured(folder, config, options, matrix, Silence() if as_json else print_row)
    if as_json:
        chosen = {"seconds": options.seconds, "runs": matrix["runs"]}
        click.echo(json.dumps({**chosen, "cells": rows}, indent=1))
    sys.exit(0 if all(row["ok"] for row in rows) else 1)


def measured(folder, config, options, matrix, show):
    """Run the cells of a matrix {losses, counts, first_client, runs}; returns their rows."""
    rows = []
    for count in matrix["counts"]:
        clients = first_clients(config, count, matrix["first_client"])
        for loss in matrix["losses"]:
            mine = replace(options, clients=clients)
            rows.append(cell(folder, config, mine, loss, rows, matrix["runs"]))
            show(rows[-1], len(rows) == 1)
    return rows


def first_clients(config, count, first):
    """`count` client ids from `first` on, round the replicas; raises Refusal."""
    if not 1 <= count <= config.REPLICA_COUNT:
        raise Refusal(
            f"--clients {count}: must lie in 1..{config.REPLICA_COUNT} (the clients of the"
            " benchmark are replicas)"
        )
    if not 0 <= first < config.REPLICA_COUNT:
        raise Refusal(f"--first-client {first}: must lie in 0..{config.REPLICA_COUNT - 1}")
    return tuple((first + i) % config.REPLICA_COUNT for i in range(count))


def cell(folder, config, options, loss, before, runs):  # noqa: PLR0913
    """The medians of some runs of the matrix as a row; `before` holds the rows measured so far."""
    duplicate = DUPLICATE_PERCENT if loss else 0.0
    options = replace(options, loss=float(loss), duplicate=duplicate)
    results = []
    for run in range(runs):
        folder.clear()
        mine = replace(options, seed=options.seed + run)
        results.append(performed(folder, config, mine, Silence()))
    count = len(options.clients)
    rates = [result["operations_per_second"] for result in results]
    free = [row["rates"] for row in before if row["clients"] == count and row["loss"] == 0]
    latencies = [result["latency_ms"].get("all", {}) for result in results]
    p50, p99 = (spread([one.get(name) for one in latencies]) for name in ("p50", "p99"))
    ratio = ratios(rates, free[0]) if free and loss else None
    return {
        "clients": count,
        "loss": loss,
        "rate": median(rates),
        "rates": rates,
        "p50_ms": p50 and p50["median"],
        "p99_ms": p99 and p99["median"],
        "ratio": ratio and ratio["median"],
        "rate_target": RATE_TARGETS.get(count) if loss == 0 else None,
        "ratio_target": RATIO_TARGETS.get(loss),
        "ok": all(result["ok"] for result in results),
        "failed": [entry for result in results for entry in result["checks"] if not entry["ok"]],
    }


def print_row(row, first):
    if first:
        click.echo("clients  loss %    op/s  p50 ms  p99 ms   ratio  target           checks")
    target = ""
    if row["rate_target"]:
        target = f"{row['rate_target']} op/s " + (
            "met" if row["rate"] >= row["rate_target"] else "missed"
        )
    if row["ratio"] is not None and row["ratio_target"]:
        met = "met" if row["ratio"] >= row["ratio_target"] else "missed"
        target = f"{row['ratio_target']:.2f} {met}"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    p50, p99 = (f"{row[key]:.2f}" if row[key] is not None else "-" for key in ("p50_ms", "p99_ms"))
    click.echo(
        f"{row['clients']:>7}{row['loss']:>8}{row['rate']:>8.0f}{p50:>8}{p99:>8}{ratio:>8}"
        f"  {target:<17}{'ok' if row['ok'] else 'FAILED'}"
    )
    for entry in row["failed"]:
        click.echo(f"         {entry['name']}: {entry['detail']}")
