"""Every rule of config.toml is seen to refuse: change a value, read the message."""

import pytest

from tests.tools.support import line_of, run, variant
from tools.config_rules import RULES

# (changes, key the message points at, words it must contain)
ALONE = [
    ({"group.fault_count": "0"}, "group.fault_count", "must lie in 1..10"),
    ({"group.fault_count": "11"}, "group.fault_count", "31 bits"),
    ({"group.fault_count": "true"}, "group.fault_count", "an integer, not a boolean"),
    ({"group.fault_count": "1.5"}, "group.fault_count", "an integer, not a float"),
    ({"group.fault_count": '"1"'}, "group.fault_count", '= "1" must be an integer'),
    ({"group.fault_count": "[1]"}, "group.fault_count", "an integer, not a list"),
    ({"group.group_id": "65536"}, "group.group_id", "must lie in 0..65535"),
    ({"agreement.batch_count_max": "0"}, "agreement.batch_count_max", "must lie in 1..16"),
    ({"agreement.batch_count_max": "17"}, "agreement.batch_count_max", "must lie in 1..16"),
    ({"agreement.pipeline": "0"}, "agreement.pipeline", "must lie in 1..255"),
    ({"state.batch_pages_max": "0"}, "state.batch_pages_max", "must lie in 1..65535"),
    ({"authentication.tag_length": "7"}, "authentication.tag_length", "must lie in 8..16"),
    ({"authentication.tag_length": "17"}, "authentication.tag_length", "must lie in 8..16"),
    ({"timeouts.repair_ms": "0"}, "timeouts.repair_ms", "must lie in 1..536870911"),
    ({"timeouts.request_ms": "536870912"}, "timeouts.request_ms", "half the range"),
    ({"storage.agreement": '"fram"'}, "storage.agreement", "is not a known choice"),
    ({"storage.event": '"disk"'}, "storage.event", "not a known choice"),
    ({"storage.checkpoint": "1"}, "storage.checkpoint", "must be a string, not an integer"),
    ({"transport.kind": '"pigeon"'}, "transport.kind", 'use "unix", "esp_now", "wifi"'),
    ({"transport.frame_length": "63"}, "transport.frame_length", "must lie in 64..1400"),
    ({"transport.frame_length": "1401"}, "transport.frame_length", "must lie in 64..1400"),
    ({"transport.port": "80"}, "transport.port", "must lie in 1024..65535"),
    (
        {"transport.multicast_group": '"192.168.1.2"'},
        "transport.multicast_group",
        "not a multicast group; choose one in 224.0.0.0..239.255.255.255",
    ),
    ({"transport.multicast_group": '"x"'}, "transport.multicast_group", "not an IPv4 address"),
    ({"transport.multicast_group": "5"}, "transport.multicast_group", "must be a string"),
    ({"transport.interface": '"239.0.0.1"'}, "transport.interface", "address of a host"),
    ({"transport.hosts": '"10.0.0.1"'}, "transport.hosts", "must be a list"),
    ({"transport.hosts": '["10.0.0.1", "b"]'}, "transport.hosts", '"b" is not an IPv4 address'),
    ({"transport.hosts": "[1]"}, "transport.hosts", "1 must be a string"),
    ({"transport.hosts": '["10.0.0.1", "10.0.0.1"]'}, "transport.hosts", "a host twice"),
    ({"radio.channel": "0"}, "radio.channel", "must lie in 1..13"),
    ({"radio.channel": "14"}, "radio.channel", "must lie in 1..13"),
    ({"radio.rate_mbit": "3"}, "radio.rate_mbit", "no rate that the radio has; use one of 1, 2"),
    ({"radio.rate_mbit": '"1"'}, "radio.rate_mbit", "no rate"),
    ({"radio.rate_mbit": "true"}, "radio.rate_mbit", "no rate"),
    ({"radio.power_save": "1"}, "radio.power_save", "must be true or false, not an integer"),
    ({"radio.watchdog_ms": "-1"}, "radio.watchdog_ms", "must lie in 0..600000"),
    ({"fram.sda": "22"}, "fram.sda", "must lie in 0..21 (GPIO numbers"),
    ({"fram.frequency": "1000000"}, "fram.frequency", "400 kHz"),
    ({"fram.parts": '"0x50:MB85RC256V"'}, "fram.parts", "must be a list, not a string"),
    ({"fram.parts": "[80]"}, "fram.parts", "80 must be a string"),
    ({"fram.parts": '["MB85RC256V"]'}, "fram.parts", '"MB85RC256V" is no chip; write its I2C'),
    ({"fram.parts": '["0x50:24LC256"]'}, "fram.parts", "24LC256 is not supported; use one of"),
    ({"fram.parts": '["0x60:MB85RC256V"]'}, "fram.parts", "must be 0x50..0x57"),
    ({"fram.parts": '["0x50:FM24V10", "0x51:FM24V02"]'}, "fram.parts", "which FM24V10 has"),
]

