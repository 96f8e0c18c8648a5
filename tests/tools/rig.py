"""Boards for tests: the real MicroPython behind a terminal, reached as `socket://` like an
emulated board, or as a serial device."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import tty
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Rig:
    """`device`: what commands connect to; one connection at a time. Use as a context manager."""

    def __init__(self, *arguments, serial=False):
        self._arguments = [str(argument) for argument in arguments]
        self._open = True
        self._server = None
        if serial:
            self._host, device = pty.openpty()
            tty.setraw(device)
            self._device = device  # stays open, or the pair would end with the first client
            self.device = os.ttyname(device)
        else:
            self._server = socket.create_server(("127.0.0.1", 0))
            self.device = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self.power_on()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def power_on(self):
        board, terminal = pty.openpty()
        tty.setraw(terminal)
        process = subprocess.Popen(
            [
                Path(sys.executable).with_name("micropython"),
                "-i",
                "-X",
                "heapsize=4M",
                ROOT / "tests" / "tools" / "live_board.py",
                *self._arguments,
            ],
            env=os.environ | {"MICROPYPATH": f"{ROOT}:.frozen"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        console = b""
        while "busy" not in self._arguments and b">>> " not in console:
            console += os.read(board, 1000)
        # Only now is it the other thread's to read.
        self._board = board
        self.process = process

    def power_off(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._open = False
        self.power_off()
        self._thread.join()
        if self._server:
            self._server.close()

    def _carry(self):
        """Octets between the board and whoever is connected."""
        client = None if self._server else self._host
        while self._open:
            waiting = [self._board] if self.process.poll() is None else []
            waiting.append(self._server if client is None else client)
            for ready in select.select(waiting, [], [], 0.05)[0]:
                if ready is self._server:
                    client = self._server.accept()[0]
                elif ready is client:
                    client = self._from_client(client)
                else:
                    self._from_board(client)
            if self._server and client is not None and self.process.poll() is not None:
                client.close()
                client = None

    def _from_client(self, client):
        try:
            octets = client.recv(1000) if self._server else os.read(client, 1000)
        except OSError:
            octets = b""
        if octets:
            os.write(self._board, octets)
            return client
        if self._server:
            client.close()
            return None
        return client

    def _from_board(self, client):
        try:
            octets = os.read(self._board, 1000)
            if client is None:
                return
            if self._server:
                client.sendall(octets)
            else:
                os.write(client, octets)
        except OSError:
            pass
