"""`tinybft memory`: the tables and the figures behind them."""

import json

import pytest

from tests.tools.support import run, variant
from tinybft.memory import Memory
from tools.config import ROOT, load, named_files
from tools.memory import PAPER


def figures(*arguments):
    result = run("memory", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", ("default", "smallest", "n7", "n25"))
def test_sums_agree_with_what_is_allocated(name):
    found = figures("--name", name)
    allocated = Memory(load(named_files()[name])).bytes_reserved()
    frames = found["regions"].pop("frames")
    assert found["regions"] == allocated
    assert found["total"] == sum(allocated.values()) + frames
    assert found["total"] == sum(field["bytes"] for field in found["fields"])
    assert found["total"] == sum(found["table_1"]["regions"].values())
    assert found["total"] <= found["ram_max"]


def test_paper_total():
    assert sum(PAPER.values()) == 165515


def test_tables_name_regions_sums_and_the_paper():
    result = run("memory", ROOT / "config.toml")
    assert result.exit_code == 0
    for words in ("agreement", "bodies", "165 515", "115 780", "Not counted"):
        assert words in result.stdout
    assert "\x1b" not in result.stdout


def test_smallest_is_in_the_order_of_the_papers_smallest():
    assert figures("--name", "smallest")["total"] < 10000


def test_invalid_file(tmp_path):
    path = variant(tmp_path / "config.toml", {"agreement.window": "3"})
    result = run("memory", path)
    assert result.exit_code == 2
    assert "raise window to 4" in result.stderr
