"""`tinybft results`: the document out of stored figures, headlines, steps, parts."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from tests.tools.support import run
from tools.cli import COMMANDS
from tools.refusal import Refusal
from tools.results import parts
from tools.results.headlines import HEADLINES, Steps, headlines
from tools.results.markdown import middle, number, table
from tools.results.parts import PARTS, run_part
from tools.results.report import plots_of, render
from tools.results.sections import SECTIONS
from tools.results.store import Results, document

CHAIN = {"share": 1.0, "ms": 20.0, "messages": {"COMMIT": {"air": 12.0, "processor": 8.0}}}
ROW = {
    "rate": 1,
    "mix": "put",
    "size": 64,
    "clients": 1,
    "per_second": 40.0,
    "ms": {"mean": 25.0, "p50": 24.0, "p95": 30.0, "p99": 40.0, "max": 41.0},
    "frames": 11.0,
    "airtime_ms": 12.0,
    "channel": 0.4,
    "processor": {"primary": 0.3, "backups": 0.2},
    "path": {"call": CHAIN},
}
RADIO = {
    "small": 64,
    "rows": [ROW, ROW | {"clients": 4, "mix": "get", "per_second": 80.0}],
}
ENERGY = {
    "days": 1098.7,
    "paper_days": 1000,
    "inputs": {"radio_on": 35.7, "rate": 1.0, "peak": 276.0, "sleep": 130.0, "capacity": 3500.0},
}


@pytest.fixture
def stored(tmp_path):
    """A folder with two documents."""
    found = Results(tmp_path / "results")
    found.write(document("radio", "tinybft bench radio", None, RADIO))
    found.write(document("energy", "tinybft energy --json", None, ENERGY))
    return found


def test_headlines_are_taken_from_what_is_there(stored):
    assert headlines(stored) == {"small_ms": 24.0, "reads": 80.0, "battery": 1098.7}


def test_every_headline_says_its_kind_and_every_target_can_be_judged():
    for headline in HEADLINES.values():
        assert headline.kind.startswith(("measured", "modelled")) and headline.sign in (1, -1)
        if headline.target:
            assert headline.is_met(headline.target)
            assert not headline.is_met(headline.target - headline.sign)


def test_the_document_holds_targets_paper_kinds_and_what_is_missing(stored):
    text = render(stored, "results")
    assert "| latency, write of 64 B, median, ms | 24.0 | 25 | met | 50 ms | modelled |" in text
    assert "| reads of 64 B, 4 clients, /s | 80.0 | 86 | missed | 43 /s | modelled |" in text
    assert "| RAM that the library takes, 32 bits, B | not measured | 82 700 |" in text
    assert "*modelled* · `tinybft energy --json`" in text
    assert "## Not measured" in text and "`virt`" in text
    assert "not tested" in text
    assert text == render(stored, "results")


def test_what_was_measured_of_other_sources_is_marked(stored):
    old = stored.read("energy")
    stored.write(old | {"sources": "0" * 16})
    assert "0000000000000000 (older)" in render(stored, "results")


def test_plots_are_shown_where_they_belong(stored):
    for name in ("radio-latency", "ycsb-radio", "radio-throughput"):
        stored.file(name, "svg").write_text("<svg/>", encoding="utf-8")
    assert [path.stem for path in plots_of(stored, "radio")] == [
        "radio-latency",
        "radio-throughput",
    ]
    assert "![radio-latency](results/radio-latency.svg)" in render(stored, "results")


def test_steps_show_what_each_brought(stored):
    Steps(stored).add("before")
    faster = RADIO | {"rows": [ROW | {"ms": ROW["ms"] | {"p50": 12.0}}]}
    stored.write(document("radio", "tinybft bench radio", None, faster))
    Steps(stored).add("fewer frames")
    text = render(stored, "results")
    assert "|  | before | fewer frames |" in text
    assert "| latency, write of 64 B, median | 24.0 | 12.0 |" in text
    Steps(stored).add("fewer frames")
    assert len(Steps(stored).rows) == 2


def test_each_document_has_a_section_and_a_part():
    made = [name for part in PARTS.values() for name in part.documents]
    assert sorted(made) == sorted(name for name, *_ in SECTIONS)
    for part in PARTS.values():
        assert part.command[0] in COMMANDS


def test_numbers_and_tables():
    assert number(82700) == "82 700" and number(None) == "" and number("x") == "x"
    assert number(0.5, 2) == "0.50"
    spread = {"median": 5.0, "min": 4.0, "max": 6.0, "runs": [4.0, 5.0, 6.0]}
    assert middle(spread) == "5 (4..6)" and middle(spread | {"runs": [5.0]}) == "5"
    assert middle(None) == ""
    assert table(("a", "b"), [(1, 2)]) == ["| a | b |", "| --- | ---: |", "| 1 | 2 |", ""]


def ended(code, text=""):
    return lambda *_, **__: SimpleNamespace(returncode=code, stdout=text)


def test_what_a_command_prints_becomes_its_document(stored, monkeypatch):
    monkeypatch.setattr(subprocess, "run", ended(0, json.dumps(ENERGY | {"days": 5})))
    assert run_part("energy", stored)
    found = stored.read("energy")
    assert found["figures"]["days"] == 5 and found["configuration"]["name"] == "c3"
    assert found["command"] == "tinybft energy --name c3 --json"


def test_a_command_that_fails_is_refused_and_leaves_the_old_document(stored, monkeypatch):
    monkeypatch.setattr(subprocess, "run", ended(2))
    with pytest.raises(Refusal) as refused:
        run_part("energy", stored)
    assert "tinybft energy --name c3 --json: failed (exit code 2)" in refused.value.lines
    assert stored.read("energy")["figures"] == ENERGY
    monkeypatch.setattr(subprocess, "run", ended(0, "no document"))
    with pytest.raises(Refusal):
        run_part("energy", stored)


def test_the_command_writes_the_document_anew(stored, tmp_path):
    to = tmp_path / "RESULTS.md"
    result = run("results", "--document", "--output", stored.path, "--to", to)
    assert result.exit_code == 0, result.output
    assert to.read_text(encoding="utf-8") == render(stored, "results")


def test_one_part_for_real(tmp_path):
    result = run(
        *("results", "--only", "energy", "--quick", "--no-plots"),
        *("--output", tmp_path / "results", "--to", tmp_path / "RESULTS.md"),
    )
    assert result.exit_code == 0, result.output
    assert "## Energy" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--only", "speed"), "'speed': choose among memory,"),
        (("--document", "--quick"), "--document: measures nothing"),
        (("--quick",), "--quick: its figures are worth nothing"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    result = run("results", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_parts_run_the_commands_of_this_project(monkeypatch, stored):
    seen = []

    def noted(command, **options):
        seen.append((command, options))
        return SimpleNamespace(returncode=1, stdout=None)

    monkeypatch.setattr(parts.subprocess, "run", noted)
    assert not run_part("radio", stored, quick=True, with_plots=False)
    command, options = seen[0]
    assert command[1:5] == ["-m", "tools.cli", "bench", "radio"] and "--no-plots" in command
    assert str(stored.path.absolute()) in command and options["stdout"] is None
