"""`tinybft bench --virt`: rv32imc instructions of a whole group, counted in one emulated board.

The firmware of the measurement (boards/VIRT_RV32/counting) runs under `-icount shift=0`, where
a run is the same instructions as the one before. A step of a node is counted from taking a
frame out of the radio's ring to putting the last answer into it.
"""

import json
import os
import socket
import time
from pathlib import Path

import rich_click as click

from tools.config import load
from tools.firmware import virt
from tools.firmware.stage import ROOT, stage
from tools.keys import write_keys
from tools.refusal import Refusal
from tools.virt.board import Board, qemu
from tools.virt.costs import COSTS, costs_text
from tools.virt.summary import functions, print_summary, summary

BOARD = "VIRT_RV32"
COUNTING = ROOT / "boards" / BOARD / "counting"
MEASURED = ROOT / "boards" / BOARD / "main.py"
HEAP_LENGTH = 1500000
OPERATIONS = 16
# (what, bytes of the value; 0: the longest request). "read": a get that is not ordered.
STORIES = (("put", 64), ("get", 64), ("read", 64), ("put", 900), ("get", 900), ("put", 0))
_STORE_LENGTH = 0x20000
_RESULT = "counted: "
_PATIENCE_S = 600


def report(run_dir, config_path, as_json, with_functions, with_costs):
    """What `tinybft bench --virt` prints; raises Refusal."""
    result = count(run_dir, config_path, (lambda _: None) if as_json else say, with_functions)
    if with_costs:
        COSTS.write_text(costs_text(result), encoding="utf-8")
        say(f"{COSTS}: written")
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_summary(result)


def say(line):
    click.echo(line, err=True)


def count(run_dir, config_path, silent=lambda _line: None, with_functions=False):
    """The summary (tools/virt/summary.py) of a configuration; raises Refusal."""
    qemu()
    config = load(config_path)
    folder = Path(run_dir).absolute() / "virt"
    folder.mkdir(parents=True, exist_ok=True)
    silent("building the firmware of the measurement")
    firmware = build(folder, config_path, config)
    backup = 1
    wanted = {
        "measure": "group",
        "operations": OPERATIONS,
        "clients": [config.CLIENT_COUNT - 1, backup],
        "stories": STORIES,
    }
    silent("counting")
    counted = run(folder, firmware, json.dumps(wanted))
    (folder / "counted.json").write_text(json.dumps(counted, indent=1), encoding="utf-8")
    write_keys(config, folder / "keys", config.CLIENT_COUNT, force=True)
    identity = (folder / "keys" / "node-0.key.json").read_text(encoding="utf-8")
    heap = run(folder, firmware, identity)
    result = summary(config, counted, heap)
    if with_functions:
        wanted.update(measure="profile", clients=wanted["clients"][:1], stories=STORIES[:1])
        result["functions"] = functions(run(folder, firmware, json.dumps(wanted)), result)
    return result


def build(folder, config_path, config):
    """firmware.elf with the measurement in place of the replica; raises Refusal."""
    sources = folder / "source"
    manifest = stage(sources, config_path, BOARD, COUNTING / "main.py", [COUNTING], MEASURED)
    directories = [os.environ.get(name) for name in ("MICROPYTHON_DIR", "MBEDTLS_DIR")]
    virt.build(*directories, manifest, folder, config, HEAP_LENGTH)
    return folder / "firmware.elf"


def run(folder, firmware, identity):
    """What the board prints as its result when it finds `identity` at power-on."""
    board = Board(0, folder, firmware, free_port(), icount=True)
    try:
        board.power_on(identity, _STORE_LENGTH)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            lines = board.log().splitlines(keepends=True)
            for line in lines:
                if line.startswith(_RESULT) and line.endswith("\n"):
                    return json.loads(line[len(_RESULT) :])
            has_failed = lines and lines[-1].startswith(">>>") or board.has_ended()
            if has_failed or time.monotonic() > deadline:
                raise Refusal(
                    f"{board.log_path}: the measurement has no result; it says at last:",
                    *(line.rstrip() for line in lines[-6:]),
                )
            time.sleep(0.1)
    finally:
        board.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
