"""The benchmarks with real processes, as briefly as they go: everything runs, nothing is timed."""

import json

import pytest

from tests.e2e.group import Group, tinybft

BRIEFLY = ("--runs", 1, "--seconds", 1, "--plain", "--json")  # lean sources take seconds to make


def measured(folder, name, *arguments, base="config.toml"):
    """The figures of a benchmark, as printed, after a look at what it wrote."""
    group = Group(folder, base=base)
    places = ("--config", group.config, "--run-dir", group.run_dir, "--output", folder / "out")
    run = tinybft("bench", name, *BRIEFLY, *arguments, *places)
    assert run.returncode == 0, run.stdout + run.stderr
    printed = json.loads(run.stdout)
    assert json.loads((folder / "out" / f"{name}.json").read_text(encoding="utf-8")) == printed
    assert printed["command"].startswith(f"tinybft bench {name}")
    assert printed["figures"]["ok"] and group.nodes() == []
    return printed["figures"]


def test_micro(tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ("--clients", "4", "--sizes", "64", "--mix", "get", "--rates", "60")
    figures = measured(tmp_path, "micro", *arguments)
    (closed,), (target,) = figures["closed_loop"], figures["target_rates"]
    assert closed["rate"]["median"] > 0 and closed["p99_ms"]["median"] > 0
    assert target["target"] == 60 and target["rate"]["median"] < 100
    assert (tmp_path / "out" / "micro-latency-p50.svg").exists()


def test_compare(tmp_path):
    pytest.importorskip("pysyncobj")
    figures = measured(tmp_path, "compare", "--clients", "1", "--no-plots")
    (row,) = figures["rows"]
    assert set(row["systems"]) == {"tinybft", "floor", "pysyncobj"}
    assert all(system["rate"]["median"] > 0 for system in row["systems"].values())
    assert set(row["ratio"]) == {"floor", "pysyncobj"}
    assert row["systems"]["floor"]["stalls"]["max"] == 0


def test_clients(tmp_path):
    base = "tools/configs/server.toml"
    arguments = ("--clients", "7", "--hosts", 2, "--no-plots")
    (row,) = measured(tmp_path, "clients", *arguments, base=base)["rows"]
    assert row["clients"] == 7 and row["rate"]["median"] > 0 and row["heap"]["median"] > 0
