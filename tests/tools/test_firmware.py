"""`tinybft firmware`: the board's files, and the build against stand-ins.

Neither MicroPython's sources nor ESP-IDF nor a compiler are here: a folder stands in for each,
and a shell script for `make`, which writes what a build would. All but the compiler runs.
"""

import hashlib
import json
import re
import struct
import sys
import types
from pathlib import Path

import pytest

from tests.tools.support import run, variant
from tools.config import ROOT, load
from tools.config_sizes import region_totals, static_rows
from tools.firmware.esp32 import BOARD
from tools.firmware.partitions import TABLE_LENGTH, TABLE_OFFSET, read_binary, read_csv

FLASH_LENGTH = 4 << 20
SECTOR = 0x1000
APP_ALIGNMENT = 0x10000
ELF_SECTIONS = """section           size         addr
.iram0.text      60000   1077411840
.dram0.dummy     60000   1070071808
.dram0.data      11000   1070200000
.dram0.bss       22000   1070300000
.flash.text    1000000   1107296256
Total          1153000
"""


# --- the board -----------------------------------------------------------------------------


def test_partitions_lie_side_by_side():
    table = read_csv(BOARD / "partitions.csv")
    end = TABLE_OFFSET + TABLE_LENGTH
    for partition in table.values():
        assert partition.offset == end, partition.name
        assert partition.size % SECTOR == 0
        end += partition.size
    assert end == FLASH_LENGTH


def test_partitions_are_where_others_expect_them():
    table = read_csv(BOARD / "partitions.csv")
    assert (table["nvs"].offset, table["nvs"].size) == (0x9000, 0x6000)
    assert table["factory"].offset == 0x10000 and table["factory"].type == 0
    assert table["factory"].offset % APP_ALIGNMENT == 0
    assert (table["vfs"].type, table["romfs"].type) == (1, 1)  # found by name


def binary(table):
    entries = [
        struct.pack("<HBBII16sI", 0x50AA, p.type, p.subtype, p.offset, p.size, p.name.encode(), 0)
        for p in table.values()
    ]
    data = b"".join(entries)
    data += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(data).digest()
    return data.ljust(0xC00, b"\xff")


def test_binary_partition_table_reads_as_its_csv():
    table = read_csv(BOARD / "partitions.csv")
    assert read_binary(binary(table)) == table
    assert read_binary(b"") == read_binary(b"\xff" * 64) == {}


def test_board_has_no_bluetooth_and_only_files_that_are_there():
    text = (BOARD / "mpconfigboard.cmake").read_text()
    code = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    assert "sdkconfig.ble" not in code and "include(" not in code
    for name in re.findall(r"\$\{MICROPY_BOARD_DIR\}/([\w./]+)", code):
        assert (BOARD / name).resolve().is_file(), name
    header = (BOARD / "mpconfigboard.h").read_text()
    assert re.search(r"#define MICROPY_PY_BLUETOOTH +\(0\)", header)
    assert re.search(r"#define MICROPY_PY_ESPNOW_RSSI +\(0\)", header)


def test_pins_are_the_default_of_the_fram():
    pins = dict(line.split(",") for line in (BOARD / "pins.csv").read_text().split())
    header = (BOARD / "mpconfigboard.h").read_text()
    for name in ("SDA", "SCL"):
        number = re.search(rf"#define MICROPY_HW_I2C0_{name} +\((\d+)\)", header).group(1)
        assert pins[f"FRAM_{name}"] == f"GPIO{number}"
        default = getattr(load(ROOT / "config.toml"), f"FRAM_{name}", int(number))
        assert default == int(number)


def test_mailbox_holds_a_message_of_every_node():
    text = (BOARD / "sdkconfig.board").read_text()
    mailbox = int(re.search(r"^CONFIG_LWIP_UDP_RECVMBOX_SIZE=(\d+)$", text, re.MULTILINE).group(1))
    config = load(ROOT / "config.toml")
    frames = -(-config.MESSAGE_LENGTH_MAX // (config.FRAME_LENGTH - 16))
    assert frames * (config.CLIENT_COUNT - 1) <= mailbox < 32
    for line in text.splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r"CONFIG_\w+=\w+", line)


def test_board_json():
    board = json.loads((BOARD / "board.json").read_text())
    assert board["mcu"] == "esp32c3" and "BLE" not in board["features"]


# --- the build -----------------------------------------------------------------------------


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def radio(folder):
    """A configuration for boards; their frame buffers take more than the default leaves."""
    changes = {"transport.kind": '"esp_now"', "budget.ram_max": 120000}
    return variant(folder / "radio.toml", changes)


