"""`tinybft repl`: the prompt of a board whose replica goes on meanwhile."""

import ast
import subprocess
import sys

import rich_click as click

from tools.device.boards import BOARDS_FILE, device_of
from tools.device.link import BoardError, Link, LinkError
from tools.refusal import Refusal

IMPORT = "import tinybft.repl as t"


@click.command()
@click.argument("node_id", type=click.IntRange(0), required=False)
@click.option("--port", help="Device of the board, instead of NODE_ID.")
@click.option("--exec", "code", metavar="CODE", help="Run this there, show its value, and end.")
@click.option("--boards", default=BOARDS_FILE, show_default=True, help="Which board is where.")
def repl(node_id, port, code, boards):
    """Open the REPL of a running board; the replica keeps replicating.

    `t` is tinybft.repl there: t.status(), t.peers(), t.slot(n), t.memory(), t.why(),
    t.submit(operation). Ctrl-] leaves. --exec "t.why()" asks without a prompt.
    """
    if (node_id is None) == (port is None):
        raise Refusal("name one board: `tinybft repl NODE_ID`, or --port DEVICE")
    device = port or device_of(node_id, boards)
    if code is None:
        converse(device)
    else:
        click.echo(answer(device, code), nl=False)


def converse(device):
    """Hand over to mpremote. `resume`: else it resets the board, and the replica with it."""
    code = subprocess.call(
        [sys.executable, "-m", "mpremote", "connect", device, "resume", "exec", IMPORT, "repl"]
    )
    if code:
        raise Refusal(
            f"{device}: mpremote ended with {code}; if it had no access: end the program that uses"
            " the port (a monitor?); if it met no REPL: reset the board"
        )


def answer(device, code):
    """What `code` prints there, or its value if it is an expression."""
    try:
        link = Link(device)
    except LinkError as error:
        raise Refusal(str(error)) from None
    try:
        return link.execute(IMPORT + "\n" + shown(code))
    except (LinkError, BoardError) as error:
        raise Refusal(f"{device}: {error}") from None
    finally:
        link.close()


def shown(code):
    """As the prompt would do: the value of an expression is printed, None is not."""
    try:
        ast.parse(code, mode="eval")
    except SyntaxError:
        return code
    return f"_ = ({code})\nif _ is not None: print(repr(_))"
