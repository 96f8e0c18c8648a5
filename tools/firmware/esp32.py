"""Firmware for the ESP32-C3: what must be there first, the build, its pieces.

    <output>/source/              see stage.py
             build/               of MicroPython and ESP-IDF; make.log is what they said
             bootloader.bin, partition-table.bin, micropython.bin
             flash.json           where each piece goes, its SHA-256; written last

The pieces are written to the flash one by one: MicroPython's combined firmware.bin, from 0x0 on,
would cover the partition with the identity.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from tools.firmware.machine_code import require_even
from tools.firmware.partitions import TABLE_OFFSET, read_binary, read_csv
from tools.firmware.stage import ROOT
from tools.refusal import Refusal

BOARD = ROOT / "boards" / "TINYBFT_C3"
CTRL_C = ROOT / "boards" / "ctrl_c" / "micropython.cmake"
# ESP-NOW before 1.29 reads the length of a frame of ESP-NOW v2 (up to 1470 bytes) as 8 bits.
MICROPYTHON_MIN = (1, 29, 0)
IDF_VERSION = "5.5.2"  # what MicroPython 1.29 is made for
SUBMODULES = ("lib/berkeley-db-1.xx", "lib/micropython-lib")
GET_MICROPYTHON = (
    "git clone --depth 1 --branch v1.29.0 https://github.com/micropython/micropython,"
    " then name the folder by --micropython or MICROPYTHON_DIR"
)
GET_IDF = (
    f"git clone --depth 1 --branch v{IDF_VERSION} --recursive --shallow-submodules"
    " https://github.com/espressif/esp-idf && esp-idf/install.sh esp32c3,"
    " then name the folder by --idf or IDF_PATH"
)
_PIECES = (  # file in <output>, file in build/, partition or offset
    ("bootloader.bin", "bootloader/bootloader.bin", 0),
    ("partition-table.bin", "partition_table/partition-table.bin", TABLE_OFFSET),
    ("micropython.bin", "micropython.bin", "factory"),
)
_LOG_LINES = 15


def require_radio(config, path):
    """Refuse a configuration whose nodes talk in a way that the chip cannot."""
    if config.TRANSPORT not in ("esp_now", "wifi"):
        raise Refusal(
            f'{path}: transport.kind: is "{config.TRANSPORT}", an ESP32-C3 has a radio;'
            ' set "esp_now" or "wifi"'
        )


def toolchain(micropython_dir, idf_dir):
    """Check everything that a build needs; raises Refusal with every reason why not.

    Returns {"micropython": path, "micropython_version", "idf": path, "environment"}.
    """
    complaints = []
    micropython, version = _micropython(micropython_dir, complaints)
    idf = _idf(idf_dir, complaints)
    environment = os.environ
    if idf is not None:
        environment = _exported(idf, complaints)
        _programs(environment, idf, complaints)
    if complaints:
        raise Refusal(*complaints)
    return {
        "micropython": micropython,
        "micropython_version": version,
        "idf": idf,
        "environment": environment,
    }


def build(tools, manifest, output, config):
    """Build with what `toolchain` returned; {what: bytes} of flash and static RAM."""
    output = Path(output).absolute()
    folder = output / "build"
    for path in (tools["micropython"], tools["idf"], output):
        if re.search(r"\s", str(path)):
            raise Refusal(f"{path}: make cannot work with white space in it; move or rename it")
    (output / "flash.json").unlink(missing_ok=True)
    _forget_other_build(folder, tools)
    _make(tools, manifest, folder)
    nm = shutil.which("riscv32-esp-elf-nm", path=tools["environment"]["PATH"])
    require_even(nm, folder / "micropython.elf")
    partitions = read_csv(BOARD / "partitions.csv")
    pieces = _collect(folder, output, partitions)
    sizes = _flash_sizes(output, partitions) | _static_ram(folder, tools["environment"])
    description = {
        "chip": "esp32c3",
        "pieces": pieces,
        "config": {
            "group_id": config.GROUP_ID,
            "replica_count": config.REPLICA_COUNT,
            "client_count": config.CLIENT_COUNT,
            "name": config.CONFIG_NAME,
        },
        "micropython": tools["micropython_version"],
        "idf": IDF_VERSION,
    }
    (output / "flash.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    return sizes


def _micropython(folder, complaints):
    """(path, version) of a checkout, complaining of what it lacks."""
    if folder is None:
        complaints.append(f"MicroPython's sources: not named; {GET_MICROPYTHON}")
        return None, None
    path = Path(folder).absolute()
    try:
        text = (path / "py" / "mpconfig.h").read_text(encoding="utf-8")
        parts = dict(re.findall(r"#define MICROPY_VERSION_(\w+) (\d+)", text))
        version = tuple(int(parts[name]) for name in ("MAJOR", "MINOR", "MICRO"))
    except (OSError, KeyError):
        complaints.append(f"{path}: no MicroPython sources (py/mpconfig.h); {GET_MICROPYTHON}")
        return path, None
    preview = parts.get("PRERELEASE") == "1"
    words = ".".join(map(str, version)) + ("-preview" if preview else "")
    if version < MICROPYTHON_MIN or (version == MICROPYTHON_MIN and preview):
        wanted = ".".join(map(str, MICROPYTHON_MIN))
        complaints.append(
            f"{path}: is MicroPython {words}, {wanted} or newer is needed (before, one large"
            f" foreign frame upsets ESP-NOW); {GET_MICROPYTHON}"
        )
    if not (path / "ports" / "esp32" / "Makefile").is_file():
        complaints.append(f"{path}: has no ports/esp32; {GET_MICROPYTHON}")
    missing = [name for name in SUBMODULES if not _has_files(path / name)]
    if missing:
        complaints.append(
            f"{path}: empty submodules: git -C {path} submodule update --init --depth 1"
            f" {' '.join(missing)}"
        )
    return path, words


def _has_files(folder):
    return folder.is_dir() and any(folder.iterdir())


def _idf(folder, complaints):
    """The path of an ESP-IDF of the right version, or None after a complaint."""
    if folder is None:
        complaints.append(f"ESP-IDF: not named; {GET_IDF}")
        return None
    path = Path(folder).absolute()
    version = _idf_version(path)
    if version is None:
        complaints.append(f"{path}: no ESP-IDF (tools/cmake/version.cmake); {GET_IDF}")
        return None
    if version != IDF_VERSION:
        complaints.append(
            f"{path}: is ESP-IDF {version}, exactly {IDF_VERSION} is needed; {GET_IDF}"
        )
        return None
    return path


def _idf_version(path):
    """As in "5.5.2": from a release's version.txt, else what its cmake files say; or None."""
    try:
        return (path / "version.txt").read_text(encoding="utf-8").strip().lstrip("v")
    except OSError:
        pass
    try:
        text = (path / "tools" / "cmake" / "version.cmake").read_text(encoding="utf-8")
        parts = dict(re.findall(r"set\(IDF_VERSION_(\w+) (\d+)\)", text))
        return ".".join(parts[name] for name in ("MAJOR", "MINOR", "PATCH"))
    except (OSError, KeyError):
        return None


