"""The example application (boards/examples/booking): simulated, as processes, on emulated boards.

On all three two displays want the same room at once: one of them gets it, and everybody agrees
who; one display is switched off, and the others go on.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from boards.examples.booking.booking import BAD, BOOK, CANCEL, LOOK, Booking
from hal.crypto import Crypto
from hal.keys import load_keys
from hal.unix import Hal
from tests.e2e.group import ROOT, Group, free_port, tinybft
from tinybft import Node
from tinybft.service import Context
from tools.cluster.files import beside_python
from tools.config import load
from tools.device.console import answer
from tools.firmware.frozen import frozen_files
from tools.firmware.stage import stage
from tools.firmware.virt import COMPILER
from tools.keys import write_keys
from tools.virt import group as emulation
from tools.virt.board import QEMU
from tools.virt.client import Client

EXAMPLE = ROOT / "boards" / "examples" / "booking"
MICROPYTHON = [beside_python("micropython"), "-X", "heapsize=4M"]
CLIENT = 4


def operation(verb, room, hour):
    return bytes((verb, room, hour))


# --- by itself ---


def test_is_as_short_as_it_says():
    """All three files, without blank lines."""
    texts = [(EXAMPLE / f"{name}.py").read_text() for name in ("booking", "main", "manifest")]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    assert len(lines) < 40


def test_its_manifest_freezes_it_and_not_the_key_value_store():
    names = frozen_files(EXAMPLE / "manifest.py")
    assert {"booking.py", "main.py", "tinybft/node.py", "hal/boot.py"} <= set(names)
    assert not [name for name in names if name.startswith("tinybft/apps")]


class State:
    """What the service needs of an AppState."""

    def __init__(self):
        self.octets = bytearray(Booking.state_length)

    def get_u8(self, offset):
        return self.octets[offset]

    def write(self, offset, buf, start, length):
        self.octets[offset : offset + length] = buf[start : start + length]


@pytest.fixture
def execute():
    service, state, ctx, reply = Booking(), State(), Context(), bytearray(8)

    def call(client, *octets, read_only=False):
        ctx.client_id, ctx.read_only = client, read_only
        assert service.execute(state, bytes(octets), len(octets), reply, ctx) == 1
        return reply[0]

    return call


def test_who_asks_first_has_the_room(execute):
    assert execute(0, BOOK, 7, 23) == 1
    assert execute(2, BOOK, 7, 23) == 1
    assert execute(2, CANCEL, 7, 23) == 1
    assert execute(0, CANCEL, 7, 23) == 0
    assert execute(2, LOOK, 7, 23) == 0
    assert execute(2, BOOK, 7, 23) == 3


@pytest.mark.parametrize("octets", [(), (1,), (1, 2, 3, 4), (3, 0, 0), (1, 8, 0), (1, 0, 24)])
def test_what_is_no_operation(execute, octets):
    assert execute(0, *octets) == BAD


def test_writes_nothing_when_only_read(execute):
    assert execute(0, BOOK, 0, 0, read_only=True) == BAD
    assert execute(0, LOOK, 0, 0, read_only=True) == 0


# --- simulated ---


def test_in_the_simulator():
    service = "boards.examples.booking.booking:Booking"
    script = EXAMPLE / "scenario.py"
    run = tinybft("simulate", "--service", service, "--script", script, "--seeds", "1..10")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "10 seeds, 0 violations" in run.stdout


# --- processes ---


class Display:
    """One process with a prompt, as hal.unix_board makes it."""

    def __init__(self, interpreter, source, group, node_id):
        paths = f"{source}:{source / 'application'}"
        self._process = subprocess.Popen(
            [
                *interpreter,
                *("-m", "hal.unix_board", group.key_file(node_id)),
                group.run_dir / f"node-{node_id}.store",
                source / "boards" / "VIRT_RV32" / "main.py",
            ],
            cwd=source,
            env=os.environ | {"MICROPYPATH": f"{paths}:.frozen", "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def say(self, line):
        self._process.stdin.write(line + "\n")

    def hear(self):
        return self._process.stdout.readline().strip()

    def end(self):
        """The exit code: its input ends."""
        self._process.stdin.close()
        return self._process.wait(10)

    def kill(self):
        self._process.kill()
        self._process.wait()


def staged(folder, group):
    """The sources of a firmware with the example, and keys for everybody."""
    write_keys(load(group.config), group.run_dir / "keys", CLIENT + 1)
    source = folder / "source"
    main, service = EXAMPLE / "main.py", EXAMPLE / "booking.py"
    stage(source, group.config, "VIRT_RV32", main, [service], lean=False)  # for another HAL
    return source


@pytest.fixture(params=["device", "host"])
def displays(request, tmp_path):
    """(four displays that serve, the group)."""
    group = Group(tmp_path)
    source = staged(tmp_path, group)
    interpreter = MICROPYTHON if request.param == "device" else [sys.executable, "-u"]
    found = [Display(interpreter, source, group, node_id) for node_id in range(4)]
    try:
        for node_id, display in enumerate(found):
            assert display.hear() == f"tinybft: replica {node_id} of group 1 serves"
        yield found, group
    finally:
        for display in found:
            display.kill()


def all_say(displays, line):
    for display in displays:
        display.say(line)
    return [display.hear() for display in displays]


def test_as_processes(displays):
    displays, group = displays
    config = load(group.config)
    outcomes = all_say(displays, "book(3, 14)")
    assert sorted(outcomes) == ["False", "False", "False", "True"]
    winner = outcomes.index("True")
    assert all_say(displays, "holder(3, 14)") == [str(winner)] * 4

    crypto = crypto_of(config, group.key_file(CLIENT))
    hal = Hal(config, CLIENT, crypto, store_path=str(group.run_dir / "client.store"))
    client = Node(hal, config)
    try:
        assert client.call(operation(BOOK, 3, 14)) == bytes((winner + 1,))
        displays[0].kill()  # the primary
        assert client.call(operation(BOOK, 3, 15)) == bytes((CLIENT + 1,))
        assert all_say(displays[1:], "book(3, 15)") == ["False"] * 3
        assert all_say(displays[1:], "holder(3, 15)") == [str(CLIENT)] * 3
    finally:
        hal.close()
    displays[1].say("book(3, 99)")
    assert displays[1].hear() == "False"
    displays[1].say("nothing()")
    assert displays[1].hear().startswith("NameError")
    assert displays[1].end() == 0


def test_a_new_memory_is_formatted_beside_the_node(tmp_path):
    group = Group(tmp_path, "tools/configs/durable.toml")
    source = staged(tmp_path, group)
    modes = []
    for lines in (["from hal.boot import format_memory", "format_memory()", "why()"], ["why()"]):
        display = Display(MICROPYTHON, source, group, 2)
        try:
            assert "serves" in display.hear()
            display.say("from tinybft.repl import why")
            display.say("node.status()['durability']['mode']")
            modes.append(display.hear())
            for line in lines:
                display.say(line)
            modes.append(display.hear())
            assert display.end() == 0
        finally:
            display.kill()
    assert modes[0] == "'rejoining'" and "stopped by format_memory; restart it" in modes[1]
    assert modes[2] == "'member'" and "not heard: replica 0 never, 1 never, 3 never" in modes[3]


def test_a_process_without_its_keys_says_so(tmp_path):
    run = subprocess.run(
        [*MICROPYTHON, "-m", "hal.unix_board", tmp_path / "none", tmp_path / "s"]
        + [EXAMPLE / "main.py"],
        env=os.environ | {"MICROPYPATH": f"{ROOT}:.frozen"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert "tinybft: not started: " in run.stdout and "`tinybft keys`" in run.stdout


def crypto_of(config, path):
    node_id, keys = load_keys(str(path), config)
    return Crypto(node_id, keys, config.TAG_LENGTH)


# --- emulated boards ---


def sources(name):
    """A folder given by NAME_DIR, or fetched by an earlier build; else None."""
    folder = os.environ.get(f"{name.upper()}_DIR") or ROOT / "build" / "sources" / name
    return folder if Path(folder).is_dir() else None


LACKING = [name for name in (QEMU, COMPILER) if shutil.which(name) is None]
LACKING += [f"sources of {name}" for name in ("micropython", "mbedtls") if not sources(name)]


@pytest.fixture
def emulated(tmp_path, monkeypatch):
    """(four boards with the example's own main.py, which serve; a client on this host)."""
    if LACKING:
        pytest.skip(f"no {', '.join(LACKING)}; see `tinybft firmware --board VIRT_RV32`")
    monkeypatch.chdir(tmp_path)  # for build/boards.json
    with emulation.Group(
        ROOT / "build" / "booking",  # stays for the next time: most of the build can be used again
        ROOT / "config.toml",
        loss=0.05,
        console_port=free_port(),
        main=EXAMPLE / "main.py",
        includes=[EXAMPLE / "booking.py"],
        micropython=sources("micropython"),
        mbedtls=sources("mbedtls"),
    ) as group:
        group.begin()
        client = Client(group)
        yield group.boards, client.node
        client.close()


def at_once(*calls):
    with ThreadPoolExecutor(len(calls)) as threads:
        return [text.strip() for text in threads.map(lambda call: call(), calls)]


def prompts(boards, code):
    """The value of an expression on each."""
    return at_once(*[lambda board=board: answer(board.device, code) for board in boards])


def mpremote(board, code):
    run = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", board.device, "resume", "exec", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_on_emulated_boards(emulated):
    boards, client = emulated
    outcomes = prompts(boards[1:3], "book(3, 14)")
    assert sorted(outcomes) == ["False", "True"]
    winner = 1 + outcomes.index("True")
    assert client.call(operation(BOOK, 3, 14)) == bytes((winner + 1,))
    assert prompts(boards, "holder(3, 14)") == [str(winner)] * 4

    boards[0].power_off()  # the primary
    assert client.call(operation(BOOK, 5, 9)) == bytes((CLIENT + 1,))
    assert prompts(boards[1:], "book(5, 9), holder(5, 9)") == ["(False, 4)"] * 3
    assert mpremote(boards[3], "print(book(6, 10))").strip() == "True"
    assert prompts(boards[1:], "holder(6, 10)") == ["3"] * 3
