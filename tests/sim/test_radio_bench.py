"""`tinybft bench radio`: closed loops in virtual time, and where the time of an operation goes."""

import json
from dataclasses import replace

import pytest

from tests.tools.support import run
from tools.config import load, named_files
from tools.simulate import operations
from tools.simulate.closed_loop import ClosedLoop, Mismatch
from tools.simulate.critical_path import BEGINNINGS, CriticalPath
from tools.simulate.measured import Meter, latency, quantile
from tools.simulate.radio import Cell, Values, longest, measure, target_of
from tools.simulate.sim import Sim

C3 = str(named_files()["c3"])
CELL = Cell(C3, "put", 64, 1, 6, 12, 1, 1, False, False, 0.0)


def test_a_measurement_is_a_function_of_its_seed():
    row = measure(CELL)
    assert row == measure(CELL) and row["operations"] == 12
    assert row != measure(replace(CELL, seed=2))


def test_runs_are_pooled():
    row = measure(replace(CELL, runs=2))
    assert row["operations"] == 24


def test_reads_read_what_was_written():
    for mix in ("put", "get"):
        row = measure(replace(CELL, mix=mix, clients=4))
        assert row["operations"] == 12 and row["per_second"] > 0


def test_the_parts_of_a_path_are_the_latency():
    sim = Sim(radio=1, config=load(C3))
    path = CriticalPath(sim)
    explained = []
    loop = ClosedLoop(
        sim,
        (0, 1, 2, 3),
        Values("put", 64, (0, 1, 2, 3)),
        lambda done: explained.append((done, path.explain(done))),
    )
    loop.perform(60)
    assert {beginning for _, (_, beginning) in explained} <= set(BEGINNINGS)
    for done, (parts, _) in explained:
        assert sum(parts.values()) == pytest.approx(done.end_us - done.begin_us, abs=3000)
    whole = [one for one in explained if one[1][1] == "call"]
    for done, (parts, _) in whole:
        assert sum(parts.values()) == done.end_us - done.begin_us
        assert parts["COMMIT", "air"] > 0 and parts["PREPARE", "processor"] > 0


def test_operations_begin_when_the_one_before_has_ended():
    sim = Sim(radio=6, config=load(C3))
    loop = ClosedLoop(sim, (1,), Values("put", 64, (1,)))
    loop.perform(8)
    for before, after in zip(loop.done, loop.done[1:], strict=False):
        assert before.end_us <= after.begin_us + 1
    assert loop.passed_us >= sum(loop.times_us())
    assert sim.pending(1) == 0


def test_a_loop_ends_with_its_work():
    class Three:
        left = 3

        def next(self, client):
            self.left -= 1
            return (operations.put("k", "v"), False) if self.left >= 0 else None

        def accept(self, client, operation, reply):
            assert reply == b"\0"

    sim = Sim()
    loop = ClosedLoop(sim, (1,), Three())
    loop.perform()
    assert len(loop.done) == 3


def test_a_wrong_reply_is_found():
    work = Values("put", 64, (1,))
    operation, _ = work.next(1)
    with pytest.raises(Mismatch, match="client 1, c1/0: reply of 2 bytes"):
        work.accept(1, operation, b"\0x")


def test_the_meter_counts_frames_and_messages():
    sim = Sim(radio=1, config=load(C3))
    meter = Meter(sim)
    loop = ClosedLoop(sim, (1,), Values("put", 64, (1,)))
    loop.perform(10)
    row = meter.row(10, loop.passed_us)
    assert row["messages"]["COMMIT"] >= 4 and row["messages"].get("REPLY", 0) < 1
    assert row["frames"] >= 7 and 0 < row["channel"] < 1
    assert 0 < row["processor"]["backups"] < 1 and row["instructions"] > 100000


def test_quantiles():
    assert quantile([], 0.5) is None and latency([]) is None
    assert quantile(list(range(100)), 0.99) == 99 and quantile([7], 0.99) == 7
    assert latency([1000, 2000, 6000]) == {
        "mean": 3.0,
        "p50": 2.0,
        "p95": 6.0,
        "p99": 6.0,
        "max": 6.0,
    }


def test_targets_are_those_of_1_mbit():
    row = {"rate": 1, "clients": 1, "size": 64, "mix": "put"}
    assert target_of(row, 64) == (25, None)
    assert target_of(row | {"size": 1000}, 64) == (40, None)
    assert target_of(row | {"clients": 4, "mix": "get"}, 64) == (None, 86)
    assert target_of(row | {"rate": 6}, 64) == (None, None)


def test_the_command_writes_its_document(tmp_path):
    result = run(
        *("bench", "radio", "--rates", "24", "--clients", "1", "--sizes", "64"),
        *("--operations", "10", "--runs", "1", "--no-plots", "--output", tmp_path, "--json"),
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said == json.loads((tmp_path / "radio.json").read_text(encoding="utf-8"))
    assert [row["mix"] for row in said["figures"]["rows"]] == ["put", "get"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--clients", "9"), "--clients 9: must lie in 1..4"),
        (("--sizes", "2000"), f"--sizes 2000: must lie in 1..{longest(load(C3))}"),
    ],
)
def test_bad_input_is_refused(tmp_path, arguments, words):
    result = run("bench", "radio", "--no-plots", "--output", tmp_path, *arguments)
    assert result.exit_code == 2 and words in result.stderr