def _exported(idf, complaints):
    """The environment after `. export.sh`, or the present one after a complaint."""
    script = '. "$0/export.sh" >&2 && env -0'
    environment = os.environ | {"IDF_PATH": str(idf)}
    result = subprocess.run(
        ["bash", "-c", script, str(idf)], capture_output=True, env=environment, check=False
    )
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["(no output)"]
        complaints.append(
            f"{idf}/export.sh: fails ({lines[-1].strip()}); install its tools:"
            f" {idf}/install.sh esp32c3"
        )
        return environment
    pairs = (entry.partition("=") for entry in result.stdout.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs}


def _programs(environment, idf, complaints):
    remedies = {
        "riscv32-esp-elf-gcc": f"{idf}/install.sh esp32c3",
        "riscv32-esp-elf-nm": f"{idf}/install.sh esp32c3",
        "riscv32-esp-elf-size": f"{idf}/install.sh esp32c3",
        "idf.py": f"{idf}/install.sh esp32c3",
        "cmake": f"{idf}/tools/idf_tools.py install cmake, or your system's package",
        "ninja": f"{idf}/tools/idf_tools.py install ninja, or your system's package ninja-build",
        "make": "your system's package make",
        "cc": "your system's package gcc (MicroPython's own mpy-cross is made with it)",
    }
    for program, remedy in remedies.items():
        if shutil.which(program, path=environment.get("PATH")) is None:
            complaints.append(f"{program}: not found; install {remedy}")


