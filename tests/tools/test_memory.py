"""`tinybft memory`: the tables and the figures behind them."""

import json

import pytest

from tests.tools.support import run, variant
from tinybft.layout import areas
from tinybft.memory import Memory
from tools.config import ROOT, load, named_files
from tools.memory import PAPER
from tools.nonvolatile import broken_map, part_words, smallest_part, stored


def figures(*arguments):
    result = run("memory", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", ("default", "durable", "smallest", "n7", "n25", "server"))
def test_sums_agree_with_what_is_allocated(name):
    found = figures("--name", name)
    allocated = Memory(load(named_files()[name])).bytes_reserved()
    frames = found["regions"].pop("frames")
    durability = found["regions"].pop("durability", 0)  # tests/tinybft/test_rules_durable_boot.py
    assert found["regions"] == allocated
    assert found["total"] == sum(allocated.values()) + frames + durability
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


@pytest.mark.parametrize("name", ("default", "smallest", "n7"))
def test_storage_kinds_beside_each_other(name):
    config = load(named_files()[name])
    found = figures("--name", name)
    kinds = found["storage"]
    assert list(kinds) == ["ram", "mirror, state ram", "mirror", "nvm"]
    assert kinds["ram"]["ram"] == found["total"] and kinds["ram"]["regions"] == found["regions"]
    assert kinds["nvm"]["ram"] <= kinds["mirror"]["ram"]
    durability = kinds["mirror"]["regions"]["durability"]
    assert kinds["mirror"]["ram"] == kinds["ram"]["ram"] + durability
    needed = [kind["nvm"] for kind in kinds.values()]
    assert needed[0] == 0 and needed == sorted(needed)
    for kind, figure in kinds.items():
        variant = stored(config, kind)
        assert figure["nvm"] == (areas(variant)["size"] if variant.DURABLE else 0)
        assert figure["nvm"] <= figure["part"] and not list(broken_map(variant))


def test_parts():
    assert [smallest_part(n) for n in (1, 32768, 32769, 131072)] == [32768, 32768, 65536, 131072]
    assert smallest_part(131073) == 262144 and part_words(262144) == "2 x 128 KiB"
    assert (part_words(65536), part_words(100)) == ("64 KiB", "100 bytes")


def test_map_is_shown_where_there_is_one():
    words = "Non-volatile memory"
    assert words in run("memory", "--name", "durable").stdout
    assert words not in run("memory", ROOT / "config.toml").stdout
