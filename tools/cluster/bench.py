"""`tinybft bench loss`: throughput and latency under loss beside the targets; instruction counts.

A cell of the matrix is one run of the cluster for a few seconds: closed loop, no kill, then
everything is read back as in any run. Under loss frames are also duplicated (2 %) and
delayed by up to 2 ms, which reorders them. Ratios are taken to the loss-free cell of the same
command, because machines differ and are noisy. --failover measures something else, see
failover.py.
"""

import importlib
import json
import sys
from dataclasses import replace

import rich_click as click

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
    matrix = {name: chosen.pop(name) for name in ("losses", "counts", "first_client")}
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
        click.echo(json.dumps({"seconds": options.seconds, "cells": rows}, indent=1))
    sys.exit(0 if all(row["ok"] for row in rows) else 1)


def measured(folder, config, options, matrix, show):
    """Run the cells of a matrix {losses, counts, first_client}; returns their rows."""
    rows = []
    for count in matrix["counts"]:
        clients = first_clients(config, count, matrix["first_client"])
        for loss in matrix["losses"]:
            rows.append(cell(folder, config, replace(options, clients=clients), loss, rows))
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


def cell(folder, config, options, loss, before):
    """One run of the matrix as a row; `before` holds the rows measured so far."""
    folder.clear()
    duplicate = DUPLICATE_PERCENT if loss else 0.0
    options = replace(options, loss=float(loss), duplicate=duplicate)
    result = performed(folder, config, options, Silence())
    count = len(options.clients)
    rate = result["operations_per_second"]
    free = [row["rate"] for row in before if row["clients"] == count and row["loss"] == 0]
    latency = result["latency_ms"].get("all", {"p50": None, "p99": None})
    return {
        "clients": count,
        "loss": loss,
        "rate": rate,
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "ratio": round(rate / free[0], 3) if free and free[0] and loss else None,
        "rate_target": RATE_TARGETS.get(count) if loss == 0 else None,
        "ratio_target": RATIO_TARGETS.get(loss),
        "ok": result["ok"],
        "failed": [entry for entry in result["checks"] if not entry["ok"]],
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
