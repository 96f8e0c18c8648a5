"""One seed, one run: the same bytes on the air, in every process and on both interpreters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim import air_run
from tools.simulate.campaign import Job, simulated

ROOT = Path(__file__).resolve().parents[2]


def story(seed):
    lines = []
    _, result = simulated(Job(seed=seed, ms=800, with_primary=False), lines.append)
    return lines, result


def test_same_seed_same_trace():
    lines, result = story(11)
    again, result_again = story(11)
    assert len(lines) > 100
    assert lines == again
    assert result.air == result_again.air


def test_another_seed_another_trace():
    assert story(11)[0] != story(12)[0]


def test_trace_does_not_change_the_run():
    _, told = story(11)
    _, silent = simulated(Job(seed=11, ms=800, with_primary=False))
    assert told.air == silent.air


def test_hash_seed_of_the_interpreter_does_not_matter():
    command = [sys.executable, "-m", "tools.cli", "simulate", "--seed", "11", "--ms", "500"]
    command += ["--trace", "--spare-primary"]
    outputs = set()
    for hash_seed in ("0", "1"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        story_lines = [line for line in done.stdout.splitlines() if "wall time" not in line]
        assert len(story_lines) > 100
        outputs.add("\n".join(story_lines))
    assert len(outputs) == 1


@pytest.mark.parametrize("medium", ["ideal", "radio"])
def test_micropython_says_the_same(medium):
    micropython = Path(sys.executable).with_name("micropython")
    done = subprocess.run(
        [micropython, "-X", "heapsize=16M", ROOT / "tests" / "sim" / "air_run.py", medium],
        env=os.environ | {"MICROPYPATH": f"{ROOT}:.frozen"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    digest, count = done.stdout.split()
    assert (digest, int(count)) == air_run.run(medium)
    assert int(count) > 100
