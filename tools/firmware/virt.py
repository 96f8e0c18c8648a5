"""Firmware for the emulated board: MicroPython's qemu port for rv32imc.

    <output>/build/          of MicroPython; make.log is what it said
             firmware.elf    for QEMU; written last

Sources that are not named are fetched from Debian (sources.py). A change of anything that make
does not watch (sources, settings) begins the build anew.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

from tools.firmware.machine_code import require_even
from tools.firmware.sources import GET_MBEDTLS, GET_MICROPYTHON, fetched
from tools.firmware.stage import ROOT
from tools.refusal import Refusal

BOARD = ROOT / "boards" / "VIRT_RV32"
COMPILER = "riscv64-unknown-elf-gcc"
PACKAGES = "qemu-system-misc gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf"
# What an ESP32-C3 without Bluetooth leaves to the heap, about.
HEAP_LENGTH = 170000
SOURCES_FOLDER = "build/sources"
_LOG_LINES = 15
_HEAP_LENGTH_MAX = 1600000  # in the 2 MiB of RAM in the port's linker script
_SHARES = (("LENGTH = 4M", "LENGTH = 1536K"), ("LENGTH = 2M", "LENGTH = 4608K"))  # ROM, RAM


def build(  # noqa: PLR0913 - what a build is made of
    micropython, mbedtls, manifest, output, config=None, heap_length=HEAP_LENGTH
):
    """Build <output>/firmware.elf; {what: bytes}. Directories None: fetched. Raises Refusal.

    The port's linker script has room for a heap of 1.6 MB; for a larger one the machine's RAM
    is divided otherwise.
    """
    output = Path(output).absolute()
    settings = {"RV32_ARCH": architecture(), "MICROPY_HEAP_SIZE": str(heap_length)}
    micropython = _sources("micropython", micropython, "ports/qemu/Makefile", GET_MICROPYTHON)
    mbedtls = _sources("mbedtls", mbedtls, "library/aes.c", GET_MBEDTLS)
    folder = output / "build"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (micropython, mbedtls, output, ROOT):
        if re.search(r"\s", str(path)):
            raise Refusal(f"{path}: make cannot work with white space in it; move or rename it")
    _forget_other_build(folder, [str(micropython), str(mbedtls), settings, _board_files()])
    firmware = output / "firmware.elf"
    firmware.unlink(missing_ok=True)
    compiler = folder / "mpy-cross"
    _make(folder, ["-C", str(micropython / "mpy-cross"), f"BUILD={compiler}"])
    library = micropython / "lib" / "micropython-lib"
    if not (library / "README.md").is_file():
        library = folder / "no-library"  # nothing of it is frozen
        library.mkdir(exist_ok=True)
        (library / "README.md").touch()
    variables = {
        **settings,
        "BOARD_DIR": BOARD,
        "BUILD": folder / "port",
        "FROZEN_MANIFEST": manifest,
        "USER_C_MODULES": BOARD,
        "MBEDTLS_DIR": mbedtls,
        "MPY_LIB_DIR": library,
        "MICROPY_MPYCROSS": compiler / "mpy-cross",
        "MICROPY_MPYCROSS_DEPENDENCY": compiler / "mpy-cross",
    }
    if heap_length > _HEAP_LENGTH_MAX:
        variables["LDSCRIPT"] = _with_more_ram(micropython, folder)
    arguments = [f"{name}={value}" for name, value in variables.items()]
    _make(folder, ["-C", str(micropython / "ports" / "qemu"), *arguments])
    built = folder / "port" / "firmware.elf"
    require_even(COMPILER.removesuffix("gcc") + "nm", built)
    shutil.copyfile(built, firmware)
    return _sizes(firmware, heap_length)


def architecture():
    """RV32_ARCH that the compiler has a C library for; raises Refusal."""
    if shutil.which(COMPILER) is None:
        raise Refusal(f"{COMPILER} is not installed; `apt-get install {PACKAGES}`")
    for name in ("rv32imac_zicsr", "rv32imac -misa-spec=2.2"):
        flags = [f"-march={name.split()[0]}", *name.split()[1:], "-mabi=ilp32"]
        folder = subprocess.run(
            [COMPILER, *flags, "-print-multi-directory"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        specs = subprocess.run(
            [COMPILER, "--print-file-name=picolibc.specs"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        if folder not in ("", ".") and Path(specs).is_absolute():
            return name
    raise Refusal(
        f"{COMPILER}: has no C library for rv32imac; `apt-get install"
        " picolibc-riscv64-unknown-elf`"
    )


def _with_more_ram(micropython, folder):
    """The port's linker script, RAM enlarged at the cost of ROM; the stack stays in its place."""
    text = (micropython / "ports" / "qemu" / "mcu" / "rv32" / "virt.ld").read_text("utf-8")
    for old, new in _SHARES:
        if text.count(old) != 1:
            raise Refusal(f"{micropython}: virt.ld is not what it was in 1.26.1; take that one")
        text = text.replace(old, new)
    script = folder / "virt.ld"
    if not script.is_file() or script.read_text("utf-8") != text:
        script.write_text(text, "utf-8")
    return script


def _sources(name, given, file, remedy):
    folder = fetched(name, SOURCES_FOLDER) if given is None else Path(given).absolute()
    if not (folder / file).is_file():
        raise Refusal(f"{folder}: no sources of {name} ({file} is missing); {remedy}")
    return folder


def _board_files():
    return {
        str(path.relative_to(BOARD)): path.read_text(encoding="utf-8")
        for path in sorted(BOARD.rglob("*"))
        if path.suffix in (".c", ".h", ".mk")
    }


def _forget_other_build(folder, inputs):
    stamp = folder / "inputs.json"
    text = json.dumps(inputs, indent=1)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != text:
        shutil.rmtree(folder)
        folder.mkdir()
        stamp.write_text(text, encoding="utf-8")


def _make(folder, arguments):
    log = folder / "make.log"
    with log.open("a", encoding="utf-8") as file:
        command = ["make", "--jobs=2", *arguments]
        result = subprocess.run(command, stdout=file, stderr=file, check=False)
    if result.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        raise Refusal(f"{log}: the build fails; it says at last:", *lines)


def _sizes(firmware, heap_length):
    """{what: bytes} by the linker's sections; the heap is one of them."""
    program = COMPILER.removesuffix("gcc") + "size"
    text = subprocess.run([program, str(firmware)], capture_output=True, text=True, check=True)
    flash, data, rest = map(int, text.stdout.splitlines()[1].split()[:3])
    stack = 0x10000  # the port's linker script reserves it; the board uses 16 KiB, as a C3
    return {
        "flash: firmware": flash + data,
        "RAM: outside of the heap and the stack": data + rest - heap_length - stack,
        "RAM: heap": heap_length,
    }
