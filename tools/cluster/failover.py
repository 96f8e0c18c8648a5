"""`tinybft bench --failover N`: kill the primary N times under load, and time what follows.

One cluster per loss rate lives through all rounds; each client runs in a replica, so the one
that dies takes its client along and N - 1 go on. Every round is one of outage.py: SIGKILL of
the primary, restart (with empty memory, but for a durable configuration), and the deciding vote
of the returned. Quantiles are those of the rounds that came so far. Afterwards everything is
read back as in any run.
"""

from dataclasses import replace

import rich_click as click

from tools.cluster.commands import performed, prepared
from tools.cluster.outage import quantiles
from tools.cluster.table import Silence

DUPLICATE_PERCENT = 2.0
GAP_TARGET = 1.5  # times request_ms: what the median gap is to stay below
OPERATIONS_FIRST = 800  # a quarter of them before the first kill
DOWN_MS = 500


class RoundLines(Silence):
    """One line for each round when it is over."""

    def __init__(self):
        super().__init__()
        self._shown = -1  # the heading first

    def __call__(self, course, views):
        rounds = course.outages.rounds
        if self._shown < 0:
            self._shown = 0
            click.echo(f"\n{course.options.loss:g} % loss")
            click.echo("round  killed    view   gap ms  return ms  blocks  vote ms")
        while self._shown < len(rounds) and _is_over(rounds[self._shown]):
            click.echo(_line(rounds[self._shown]))
            self._shown += 1


def _is_over(outage):
    return outage.vote_ms is not None or outage.failure


def _line(outage):
    views = f"{_figure(outage.view)}->{_figure(outage.new_view)}"
    return (
        f"{outage.round:>5}{_figure(outage.replica):>8}{views:>8}{_figure(outage.gap_ms):>9}"
        f"{_figure(outage.return_ms):>11}{_figure(outage.blocks_fetched):>8}"
        f"{_figure(outage.vote_ms):>9}" + (f"  {outage.failure}" if outage.failure else "")
    )


def _figure(value):
    return "-" if value is None else f"{value:.0f}"


def measure_failover(folder, path, chosen, rounds, losses, as_json):
    """One row per loss rate; see `summary`."""
    chosen = {**chosen, "kill": "primary", "rounds": rounds, "down_ms": DOWN_MS}
    config, options = prepared(folder, path, {**chosen, "operations": OPERATIONS_FIRST}, as_json)
    options = replace(options, seconds=None, clients=tuple(range(config.REPLICA_COUNT)))
    rows = []
    for loss in losses:
        folder.clear()
        duplicate = DUPLICATE_PERCENT if loss else 0.0
        lossy = replace(options, loss=float(loss), duplicate=duplicate)
        result = performed(folder, config, lossy, Silence() if as_json else RoundLines())
        rows.append(summary(config, rounds, loss, result))
        if not as_json:
            print_summary(rows[-1])
    return rows


def summary(config, rounds, loss, result):
    """{loss, rounds, recovered, returned, voted, quantiles of each, ok, outages}."""
    outages = result["outages"]
    gaps = _known(outages, "gap_ms")
    returns = _known(outages, "return_ms")
    votes = _known(outages, "vote_ms")
    return {
        "loss": loss,
        "rounds": rounds,
        "operations": result["operations"],
        "recovered": len(gaps),
        "returned": len(returns),
        "voted": len(votes),
        "gap_ms": quantiles(gaps),
        "return_ms": quantiles(returns),
        "blocks_fetched": quantiles(_known(outages, "blocks_fetched")),
        "vote_ms": quantiles(votes),
        "median_gap_target_ms": GAP_TARGET * config.REQUEST_MS,
        "ok": result["ok"],
        "failed": [entry for entry in result["checks"] if not entry["ok"]],
        "outages": outages,
    }


def _known(outages, name):
    return sorted(outage[name] for outage in outages if outage[name] is not None)


def print_summary(row):
    click.echo(f"\n{'':<34}{'k of n':>9}{'min':>8}{'median':>8}{'p90':>8}{'max':>8}")
    for words, count, name in (
        ("SIGKILL to next operation, ms", "recovered", "gap_ms"),
        ("restart to in step, ms", "returned", "return_ms"),
        ("  blocks fetched", "returned", "blocks_fetched"),
        ("first deciding vote, ms", "voted", "vote_ms"),
    ):
        figures = row[name] or dict.fromkeys(("min", "median", "p90", "max"))
        share = f"{row[count]}/{row['rounds']}"
        click.echo(
            f"{words:<34}{share:>9}" + "".join(f"{_figure(v):>8}" for v in figures.values())
        )
    target = row["median_gap_target_ms"]
    if row["gap_ms"]:
        met = "met" if row["gap_ms"]["median"] < target else "missed"
        click.echo(f"target: a median gap below {target:.0f} ms: {met}")
    click.echo(f"{row['operations']} operations; checks {'ok' if row['ok'] else 'FAILED'}")
    for entry in row["failed"]:
        click.echo(f"  {entry['name']}: {entry['detail']}")
