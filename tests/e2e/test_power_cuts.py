"""Replicas whose memory survives: SIGKILL at random moments, of all at once; stop and resume."""

import json

import pytest

from tests.e2e.group import Group, tinybft, wait_until

DURABLE = "tools/configs/durable.toml"


@pytest.fixture
def group(tmp_path):
    return Group(tmp_path, DURABLE)


def document(run):
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    assert {"power cuts", "in step", "no contradiction", "read back", "digests equal"} <= {
        check["name"] for check in result["checks"]
    }
    return result


def test_ten_rounds(group):
    options = ("--power-cuts", 10, "--operations", 500, "--kill", "none", "--json")
    result = document(group.cluster(*options))
    figures = result["power_cuts"]
    assert (figures["rounds"], figures["lost"], figures["contradictions"]) == (10, 0, [])
    assert figures["kills"] >= 13 and figures["all_at_once"] >= 1
    assert figures["operations"] >= 500 and figures["votes"] > 1000
    assert all(row["step_ms"] >= row["gap_ms"] > 0 for row in figures["rows"])
    assert figures["rows"][-1]["struck"] == [[0, 1, 2, 3]]
    assert len({replica["stable_digest"] for replica in result["replicas"]}) == 1
    assert group.nodes() == []


def test_a_dead_replica_stays_dead_when_power_returns_to_the_others(group):
    options = ("--kill", "backup", "--no-restart", "--operations", 300, "--json")
    result = document(group.cluster(*options))
    (row,) = result["power_cuts"]["rows"]
    assert row["struck"] == [[0, 1, 2]] and result["power_cuts"]["all_at_once"] == 1
    assert [replica["condition"] for replica in result["replicas"]] == ["running"] * 3 + ["killed"]


def test_volatile_memory_stands_no_power_cut(tmp_path):
    run = Group(tmp_path).cluster("--power-cuts", 3)
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert '--power-cuts 3: [storage] state = "ram"' in run.stderr
    assert "--name durable" in run.stderr


# --- a group that is kept ---

KEPT = ("--keep", "--kill", "none", "--power-cuts", 0, "--operations", 100, "--loss", 0)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A group that knows one thing more than its workload, switched off."""
    group = Group(tmp_path_factory.mktemp("kept"), DURABLE)
    run = group.cluster(*KEPT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert group.kv("put", "lamp", "on").returncode == 0
    assert group.cluster("--stop").returncode == 0
    assert group.nodes() == []
    return group


@pytest.fixture
def resumed(stopped):
    run = stopped.cluster("--resume")
    assert run.returncode == 0, run.stdout + run.stderr
    yield stopped
    stopped.cluster("--stop")


def store_of(group, node_id):
    return group.run_dir / f"node-{node_id}.store"


def durability(group, node_id):
    run = tinybft("status", "--run-dir", group.run_dir, "--json")
    return json.loads(run.stdout)["nodes"][node_id]["status"]["durability"]["mode"]


def test_what_was_acknowledged_is_there_again(resumed):
    assert resumed.kv("get", "lamp").stdout == "on\n"
    assert [durability(resumed, i) for i in range(4)] == ["member"] * 4
    text = tinybft("status", "--run-dir", resumed.run_dir).stdout
    assert "store      stable" in text


def test_a_new_run_does_not_take_the_memory_of_a_kept_group(stopped):
    before = [store_of(stopped, i).read_bytes() for i in range(4)]
    run = stopped.cluster("--operations", 10)
    assert run.returncode == 2
    assert "cluster --resume" in run.stderr and "--format" in run.stderr
    assert [store_of(stopped, i).read_bytes() for i in range(4)] == before


def test_memory_of_another_replica_is_refused(stopped):
    own = store_of(stopped, 2).read_bytes()
    store_of(stopped, 2).write_bytes(store_of(stopped, 1).read_bytes())
    run = stopped.cluster("--resume")
    store_of(stopped, 2).write_bytes(own)
    assert run.returncode == 2 and "Traceback" not in run.stdout + run.stderr
    assert "node-2.store" in run.stderr and "another replica" in run.stderr
    assert len(run.stderr.splitlines()) == 1 and stopped.nodes() == []


def test_a_replica_without_memory_abstains_until_it_has_caught_up(stopped):
    store_of(stopped, 3).write_bytes(bytes(store_of(stopped, 3).stat().st_size))
    assert stopped.cluster("--resume").returncode == 0
    try:
        assert durability(stopped, 3) == "rejoining"
        assert "casts no vote" in tinybft("status", "--run-dir", stopped.run_dir).stdout

        def is_member():
            assert stopped.kv("increment", "visits").returncode == 0
            return durability(stopped, 3) == "member"

        wait_until(is_member)
        assert stopped.kv("get", "lamp").stdout == "on\n"
    finally:
        stopped.cluster("--stop")


def test_only_what_survives_is_resumed(tmp_path):
    group = Group(tmp_path)
    run = group.cluster("--resume")
    assert run.returncode == 2 and "--name durable --keep" in run.stderr
    assert group.cluster(*KEPT).returncode == 0 and group.cluster("--stop").returncode == 0
    run = group.cluster("--resume")
    assert run.returncode == 2 and "keeps no cluster whose memory survives" in run.stderr


def test_a_group_can_be_given_up(tmp_path):
    group = Group(tmp_path, DURABLE)
    assert group.cluster(*KEPT).returncode == 0 and group.cluster("--stop").returncode == 0
    run = group.cluster("--format", "--operations", 50, "--kill", "none", "--power-cuts", 0)
    assert run.returncode == 0, run.stdout + run.stderr
