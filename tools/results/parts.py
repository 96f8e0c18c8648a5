"""The measurements that RESULTS.md is made of, each a command of `tinybft` that can run by itself.

A command that has --output writes its documents into the folder of results; of another one the
JSON that it prints becomes the document.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from tools.config import chosen_file, load
from tools.refusal import Refusal
from tools.results.store import ROOT, document


@dataclass(frozen=True)
class Part:
    """words: what it measures; documents: what it leaves; quick: options of a run in seconds.

    is_stored: it has --output; configuration: the shipped one that its figures are of.
    """

    words: str
    command: tuple
    documents: tuple
    is_stored: bool = True
    quick: tuple = ()
    configuration: str | None = None


_SHORT = ("--runs", "1", "--seconds", "1")

PARTS = {
    "memory": Part(
        "RAM: model, regions, heap measured on emulated rv32",
        ("memory", "--measure", "--json"),
        ("memory",),
        is_stored=False,
    ),
    "virt": Part(
        "rv32imc instructions and heap, on an emulated board",
        ("bench", "--virt", "--json"),
        ("virt",),
        is_stored=False,
    ),
    "radio": Part(
        "reads and writes on the modelled radio",
        ("bench", "radio"),
        ("radio",),
        quick=("--operations", "10", "--runs", "1", "--rates", "24"),
        configuration="c3",
    ),
    "read-only": Part(
        "the same with read-only requests",
        ("bench", "radio", "--read-only", "--rates", "1"),
        ("radio-read-only",),
        quick=("--operations", "10", "--runs", "1"),
        configuration="c3",
    ),
    "tentative": Part(
        "the same with tentative execution",
        ("bench", "radio", "--tentative", "--rates", "1"),
        ("radio-tentative",),
        quick=("--operations", "10", "--runs", "1"),
        configuration="c3",
    ),
    "scale": Part(
        "replicas from 4 to 25, state from 1 to 256 KiB",
        ("bench", "scale"),
        ("scale",),
        quick=("--replicas", "4", "--state", "1,4", "--operations", "4"),
    ),
    "energy": Part(
        "battery life from modelled radio-on time",
        ("energy", "--name", "c3", "--json"),
        ("energy",),
        is_stored=False,
        configuration="c3",
    ),
    "ycsb": Part(
        "YCSB A, B, C on the unix cluster and on the modelled radio",
        ("ycsb",),
        ("ycsb-cluster", "ycsb-radio"),
        quick=("--runs", "1", "--operations", "40", "--rates", "24", "--workloads", "a"),
    ),
    "micro": Part(
        "reads and writes on the unix cluster, closed loop and target rates",
        ("bench", "micro"),
        ("micro",),
        quick=(*_SHORT, "--rates", "0", "--sizes", "64"),
    ),
    "compare": Part(
        "beside the floor of the machine, and beside PySyncObj",
        ("bench", "compare"),
        ("compare",),
        quick=_SHORT,
    ),
    "clients": Part(
        "up to 250 external clients",
        ("bench", "clients"),
        ("clients",),
        quick=(*_SHORT, "--clients", "1,4"),
    ),
    "loss": Part(
        "throughput under loss",
        ("bench", "loss", "--runs", "3", "--json"),
        ("loss",),
        is_stored=False,
        quick=(*_SHORT, "--loss", "0,5", "--clients", "1"),
    ),
    "failover": Part(
        "the primary is killed under load",
        ("bench", "loss", "--failover", "20", "--loss", "0,10", "--json"),
        ("failover",),
        is_stored=False,
        quick=("--failover", "1", "--loss", "0"),
    ),
}


def run_part(name, results, quick=False, with_plots=True):
    """Measure one part; its documents are in `results` then. Raises Refusal.

    Returns whether all its checks passed.
    """
    part = PARTS[name]
    arguments = [*part.command, *(part.quick if quick else ())]
    more = []
    if part.is_stored:
        more = ["--output", str(results.path.absolute())]
        more += [] if with_plots else ["--no-plots"]
    ended = subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments, *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=None if part.is_stored else subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode not in (0, 1):
        raise Refusal(f"tinybft {' '.join(arguments)}: failed (exit code {ended.returncode})")
    if not part.is_stored:
        config = load(chosen_file(None, part.configuration))
        command = "tinybft " + " ".join(arguments)
        results.write(document(name, command, config, _figures(ended.stdout, command)))
    return ended.returncode == 0


def _figures(text, command):
    try:
        return json.loads(text)
    except ValueError:
        raise Refusal(f"{command}: printed no JSON document") from None
