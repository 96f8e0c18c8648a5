"""`tinybft logs`: what boards print, line by line, each line with its board's name before it.

A port that vanishes (a board that restarts takes its USB along) is waited for.
"""

import threading
import time

import rich_click as click

from tools.device import options
from tools.device.ports import chosen_ports, opened
from tools.refusal import Refusal

_WAIT_S = 0.1  # at most that long is text held back
_READ_LENGTH = 4096
_RETRY_S = 0.5
_LINE_LENGTH_MAX = 1000
_PRINTING = threading.Lock()


@click.command()
@options.port
@click.option("--seconds", type=float, metavar="S", help="Stop after S seconds, not at Ctrl-C.")
def logs(ports, seconds):
    """Show what boards print. They are not restarted by it."""
    ports = chosen_ports(ports)
    for port in ports:
        opened(port).close()
    follow({port: port for port in ports}, seconds)


def follow(names, seconds=None):
    """Print the lines of {port: name} until Ctrl-C, or for some seconds."""
    stop = threading.Event()
    width = max(map(len, names.values()))
    threads = [
        threading.Thread(target=_follow_one, args=(port, f"{name:{width}} |", stop), daemon=True)
        for port, name in names.items()
    ]
    for thread in threads:
        thread.start()
    try:
        stop.wait(seconds)
    except KeyboardInterrupt:
        click.echo()
    stop.set()
    for thread in threads:
        thread.join(2 * _WAIT_S + _RETRY_S)


def _follow_one(port, prefix, stop):
    missed = False
    while not stop.is_set():
        try:
            with opened(port, timeout=_WAIT_S) as link:
                missed = False
                _print_lines(link, prefix, stop)
        except (Refusal, OSError):
            if not missed:
                _show(prefix, b"(the port is gone; waiting for it)")
            missed = True
            time.sleep(_RETRY_S)


def _print_lines(link, prefix, stop):
    line = b""
    try:
        while not stop.is_set():
            line += link.read(_READ_LENGTH)
            *whole, line = line.split(b"\n")
            if len(line) > _LINE_LENGTH_MAX:
                whole, line = [*whole, line], b""
            for text in whole:
                _show(prefix, text)
    finally:
        if line:
            _show(prefix, line)


def _show(prefix, text):
    """Print a line. A board's text cannot move the cursor or colour the terminal."""
    text = text.decode("utf-8", "replace").rstrip("\r").expandtabs()
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    with _PRINTING:
        click.echo(f"{prefix} {text}")
