"""A folder of its own for each test, with firmware and keys; mock boards."""

import contextlib
import time
from types import SimpleNamespace

import pytest
from serial.urlhandler import protocol_socket

from tests.tools.device.boards import CONFIG, MockBoard, firmware
from tests.tools.support import run


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def quick_close(monkeypatch):
    """pyserial rests after closing a socket, for programs that reopen it at once."""
    clock = SimpleNamespace(time=time.time, sleep=lambda seconds: None)
    monkeypatch.setattr(protocol_socket, "time", clock)


@pytest.fixture
def built(folder):
    """A firmware where the commands look for it."""
    return firmware(folder / "build" / "firmware" / "TINYBFT_C3")


@pytest.fixture
def keys(folder):
    """The keys of the default group, where the commands look for them."""
    result = run("keys", CONFIG)
    assert result.exit_code == 0
    return folder / "keys"


@pytest.fixture
def boards():
    """Four boards."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(MockBoard()) for _ in range(4)]


@pytest.fixture
def board():
    with MockBoard() as board:
        yield board