DURABLE = {
    "storage.agreement": '"mirror"',
    "storage.checkpoint": '"mirror"',
    "storage.event": '"mirror"',
    "storage.nvm_length": "131072",
}

TOGETHER = [
    (
        {"group.client_count": "256"},
        "group.client_count",
        "CLIENT_COUNT <= 255); client_count = 256; lower client_count to 255",
    ),
    (
        {"group.client_count": "8", "group.fault_count": "3"},
        "group.client_count",
        "CLIENT_COUNT >= REPLICA_COUNT); client_count = 8, REPLICA_COUNT = 10; raise client_count"
        " to 10",
    ),
    (
        {"agreement.window": "3", "agreement.checkpoint_interval": "2"},
        "agreement.window",
        "window = 3, checkpoint_interval = 2; raise window to 4 or lower checkpoint_interval",
    ),
    (
        {"agreement.window": "5"},
        "agreement.window",
        "must be a multiple of the checkpoint interval (rule: WINDOW % CHECKPOINT_INTERVAL == 0);"
        " window = 5, checkpoint_interval = 2; set window to 6",
    ),
    ({"agreement.window": "86"}, "agreement.window", "lower window to 85 or less"),
    ({"agreement.pipeline": "5"}, "agreement.pipeline", "lower pipeline to 4 or raise window"),
    (
        {"sizes.message_length_max": "1154"},
        "sizes.message_length_max",
        "aligned to 4 bytes (rule: MESSAGE_LENGTH_MAX % 4 == 0); message_length_max = 1154; set"
        " message_length_max to 1156",
    ),
    (
        {"sizes.inline_length_max": "1073"},
        "sizes.inline_length_max",
        "lower inline_length_max to 1072",
    ),
    ({"state.block_length": "1000"}, "state.block_length", "set block_length to 1008"),
    (
        {"state.state_length": "16001"},
        "state.state_length",
        "the application or to the library (rule: STATE_LENGTH % PAGE_LENGTH == 0); state_length ="
        " 16001, PAGE_LENGTH = 64; set state_length to 16064",
    ),
    (
        {"state.state_length": "1048576", "state.block_length": "16"},
        "state.state_length",
        "named by two bytes (rule: PAGE_COUNT <= 65535)",
    ),
    ({"agreement.window": "5"}, "agreement.window", "has room for all that the batches of a"),
    ({"timeouts.repair_ms": "21"}, "timeouts.repair_ms", "lower repair_ms to 20"),
    ({"timeouts.status_ms": "20"}, "timeouts.status_ms", "raise status_ms above 20"),
    ({"timeouts.request_ms": "499"}, "timeouts.request_ms", "raise request_ms to 500"),
    ({"timeouts.view_change_ms": "999"}, "timeouts.view_change_ms", "view_change_ms to 1000"),
    ({"timeouts.retry_max_ms": "19"}, "timeouts.retry_max_ms", "raise retry_max_ms to 20"),
    (
        {"transport.kind": '"esp_now"', "transport.frame_length": "251"},
        "transport.frame_length",
        "lower frame_length to 250",
    ),
    (
        {"storage.event": '"mirror"'},
        "storage.agreement",
        'agreement = "ram", checkpoint = "ram", event = "mirror"; write "mirror" for all three',
    ),
    (
        DURABLE | {"storage.checkpoint": '"nvm"'},
        "storage.checkpoint",
        'would be as large as the region (rule: STORAGE_CHECKPOINT != "nvm")',
    ),
    (
        {"storage.state": '"mirror"'},
        "storage.state",
        'state = "mirror", event = "ram"; write state = "ram", or agreement',
    ),
    ({"transport.port": "65531"}, "transport.port", "lower port to 65530"),
    (
        {"transport.hosts": '["10.0.0.1"]'},
        "transport.hosts",
        'hosts = ["10.0.0.1"], REPLICA_COUNT = 4; list 4 addresses',
    ),
    ({"radio.watchdog_ms": "5999"}, "radio.watchdog_ms", "raise watchdog_ms to 6000, or write 0"),
    (
        DURABLE | {"transport.kind": '"wifi"'},
        "fram.parts",
        'parts = []; name the chips, as parts = ["0x50:MB85RC512T"], or write "ram" in [storage]',
    ),
    ({"fram.scl": "6"}, "fram.scl", "sda = 6, scl = 6; give scl another pin"),
]

