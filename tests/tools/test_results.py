"""Results: documents that say what they are of, and plots."""

import json

import pytest
import rich_click as click
from click.testing import CliRunner

from tools.cluster.commands import Numbers
from tools.config import load
from tools.refusal import Refusal
from tools.results import plots
from tools.results.invocation import command_line
from tools.results.store import Results, document, sources_hash


def a_document(figures):
    return document("compare", "tinybft bench compare", load("config.toml"), figures)


def test_document_is_read_back(tmp_path):
    results = Results(tmp_path / "results")
    path = results.write(a_document({"rate": 5}))
    assert path.name == "compare.json" and results.names() == ["compare"]
    read = results.read("compare")
    assert read["figures"] == {"rate": 5}
    assert read["configuration"]["name"] == "default"
    assert read["machine"]["cores"] >= 1 and read["versions"]["python"]


def test_what_was_not_measured_is_none(tmp_path):
    assert Results(tmp_path).read("compare") is None


def test_broken_document_is_refused(tmp_path):
    (tmp_path / "compare.json").write_text("{", encoding="utf-8")
    with pytest.raises(Refusal, match="measure again"):
        Results(tmp_path).read("compare")


def test_folder_that_cannot_be_made_is_refused_with_its_option(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match="--output"):
        Results(tmp_path / "file" / "below").make_folder()


def test_sources_hash_follows_names_and_contents(tmp_path):
    for folder in ("tinybft", "hal"):
        (tmp_path / folder).mkdir()
    hashes = [sources_hash(tmp_path)]
    for content in ("a", "b"):
        (tmp_path / "hal" / "x.py").write_text(content, encoding="utf-8")
        hashes.append(sources_hash(tmp_path))
    (tmp_path / "hal" / "x.py").rename(tmp_path / "hal" / "y.py")
    hashes.append(sources_hash(tmp_path))
    assert len(set(hashes)) == 4


def test_documents_name_no_host():
    written = json.dumps(a_document({}))
    assert "nodename" not in written and "hostname" not in written


def test_plots_are_written_and_repeatable(tmp_path):
    pytest.importorskip("matplotlib")
    curves = {"put 64 B": [(100, 1.5), (1000, 4.0)]}
    for name in ("a", "b"):
        plots.latency_against_throughput(tmp_path / f"{name}.svg", "title", curves)
    first = (tmp_path / "a.svg").read_bytes()
    assert first == (tmp_path / "b.svg").read_bytes() and b"put 64 B" in first


def test_bars_take_values_ranges_and_gaps(tmp_path):
    pytest.importorskip("matplotlib")
    groups = {"1 client": {"a": (2, 1, 3), "b": 4}, "4 clients": {"a": None, "b": 5}}
    plots.bars(tmp_path / "bars.svg", "title", groups, "op/s", [(3, "target")])
    assert b"target" in (tmp_path / "bars.svg").read_bytes()


def test_without_matplotlib_there_are_words(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(Refusal, match=r"pip install -e '\.\[bench\]'"):
        plots.bars(tmp_path / "bars.svg", "title", {}, "op/s")


def test_command_line_is_what_was_given_without_places():
    said = []

    @click.group()
    def top():
        pass

    @top.command()
    @click.argument("name")
    @click.option("--runs", default=5)
    @click.option("--plots/--no-plots", default=True)
    @click.option("--clients", "counts", default="1", type=Numbers())
    @click.option("--set", "changes", multiple=True)
    @click.option("--output", default="x")
    @click.pass_context
    def measure(ctx, **_):
        said.append(command_line(ctx))

    given = [
        "measure",
        "me",
        "--no-plots",
        "--clients",
        "1,4",
        "--set",
        "a=1",
        "--set",
        "b=2",
        "--output",
        "/tmp",
    ]
    for arguments in (["measure", "me"], given):
        assert CliRunner().invoke(top, arguments).exit_code == 0
    assert said == [
        "tinybft measure me",
        "tinybft measure me --no-plots --clients 1,4 --set a=1 --set b=2",
    ]
