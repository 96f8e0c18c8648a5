"""`tinybft memory`: the tables and the figures behind them."""

import json

import pytest

from tests.tools.support import run, variant
from tinybft.layout import areas
from tinybft.memory import Memory
from tools.config import ROOT, load, named_files
from tools.memory import fit, objects
from tools.memory.sums import PAPER, on_heap, regions_total
from tools.memory.variants import differences, is_valid, raw, rewritten, varied
from tools.nonvolatile import broken_map, part_words, smallest_part, stored
from tools.refusal import Refusal


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
    for words in ("agreement", "bodies", "165 515", "115 780", "7 959 872", "S_view-change"):
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


# --- model, regions, heap ---


@pytest.mark.parametrize("name", ("default", "durable", "smallest", "n7", "n25", "c3"))
def test_the_heap_of_what_ships_is_known(name):
    found = figures("--name", name)
    assert type(found["measured_total"]) is int
    assert found["measured"]["exact"] and found["measured"]["source"] == "recorded"
    assert found["measured_total"] == found["measured"]["total"]
    assert (
        found["measured_total"]
        == on_heap(load(named_files()[name])) + found["measured"]["objects"]
    )
    assert (found["measured"]["espnow_besides"] > 0) == (name == "c3")


def test_regions_on_the_heap_are_whole_blocks():
    config = load(named_files()["default"])
    taken = on_heap(config)
    assert taken % 16 == 0
    assert regions_total(config) <= taken <= regions_total(config) + 31 * 40


def test_objects_are_estimated_where_they_were_not_measured():
    base = load(named_files()["default"])
    other = objects.measured(varied(base, CLIENT_COUNT=7))
    assert not other["exact"] and other["error"] > 0 and other["source"] == "estimated"
    assert other["objects"] > objects.measured(base)["objects"]
    same = varied(base, REQUEST_MS=2000, PORT=48000, RADIO_CHANNEL=3)
    assert objects.measured(same)["exact"]


def test_estimates_are_as_wrong_as_they_say():
    for name in ("n7", "n25"):
        config = load(named_files()[name])
        wrong = abs(objects.estimated(config) - objects.known(config))
        assert wrong <= objects.estimate_error(config)


def test_changed_code_is_told(monkeypatch):
    monkeypatch.setattr(objects.object_costs, "SOURCES", objects.fingerprint())
    assert not objects.is_stale()
    monkeypatch.setattr(objects.object_costs, "SOURCES", "another")
    assert figures()["measured"]["stale"]
    assert "tinybft memory --record" in " ".join(run("memory").stdout.split())


def test_the_record_is_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "COSTS", tmp_path / "object_costs.py")
    said = []
    lengths = []

    def measure(_folder, path, heap_length):
        lengths.append(heap_length)
        return {"bare": 100, "started": 100 + on_heap(load(path)) + 5000}

    objects.record(tmp_path / "build", measure, said.append)
    names = {}
    exec((tmp_path / "object_costs.py").read_text(encoding="utf-8"), names)
    assert {octets for _, octets in names["RECORDED"].values()} == {5000}
    assert set(names["RECORDED"]) == set(objects.object_costs.RECORDED)
    digests = [digest for digest, _ in names["RECORDED"].values()]
    assert len(set(digests)) == len(digests) and len(set(lengths)) == 1
    assert names["SOURCES"] == objects.fingerprint() and len(said) == len(digests) + 1


