"""`tinybft monitor`: all boards in one table, asked again and again over their consoles.

Each board has a thread of its own while it is asked, so that one that hangs delays the others
by its time-out only. A board that vanishes is tried again at every turn.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import rich_click as click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tinybft.faults import NAMES, STALE_VIEW
from tools.device.boards import BOARDS_FILE, read_boards
from tools.device.link import BoardError, Link, LinkError
from tools.refusal import Refusal

ASK = "import tinybft.repl\ntinybft.repl.print_json()"
COLUMNS = (
    "node",
    "role",
    "view",
    "executed",
    "stable",
    "open",
    "faults",
    "heap KB",
    "what blocks",
)
RIGHT = ("view", "executed", "stable", "open", "heap KB")
_HARMLESS = set(NAMES[STALE_VIEW:]) - {"rotten"}


class Board:
    """One board, over all its lives. `report`: what it said last; `problem`: why it says nothing
    now; `grown`: {fault: count} since this began, of those that mark damage or misbehaviour."""

    def __init__(self, name, device):
        self.name = name
        self.device = device
        self.report = None
        self.problem = ""
        self.grown = {}
        self._first = None
        self._link = None

    def ask(self):
        try:
            if self._link is None:
                self._link = Link(self.device)
            text = self._link.execute(ASK)
            # The node may have said something on the console at the same time.
            lines = [line for line in text.splitlines() if line.startswith("{")]
            self._take(json.loads(lines[-1]))
        except BoardError as error:
            self.problem = str(error)
        except (LinkError, IndexError, ValueError) as error:
            self.problem = str(error) if isinstance(error, LinkError) else "no report came"
            self.close()

    def _take(self, report):
        self.problem = ""
        counts = {**report["faults"], **report["air"]}
        if self._first is None or any(counts.get(k, 0) < n for k, n in self._first.items()):
            self._first = counts  # it was restarted
        self.grown = {
            name: count - self._first.get(name, 0)
            for name, count in counts.items()
            if name not in _HARMLESS and count > self._first.get(name, 0)
        }
        self.report = report

    def close(self):
        if self._link is not None:
            self._link.close()
            self._link = None

    def as_dict(self):
        if self.problem:
            return {"device": self.device, "error": self.problem}
        return {"device": self.device, **self.report}


class Monitor:
    """All boards of {name: device}. Use as a context manager."""

    def __init__(self, boards):
        self.boards = [Board(name, device) for name, device in boards.items()]
        self._pool = ThreadPoolExecutor(max_workers=len(self.boards))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for board in self.boards:
            board.close()
        self._pool.shutdown()

    def ask(self):
        """One turn."""
        list(self._pool.map(Board.ask, self.boards))

    def table(self):
        table = Table(box=None, pad_edge=False)
        for name in COLUMNS:
            table.add_column(name, justify="right" if name in RIGHT else "left")
        for board in self.boards:
            table.add_row(*cells(board), style=style(board))
        return table


def cells(board):
    """One row, as strings."""
    report = board.report
    if board.problem or report is None:
        return [board.name, "-", *[""] * (len(COLUMNS) - 3), board.problem or "not asked yet"]
    grown = ", ".join(f"{name} +{count}" for name, count in sorted(board.grown.items()))
    heap = f"{report['heap'][0] / 1000:.0f}" if report["heap"] else ""
    replica = "view" in report
    view = str(report["view"]) + ("" if report["active"] else "?") if replica else ""
    return [
        board.name,
        "stopped" if report["stopped"] else report["role"],
        view,
        str(report["last_executed"]) if replica else "",
        str(report["low_mark"]) if replica else "",
        str(len(report["slots"])) if replica else "",
        grown,
        heap,
        words(report["why"]),
    ]


def words(why):
    """The first thing that blocks."""
    if why["blocked"]:
        more = len(why["blocked"]) - 1
        return why["blocked"][0] + (f" (and {more} more)" if more else "")
    silent = ", ".join(str(replica) for replica, _ in why["silent"])
    return f"nothing; not heard: {silent}" if silent else "nothing"


def style(board):
    if board.problem or (board.report and board.report["stopped"]):
        return "red"
    return "yellow" if board.report and board.report["why"]["blocked"] else ""


@click.command()
@click.option("--port", "ports", multiple=True, help="A device instead of all known boards.")
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(0.1, 3600))
@click.option("--once", is_flag=True, help="Ask once, and end.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per turn, nothing else.")
@click.option("--boards", default=BOARDS_FILE, show_default=True, help="Which board is where.")
def monitor(ports, interval, once, as_json, boards):
    """Show all boards in a live table: role, view, progress, faults, what blocks.

    Asks over their serial consoles, beside the running replicas. Boards may vanish and return.
    "faults" are those since this began that mark damage or misbehaviour. Ctrl-C ends it.
    """
    if ports:
        known = {port: port for port in ports}
    else:
        known = {str(key): device for key, device in read_boards(boards).items()}
    if not known:
        raise Refusal(f"{boards}: names no board; `tinybft provision` one, or name --port")
    with Monitor(known) as found:
        try:
            watch(found, interval, once, as_json)
        except KeyboardInterrupt:
            return
    if once and all(board.problem for board in found.boards):
        raise Refusal(*[board.problem for board in found.boards])


def watch(found, interval, once, as_json):
    if as_json:
        while True:
            found.ask()
            click.echo(json.dumps({board.name: board.as_dict() for board in found.boards}))
            if once:
                return
            time.sleep(interval)
    if once:
        found.ask()
        Console().print(found.table())
        return
    with Live(console=Console(), refresh_per_second=4) as live:
        while True:
            found.ask()
            live.update(found.table())
            time.sleep(interval)
