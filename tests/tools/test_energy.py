"""`tinybft energy`: battery life by the paper's sum."""

import json

import pytest

from tests.tools.support import run

GIVEN = ("--radio-on", "50")


def figures(*arguments):
    result = run("energy", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_papers_inputs_give_about_a_thousand_days():
    found = figures(*GIVEN)
    agreeing = 276 * 0.050 / 3600
    asleep = 0.130 * (3600 - 0.050) / 3600
    assert found["days"] == round(3500 / (agreeing + asleep) / 24, 1)
    assert 900 < found["days"] < 1200 and found["paper_days"] == 1000
    assert found["modelled"] is None and found["inputs"]["radio_on"] == 50


def test_radio_on_time_is_modelled():
    found = figures()
    modelled = found["modelled"]
    assert 5 < modelled["mean_ms"] <= modelled["most_ms"]
    assert found["inputs"]["radio_on"] == modelled["mean_ms"]
    assert figures()["modelled"] == modelled
    assert figures("--mbit", "24")["modelled"]["mean_ms"] < modelled["mean_ms"]
    assert figures("--length", "900")["modelled"]["mean_ms"] > modelled["mean_ms"]


def test_more_agreements_and_listening_take_more():
    found = figures(*GIVEN)
    for row in found["sensitivity"]:
        assert row["days"] == sorted(row["days"], reverse=True)
    columns = zip(*(row["days"] for row in found["sensitivity"]), strict=True)
    for column in columns:
        assert list(column) == sorted(column, reverse=True)
    assert figures(*GIVEN, "--rate", "60")["days"] < found["days"]
    assert figures(*GIVEN, "--listening", "10")["days"] < found["days"]
    assert figures(*GIVEN, "--capacity", "7000")["days"] == pytest.approx(2 * found["days"], 1e-3)


def test_it_never_listens_longer_than_the_hour_has():
    found = figures(*GIVEN, "--listening", "9999")
    assert found["mah_per_hour"]["sleep"] == 0
    assert found["mah_per_hour"]["listening"] < 84


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--rate", "100000", *GIVEN), "would take 5000 s of each hour's 3600"),
        (("--mbit", "3"), "choose one of 1, 2, 5.5"),
        (("--name", "smallest"), "request_length_max = 16"),
        (("--length", "5000"), "request_length_max = 1024"),
    ],
)
def test_refusals(arguments, words):
    result = run("energy", *arguments)
    assert result.exit_code == 2 and words in result.stderr


def test_80_columns_are_enough():
    shown = run("energy", *GIVEN).stdout
    assert max(map(len, shown.splitlines()[1:])) <= 80
    assert "about 1000" in " ".join(shown.split())
