"""The library inside an asyncio application, on both interpreters and real sockets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.group import ROOT, free_port

MICROPYTHON = [str(Path(sys.executable).parent / "micropython"), "-X", "heapsize=4M"]


@pytest.mark.parametrize("interpreter", [MICROPYTHON, [sys.executable]], ids=["device", "host"])
def test_application_on_asyncio(interpreter):
    run = subprocess.run(
        [*interpreter, "tests/e2e/application.py", str(free_port())],
        cwd=ROOT,
        env=os.environ | {"MICROPYPATH": f"{ROOT}:.frozen", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("done\n")
