"""What the tests with emulated boards share: the group, and why there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.firmware import virt
from tools.refusal import Refusal
from tools.virt.board import QEMU
from tools.virt.group import Group

ROOT = Path(__file__).resolve().parents[2]


def skip_without_boards():
    """Skip the test where the tools or the sources of emulated boards are missing."""
    if shutil.which(QEMU) is None or shutil.which(virt.COMPILER) is None:
        pytest.skip(f"no emulated boards: apt-get install {virt.PACKAGES}")
    try:
        for package in ("micropython", "mbedtls"):
            virt.fetched(package, virt.SOURCES_FOLDER)
    except Refusal as refusal:
        pytest.skip(f"no emulated boards: {refusal}")


def group_or_skip(path, config_path, **options):
    """A Group, its firmware built; skips the test where there are no emulated boards."""
    skip_without_boards()
    return Group(path, config_path, **options)


def mpremote(device, *arguments):
    """Start stock mpremote on a board."""
    program = Path(sys.executable).with_name("mpremote")
    return subprocess.Popen(
        [program, "connect", device, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
