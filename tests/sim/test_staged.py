"""A firmware's sources do what the sources do: the same scenario gives the same bytes on the air.

What `tinybft firmware` freezes was rewritten (tools/firmware/lean.py). Here it runs under the
simulator, on the same seeds, with the same faults; every oracle looks at it.
"""

import json
import shutil
import subprocess
import sys

import pytest

from tools.config import ROOT
from tools.config_template import render
from tools.firmware.lean import PARTS, lean
from tools.firmware.program import Program
from tools.simulate.campaign import Job, simulated
from tools.simulate.configs import configuration

_RUN = """
import json, sys
from types import SimpleNamespace
from tools.simulate import swarm
from tools.simulate.sim import Sim
seed, durable = json.loads(sys.argv[1])
sim = Sim(seed, durable=durable)
swarm.play(sim, SimpleNamespace(steps=None), swarm.Plan.of(sim))
print(json.dumps([sim.oracles.operations, sim.message_count, sim.air_digest()]))
"""
_ROOTS = ("tools.simulate.sim", "tools.simulate.swarm")


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _tools(program):
    """Modules of tools/ that the simulation imports."""
    found, waiting = set(), list(_ROOTS)
    while waiting:
        name = waiting.pop()
        if name.startswith("tools") and name not in found:
            found.add(name)
            for _, source in program.modules[name].imported:
                waiting += program.sources(*source)
    return found


@pytest.fixture(scope="module", params=(None, "mirror"))
def staged(request, tmp_path_factory):
    """(folder with the sources of a firmware beside the simulator, what is durable)"""
    folder = tmp_path_factory.mktemp("staged")
    paths = {
        _module(path): path
        for name in ("tinybft", "hal", "tools")
        for path in (ROOT / name).rglob("*.py")
    }
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    texts["tinybft.config"] = render("simulated", vars(configuration(4, None, request.param)))
    start = _tools(Program(texts, None))
    texts = {name: text for name, text in texts.items() if name in start or name[:5] != "tools"}
    _, _, result = lean(texts, start, ["tinybft.apps.kv"], as_they_are=start)
    for name, text in result.items():
        path = paths.get(name, ROOT / (name.replace(".", "/") + ".py"))
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")
    for path in (ROOT / "config.toml", *(ROOT / "tools").rglob("*.toml")):
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(ROOT))
    return folder, request.param


def test_parts_are_one_object(staged):
    folder, _ = staged
    text = (folder / (PARTS.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    assert "class Agreement" not in text and "class Status" not in text
    assert not (folder / "tinybft" / "agreement.py").exists()


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_firmware_does_what_its_sources_do(staged, seed):
    folder, durable = staged
    plain = simulated(Job(seed, durable=durable))[1]
    command = [sys.executable, "-c", _RUN, json.dumps([seed, durable])]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    last = found.stdout.splitlines()[-1]  # what nodes say on their console comes before
    assert json.loads(last) == [plain.operations, plain.messages, plain.air]
    assert plain.violation is None and plain.operations > 10