def test_equations_of_the_paper():
    found = figures("--name", "n7")
    m = found["model"]["messages"]
    got = {row["number"]: row["bytes"] for row in found["model"]["equations"]}
    f, w, k, clients, state = 2, 4, 2, 8, 16384
    want = {1: clients * (m["REQUEST"] + m["REPLY"])}
    want[2] = m["PRE-PREPARE"] + 2 * f * m["PREPARE"]
    want[3] = (2 * f + 1) * m["COMMIT"]
    want[4] = w * (want[2] + want[3])
    want[5] = (w // k + 1) * state
    want[6] = (2 * f + 1) * m["CHECKPOINT"]
    want[7] = want[5] + w // k * want[6] + state
    want[8] = m["VIEW-CHANGE"] + 2 * f * m["VIEW-CHANGE-ACK"]
    want[9] = (3 * f + 1) * (want[8] + m["NEW-VIEW"])
    assert got == want
    assert found["model"]["total"] == want[1] + want[4] + want[7] + want[9]


def test_the_papers_configurations():
    rows = {row["name"]: row for row in figures()["references"]}
    assert list(rows) == ["PBFT_Min", "PBFT_ESP", "PBFT_25", "Castro"]
    assert 4000 < rows["PBFT_Min"]["model"] < 7000
    assert rows["Castro"]["measured"] is None and rows["Castro"]["paper"]["bytes"] == 7959872
    default = figures("--name", "default")
    assert rows["PBFT_ESP"]["measured"] == default["measured_total"]
    assert rows["PBFT_ESP"]["regions"] == default["total"]


def test_what_a_parameter_costs_is_a_difference():
    config = load(named_files()["default"])
    rows = {row["constant"]: row for row in figures()["parameters"]}
    assert {"FAULT_COUNT", "WINDOW", "CHECKPOINT_INTERVAL", "STATE_LENGTH"} <= set(rows)
    row = rows["CLIENT_COUNT"]
    more = varied(config, CLIENT_COUNT=row["to"])
    assert row["regions"] == regions_total(more) - regions_total(config)
    assert row["each"] == row["regions"] + row["rest"] > 0
    assert rows["WINDOW"]["to"] % config.CHECKPOINT_INTERVAL == 0
    assert rows["STATE_LENGTH"]["each"] >= 1


def test_scale():
    found = figures()["scale"]
    assert [row["replicas"] for row in found["replicas"]] == [4, 7, 10, 13, 25]
    for rows in found.values():
        for name in ("model", "regions", "measured"):
            assert [row[name] for row in rows] == sorted(row[name] for row in rows)
    assert "262 144" in run("memory", "--scale").stdout


# --- what fits ---


def of_text(tmp_path, config, variant):
    path = tmp_path / "config.toml"
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    path.write_text(rewritten(text, config, variant), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("share", (0.95, 0.8, 0.6))
def test_proposals_fit_and_are_configurations(tmp_path, share):
    config = load(named_files()["default"])
    budget = int(share * objects.measured(config)["total"])
    try:
        found = fit.proposals(config, budget)
    except Refusal:
        assert share < 0.8
        return
    for proposal in found:
        variant = of_text(tmp_path, config, proposal["variant"])
        assert raw(variant) == raw(proposal["variant"]) and is_valid(variant)
        total = objects.measured(variant)["total"]
        assert total == proposal["measured_total"] <= budget
        assert proposal["changes"] and "f" not in proposal["changes"]
    assert found[0]["keeps"] == ""
    kept = [one for one in found if one["keeps"] == "keeps the state"]
    assert all(one["variant"].STATE_LENGTH == config.STATE_LENGTH for one in kept)


def test_what_fits_is_offered_more(tmp_path):
    config = load(named_files()["default"])
    budget = 2 * objects.measured(config)["total"]
    as_it_is, *more = fit.proposals(config, budget)
    assert as_it_is["changes"] == {} and len(more) > 2
    for proposal in more:
        assert proposal["measured_total"] <= budget
        assert raw(of_text(tmp_path, config, proposal["variant"])) == raw(proposal["variant"])


def test_bulk_outside_of_ram_is_proposed_where_there_is_such_memory():
    config = load(named_files()["durable"])
    found = fit.proposals(config, fit.most(stored(config, "nvm")) + 500)
    assert found and found[0]["variant"].STORAGE_STATE == "nvm"


@pytest.mark.parametrize("budget", ("1000", "0", "-5"))
def test_no_proposal(budget):
    result = run("memory", "--fit", budget)
    assert result.exit_code == 2 and result.stdout == ""
    assert f"--fit {budget}: " in result.stderr
    if budget == "1000":
        assert "the least in the search takes" in result.stderr and "f = 1" in result.stderr


def test_proposals_are_printed_and_reported():
    budget = figures()["measured_total"] - 4000
    shown = run("memory", "--fit", budget).stdout
    assert "gives up the least" in shown and "[state]" in shown
    found = figures("--fit", str(budget))["fit"]
    assert found["budget"] == budget and found["proposals"][0]["toml"].startswith("[")


def test_variants_without_a_difference():
    config = load(named_files()["default"])
    assert differences(config, varied(config)) == {}


@pytest.mark.parametrize("arguments", ((), ("--scale",), ("--name", "n25"), ("--name", "durable")))
def test_80_columns_are_enough(arguments):
    result = run("memory", *arguments)
    assert result.exit_code == 0 and max(map(len, result.stdout.splitlines()[1:])) <= 80


def test_what_cannot_be_done_together():
    result = run("memory", "--record", "--fit", "5000")
    assert result.exit_code == 2 and "--record and --fit" in result.stderr


def test_measuring_without_an_emulator(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    result = run("memory", "--measure")
    assert result.exit_code == 2 and "qemu-system-riscv32 is not installed" in result.stderr
