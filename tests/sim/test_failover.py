"""Campaign failover: crash of the primary under load, return with empty memory, deciding vote."""

import json

import pytest

from tests.tools.support import run
from tools.simulate import failover
from tools.simulate.campaign import Job, simulated

ROUNDS = 2
SEED_OF_LOSS = {failover.loss_of(seed): seed for seed in failover.seeds(None)}


def rounds_of(loss, radio, **changed):
    job = Job(SEED_OF_LOSS[loss], campaign="failover", radio=radio, rounds=ROUNDS, **changed)
    return simulated(job)[1]


@pytest.mark.parametrize(
    "loss, radio, replicas", [(0, None, 4), (0, 1, 4), (10, 1, 4), (10, 11, 7)]
)
def test_the_crashed_primary_returns_and_decides(loss, radio, replicas):
    result = rounds_of(loss, radio, replicas=replicas)
    assert result.violation is None
    (row,) = failover.figures([result])
    assert (row["loss"], row["rounds"]) == (loss, ROUNDS)
    assert row["recovered"] == row["returned"] == row["voted"] == ROUNDS
    for outage in row["outages"]:
        assert outage["replica"] == outage["view"] % replicas
        assert outage["new_view"] > outage["view"]
        assert outage["blocks_fetched"] > 0
        assert outage["covered_ms"] >= outage["return_ms"]
        assert len(outage["silenced"]) == (replicas - 1) // 3
        assert outage["replica"] not in outage["silenced"]
        assert outage["gap_ms"] > 0 and outage["vote_ms"] > 0


def test_same_seed_same_times():
    first, again = (rounds_of(10, None) for _ in range(2))
    assert first.liveness == again.liveness and first.air == again.air


def test_command():
    arguments = ("--campaign", "failover", "--radio", "ideal", "--rounds", 1)
    result = run("simulate", *arguments, "--seed", SEED_OF_LOSS[30])
    assert result.exit_code == 0, result.output
    assert "ideal network; request_ms 1000" in result.stdout
    assert "30 % loss" in result.stdout and "1/1" in result.stdout
    document = json.loads(run("simulate", *arguments, "--json").stdout)
    assert [row["loss"] for row in document["figures"]] == list(failover.LOSSES)


def test_a_failed_round_is_told_and_the_next_one_follows(monkeypatch):
    monkeypatch.setattr(failover, "WAIT_MS", 2000)  # less than the time-out of a request
    arguments = ("--campaign", "failover", "--seed", 1, "--rounds", 3, "--jobs", 1)
    result = run("simulate", *arguments)
    assert result.exit_code == 1
    words = "no operation was acknowledged after the crash within 2 s"
    assert f"round 1: {words}" in result.stdout
    assert any(f"{recovered}/3" in result.stdout for recovered in range(3))
    assert "--campaign failover --seed 1 --radio 1 --rounds 3 --trace" in result.stdout
    document = json.loads(run("simulate", *arguments, "--json").stdout)
    assert len(document["figures"][0]["outages"]) == 3
    assert document["figures"][0]["outages"][0]["failure"] == words


def test_rounds_are_of_this_campaign_alone():
    result = run("simulate", "--rounds", 3)
    assert result.exit_code == 2 and "--rounds: only --campaign failover" in result.stderr


def test_medium_in_the_replay_command():
    assert "--radio ideal" in Job(1, campaign="failover").command()
    assert "--radio" not in Job(1).command()