_MESSAGE = "sizes.message_length_max"
_NVM = "storage.nvm_length"
SIZES = [
    (
        {"sizes.request_length_max": "1108"},
        _MESSAGE,
        "longest REQUEST must fit into one message (rule: REQUEST <= message_length_max);"
        " REQUEST = 1156 (header 16 + operation + one tag per replica),"
        " message_length_max = 1072, request_length_max = 1108",
    ),
    ({"sizes.reply_length_max": "1129"}, _MESSAGE, "longest REPLY must fit"),
    (
        {"agreement.batch_count_max": "16", "sizes.inline_length_max": "1072"},
        _MESSAGE,
        "longest PRE-PREPARE must fit",
    ),
    (
        {"agreement.window": "8"},
        _MESSAGE,
        "longest VIEW-CHANGE must fit",
    ),
    (
        {"group.fault_count": "10", "group.client_count": "31"},
        _MESSAGE,
        "longest NEW-VIEW must fit",
    ),
    ({"agreement.window": "84"}, _MESSAGE, "longest NEW-VIEW must fit"),
    (
        {"agreement.window": "84", "sizes.message_length_max": "448"},
        _MESSAGE,
        "longest STATUS must fit",
    ),
    (
        {_MESSAGE: "64", "sizes.inline_length_max": "0"},
        _MESSAGE,
        "longest VIEW-CHANGE-ACK must fit",
    ),
    ({"state.block_length": "2048"}, _MESSAGE, "longest DATA must fit"),
    (
        {"state.block_length": "2048"},
        _MESSAGE,
        "raise message_length_max to 2080 or lower block_length",
    ),
    (
        {"transport.frame_length": "64"},
        "transport.frame_length",
        "at most 16 fragments (rule: message_length_max <= 16 * (frame_length - 4));"
        " message_length_max = 1072, frame_length = 64, room for 960; raise frame_length to 71",
    ),
    (
        {"budget.ram_max": "50000"},
        "budget.ram_max",
        "must fit into the RAM budget (rule: sum of regions <= ram_max); sum = ",
    ),
    (
        {"transport.kind": '"esp_now"'},
        "budget.ram_max",
        "raise ram_max to 66",
    ),
    (
        DURABLE | {"fram.parts": '["0x50:MB85RC256V"]'},
        "fram.parts",
        "bytes of parts = 32768, nvm_length = 131072; name larger or more chips",
    ),
    (
        DURABLE | {_NVM: "0"},
        _NVM,
        "must fit into the non-volatile memory (rule: sum of areas <= nvm_length); sum = ",
    ),
    (
        DURABLE | {_NVM: "8192"},
        _NVM,
        "nvm_length = 8192; set nvm_length to 32768 (a part of 32 KiB) or more, or lower window or"
        " request_length_max",
    ),
    (
        DURABLE | {"storage.state": '"mirror"', _NVM: "32768"},
        _NVM,
        "set nvm_length to 65536 (a part of 64 KiB) or more, or lower state_length, window or"
        ' request_length_max, or write state = "ram"',
    ),
    (
        DURABLE | {"storage.state": '"nvm"', _NVM: "65536"},
        _NVM,
        "set nvm_length to 131072 (a part of 128 KiB) or more, or lower state_length, window or"
        ' request_length_max, or write state = "mirror" or "ram"',
    ),
    ({_NVM: "15"}, _NVM, "request ids alone take 16 bytes"),
]


