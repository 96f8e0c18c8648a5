"""How a run shows itself: a live table on a terminal, plain lines elsewhere, then a summary.

Only the summary goes to a pipe together with one line every LINE_SECONDS; with --json nothing
but the document is printed.
"""

import time

import rich_click as click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tools.cluster.reports import merged

LINE_SECONDS = 2.0
EVENTS_SHOWN = 9
STYLES = {"killed": "dim red", "frozen": "cyan", "ended": "bold red", "finished": "dim"}
COLUMNS = (
    "node",
    "role",
    "view",
    "seqno",
    "stable",
    "done",
    "op/s",
    "p50 ms",
    "p99 ms",
    "faults",
    "lost",
    "heap KB",
)


class LiveTable:
    """The table of a run, redrawn in place. Use as a context manager; call to show."""

    def __init__(self):
        self._live = Live(console=Console(), refresh_per_second=4, transient=False)

    def __enter__(self):
        self._live.__enter__()
        return self

    def __exit__(self, *error):
        return self._live.__exit__(*error)

    def __call__(self, course, views):
        table = Table(box=None, collapse_padding=True, pad_edge=False)  # fits 80 columns
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in ("node", "role") else "right")
        for view in views:
            style = STYLES.get(view.condition, "")
            table.add_row(*cells(view), style=style)
        events = [Text(event(*entry)) for entry in course.events[-EVENTS_SHOWN:]]
        self._live.update(Group(Text(headline(course, views), style="bold"), table, *events))


class PlainLines:
    """One line every LINE_SECONDS, for pipes and logs."""

    def __init__(self):
        self._next = 0.0
        self._phase = None
        self._told = 0  # events

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def __call__(self, course, views):
        for entry in course.events[self._told :]:
            click.echo(event(*entry))
        self._told = len(course.events)
        now = time.monotonic()
        if now < self._next and course.phase == self._phase:
            return
        self._next = now + LINE_SECONDS
        self._phase = course.phase
        click.echo(headline(course, views))


class Silence(PlainLines):
    """Shows nothing: --json."""

    def __call__(self, course, views):
        pass


def event(seconds, words):
    return f"{seconds:6.2f} s  {words}"


def headline(course, views):
    """One line that says how far a run is."""
    total = sum(view.acknowledged for view in views)
    rate = sum(view.rate for view in views)
    latency = merged([view.latency for view in views])
    middle, tail = (milliseconds(latency.quantile(share)) for share in (0.5, 0.99))
    statuses = [view.status for view in views if view.replica and view.status]
    seqno = max((status["last_executed"] for status in statuses), default=0)
    stable = max((status["low_mark"] for status in statuses), default=0)
    view = max((status["view"] for status in statuses), default=0)
    dead = [str(view.node_id) for view in views if view.condition == "killed" and view.replica]
    line = (
        f"{course.phase}: {total}/{course.options.operations} operations, {rate:.0f} op/s,"
        f" p50 {middle} p99 {tail} ms,"
        f" view {view}, seqno {seqno}, stable {stable}, loss {course.options.loss:g} %"
    )
    if cuts := [cut for cut in course.power_cuts.rounds if cut.struck]:
        line += f", power cut {len(cuts)}/{course.power_cuts.wanted}"
    return line + (f", killed {', '.join(dead)}" if dead else "")


def cells(view):
    """One row of the table, as strings."""
    status = view.status
    if status is None:
        return [str(view.node_id), view.condition, *[""] * (len(COLUMNS) - 2)]
    name = status["role"] if view.condition == "running" else view.condition
    if name != view.condition and status.get("durability", {}).get("mode") == "rejoining":
        name = "rejoining"
    busy = view.workload is not None
    replica = view.replica
    return [
        str(view.node_id),
        name,
        str(status["view"]) if replica else "",
        str(status["last_executed"]) if replica else "",
        str(status["low_mark"]) if replica else "",
        str(view.acknowledged) if busy else "",
        f"{view.rate:.0f}" if busy else "",
        milliseconds(view.latency.quantile(0.5)) if busy else "",
        milliseconds(view.latency.quantile(0.99)) if busy else "",
        str(view.faults()),
        str(view.injected("injected_loss")),
        f"{view.report['heap']['now'] / 1000:.0f}" if replica else "",
    ]


def milliseconds(microseconds):
    return "-" if microseconds is None else f"{microseconds / 1000:.2f}"


def print_summary(result):
    """The result of a run (see cluster_result) for a person."""
    click.echo()
    click.echo(
        f"{result['operations']} operations in {result['seconds']:.1f} s ="
        f" {result['operations_per_second']:.0f} op/s; {result['loss_percent']:g} % of the frames"
        " lost on purpose"
    )
    click.echo("latency in ms          count      p50      p90      p99")
    for name, row in result["latency_ms"].items():
        figures = "".join(f"{_figure(row[key]):>9}" for key in ("p50", "p90", "p99"))
        click.echo(f"  {name:<18}{row['count']:>8}{figures}")
    for replica in result["replicas"]:
        click.echo(_replica_line(replica))
    if result["power_cuts"]:
        _print_power_cuts(result["power_cuts"])
    for check in result["checks"]:
        mark = click.style("ok  ", fg="green") if check["ok"] else click.style("FAIL", fg="red")
        click.echo(f"{mark} {check['name']}: {check['detail']}")


def _print_power_cuts(figures):
    click.echo(
        "power cuts   kills  all at once  last view  acknowledged  lost    votes  contradictions"
    )
    click.echo(
        f"{figures['rounds']:>10}{figures['kills']:>8}{figures['all_at_once']:>13}"
        f"{figures['view']:>11}{figures['operations']:>14}{figures['lost']:>6}"
        f"{figures['votes']:>9}{len(figures['contradictions']):>16}"
    )


def _figure(value):
    return "-" if value is None else f"{value:.2f}"


def _replica_line(replica):
    if replica["condition"] != "running":
        return f"replica {replica['node_id']}: {replica['condition']}"
    return (
        f"replica {replica['node_id']}: {replica['role']}, view {replica['view']},"
        f" seqno {replica['last_executed']}, stable {replica['low_mark']},"
        f" state {replica['stable_digest'][:16]}, heap {replica['heap']['now']} bytes"
    )
