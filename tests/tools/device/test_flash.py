"""`tinybft flash`, `provision`, `devices`, `run`, `logs` against mock boot loaders."""

import json
import os
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import serial

from hal.sim_parts import Store
from tests.tools.device.boards import CONFIG, FLASH_LENGTH, MockBoard, firmware, partition_table
from tests.tools.support import run, variant
from tinybft.request_ids import RequestIds
from tools.config import load
from tools.device import build, nvs
from tools.device.boards import read_boards
from tools.device.identity import first_request_ids, found_in, from_key_file


def ports_of(boards):
    return [word for board in boards for word in ("--port", board.url)]


def tinybft(command, boards, *arguments):
    return run(command, "--no-stub", *ports_of(boards), *arguments)


def done(command, boards, *arguments):
    result = tinybft(command, boards, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(command, boards, *arguments):
    """The complaint; nothing else happened."""
    before = [bytes(board.flash.data) for board in boards]
    result = tinybft(command, boards, *arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert [bytes(board.flash.data) for board in boards] == before
    return result.stderr


def nvs_of(board):
    return board.at(nvs.OFFSET, nvs.LENGTH)


def identity_of(board):
    return found_in(nvs_of(board)).identity


def assert_holds(board, built):
    for name, offset in (
        ("bootloader.bin", 0),
        ("partition-table.bin", 0x8000),
        ("micropython.bin", 0x10000),
    ):
        data = (built / name).read_bytes()
        assert board.at(offset, len(data)) == data, name


def test_four_boards_in_parallel(boards, built, keys):
    text = done("flash", boards)
    for board in boards:
        assert_holds(board, built)
        assert nvs_of(board) == b"\xff" * nvs.LENGTH
        assert f"{board.url}: wrote bootloader.bin" in text
    text = done("provision", boards, "--node", 2, "--node", 0, "--node", 3, "--node", 1)
    for board, node_id in zip(boards, (2, 0, 3, 1), strict=True):
        assert f"{board.url}: is now group 1 node {node_id}" in text
        own = identity_of(board)
        assert own == from_key_file(keys, node_id, load(CONFIG))
        assert nvs_of(board) == own.image()
        assert_holds(board, built)
        assert board.at(0xF000, 0x1000) == b"\xff" * 0x1000
    assert read_boards() == {
        node: board.url for board, node in zip(boards, (2, 0, 3, 1), strict=True)
    }


def test_only_its_own_keys(boards, built, keys):
    done("provision", boards)
    for board, node_id in zip(boards, range(4), strict=True):
        content = bytes(board.flash.data)
        for path in keys.iterdir():
            file = json.loads(path.read_text())
            for peer, digits in file["keys"].items():
                mine = node_id in (file["node_id"], int(peer))
                assert (bytes.fromhex(digits) in content) == mine


def test_no_key_is_shown_or_logged(folder, boards, built, keys):
    text = done("run", boards, "--seconds", 0) + done("devices", boards)
    text += "".join(path.read_text() for path in (folder / "build" / "device").iterdir())
    assert text
    for path in keys.iterdir():
        for digits in json.loads(path.read_text())["keys"].values():
            assert digits not in text.lower()


def test_upgrade_keeps_identity(folder, boards, built, keys):
    done("flash", boards)
    done("provision", boards)
    before = [nvs_of(board) for board in boards]
    firmware(built, version="v1.30.0")
    text = done("flash", boards)
    assert [nvs_of(board) for board in boards] == before
    for node_id, board in enumerate(boards):
        assert_holds(board, built)
        line = next(line for line in text.splitlines() if line.startswith(board.url))
        assert "wrote micropython.bin" in line and "bootloader" not in line
        assert f"identity kept: group 1 node {node_id}" in line


def test_same_firmware_and_identity_again(board, built, keys):
    done("run", [board], "--seconds", 0)
    before = bytes(board.flash.data)
    board.flash.blocks_left = 0  # a single write would break off
    assert "has this firmware already" in done("flash", [board])
    assert "nothing to do" in done("provision", [board])
    assert bytes(board.flash.data) == before


def test_with_the_flasher_stub(board, built, keys):
    result = run("flash", "--port", board.url)
    if result.exit_code:  # on a busy machine the mock may answer too late: the remedy that is told
        result = run("flash", "--port", board.url)
    assert result.exit_code == 0, result.output
    assert_holds(board, built)


def test_stopped_by_the_user(boards, built, keys, request):
    """Ctrl-C amid a write: the boards say what state they are in, and restart."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    done("provision", boards)
    nvs_before = [nvs_of(board) for board in boards]
    pressed = []

    def press():
        if not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    boards[0].flash.on_block = press
    result = tinybft("flash", boards)
    assert result.exit_code == 2
    assert "stopped: writing the bootloader.bin failed; the board cannot start" in result.stderr
    assert [nvs_of(board) for board in boards] == nvs_before
    boards[0].flash.on_block = None
    done("flash", boards)
    assert_holds(boards[0], built)


def test_boards_keep_their_ids_and_new_ones_take_what_is_free(boards, built, keys):
    done("provision", boards[:2], "--node", 3, "--node", 1)
    done("provision", boards)
    assert [identity_of(board).node_id for board in boards] == [3, 1, 0, 2]


def test_assign(boards, built, keys):
    words = [
        f"--assign={board.url}={node}" for board, node in zip(boards, (1, 3, 0, 2), strict=True)
    ]
    assert run("provision", "--no-stub", *words).exit_code == 0
    assert [identity_of(board).node_id for board in boards] == [1, 3, 0, 2]


def test_new_keys_of_the_same_node(board, built, keys):
    done("provision", [board])
    assert run("keys", CONFIG, "--force").exit_code == 0
    assert "in place of: group 1 node 0" in done("provision", [board])
    assert identity_of(board) == from_key_file(keys, 0)


def test_force_replaces_an_identity(board, built, keys):
    done("provision", [board], "--node", 1)
    complaint = refused("provision", [board], "--node", 2)
    assert "group 1 node 1" in complaint and "--force" in complaint
    done("provision", [board], "--node", 2, "--force")
    assert identity_of(board).node_id == 2


def other_group(folder):
    path = variant(folder / "other.toml", {"group.group_id": "9"})
    assert run("keys", path, "--output", "other").exit_code == 0
    return load(path), firmware(folder / "other-firmware", load(path))


def test_identity_of_another_group(folder, board, built, keys):
    _, other = other_group(folder)
    done("provision", [board], "--keys", "other", "--firmware", other)
    assert "group 9 node 0" in refused("provision", [board])
    assert "group 9 node 0" in refused("run", [board])
    assert "group 9 node 0" in refused("flash", [board])
    done("flash", [board], "--force")
    assert identity_of(board).group_id == 9
    done("run", [board], "--force", "--seconds", 0)
    assert identity_of(board).group_id == 1


def test_keys_of_another_group_than_the_firmware(folder, board, built):
    other_group(folder)
    complaint = refused("provision", [board], "--keys", "other")
    assert "group_id is 9, but the configuration says 1" in complaint
    assert board.connections == 0


def test_nvs_of_other_software(board, built, keys):
    board.flash.data[nvs.OFFSET : nvs.OFFSET + nvs.LENGTH] = nvs.image("thermostat", {"goal": 21})
    assert "foreign (data of thermostat)" in refused("provision", [board])
    assert "foreign (data of thermostat)" in done("devices", [board])
    assert "identity kept: foreign" in done("flash", [board])
    done("provision", [board], "--force")


def test_nvs_that_only_the_system_wrote(board, built, keys):
    board.flash.data[nvs.OFFSET : nvs.OFFSET + nvs.LENGTH] = nvs.image("phy", {"cal_version": 21})
    assert "is now group 1 node 0" in done("provision", [board])


def test_damaged_nvs(board, built, keys):
    board.flash.data[nvs.OFFSET : nvs.OFFSET + 4] = b"\xff\xff\xff\x00"
    assert "damaged" in refused("provision", [board])
    done("provision", [board], "--force")


def test_partition_table_of_other_software(board, built, keys):
    table = partition_table(FLASH_LENGTH, nvs_offset=0x3F0000)
    board.flash.data[0x8000 : 0x8000 + len(table)] = table
    assert "`tinybft flash` first" in refused("provision", [board])
    done("run", [board], "--seconds", 0)
    assert identity_of(board).node_id == 0


def test_no_port(built, keys, monkeypatch):
    monkeypatch.setattr("tools.device.ports.list_ports.comports", lambda: [])
    for command in ("devices", "flash", "provision", "run", "logs"):
        result = run(command)
        assert (result.exit_code, "no board found" in result.stderr) == (2, True), command


def test_ports_are_found_by_their_vendor(built, monkeypatch):
    found = [
        SimpleNamespace(device="/dev/ttyACM1", vid=0x303A),
        SimpleNamespace(device="/dev/ttyS0", vid=None),
    ]
    monkeypatch.setattr("tools.device.ports.list_ports.comports", lambda: found)
    assert run("devices", "--names").stdout == "/dev/ttyACM1\n"


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("/dev/ttyNONE7", "there is no such port"),
        ("socket://127.0.0.1:1", "nobody behind it"),
        ("nonsense://x", "is not a port"),
    ],
)
def test_port_that_is_not_there(built, port, words):
    for command in ("flash", "devices", "logs"):
        result = run(command, "--port", port)
        assert (result.exit_code, words in result.stderr) == (2, True), result.output


def test_port_given_twice(board, built):
    assert "given twice" in refused("flash", [board, board])


def test_busy_port(built):
    _, terminal = os.openpty()
    with serial.Serial(os.ttyname(terminal), exclusive=True):
        result = run("flash", "--port", os.ttyname(terminal))
    assert result.exit_code == 2
    assert "is busy" in result.stderr


def test_nothing_is_written_if_one_board_is_missing(boards, built):
    silent = boards[2]
    silent.silent = True
    complaint = refused("flash", boards)
    assert complaint.startswith(f"{silent.url}: does not answer") and "BOOT" in complaint


def test_wrong_chip(built, keys):
    with MockBoard("esp32s3") as board:
        for command in ("flash", "provision", "run"):
            assert "is an esp32s3" in refused(command, [board])


def test_small_flash(folder, board, keys):
    big = firmware(folder / "big", flash_length=2 * 4194304)
    complaint = refused("flash", [board], "--firmware", big)
    assert "has 4194304 bytes of flash" in complaint and "needs 8388608" in complaint


def test_missing_firmware(board, keys):
    for command in ("flash", "run"):
        assert "tinybft firmware" in refused(command, [board])
    assert "elsewhere" in refused("provision", [board], "--firmware", "elsewhere")
    assert board.connections == 0


def test_missing_keys(board, built):
    assert "tinybft keys" in refused("provision", [board])
    assert run("keys", CONFIG, "--node-count", 4).exit_code == 0
    assert "no keys for node 4" in refused("provision", [board], "--node", 4)
    assert board.connections == 0


def test_key_file_of_another_node(board, built, keys):
    (keys / "node-1.key.json").rename(keys / "node-2.key.json")
    assert "is the file of node 1, not of 2" in refused("provision", [board], "--node", 2)


def test_keys_that_contradict_themselves(board, keys):
    path = keys / "node-0.key.json"
    for text in ("{}", "[]", "no", path.read_text().replace("replica_count", "replicas")):
        path.write_text(text)
        assert str(path.name) in refused("provision", [board], "--node", 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--node", 1), "1 node ids for 4 boards"),
        (("--node", 1, "--node", 2, "--node", 1, "--node", 0), "given to two boards"),
        (("--assign", "x=1", "--node", 1), "leave out one"),
        (("--assign", "x"), "PORT=NODE"),
        (("--assign", "x=1"), "--port can be left out"),
    ],
)
def test_assignments_that_do_not_fit(boards, built, keys, arguments, words):
    assert words in refused("provision", boards, *arguments)
    assert not any(board.connections for board in boards)


def test_two_boards_with_one_identity(boards, built, keys):
    done("provision", boards[:1], "--node", 2)
    done("provision", boards[1:2], "--node", 2)
    assert "so is another board" in refused("provision", boards)


def test_more_boards_than_replicas(boards, built, keys):
    with MockBoard() as fifth:
        assert "5 boards" in refused("provision", [*boards, fifth])


def test_unplugged_while_flashing(board, built, keys):
    done("provision", [board])
    before = nvs_of(board)
    board.flash.blocks_left = 20
    result = tinybft("flash", [board])
    assert result.exit_code == 2
    assert "writing the micropython.bin failed" in result.stderr
    assert "identity is untouched" in result.stderr and ".log:" in result.stderr
    assert nvs_of(board) == before
    board.flash.blocks_left = None
    done("flash", [board])
    assert_holds(board, built)


@pytest.mark.parametrize("blocks", range(0, 24, 3))
def test_unplugged_while_provisioning(board, built, keys, blocks):
    board.flash.data[nvs.OFFSET : nvs.OFFSET + nvs.LENGTH] = b"\xff" * nvs.LENGTH
    board.flash.blocks_left = blocks
    result = tinybft("provision", [board])
    assert result.exit_code == 2
    assert "its identity is incomplete" in result.stderr
    board.flash.blocks_left = None
    done("provision", [board])
    assert identity_of(board) == from_key_file(keys, 0)


def test_one_board_fails_and_the_others_are_done(boards, built):
    boards[1].flash.blocks_left = 3
    result = tinybft("flash", boards)
    assert result.exit_code == 2
    assert result.stderr.startswith(boards[1].url)
    for board in (boards[0], boards[2], boards[3]):
        assert_holds(board, built)
        assert f"{board.url}: wrote" in result.stdout


def test_read_back_differs(board, built, keys):
    board.flash.stuck = nvs.OFFSET + 0x150
    result = tinybft("provision", [board], "--force")
    assert result.exit_code == 2
    assert "reads back other bytes than were written, first at 0x9150" in result.stderr


def test_verification_of_the_board_fails(board, built, monkeypatch):
    monkeypatch.setattr(board.flash, "write_plain_block", lambda payload: None)
    result = tinybft("flash", [board])
    assert result.exit_code == 2
    assert "writing the bootloader.bin failed" in result.stderr


def test_incomplete_identity_of_another_node(board, built, keys):
    values = {"format": 1, "group_id": 1, "node_id": 2}
    board.flash.data[nvs.OFFSET : nvs.OFFSET + nvs.LENGTH] = nvs.image("tinybft", values)
    assert "incomplete identity of group 1 node 2" in refused("provision", [board], "--node", 0)
    done("provision", [board], "--node", 2)


def test_devices(boards, built, keys):
    done("run", boards[:1], "--seconds", 0)
    lines = done("devices", boards[:2])
    by_port = dict(line.split(": ", 1) for line in lines.splitlines())
    known = "esp32c3 24:0a:c4:1f:67:7d, 4 MiB flash, "
    assert by_port[boards[0].url] == known + "micropython v1.29.0 (IDF v5.5.2), group 1 node 0"
    assert by_port[boards[1].url] == known + "no firmware, blank"
    row = json.loads(done("devices", boards[:1], "--json"))[0]
    assert (row["state"], row["group_id"], row["node_id"]) == ("provisioned", 1, 0)


def test_devices_lists_the_others_if_one_is_silent(boards):
    boards[0].silent = True
    result = tinybft("devices", boards[:2])
    assert result.exit_code == 2
    assert boards[1].url in result.stdout and "does not answer" in result.stderr


def test_run_shows_what_boards_print(boards, built, keys):
    for number, board in enumerate(boards):
        board.says = b"boot\x1b[31m\r\nview %d\npart" % number
    text = done("run", boards, "--seconds", 1)
    for number in range(4):
        assert f"node {number} | boot?[31m\n" in text
        assert f"node {number} | view {number}\n" in text
        assert f"node {number} | part\n" in text


def test_logs(board):
    board.silent, board.says = True, b"hello\n"
    assert run("logs", "--port", board.url, "--seconds", 0.6).stdout == f"{board.url} | hello\n"


def test_wifi(folder, board, built, keys):
    file = folder / "wifi.toml"
    file.write_text('ssid = "home"\npassword = "swordfish"\n')
    assert "chmod 600" in refused("provision", [board], "--wifi", file)
    file.chmod(0o600)
    done("provision", [board], "--wifi", file)
    assert identity_of(board).wifi == (b"home", b"swordfish")
    assert "nothing to do" in done("provision", [board])
    assert run("keys", CONFIG, "--force").exit_code == 0
    done("provision", [board])
    assert identity_of(board).wifi == (b"home", b"swordfish")
    assert "swordfish" not in repr(identity_of(board))


def test_request_ids_of_the_same_node_stay(folder, board, built, keys):
    """The node wrote them beside its identity; another node's are gone with its identity."""
    own = replace(from_key_file(keys, 0), request_ids=bytes(range(16)))
    board.flash.data[nvs.OFFSET : nvs.OFFSET + nvs.LENGTH] = own.image()
    assert "nothing to do" in done("provision", [board])
    assert run("keys", CONFIG, "--force").exit_code == 0
    done("provision", [board])
    assert identity_of(board).request_ids == own.request_ids
    assert identity_of(board).keys != own.keys
    done("provision", [board], "--node", 1, "--force")
    assert identity_of(board).request_ids != own.request_ids


def test_request_ids_of_a_board_that_takes_a_place_lie_above_those_before(board, built, keys):
    before = int.from_bytes(first_request_ids(time.time() - 60)[:4], "little")
    done("provision", [board])
    records = identity_of(board).request_ids
    ids = RequestIds(_stored(records))
    assert before < ids.next() < before + 8 * 600
    assert RequestIds(_stored(first_request_ids(0))).next() == 1


def _stored(octets):
    store = Store(len(octets))
    store.write(0, octets, len(octets))
    return store


def test_open_network(folder, board, built, keys):
    file = folder / "wifi.toml"
    file.write_text('ssid = "home"\npassword = ""\n')
    file.chmod(0o600)
    done("provision", [board], "--wifi", file)
    assert identity_of(board).wifi == (b"home", b"")
    assert "wifi_pass" not in nvs.parse(nvs_of(board))["tinybft"]


@pytest.mark.parametrize(
    "text",
    [
        'ssid = "home"',
        "no",
        "ssid = 1\npassword = 2",
        'ssid = ""\npassword = ""',
        'ssid="x"\npassword="swordf"',
    ],
)
def test_wifi_file_that_cannot_be_used(folder, board, built, keys, text):
    file = folder / "wifi.toml"
    file.write_text(text)
    file.chmod(0o600)
    complaint = refused("provision", [board], "--wifi", file)
    assert "wifi.toml" in complaint and "swordf" not in complaint


def test_build_that_cannot_be_used(board, built):
    manifest = built / build.MANIFEST
    table = json.loads(manifest.read_text())
    cases = {
        "is not JSON": "no",
        "has it otherwise": json.dumps(table | {"config": {"name": "x", "group_id": "1"}}),
        "lacks something": "{}",
        "reaches into NVS": json.dumps(
            table | {"pieces": [table["pieces"][0] | {"offset": 0x8800}]}
        ),
        "must list pieces": json.dumps(table | {"pieces": table["pieces"][:2]}),
        "another sha256": json.dumps(table).replace(table["pieces"][0]["sha256"], "0" * 64),
        "is not an image for chip esp32s3": json.dumps(table | {"chip": "esp32s3"}),
    }
    for words, text in cases.items():
        manifest.write_text(text)
        assert words in refused("flash", [board])
    assert board.connections == 0