def _forget_other_build(folder, tools):
    """Remove what was built of other sources or settings: saved settings outlive new ones."""
    digest = hashlib.sha256()
    for path in sorted(BOARD.iterdir()):
        digest.update(path.read_bytes())
    made_of = {
        "micropython": f"{tools['micropython']} {tools['micropython_version']}",
        "idf": f"{tools['idf']} {IDF_VERSION}",
        "board": digest.hexdigest(),
    }
    text = json.dumps(made_of, indent=1) + "\n"
    stamp = folder / "made-of.json"
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == text):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stamp.write_text(text, encoding="utf-8")


def _make(tools, manifest, folder):
    command = [
        shutil.which("make", path=tools["environment"]["PATH"]),
        "-C",
        str(tools["micropython"] / "ports" / "esp32"),
        f"BOARD_DIR={BOARD}",
        f"FROZEN_MANIFEST={manifest}",
        f"BUILD={folder}",
        f"USER_C_MODULES={CTRL_C}",
    ]
    log = folder / "make.log"
    with log.open("wb") as file:
        result = subprocess.run(
            command, env=tools["environment"], stdout=file, stderr=subprocess.STDOUT, check=False
        )
    if result.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        raise Refusal(*last, f"{log}: the build failed, see there; the last lines are above")


def _collect(folder, output, partitions):
    """Copy the pieces; the list of them for flash.json. Refuses what must not be flashed."""
    pieces = []
    for name, built, place in _PIECES:
        path = folder / built
        if not path.is_file():
            raise Refusal(f"{path}: the build made no such file; see {folder / 'make.log'}")
        data = path.read_bytes()
        offset = place if isinstance(place, int) else partitions[place].offset
        digest = hashlib.sha256(data).hexdigest()
        pieces.append({"offset": offset, "file": name, "sha256": digest})
        shutil.copyfile(path, output / name)
    if read_binary((output / "partition-table.bin").read_bytes()) != partitions:
        raise Refusal(
            f"{output / 'partition-table.bin'}: is not {BOARD / 'partitions.csv'}: the build took"
            f" another table, in which the identity may lie elsewhere; remove {folder} and try"
            " again"
        )
    return pieces


def _flash_sizes(output, partitions):
    app = (output / "micropython.bin").stat().st_size
    size = partitions["factory"].size
    if app > size:
        raise Refusal(
            f"{output / 'micropython.bin'}: {app} bytes, its partition has {size}; freeze less"
        )
    return {
        "flash: bootloader": (output / "bootloader.bin").stat().st_size,
        "flash: partition table": (output / "partition-table.bin").stat().st_size,
        f"flash: app, {100 * app / size:.0f} % of its partition": app,
    }


def _static_ram(folder, environment):
    """Bytes of RAM that are taken before the heap begins, by the sections of the ELF file."""
    command = [shutil.which("riscv32-esp-elf-size", path=environment["PATH"]), "-A"]
    result = subprocess.run(
        [*command, folder / "micropython.elf"], capture_output=True, text=True, check=False
    )
    sections = {
        fields[0]: int(fields[1])
        for fields in map(str.split, result.stdout.splitlines())
        if len(fields) == 3 and fields[1].isdigit()
    }
    if result.returncode != 0 or ".dram0.bss" not in sections:
        raise Refusal(f"{folder / 'micropython.elf'}: riscv32-esp-elf-size cannot read it")
    # .dram0.dummy only keeps room for the code, which lies in the same memory.
    code = sum(length for name, length in sections.items() if name.startswith(".iram0."))
    return {
        "static RAM: code": code,
        "static RAM: data": sections.get(".dram0.data", 0),
        "static RAM: zeroed data": sections[".dram0.bss"],
    }
