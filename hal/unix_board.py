"""A board on a host: the main.py of a device in a process, and its prompt on standard input.

    micropython -m hal.unix_board KEYS STORE MAIN        (or python3)

KEYS: this node's key file. STORE: a file for what a board has non-volatile memory for. MAIN:
what a board runs after reset. Each line of the input is executed when it comes, the value of
an expression is printed. The process ends with its input.

There is no interrupt here to call the node: it is stepped whenever somebody waits.
"""

import select
import sys

from hal import unix
from hal.keys import KeyFileError, load_keys
from tinybft import attached
from tinybft.compat import const

_STORE_LENGTH_MIN = const(64)
_LOOK_MS = const(20)  # between two looks at the input


def read_identity(config):
    if len(sys.argv) < 3:
        raise KeyFileError("no key file; run `micropython -m hal.unix_board KEYS STORE MAIN`")
    return load_keys(sys.argv[1], config)


class Hal(unix.Hal):
    """The contract of `hal`, of the process's arguments."""

    def __init__(self, config, node_id, crypto=None):
        length = max(_STORE_LENGTH_MIN, config.NVM_LENGTH)
        super().__init__(config, node_id, crypto, store_path=sys.argv[2], store_length=length)
        self._callback = None

    def background(self, callback):
        """From now on call callback() whenever somebody waits; None ends it."""
        self._callback = callback

    def wait(self, ms):
        if self._callback:
            self._callback()
        super().wait(ms)

    async def wait_async(self, ms):
        if self._callback:
            self._callback()
        await super().wait_async(ms)


def main(path):
    """Run the file, then the prompt; the exit code."""
    sys.path.insert(0, path.rpartition("/")[0] or ".")
    names = {"__name__": "__main__"}
    with open(path) as file:
        exec(file.read(), names)
    node = attached.node
    if node is None:
        return 2  # hal.boot has said why
    lines = open(0, "rb", 0)  # noqa: SIM115 - unbuffered, for poll to see all of it
    poll = select.poll()
    poll.register(lines, select.POLLIN)
    while True:
        if poll.poll(0):
            line = lines.readline()
            if not line:
                return 0
            answer(line.decode().strip(), names)
        node.hal.wait(min(node.idle_ms(), _LOOK_MS))


def answer(line, names):
    try:
        try:
            value = eval(line, names)
        except SyntaxError:
            value = exec(line, names)
        if value is not None:
            print(repr(value))
    except Exception as error:
        print(type(error).__name__ + ": " + str(error))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print("usage: micropython -m hal.unix_board KEYS STORE MAIN")
        sys.exit(2)
    sys.exit(main(sys.argv[3]))