class Tools:
    """Folders and scripts that stand in for a checkout, an ESP-IDF and its compiler."""

    def __init__(self, folder):
        self.folder = folder
        self.micropython = folder / "micropython"
        self.idf = folder / "idf"
        self.bin = self.idf / "bin"
        self.version(29)
        for name in ("ports/esp32/Makefile", "lib/berkeley-db-1.xx/db.h"):
            self.touch(self.micropython / name)
        self.touch(self.micropython / "lib/micropython-lib/README.md")
        self.idf.mkdir()
        (self.idf / "version.txt").write_text("v5.5.2\n")
        (self.idf / "export.sh").write_text('PATH="$IDF_PATH/bin:$PATH"\n')
        for name in ("riscv32-esp-elf-gcc", "idf.py", "cmake", "ninja", "cc"):
            script(self.bin / name, "")
        (self.bin / "sections").write_text(ELF_SECTIONS)
        script(self.bin / "riscv32-esp-elf-size", f'cat "{self.bin}/sections"')
        script(self.bin / "riscv32-esp-elf-nm", f'cat "{self.bin}/symbols"')
        (self.bin / "symbols").write_text("42000010 t fun_data_a\n42000021 T main\n")
        self.table(read_csv(BOARD / "partitions.csv"))
        self.make(200_000)

    @staticmethod
    def touch(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def version(self, minor, prerelease=0):
        path = self.micropython / "py" / "mpconfig.h"
        path.parent.mkdir(parents=True, exist_ok=True)
        fields = {"MAJOR": 1, "MINOR": minor, "MICRO": 0, "PRERELEASE": prerelease}
        lines = [f"#define MICROPY_VERSION_{name} {value}\n" for name, value in fields.items()]
        path.write_text("".join(lines))

    def table(self, table):
        (self.bin / "table").write_bytes(binary(table))

    def make(self, app_length):
        text = f"""
            echo "$@" > "{self.bin}/arguments"
            for argument in "$@"; do
                case $argument in BUILD=*) build=${{argument#BUILD=}};; esac
            done
            [ -e "$build/seen" ] && echo again >> "{self.bin}/arguments"
            touch "$build/seen" "$build/micropython.elf"
            mkdir -p "$build/bootloader" "$build/partition_table"
            echo loader > "$build/bootloader/bootloader.bin"
            cp "{self.bin}/table" "$build/partition_table/partition-table.bin"
            head -c {app_length} /dev/zero > "$build/micropython.bin"
        """
        script(self.bin / "make", text)

    def arguments(self):
        return (self.bin / "arguments").read_text()

    def firmware(self, *more):
        named = ("--config", radio(self.folder), "--micropython", self.micropython)
        named += ("--idf", self.idf)
        return run("firmware", *named, "--output", self.folder / "out", *more)


@pytest.fixture
def tools(tmp_path):
    return Tools(tmp_path)


def test_pieces_and_their_description(tools):
    result = tools.firmware()
    assert result.exit_code == 0, result.stderr
    output = tools.folder / "out"
    flash = json.loads((output / "flash.json").read_text())
    assert [(piece["offset"], piece["file"]) for piece in flash["pieces"]] == [
        (0, "bootloader.bin"),
        (32768, "partition-table.bin"),
        (65536, "micropython.bin"),
    ]
    for piece in flash["pieces"]:
        data = (output / piece["file"]).read_bytes()
        assert piece["sha256"] == hashlib.sha256(data).hexdigest()
    assert flash["chip"] == "esp32c3"
    assert flash["config"] == {
        "group_id": 1,
        "replica_count": 4,
        "client_count": 5,
        "name": "radio",
    }
    assert (flash["micropython"], flash["idf"]) == ("1.29.0", "5.5.2")


def test_make_is_told_board_manifest_and_folder(tools):
    tools.firmware()
    output = tools.folder / "out"
    for argument in (
        f"-C {tools.micropython}/ports/esp32",
        f"BOARD_DIR={BOARD}",
        f"FROZEN_MANIFEST={output}/source/firmware.py",
        f"BUILD={output}/build",
    ):
        assert argument in tools.arguments()


def test_ctrl_c_is_built_in(tools):
    tools.firmware()
    path = re.search(r"USER_C_MODULES=(\S+)", tools.arguments()).group(1)
    assert path.endswith("boards/ctrl_c/micropython.cmake") and Path(path).is_file()


def test_machine_code_at_odd_addresses_is_refused(tools):
    (tools.bin / "symbols").write_text("42000010 t fun_data_a\n42000021 t fun_data_b\n")
    result = tools.firmware()
    assert result.exit_code == 2
    assert "1 native functions at odd addresses (fun_data_b)" in result.stderr
    assert not (tools.folder / "out" / "flash.json").exists()


def test_flash_and_ram_are_printed(tools):
    lines = tools.firmware().stdout.splitlines()
    config = load(tools.folder / "radio.toml")
    regions = sum(region_totals(static_rows(config)).values())
    for words, number in (
        ("flash: app, 8 % of its partition", 200_000),
        ("static RAM: code", 60_000),
        ("static RAM: data", 11_000),
        ("static RAM: zeroed data", 22_000),
        ("heap: static regions", regions),
    ):
        assert any(words in line and str(number) in line for line in lines), words


def test_a_build_goes_on_where_nothing_else_changed(tools):
    tools.firmware()
    assert "again" not in tools.arguments()
    tools.firmware()
    assert "again" in tools.arguments()
    tools.version(30)
    tools.firmware()
    assert "again" not in tools.arguments()


def test_the_version_of_a_git_checkout_of_the_idf_is_read(tools):
    (tools.idf / "version.txt").unlink()
    cmake = tools.idf / "tools" / "cmake" / "version.cmake"
    cmake.parent.mkdir(parents=True)
    cmake.write_text(
        "set(IDF_VERSION_MAJOR 5)\nset(IDF_VERSION_MINOR 5)\nset(IDF_VERSION_PATCH 2)\n"
    )
    assert tools.firmware().exit_code == 0


def refused(result, *words):
    assert result.exit_code == 2 and result.stdout == ""
    for word in words:
        assert word in result.stderr, result.stderr


def test_everything_absent_is_said_at_once(tmp_path, monkeypatch):
    for name in ("MICROPYTHON_DIR", "IDF_PATH"):
        monkeypatch.delenv(name, raising=False)
    result = run("firmware", "--config", radio(tmp_path), "--output", tmp_path / "out")
    refused(result, "MicroPython's sources: not named; git clone", "ESP-IDF: not named; git clone")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("minor", "prerelease", "words"), [(28, 0, "1.28.0"), (29, 1, "1.29.0-p")]
)
def test_old_micropython(tools, minor, prerelease, words):
    tools.version(minor, prerelease)
    refused(tools.firmware(), f"is MicroPython {words}", "1.29.0 or newer is needed")


