"""Stock `mpremote mip install` puts the library on a real MicroPython, which imports it.

The interpreter runs behind a pseudo-terminal, its REPL is carried over TCP as an emulated
board's is. What installs, and over what protocol, is the same as with a board on a serial port.
"""

import contextlib
import os
import pty
import selectors
import signal
import socket
import subprocess
import sys
import threading
import tty

import pytest

from tools.cluster.files import beside_python
from tools.config import ROOT

MICROPYTHON = beside_python("micropython")
MPREMOTE = beside_python("mpremote")
_CHUNK = 4096
_SECONDS = 300  # half a megabyte of sources goes through the REPL

pytestmark = pytest.mark.skipif(
    MICROPYTHON is None or MPREMOTE is None or sys.platform == "win32",
    reason="needs micropython, mpremote and pseudo-terminals",
)


def _carry(server, terminal, stop):
    """Copy bytes between whoever connects to `server` and the terminal, until `stop`."""
    while not stop.is_set():
        try:
            connection, _ = server.accept()
        except OSError:
            continue
        with connection, selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(terminal, selectors.EVENT_READ)
            while not stop.is_set():
                ready = {key.fileobj for key, _ in selector.select(0.1)}
                if terminal in ready:
                    connection.sendall(os.read(terminal, _CHUNK))
                if connection in ready:
                    data = connection.recv(_CHUNK)
                    if not data:
                        break
                    os.write(terminal, data)


@contextlib.contextmanager
def board(library):
    """Runs MicroPython with `library` as its /lib; yields the address for mpremote."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    environment = os.environ | {"MICROPYPATH": f".frozen:{library}", "HOME": str(library)}
    process = subprocess.Popen(
        [MICROPYTHON, "-X", "heapsize=4M"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        cwd=library,
        start_new_session=True,
    )
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        thread = threading.Thread(target=_carry, args=(server, master, stop))
        thread.start()
        try:
            yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(master)
            os.close(slave)


def mpremote(address, *arguments):
    result = subprocess.run(
        [MPREMOTE, "connect", address, "resume", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


def test_installed_by_mip_and_imported(tmp_path):
    library = tmp_path / "lib"
    library.mkdir()
    with board(library) as address:
        printed = mpremote(address, "mip", "install", "tinybft/package.json", "hal/package.json")
        assert "Done" in printed
        for name in ("tinybft/agreement.py", "tinybft/apps/kv.py", "hal/frames.py"):
            assert (library / name).read_bytes() == (ROOT / name).read_bytes()
        words = "import tinybft, hal.frames; print(tinybft.__file__, tinybft.Node)"
        printed = mpremote(address, "exec", words)
    assert f"{library}/tinybft/__init__.py <class 'Node'>" in printed
