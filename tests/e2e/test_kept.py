"""A cluster that --keep left running: `tinybft kv`, `tinybft status`, `cluster --stop`."""

import json

import pytest

from tests.e2e.group import Group, tinybft

KEPT = ("--keep", "--kill", "backup", "--no-restart")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Three live replicas and a killed one, with the records of a short run."""
    group = Group(tmp_path_factory.mktemp("kept"))
    run = group.cluster("--operations", 200, "--loss", 1, *KEPT)
    assert run.returncode == 0, run.stdout + run.stderr
    yield group
    group.cluster("--stop")
    assert group.nodes() == []


def test_put_get_delete(kept):
    assert kept.kv("put", "lamp", "on").returncode == 0
    assert kept.kv("get", "lamp").stdout == "on\n"
    assert kept.kv("delete", "lamp").returncode == 0
    gone = kept.kv("get", "lamp")
    assert gone.returncode == 1 and gone.stdout == "" and "lamp: not there" in gone.stderr


def test_increment_and_compare_and_swap(kept):
    assert kept.kv("increment", "visits", 5).stdout == "5\n"
    assert kept.kv("increment", "visits").stdout == "6\n"
    assert kept.kv("cas", "visits", "6", "60").returncode == 0
    assert kept.kv("cas", "visits", "6", "61").returncode == 1
    assert kept.kv("get", "visits").stdout == "60\n"


def test_scan_and_count(kept):
    kept.kv("put", "room/1", "warm")
    kept.kv("put", "room/2", "cold")
    assert kept.kv("scan", "room/").stdout == "room/1\twarm\nroom/2\tcold\n"
    assert kept.kv("count", "room/").stdout == "2\n"
    assert kept.kv("count").stdout.strip().isdigit()


def test_refusals(kept):
    other = kept.key_file(1)
    for arguments, words in (
        (("put", "big", "x" * 1100), ("1103 bytes", "request_length_max")),
        (("put", "k" * 65, "x"), ("KEY_TOO_LONG",)),
        (("--client", 9, "get", "lamp"), ("client 9: unknown", "4..4")),
        (("--client", 0, "get", "lamp"), ("client 0: unknown", "4..4")),
        (("--keys", other, "get", "lamp"), ("keys of node 1", "client 4")),
        (("--keys", "nowhere.json", "get", "lamp"), ("nowhere.json", "cannot be read")),
    ):
        run = kept.kv(*arguments)
        assert run.returncode == 2, run.stderr
        assert "Traceback" not in run.stderr
        assert all(word in run.stderr for word in words), run.stderr


def test_status_tells_the_dead_apart(kept):
    run = tinybft("status", "--run-dir", kept.run_dir, "--json")
    assert run.returncode == 0, run.stderr
    nodes = json.loads(run.stdout)["nodes"]
    assert [node["alive"] for node in nodes] == [True, True, True, False]
    primary = nodes[0]["status"]
    assert primary["role"] == "primary" and primary["view"] == 0
    assert primary["low_mark"] <= primary["last_executed"] <= primary["high_mark"]
    assert set(primary["peers"]) >= {"1", "2"}
    text = tinybft("status", "--run-dir", kept.run_dir).stdout
    assert "node 0: primary" in text and "node 3: dead" in text
    assert "low mark" in text and "faults" in text and "memory" in text


def test_second_cluster_in_the_same_folder_is_refused(kept):
    run = kept.cluster()
    assert run.returncode == 2 and "cluster --stop" in run.stderr


def test_nothing_runs():
    for command in (("kv", "get", "lamp"), ("status",)):
        run = tinybft(command[0], "--run-dir", "nowhere", *command[1:])
        assert run.returncode == 2 and "tinybft cluster --keep" in run.stderr, run.stderr
    assert tinybft("cluster", "--stop", "--run-dir", "nowhere").returncode == 2
