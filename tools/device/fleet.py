"""Several boards at once: each in its thread, with a progress bar and a log file of its own.

All are opened and looked at before anything is written to any of them.
"""

import re
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tools.device.board import Board, BoardFailure
from tools.refusal import Refusal

LOG_FOLDER = Path("build/device")
_LOG_LINES = 8  # shown of a board that failed


class Fleet:
    """The boards at some ports; a context: opens all, and restarts them at the end.

    boards: [Board] in the order of the ports. `each` raises Refusal once every board is done,
    naming those that failed.
    """

    def __init__(self, ports, stub=True):
        self.boards = [Board(port, _log_file(port), stub) for port in ports]

    def __enter__(self):
        try:
            self.each(Board.open)
            _refuse_same_board_twice(self.boards)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with ThreadPoolExecutor(len(self.boards)) as threads:
            list(threads.map(Board.close, self.boards))

    def each(self, action):
        """Call action(board) for all boards at once; prints the words that it returns."""
        complaints = {}
        console = Console(highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
        )
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as progress:

            def run(board):
                task = progress.add_task(board.port, total=None, visible=False)

                def show(what, done, total):
                    words = f"{board.port}: {what}"
                    progress.update(
                        task, description=words, completed=done, total=total, visible=True
                    )

                board.on_progress = show
                try:
                    words = action(board)
                except (BoardFailure, Refusal) as error:
                    complaints[board.port] = _complaint(board, error)
                else:
                    if words:
                        console.print(f"{board.port}: {words}", markup=False)
                finally:
                    progress.remove_task(task)

            self._wait(run)
        if complaints:
            lines = [complaints[board.port] for board in self.boards if board.port in complaints]
            raise Refusal(*sum(lines, []))

    def _wait(self, run):
        with ThreadPoolExecutor(len(self.boards)) as threads:
            running = [threads.submit(run, board) for board in self.boards]
            try:
                wait(running)
            except KeyboardInterrupt:
                for board in self.boards:
                    board.cancelled = True
        for future in running:
            future.result()


def _log_file(port):
    name = re.sub(r"\W+", "-", port).strip("-")
    path = LOG_FOLDER / f"{name}.log"
    try:
        LOG_FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    except OSError as error:
        raise Refusal(
            f"{path}: the log of the board cannot be written ({error.strerror}); run this in a"
            " folder of your own"
        ) from error
    return path


def _refuse_same_board_twice(boards):
    """A development board often has two USB sockets. Boards behind sockets are not real."""
    by_mac = {}
    for board in boards:
        if "://" not in board.port and by_mac.setdefault(board.mac, board) is not board:
            raise Refusal(
                f"{by_mac[board.mac].port}, {board.port}: are one board ({board.mac}) on two"
                " cables; name one of the two with --port"
            )


def _complaint(board, error):
    if isinstance(error, Refusal):
        return list(error.lines)
    said = board.log_file.read_text(encoding="utf-8").splitlines()
    said = [line for line in said if line.strip()][-_LOG_LINES:]
    where = [f"    {board.log_file}:", *(f"    | {line}" for line in said)] if said else []
    return [f"{board.port}: {error}", *where]
