"""Four emulated rv32 boards with frozen firmware: faults, power cuts, people at the console."""

import socket
import time
from dataclasses import replace

import pytest

from hal.sim_parts import Random
from tests.e2e.boards import group_or_skip, mpremote
from tinybft.apps.kv_format import OK, encode_get, encode_put
from tools.cluster.plans import Options, fitting_sizes
from tools.config import chosen_file
from tools.virt.client import Client
from tools.virt.course import Course


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    path = chosen_file(None, "durable")
    with group_or_skip(tmp_path_factory.mktemp("virt"), path, console_port=47300) as group:
        group.registry = tmp_path_factory.mktemp("registry") / "boards.json"
        yield group


@pytest.fixture
def serving(group):
    """The group, new, with a client."""
    for board in group.boards:
        board.power_off()
    group.begin()
    client = Client(group)
    yield group, client
    client.close()


def put(client, key, value):
    operation = bytearray(client.config.REQUEST_LENGTH_MAX)
    assert client.ask(operation, encode_put(operation, key, value))[0] == OK


def get(client, key):
    operation = bytearray(client.config.REQUEST_LENGTH_MAX)
    return client.ask(operation, encode_get(operation, key))[1:]


def awaited(client, process, seconds=60):
    """Keep the group under load until a process has ended; what it printed."""
    end = time.monotonic() + seconds
    count = 0
    while process.poll() is None:
        put(client, b"load", b"%d" % count)
        count += 1
        assert time.monotonic() < end, "it does not end"
    return process.stdout.read(), count


def test_loss_and_power_cuts(group):
    for board in group.boards:
        board.power_off()
    group.radio.loss = 0.1
    try:
        options = Options(operations=200, loss=10.0, kill="primary", power_cuts=2, seed=5)
        options = replace(options, sizes=fitting_sizes(group.config, None))
        checks = Course(group, options, lambda words: None).run()
    finally:
        group.radio.loss = 0.0
        group.radio.on_frame = None
    assert [entry for entry in checks if not entry["ok"]] == []
    names = [entry["name"] for entry in checks]
    assert {"operations", "read back", "digests equal", "memory constant"} <= set(names)


def test_mpremote_under_load(serving):
    group, client = serving
    put(client, b"before", b"1")
    code = "import tinybft.repl as t; print(t.status()); print(t.why()); print(t.memory())"
    shown, count = awaited(client, mpremote(group.boards[1].device, "resume", "exec", code))
    assert "backup" in shown and "regions" in shown, shown
    assert count > 3
    code = "import tinybft.repl as t; print(t.submit(b'\\x02\\x06before'))"
    shown, _ = awaited(client, mpremote(group.boards[1].device, "resume", "exec", code))
    assert "b'" in shown, shown
    assert get(client, b"before") == b"1"


def test_ctrl_c_ends_a_program_and_not_the_replica(serving):
    group, client = serving
    device = group.boards[2].device
    busy = mpremote(device, "resume", "exec", "while True: pass")
    for i in range(30):  # the replica goes on beside a program that never waits
        put(client, b"n", b"%d" % i)
    assert busy.poll() is None
    busy.kill()
    busy.wait()
    shown, _ = awaited(client, mpremote(device, "resume", "exec", "print(6 * 7)"))
    assert "42" in shown
    with socket.create_connection(("127.0.0.1", group.boards[2].port)) as console:
        console.settimeout(10)
        console.sendall(b"\r\x02")  # the friendly REPL
        for i in range(20):  # whether it comes within a step, where it is masked, or between two
            console.sendall(b"while True: pass\r\r")
            put(client, b"m", b"%d" % i)
            console.sendall(b"\x03")
            put(client, b"m", b"%d" % i)
            seen = b""
            while b"KeyboardInterrupt" not in seen:
                seen += console.recv(1000)
    with socket.create_connection(("127.0.0.1", group.boards[2].port)) as console:
        for i in range(100):
            console.sendall(b"\x03")
            put(client, b"c", b"%d" % i)
    status = group.status(2)
    assert status["stopped"] == "" and status["background"]
    assert status["last_executed"] > 100


def test_a_soft_reset_ends_the_replica_and_a_power_cycle_brings_it_back(serving):
    group, client = serving
    board = group.boards[3]
    shown, _ = awaited(client, mpremote(board.device, "exec", "print('anew')"))
    assert "anew" in shown
    put(client, b"k", b"without it")
    board.power_off()
    group.power_on(board)
    group.await_start(board)
    end = time.monotonic() + 20
    while group.status(3)["last_executed"] < group.status(0)["last_executed"]:
        put(client, b"k", b"again")
        assert time.monotonic() < end


def test_noise_on_the_air_is_counted(serving):
    group, client = serving
    random = Random(7)
    put(client, b"k", b"1")
    for round_number in range(20):
        for length in (0, 1, 4, 5, 250, 252):
            frame = bytes(random.below(256) for _ in range(length))
            group.radio.send(99, None, frame)
        for transmitter in range(6):  # fragments that are never finished, in everybody's name
            address = (group.config.GROUP_ID * 40503 + transmitter) & 0xFFFF
            head = address.to_bytes(2, "little") + bytes([round_number, 0x03])
            group.radio.send(99, None, head + bytes(246))
        put(client, b"k", b"%d" % round_number)
    air = group.status(0)["air"]
    assert air["frame_transmitter"] > 0 and air["frame_length"] > 0, air
    assert get(client, b"k") == b"19"


def test_a_board_without_identity_says_so_and_has_a_prompt(group):
    board = group.boards[0]
    board.power_off()
    board.power_on("", group.store_length)
    end = time.monotonic() + 20
    while ">>> " not in board.log()[board.log_read :] and time.monotonic() < end:
        time.sleep(0.05)
    assert "tinybft: not started: identity of this board: not there" in board.log()
    assert group.execute(0, "print(1 + 1)").strip() == "2"
