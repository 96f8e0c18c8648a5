"""`tinybft keys`: who shares a key with whom, and who may read it."""

import json
import stat

import pytest

from hal.keys import load_keys
from tests.tools.support import run
from tools.config import ROOT, load
from tools.keys import pairwise_keys

CONFIG = ROOT / "config.toml"


def made(folder, *arguments):
    result = run("keys", CONFIG, "--output", folder, *arguments)
    assert result.exit_code == 0, result.stderr
    return result, [json.loads(path.read_text()) for path in sorted(folder.iterdir())]


def test_file_of_a_replica(tmp_path):
    _, files = made(tmp_path / "keys")
    assert [file["node_id"] for file in files] == [0, 1, 2, 3, 4]
    first = dict(files[0])
    assert sorted(first.pop("keys")) == ["1", "2", "3", "4"]
    assert first == {
        "format": 1,
        "group_id": 1,
        "node_id": 0,
        "replica_count": 4,
        "client_count": 5,
    }


def test_both_ends_hold_the_same_key_and_no_two_pairs_do():
    table = pairwise_keys(4, 7)
    pairs = {}
    for node_id, peers in table.items():
        for peer_id, key in peers.items():
            assert len(bytes.fromhex(key)) == 16
            pairs.setdefault(frozenset((node_id, peer_id)), set()).add(key)
    assert all(len(held) == 1 for held in pairs.values())
    assert len(set().union(*pairs.values())) == len(pairs) == 6 + 4 * 3


def test_external_clients_share_no_keys_among_themselves():
    table = pairwise_keys(4, 7)
    for external in (4, 5, 6):
        assert sorted(table[external]) == [0, 1, 2, 3]


@pytest.mark.parametrize("arguments", [(), ("--node-count", "4")])
def test_nodes_accept_their_files(tmp_path, arguments):
    made(tmp_path / "keys", *arguments)
    config = load(CONFIG)
    for path in (tmp_path / "keys").iterdir():
        node_id, peers = load_keys(str(path), config)
        assert path.name == f"node-{node_id}.key.json"
        assert len(peers) == 4


def test_modes(tmp_path):
    folder = tmp_path / "a" / "keys"
    made(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_never_prints_a_key(tmp_path):
    result, files = made(tmp_path / "keys")
    for file in files:
        for key in file["keys"].values():
            assert key not in result.output


def test_refuses_to_overwrite(tmp_path):
    _, before = made(tmp_path / "keys")
    result = run("keys", CONFIG, "--output", tmp_path / "keys")
    assert result.exit_code == 2
    assert "holds 5 key files already" in result.stderr
    assert "--force" in result.stderr
    _, after = made(tmp_path / "keys", "--force")
    assert before[0]["keys"]["1"] != after[0]["keys"]["1"]


def test_force_leaves_no_file_of_the_old_group(tmp_path):
    folder = tmp_path / "keys"
    made(folder)
    (folder / "note.txt").write_text("mine")
    result = run("keys", CONFIG, "--output", folder, "--force", "--node-count", "4")
    assert result.exit_code == 0
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"node-{i}.key.json" for i in range(4)] + ["note.txt"]


@pytest.mark.parametrize("count", ("3", "6", "-1"))
def test_node_count_out_of_range(tmp_path, count):
    result = run("keys", CONFIG, "--output", tmp_path / "keys", "--node-count", count)
    assert result.exit_code == 2
    assert "must lie in 4..5 (replica_count..client_count)" in result.stderr
    assert not (tmp_path / "keys").exists()


def test_folder_that_others_may_enter(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    result = run("keys", CONFIG, "--output", folder)
    assert result.exit_code == 2
    assert f"chmod 700 {folder}" in result.stderr


def test_output_that_is_a_file(tmp_path):
    (tmp_path / "keys").write_text("")
    result = run("keys", CONFIG, "--output", tmp_path / "keys")
    assert result.exit_code == 2
    assert "is not a folder" in result.stderr
