"""`tinybft config`: what it writes, and what it says."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.support import run, variant
from tinybft.layout import areas
from tools.config import ROOT, generate, load, named_files

MICROPYTHON = Path(sys.executable).with_name("micropython")
NAMES = ("default", "c3", "durable", "smallest", "n7", "n25", "server")


def test_ships_the_named_configurations():
    assert set(named_files()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_named_configuration_is_valid_and_documented(name):
    config = load(named_files()[name])
    assert name == config.CONFIG_NAME
    for line in named_files()[name].read_text(encoding="utf-8").splitlines():
        assert not line or line.startswith(("#", "[")) or "# " in line, line


def test_default_is_the_configuration_of_the_paper():
    config = load(ROOT / "config.toml")
    assert (config.REPLICA_COUNT, config.WINDOW, config.CHECKPOINT_INTERVAL) == (4, 4, 2)
    assert (config.REQUEST_LENGTH_MAX, config.REPLY_LENGTH_MAX) == (1024, 1024)
    assert config.STATE_LENGTH == 16384


def test_derived_sizes():
    config = load(ROOT / "config.toml")
    assert (config.QUORUM, config.WEAK_QUORUM, config.CHECKPOINT_COUNT) == (3, 2, 3)
    assert config.SYSTEM_LENGTH == 16 + 40 * 5
    assert (config.BLOCK_COUNT, config.PAGE_COUNT, config.STATE_PAGE_COUNT) == (17, 272, 256)
    assert config.POOL_PAGE_COUNT == 2 * (2 * 22 + 4)


def test_same_file_gives_same_bytes(tmp_path):
    copy = variant(tmp_path / "config.toml", {})
    assert generate(copy) == generate(ROOT / "config.toml")


@pytest.mark.parametrize(
    "changes, differs",
    [
        ({"group.group_id": "2"}, True),
        ({"agreement.pipeline": "3"}, True),
        ({"sizes.inline_length_max": "0"}, True),
        ({"authentication.tag_length": "9", "sizes.message_length_max": "1152"}, True),
        ({"timeouts.clock_skew_ms": "999"}, True),
        ({"timeouts.request_ms": "999"}, False),
        ({"transport.port": "47001"}, False),
        ({"budget.ram_max": "99999"}, False),
    ],
)
def test_hash_covers_what_members_must_share(tmp_path, changes, differs):
    changed = load(variant(tmp_path / "config.toml", changes))
    assert (changed.CONFIG_HASH != load(ROOT / "config.toml").CONFIG_HASH) is differs


def test_hash_is_a_plain_sha256_of_lines():
    # golden: the canonical form is fixed, or members of different versions could not compare
    lines = (
        "group.fault_count=1\ngroup.group_id=1\ngroup.client_count=5\nagreement.window=4\n"
        "agreement.checkpoint_interval=2\nagreement.batch_count_max=4\nagreement.pipeline=1\n"
        "agreement.read_only=False\nagreement.tentative=False\n"
        "sizes.request_length_max=1024\nsizes.reply_length_max=1024\n"
        "sizes.message_length_max=1072\nsizes.inline_length_max=128\nstate.state_length=16384\n"
        "state.block_length=1024\nstate.batch_pages_max=22\nauthentication.tag_length=8\n"
        "timeouts.clock_skew_ms=1000\n"
        "transport.frame_length=250\n"
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()[:8]
    assert expected == load(ROOT / "config.toml").CONFIG_HASH


def test_generated_module_asserts_its_rules():
    text = generate(ROOT / "config.toml").replace("WINDOW = 4", "WINDOW = 3")
    with pytest.raises(AssertionError, match="two checkpoint intervals"):
        exec(text, {})


@pytest.mark.parametrize("name", NAMES)
def test_generated_module_loads_on_micropython(tmp_path, name):
    run("config", "--name", name, "--output", tmp_path / "made.py")
    script = "import made; print(made.CONFIG_NAME, made.REPLICA_COUNT, made.HOSTS)"
    result = subprocess.run(
        [MICROPYTHON, "-c", script],
        env={"MICROPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = load(named_files()[name])
    assert result.stdout == f"{name} {expected.REPLICA_COUNT} ()\n"


def test_writes_and_checks(tmp_path):
    output = tmp_path / "config.py"
    result = run("config", ROOT / "config.toml", "--output", output)
    assert result.exit_code == 0
    assert "n=4 f=1 W=4 K=2" in result.stdout
    assert list(tmp_path.iterdir()) == [output]
    assert run("config", ROOT / "config.toml", "--output", output, "--check").exit_code == 0
    output.write_text("")
    result = run("config", ROOT / "config.toml", "--output", output, "--check")
    assert result.exit_code == 2
    assert "run `tinybft config" in result.stderr
    assert output.read_text() == ""


def test_invalid_file_leaves_the_old_module(tmp_path):
    output = tmp_path / "config.py"
    output.write_text("kept")
    invalid = variant(tmp_path / "config.toml", {"agreement.window": "3"})
    assert run("config", invalid, "--output", output).exit_code == 2
    assert output.read_text() == "kept"


def test_output_in_a_folder_that_is_not_there(tmp_path):
    result = run("config", ROOT / "config.toml", "--output", tmp_path / "none" / "config.py")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_radio_and_fram_of_a_board(tmp_path):
    config = load(ROOT / "config.toml")
    assert (config.RADIO_CHANNEL, config.RADIO_RATE_KBIT) == (1, 1000)
    assert (config.RADIO_POWER_SAVE, config.WATCHDOG_MS, config.FRAM_PARTS) == (False, 0, ())
    changes = {
        "radio.rate_mbit": "5.5",
        "radio.power_save": "true",
        "fram.parts": '["0x50:MB85RC256V", "0x52:FM24V10"]',
    }
    config = load(variant(tmp_path / "config.toml", changes))
    assert config.RADIO_RATE_KBIT == 5500 and config.RADIO_POWER_SAVE is True
    assert config.FRAM_PARTS == ((0x50, "MB85RC256V"), (0x52, "FM24V10"))
    assert config.CONFIG_HASH == load(ROOT / "config.toml").CONFIG_HASH


def test_hosts_become_a_tuple(tmp_path):
    hosts = '["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]'
    config = load(variant(tmp_path / "config.toml", {"transport.hosts": hosts}))
    assert config.HOSTS == ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")


def test_name_that_is_not_known():
    result = run("config", "--name", "n8")
    assert result.exit_code == 2
    assert (
        "--name n8: no such named configuration; choose one of default, c3, durable, n25"
        in result.stderr
    )


def test_name_and_file_exclude_each_other():
    assert "leave out one of the two" in run("config", "x.toml", "--name", "n7").stderr


def test_map_of_the_non_volatile_memory(tmp_path):
    output = tmp_path / "config.py"
    shown = run("config", "--name", "durable", "--output", output)
    for words in ("Non-volatile memory", "0x00010", "identity", "pages", "free", "not 32 KiB"):
        assert words in shown.stdout
    told = json.loads(run("config", "--name", "durable", "--output", output, "--json").stdout)
    config = load(named_files()["durable"])
    nvm = told["non_volatile"]
    assert (told["configuration"], told["hash"]) == ("durable", config.CONFIG_HASH)
    expected = areas(config)
    assert nvm["used"] == expected.pop("size") and nvm["used"] + nvm["free"] == nvm["length"]
    assert {area["area"]: area["address"] for area in nvm["areas"]} == expected
    assert [part["fits"] for part in nvm["parts"]] == [False, True, True]


def test_no_map_without_non_volatile_memory(tmp_path):
    output = tmp_path / "config.py"
    assert len(run("config", ROOT / "config.toml", "--output", output).stdout.splitlines()) == 1
    told = json.loads(run("config", ROOT / "config.toml", "--output", output, "--json").stdout)
    assert told["non_volatile"]["areas"] == [] and told["non_volatile"]["length"] == 0


def test_request_ids_alone_need_little(tmp_path):
    path = variant(tmp_path / "config.toml", {"storage.nvm_length": "16"})
    shown = run("config", path, "--output", tmp_path / "config.py")
    assert "request_ids" in shown.stdout and "identity" not in shown.stdout
