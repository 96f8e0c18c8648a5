"""The example application (boards/examples/booking): simulated, as processes, on emulated boards.

On all three two displays want the same room at once: one of them gets it, and everybody agrees
who; one display is switched off, and the others go on.
"""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from boards.examples.booking.booking import BAD, BOOK, CANCEL, LOOK, Booking
from hal.crypto import Crypto
from hal.filestore import FileStore
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
from tools.virt.board import QEMU, Board
from tools.virt.radio import Radio
from tools.virt.station import Station

EXAMPLE = ROOT / "boards" / "examples" / "booking"
MICROPYTHON = [beside_python("micropython"), "-X", "heapsize=4M"]
CLIENT = 4
_STORE_LENGTH = 64
_BOOT_S = 30


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


@pytest.fixture(params=["device", "host"])
def displays(request, tmp_path):
    """(four displays that serve, the group)."""
    group = Group(tmp_path)
    write_keys(load(group.config), group.run_dir / "keys", CLIENT + 1)
    source = tmp_path / "source"
    main, service = EXAMPLE / "main.py", EXAMPLE / "booking.py"
    stage(source, group.config, "VIRT_RV32", main, [service])
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

LACKING = [name for name in (QEMU, COMPILER) if shutil.which(name) is None]
SOURCES = {"MICROPYTHON_DIR": "micropython", "MBEDTLS_DIR": "mbedtls"}
LACKING += [
    name
    for variable, name in SOURCES.items()
    if not os.environ.get(variable) and not (ROOT / "build" / "sources" / name).is_dir()
]
emulated = pytest.mark.skipif(
    bool(LACKING),
    reason=f"needs {', '.join(LACKING)}: `tinybft firmware --board VIRT_RV32` says how to get it",
)


@pytest.fixture(scope="module")
def firmware():
    """Made anew by what has changed; stays in build/ for the next time."""
    output = ROOT / "build" / "firmware" / "booking"
    run = subprocess.run(
        [sys.executable, "-m", "tools.cli", "firmware", "--board", "VIRT_RV32"]
        + ["--main", EXAMPLE / "main.py", "--include", EXAMPLE / "booking.py"]
        + ["--output", output],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return output / "firmware.elf"


@pytest.fixture
def boards(firmware, tmp_path):
    """(four boards that serve, their radio, a client that is a node of the host)."""
    config = load(ROOT / "config.toml")
    write_keys(config, tmp_path / "keys", CLIENT + 1)
    files = [tmp_path / "keys" / f"node-{node_id}.key.json" for node_id in range(CLIENT + 1)]
    port = free_port()
    boards = [Board(node_id, tmp_path, firmware, port + node_id) for node_id in range(4)]
    radio = Radio(loss=0.05)
    crypto = crypto_of(config, files[CLIENT])
    store = FileStore(str(tmp_path / "client.store"), _STORE_LENGTH)
    client = Node(Station(radio, config, CLIENT, crypto, store), config)
    try:
        for board in boards:
            radio.boards[board.node_id] = board
            board.power_on(files[board.node_id].read_text(), _STORE_LENGTH)
        deadline = time.monotonic() + _BOOT_S
        while not all("serves" in board.log() for board in boards):
            assert time.monotonic() < deadline, [board.log() for board in boards]
            radio.turn()
        yield boards, radio, client
    finally:
        for board in boards:
            board.close()
        store.close()


def at_once(radio, calls):
    """The values of functions that wait for boards, while the radio carries frames."""
    with ThreadPoolExecutor(len(calls)) as threads:
        running = [threads.submit(call) for call in calls]
        while wait(running, timeout=0.0005).not_done:
            radio.turn()
    return [call.result().strip() for call in running]


def prompts(boards, code):
    return [lambda board=board: answer(board.device, code) for board in boards]


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


@emulated
def test_on_emulated_boards(boards):
    boards, radio, client = boards
    outcomes = at_once(radio, prompts(boards[1:3], "book(3, 14)"))
    assert sorted(outcomes) == ["False", "True"]
    winner = 1 + outcomes.index("True")
    assert client.call(operation(BOOK, 3, 14)) == bytes((winner + 1,))
    assert at_once(radio, prompts(boards, "holder(3, 14)")) == [str(winner)] * 4

    boards[0].power_off()  # the primary
    assert client.call(operation(BOOK, 5, 9)) == bytes((CLIENT + 1,))
    assert at_once(radio, prompts(boards[1:], "book(5, 9), holder(5, 9)")) == ["(False, 4)"] * 3
    code = "print(book(6, 10))"
    assert at_once(radio, [lambda: mpremote(boards[3], code)]) == ["True"]
    assert at_once(radio, prompts(boards[1:], "holder(6, 10)")) == ["3"] * 3
