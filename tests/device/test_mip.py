"""Stock mip puts the library on a real MicroPython, which imports it.

Both ways: MicroPython's own `mip` fetches it over HTTP; and `mpremote mip install` writes it
through the REPL of an interpreter behind a pseudo-terminal, carried over TCP as an emulated
board's is. The second takes 0.1 s for each 256 bytes, and so installs a part only.
"""

import contextlib
import functools
import http.server
import json
import os
import pty
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import tty

import pytest

from tools.cluster.files import beside_python
from tools.config import ROOT
from tools.firmware.frozen import frozen_files

MICROPYTHON = beside_python("micropython")
MPREMOTE = beside_python("mpremote")
_CHUNK = 4096
_SECONDS = 120
PACKAGES = ("tinybft", "hal")

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
                if connection in ready:
                    data = connection.recv(_CHUNK)
                    if not data:
                        break
                    os.write(terminal, data)
                if terminal in ready:
                    with contextlib.suppress(OSError):  # nobody listens any more
                        connection.sendall(os.read(terminal, _CHUNK))


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


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def web_server():
    """Serves this project's folder; yields its address."""
    serve = functools.partial(_Silent, directory=ROOT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def micropython(library, *arguments):
    result = subprocess.run(
        [MICROPYTHON, *arguments],
        env=os.environ | {"MICROPYPATH": f".frozen:{library}"},
        cwd=library,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


def test_installed_by_mip_and_imported(tmp_path):
    with web_server() as address:
        for package in PACKAGES:
            url = f"{address}/{package}/package.json"
            micropython(tmp_path, "-m", "mip", "install", "--target", tmp_path, url)
    installed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert installed == set(frozen_files(ROOT / "manifest.py", main=False))
    for name in installed:
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    words = "import tinybft, hal.frames; from tinybft.apps.kv import KeyValueStore; print('there')"
    assert micropython(tmp_path, "-c", words) == "there\n"


def test_mpremote_installs_what_package_json_lists(tmp_path):
    urls = json.loads((ROOT / "hal" / "package.json").read_text())["urls"]
    some = [url for url in urls if url[0] in ("hal/__init__.py", "hal/store.py", "hal/faults.py")]
    assert len(some) == 3
    shutil.copytree(ROOT / "hal", tmp_path / "hal")
    (tmp_path / "hal" / "package.json").write_text(json.dumps({"urls": some}))
    library = tmp_path / "lib"
    library.mkdir()
    with board(library) as address:
        printed = mpremote(address, "mip", "install", f"{tmp_path}/hal/package.json")
        assert "Done" in printed
        printed = mpremote(address, "exec", "import hal.faults; print(hal.BROADCAST)")
    assert printed == "-1\n"
    for target, _ in some:
        assert (library / target).read_bytes() == (ROOT / target).read_bytes()