def test_no_micropython(tools):
    (tools.micropython / "py" / "mpconfig.h").unlink()
    refused(tools.firmware(), f"{tools.micropython}: no MicroPython sources")


def test_empty_submodules(tools):
    (tools.micropython / "lib/micropython-lib/README.md").unlink()
    remedy = f"git -C {tools.micropython} submodule update --init --depth 1 lib/micropython-lib"
    refused(tools.firmware(), "empty submodules", remedy)


def test_another_idf(tools):
    (tools.idf / "version.txt").write_text("v5.5.1\n")
    refused(tools.firmware(), "is ESP-IDF 5.5.1, exactly 5.5.2 is needed", "--branch v5.5.2")


def test_no_idf(tools):
    (tools.idf / "version.txt").unlink()
    refused(tools.firmware(), f"{tools.idf}: no ESP-IDF")


def test_idf_without_its_tools(tools):
    (tools.idf / "export.sh").write_text("echo 'ERROR: no python env' >&2; return 1\n")
    refused(tools.firmware(), "export.sh: fails (ERROR: no python env)", "install.sh esp32c3")


def test_no_compiler(tools):
    (tools.bin / "riscv32-esp-elf-gcc").unlink()
    refused(tools.firmware(), "riscv32-esp-elf-gcc: not found; install", "install.sh esp32c3")


def test_no_radio_configured(tools):
    result = run("firmware", "--config", ROOT / "config.toml")
    refused(result, 'transport.kind: is "unix", an ESP32-C3 has a radio; set "esp_now"')


def test_a_failing_build_shows_its_last_words(tools):
    script(tools.bin / "make", "echo main.c: error: no; exit 2")
    result = tools.firmware()
    assert result.exit_code == 2
    assert "main.c: error: no" in result.stderr and "make.log: the build failed" in result.stderr
    assert not (tools.folder / "out" / "flash.json").exists()


def test_an_app_that_does_not_fit(tools):
    tools.make(0x260001)
    result = tools.firmware()
    assert result.exit_code == 2 and "its partition has 2490368; freeze less" in result.stderr
    assert not (tools.folder / "out" / "flash.json").exists()


def test_a_foreign_partition_table_is_not_handed_out(tools):
    table = read_csv(BOARD / "partitions.csv")
    table["nvs"] = table["nvs"]._replace(offset=0xA000)
    tools.table(table)
    result = tools.firmware()
    assert result.exit_code == 2 and "the identity may lie elsewhere" in result.stderr


def test_white_space_in_a_path(tmp_path):
    folder = tmp_path / "my files"
    folder.mkdir()
    result = Tools(folder).firmware()
    assert result.exit_code == 2 and "white space" in result.stderr


def test_sizes_need_neither(tmp_path):
    result = run("firmware", "--sizes", "--output", tmp_path)
    assert result.exit_code == 0 and "tinybft/parts.py" in result.stdout


def test_the_emulated_board_is_built_elsewhere(tmp_path, monkeypatch):
    calls = []
    stand_in = types.ModuleType("tools.firmware.virt")
    stand_in.build = lambda *arguments: calls.append(arguments) or {"flash: image": 12345}
    monkeypatch.setitem(sys.modules, "tools.firmware.virt", stand_in)
    (tmp_path / "main.py").touch()
    result = run(
        *("firmware", "--board", "VIRT_RV32", "--main", tmp_path / "main.py"),
        *("--micropython", "m", "--mbedtls", "t", "--output", tmp_path / "out"),
    )
    assert result.exit_code == 0 and "12345" in result.stdout
    micropython, mbedtls, manifest, output, config = calls[0]
    assert (micropython, mbedtls, output) == ("m", "t", tmp_path / "out")
    assert manifest == tmp_path / "out" / "source" / "firmware.py" and config.GROUP_ID == 1
