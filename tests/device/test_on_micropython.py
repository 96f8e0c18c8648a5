"""The portable test modules once more, on the real MicroPython (unix port).

Portable is what lies in tests/tinybft or tests/hal and imports neither pytest nor
hypothesis; each module gets an interpreter of its own with a bounded heap.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAP = "6M"
_HOST_ONLY = {"pytest", "hypothesis"}


def imported_names(path):
    """Top-level packages that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def portable_modules():
    paths = [p for folder in ("tinybft", "hal") for p in (ROOT / "tests" / folder).rglob("*.py")]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(paths)
        if path.name.startswith("test_") and not imported_names(path) & _HOST_ONLY
    ]


def run_on_micropython(*arguments, python_path=ROOT, script="runner.py", heap=HEAP):
    micropython = Path(sys.executable).with_name("micropython")
    assert micropython.exists(), f"no {micropython}; install the pinned packages: make venv"
    return subprocess.run(
        [micropython, "-X", f"heapsize={heap}", ROOT / "tests" / "device" / script, *arguments],
        env=os.environ | {"MICROPYPATH": f"{python_path}:{ROOT}:.frozen"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("module", portable_modules())
def test_passes_on_micropython(module):
    result = run_on_micropython(module)
    assert result.returncode == 0, f"{module} on MicroPython:\n{result.stdout}"


def test_runner_reports_a_failure(tmp_path):
    source = "def test_a():\n    pass\ndef test_b():\n    assert 0, 'x'\n"
    (tmp_path / "broken.py").write_text(source)
    result = run_on_micropython("broken", python_path=tmp_path)
    assert result.returncode == 1
    assert "ok test_a" in result.stdout
    assert "FAILED test_b" in result.stdout
    assert "AssertionError: x" in result.stdout


def test_runner_refuses_a_module_without_tests(tmp_path):
    (tmp_path / "empty.py").write_text("")
    assert run_on_micropython("empty", python_path=tmp_path).returncode == 1
