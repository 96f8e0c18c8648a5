"""Runs of real MicroPython processes: what a run shows, and what it leaves behind: nothing."""

import json
import os
import signal
import socket

import pytest

from tests.e2e.group import Group, end, wait_until


@pytest.fixture
def group(tmp_path):
    return Group(tmp_path)


def test_run_with_loss_and_a_killed_backup(group):
    options = ("--kill", "backup", "--no-restart", "--json")
    run = group.cluster("--operations", 600, "--loss", 5, "--duplicate", 2, *options)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    assert result["ok"] and all(check["ok"] for check in result["checks"])
    assert result["operations"] >= 600
    assert [replica["condition"] for replica in result["replicas"]] == ["running"] * 3 + ["killed"]
    assert len({replica["stable_digest"] for replica in result["replicas"][:3]}) == 1
    names = {check["name"] for check in result["checks"]}
    assert {"operations", "read back", "exactly once", "digests equal"} <= names
    assert set(result["latency_ms"]) >= {"all", "16 bytes", "900 bytes"}
    assert group.nodes() == []


def test_lean_sources_serve_through_a_killed_primary(group):
    """In the form that firmware has."""
    run = group.cluster("--lean", "--operations", 600, "--loss", 5, "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    assert result["ok"] and all(check["ok"] for check in result["checks"])
    device = group.run_dir / "device"
    assert (device / "tinybft" / "parts.mpy").exists()
    assert not (device / "tinybft" / "agreement.mpy").exists()


def test_plain_output_has_no_colour(group):
    run = group.cluster("--operations", 100, "--loss", 0, "--kill", "none", "--clients", "1,4")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "\x1b" not in run.stdout and "exactly once" in run.stdout
    assert "digests equal: 4 live replicas" in run.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_no_process(group, number):
    supervisor = group.start("--operations", 100000)
    try:
        assert len(group.nodes()) >= 4
        os.kill(supervisor.pid, number)
        assert supervisor.wait(timeout=20) != 0
        assert group.nodes() == []
    finally:
        end(supervisor)


def test_nodes_end_when_their_supervisor_is_killed(group):
    supervisor = group.start("--operations", 100000)
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: group.nodes() == [])


def test_port_in_use(group):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", group.port + 1))
        refused(group.cluster(), f"port {group.port + 1} is in use")
    assert group.nodes() == []


def test_key_file_of_another_node(group):
    assert group.cluster("--operations", 10, "--kill", "none").returncode == 0
    group.key_file(1).write_bytes(group.key_file(0).read_bytes())
    refused(group.cluster(), "node-1.key.json", "keys of node 0", "is node 1")


def test_group_id_mismatch(tmp_path):
    group = Group(tmp_path)
    assert group.cluster("--operations", 10, "--kill", "none").returncode == 0
    other = Group(tmp_path, group_id=7)
    refused(other.cluster(), ".key.json", "group_id is 1", "7")


def test_invalid_configuration_starts_and_writes_nothing(tmp_path):
    group = Group(tmp_path, window=3)
    refused(group.cluster(), "config.toml:", "window")
    assert not group.run_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--kill", "9"), ("--kill 9", "primary, backup, none, 0..3")),
        (("--freeze", "first"), ("--freeze first", "primary, backup, none, 0..3")),
        (("--kill", "0", "--freeze", "1"), ("--kill 0 --freeze 1", "choose one")),
        (("--clients", "2"), ("--clients", "single client", "--kill none")),
        (("--clients", "0,5"), ("--clients 5", "unknown client", "0..4")),
        (("--value-sizes", "16,2000"), ("--value-sizes 2000", "request_length_max = 1024")),
        (("--value-sizes", "a,b"), ("whole numbers",)),
    ],
)
def test_bad_options_are_refused_before_anything_starts(group, arguments, words):
    refused(group.cluster(*arguments), *words)
    assert not group.run_dir.exists()


def refused(run, *words):
    output = run.stderr + run.stdout
    assert run.returncode == 2, output
    assert "Traceback" not in output
    for word in words:
        assert word in output, output