@pytest.mark.parametrize("changes, key, words", ALONE + TOGETHER + SIZES)
def test_refuses(tmp_path, changes, key, words):
    path = variant(tmp_path / "config.toml", changes)
    output = tmp_path / "config.py"
    result = run("config", path, "--output", output)
    assert result.exit_code == 2
    pointed = [
        x for x in result.stderr.splitlines() if x.startswith(f"{path}:{line_of(path, key)}:")
    ]
    assert any(words in line for line in pointed), result.stderr
    assert not output.exists()
    assert not list(tmp_path.glob(".*"))


def test_every_rule_between_values_is_in_the_table(tmp_path):
    seen = ""
    for changes, _, _ in TOGETHER:
        seen += run("config", variant(tmp_path / "c.toml", changes), "--check").stderr
    unseen = [rule.expression for rule in RULES if rule.expression not in seen]
    # 3f+1 <= 31 is asserted for devices; the range of fault_count speaks first here
    assert unseen == ["REPLICA_COUNT <= 31"]


def test_reports_several_errors_at_once(tmp_path):
    changes = {
        "group.fault_count": "0",
        "agreement.window": "3",
        "state.block_length": "1000",
        "timeouts.repair_ms": "30",
        "transport.kind": None,
    }
    result = run("config", variant(tmp_path / "config.toml", changes))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 7


def test_missing_key_points_at_its_section(tmp_path):
    path = variant(tmp_path / "config.toml", {"agreement.window": None})
    result = run("config", path, "--check")
    line = line_of(path, "agreement")
    assert f"{path}:{line}: [agreement] window is missing; add a line window =" in result.stderr


def test_missing_section(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[group]\nfault_count = 1\n")
    result = run("config", path, "--check")
    assert result.exit_code == 2
    assert "[timeouts] retry_ms is missing; add a section [timeouts]" in result.stderr


@pytest.mark.parametrize(
    "text, words",
    [
        ("[group]\nquorum = 3\n", ":2: unknown key quorum in [group]; remove it (known: fault_"),
        ("[grp]\nx = 3\n", ":1: unknown section or key grp; remove it (known: group, "),
        ("\nwindow = 4\n", ":2: unknown section or key window"),
        ("group = 4\n", "[group] fault_count is missing"),
        ("[group]\nfault_count = \n", ":2: not TOML: "),
        ("[group]\n[group]\n", ":2: not TOML: "),
        ("[group]\nfault_count = 1\n\n\n\nfault_count = 2\n", ":6: not TOML: "),
        ("[group", ":1: not TOML: "),
        ("", ":1: [group] fault_count is missing"),
    ],
)
def test_file_that_is_no_configuration(tmp_path, text, words):
    path = tmp_path / "config.toml"
    path.write_text(text)
    result = run("config", path)
    assert result.exit_code == 2
    assert words in result.stderr


def test_file_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"# \xff\n")
    assert "latin.toml:1: not UTF-8" in run("config", tmp_path / "latin.toml").stderr
    assert "none.toml:1: cannot be read (No such" in run("config", tmp_path / "none.toml").stderr
    assert run("config", tmp_path).exit_code == 2
