"""A primary that is killed or frozen under load: view change, return, deciding vote."""

import json

import pytest

from tests.e2e.group import Group, end, state_of, tinybft, wait_until


@pytest.fixture
def group(tmp_path):
    return Group(tmp_path)


def document(run):
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    assert result["ok"] and {"recovered", "returned", "deciding vote", "exactly once"} <= {
        check["name"] for check in result["checks"]
    }
    return result


def assert_came_back(result, outage):
    """The one that failed is a backup of a later view, in step with all, and has voted."""
    assert outage["new_view"] > outage["view"] and outage["primary"] != outage["replica"]
    assert outage["gap_ms"] > 0 and outage["return_ms"] > 0 and outage["vote_ms"] > 0
    assert len(outage["silenced"]) == 1 and outage["replica"] not in outage["silenced"]
    replicas = result["replicas"]
    assert [replica["condition"] for replica in replicas] == ["running"] * 4
    assert len({replica["stable_digest"] for replica in replicas}) == 1
    assert replicas[outage["replica"]]["view"] >= outage["new_view"]
    assert replicas[outage["replica"]]["role"] == "backup"


def test_killed_primary_returns_empty_and_decides(group):
    options = ("--operations", 600, "--loss", 10, "--duplicate", 2, "--json")
    result = document(group.cluster(*options))
    (outage,) = result["outages"]
    assert outage["signal"] == "SIGKILL" and outage["was_primary"] and outage["replica"] == 0
    assert outage["blocks_fetched"] > 0
    assert_came_back(result, outage)
    assert result["operations"] >= 600 and group.nodes() == []


def test_frozen_primary_comes_back_as_a_backup(group):
    options = ("--operations", 300, "--loss", 2, "--freeze", "primary", "--freeze-ms", 2000)
    result = document(group.cluster(*options, "--json"))
    (outage,) = result["outages"]
    assert outage["signal"] == "SIGSTOP" and outage["was_primary"]
    assert_came_back(result, outage)


def test_dead_primary_is_not_missed(group):
    run = group.cluster("--operations", 300, "--loss", 0, "--kill", "0", "--no-restart")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "replica 0, the primary of view 0: SIGKILL" in run.stdout
    assert "replica 1 is the primary of view 1" in run.stdout
    assert "digests equal: 3 live replicas" in run.stdout


def test_measured_failover(group):
    arguments = ("--failover", 1, "--plain", "--config", group.config, "--run-dir", group.run_dir)
    run = tinybft("bench", *arguments, "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    (row,) = json.loads(run.stdout)["failover"]
    assert row["loss"] == 0 and row["median_gap_target_ms"] == 1500
    assert (row["rounds"], row["recovered"], row["returned"], row["voted"]) == (1, 1, 1, 1)
    assert 0 < row["gap_ms"]["min"] == row["gap_ms"]["max"]


def test_frozen_node_does_not_outlive_its_supervisor(group):
    supervisor = group.start("--operations", 40, "--freeze", "backup", "--freeze-ms", 60000)
    try:
        wait_until(lambda: "T" in [state_of(pid) for pid in group.nodes()])
        supervisor.kill()
        supervisor.wait()
        wait_until(lambda: group.nodes() == [])
    finally:
        end(supervisor)
