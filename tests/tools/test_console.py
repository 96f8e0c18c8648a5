"""`tinybft repl` and `tinybft monitor` against the prompt of the real MicroPython."""

import json
import socket
import subprocess
import sys

import pytest
import serial

from tests.tools.rig import Rig
from tests.tools.support import run
from tools.device import console
from tools.device.boards import device_of, read_boards, record
from tools.device.monitor import Monitor, cells
from tools.refusal import Refusal


def free_device():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"socket://127.0.0.1:{server.getsockname()[1]}"


def refusal(*arguments):
    """The words with which the command refuses."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.fixture(scope="module")
def board():
    with Rig(1) as rig:
        yield rig


@pytest.fixture(scope="module")
def stuck():
    with Rig(2, "stuck") as rig:
        yield rig


# --- the file of boards ---


def test_recorded_boards_are_found(tmp_path):
    path = tmp_path / "build" / "boards.json"
    record({1: "/dev/b", 0: "/dev/a"}, path)
    record({10: "/dev/c"}, path)
    assert read_boards(path) == {0: "/dev/a", 1: "/dev/b", 10: "/dev/c"}
    assert device_of(1, path) == "/dev/b"


def test_a_device_is_one_board(tmp_path):
    path = tmp_path / "boards.json"
    record({0: "/dev/a", 1: "/dev/b"}, path)
    record({2: "/dev/a"}, path)
    assert read_boards(path) == {1: "/dev/b", 2: "/dev/a"}
    record({3: "/dev/c"}, path, anew=True)
    assert read_boards(path) == {3: "/dev/c"}


def test_an_unknown_board(tmp_path):
    path = tmp_path / "boards.json"
    assert "not there" in refusal("repl", 0, "--boards", path)
    assert "not there" in refusal("monitor", "--boards", path)
    record({0: "/dev/a", 2: "/dev/b"}, path)
    words = refusal("repl", 1, "--boards", path)
    assert "no board of node 1; known: 0, 2" in words


@pytest.mark.parametrize("text", ("{", "[1]", '{"a": "b"}', '{"1": 2}'))
def test_a_file_that_is_none(tmp_path, text):
    path = tmp_path / "boards.json"
    path.write_text(text)
    with pytest.raises(Refusal, match="boards.json"):
        read_boards(path)


def test_no_board_in_it(tmp_path):
    path = tmp_path / "boards.json"
    path.write_text("{}")
    assert "names no board" in refusal("monitor", "--boards", path)


# --- repl ---


def test_repl_wants_one_board():
    assert "name one board" in refusal("repl")
    assert "name one board" in refusal("repl", 1, "--port", "/dev/a")


def test_exec_shows_the_value_of_an_expression(board):
    def ask(code):
        return run("repl", "--port", board.device, "--exec", code).stdout

    assert ask("t.why()").strip() == "nothing: idle"
    assert "1, backup of group 1" in ask("t.status()")
    assert ask("t.submit(b'lamp')").strip() == "b'lamp'"
    assert ask("None") == ""
    assert ask("for i in range(2): print(i)").split() == ["0", "1"]


def test_exec_says_what_was_raised_there(board):
    words = refusal("repl", "--port", board.device, "--exec", "t.nothing()")
    assert "AttributeError" in words


def test_exec_finds_the_board_of_a_node(board, tmp_path):
    record({1: board.device}, tmp_path / "boards.json")
    result = run("repl", 1, "--exec", "t.slot(5)", "--boards", tmp_path / "boards.json")
    assert "committed" in result.stdout


def test_stock_mpremote_enters_without_a_reset(board):
    """What `converse` runs, with a command in the place of the prompt."""
    result = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", board.device, "resume"]
        + ["exec", console.IMPORT, "exec", "print(t.status())"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1, backup of group 1" in result.stdout, result.stderr
    assert board.process.poll() is None


def test_repl_hands_over_to_mpremote(monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "call", lambda command: called.append(command) or 0)
    run("repl", "--port", "/dev/a")
    assert called[0][1:] == [
        *("-m", "mpremote", "connect", "/dev/a", "resume"),
        *("exec", "import tinybft.repl as t", "repl"),
    ]
    monkeypatch.setattr(subprocess, "call", lambda command: 1)
    assert "mpremote ended with 1" in refusal("repl", "--port", "/dev/a")


def test_no_such_device():
    words = refusal("repl", "--port", "/dev/none", "--exec", "1")
    assert "/dev/none: no such device" in words
    assert "cannot be opened" in refusal("repl", "--port", free_device(), "--exec", "1")


def test_a_port_in_use():
    with Rig(1, serial=True) as rig:
        assert "idle" in run("repl", "--port", rig.device, "--exec", "t.why()").stdout
        with serial.Serial(rig.device, exclusive=True):
            words = refusal("repl", "--port", rig.device, "--exec", "1")
        assert "end the program that uses it" in words


def test_a_program_in_the_foreground_is_not_interrupted():
    with Rig(1, "busy") as rig:
        words = refusal("repl", "--port", rig.device, "--exec", "1")
        assert "no prompt answers" in words
        assert rig.process.poll() is None


# --- monitor ---


def test_once_as_json(board, stuck, tmp_path):
    path = tmp_path / "boards.json"
    record({1: board.device, 2: stuck.device, 3: free_device()}, path)
    result = run("monitor", "--once", "--json", "--boards", path)
    table = json.loads(result.stdout)
    assert sorted(table) == ["1", "2", "3"]
    assert table["1"]["role"] == "backup" and table["1"]["heap"][0] > 0
    assert "own request 1" in " ".join(table["2"]["why"]["blocked"])
    assert "cannot be opened" in table["3"]["error"]


def test_once_as_a_table(board, stuck, tmp_path):
    path = tmp_path / "boards.json"
    record({1: board.device, 2: stuck.device}, path)
    lines = run("monitor", "--once", "--boards", path).stdout.splitlines()
    assert lines[0].split()[:3] == ["node", "role", "view"]
    assert lines[1].split()[:3] == ["1", "backup", "0"]


def test_nothing_answers():
    device = free_device()
    assert device in refusal("monitor", "--once", "--port", device)


def test_a_board_without_a_node():
    with Rig(1, "empty") as rig:
        words = refusal("monitor", "--once", "--port", rig.device)
        assert "no node runs here" in words


def test_a_board_vanishes_and_returns():
    with Rig(1) as rig, Monitor({"1": rig.device}) as monitor:
        monitor.ask()
        (row,) = monitor.boards
        assert cells(row)[:5] == ["1", "backup", "0", "5", "4"]
        assert cells(row)[-1] == "nothing"
        rig.power_off()
        monitor.ask()
        assert row.problem and row.problem == cells(row)[-1]
        rig.power_on()
        monitor.ask()
        assert not row.problem and cells(row)[1] == "backup"


def test_faults_that_grow():
    with Rig(1) as rig, Monitor({"1": rig.device}) as monitor:
        monitor.ask()
        (row,) = monitor.boards
        assert row.grown == {}
        row._link.execute("node.faults.count(7)\nnode.faults.count(7)\nnode.faults.count(18)")
        monitor.ask()
        assert row.grown == {"mac": 2}
        assert "mac +2" in cells(row)
