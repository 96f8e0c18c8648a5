"""The benchmarks without their processes: what is recorded, scheduled, summed up and refused."""

from io import StringIO
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from hal import BROADCAST
from tools.bench import clients, compare, floor_node, micro, raft
from tools.bench.figures import median_of, range_of, ratios, spread, whisker
from tools.bench.options import changed_file
from tools.bench.recording import OPERATIONS, record
from tools.cli import main
from tools.cluster import driver as driver_module
from tools.cluster.driver import Driver
from tools.cluster.files import RunFolder
from tools.cluster.ledger import ACKNOWLEDGED, OUTSTANDING, Ledger
from tools.cluster.plans import Options, schedule
from tools.cluster.workload import GET, PUT, Workload, layout_of
from tools.config import load
from tools.refusal import Refusal
from tools.results.store import Results

CONFIG = load("config.toml")


def call(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


def printed(table):
    text = StringIO()
    Console(width=200, file=text).print(table)
    return text.getvalue()


# --- the table of commands ---


def test_without_a_name_the_loss_matrix_is_meant():
    answer = call("--functions")
    assert (
        answer.exit_code == 2 and "--functions and --write-costs belong to --virt" in answer.output
    )
    assert call("loss", "--functions").output == answer.output


def test_help_names_all_benchmarks():
    text = call("--help").output
    assert all(name in text for name in ("loss", "micro", "compare", "clients"))
    assert "--failover" in call("loss", "--help").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "--systems", "tinybft,paxos"), "'paxos': is none of tinybft, floor"),
        (("micro", "--mix", "put,scan"), "'scan': is neither put nor get"),
        (("micro", "--clients", "5"), "--clients 5: must lie in 1..4"),
        (("micro", "--sizes", "5000"), "--value-sizes 5000: must lie in"),
        (("micro", "--rates", "-1"), "--rates -1: must be 0 (none)"),
        (("micro", "--set", "pipelines=2"), "write KEY=VALUE with a key of"),
        (("micro", "--set", "window=3"), "window = 3"),
        (("clients", "--clients", "251"), "--clients 251: must lie in 1..250"),
        (("micro", "--output", "/dev/null/x"), "choose another --output"),
    ],
)
def test_bad_input_is_refused(arguments, words, tmp_path):
    places = () if "--output" in arguments else ("--output", tmp_path / "results")
    answer = call(*arguments, *places, "--run-dir", tmp_path / "run", "--no-plots")
    assert answer.exit_code == 2, answer.output
    assert words in " ".join(answer.output.split())


def test_pysyncobj_that_is_not_there_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(raft.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refusal, match=r"pip install -e '\.\[bench\]'.*--systems tinybft,floor"):
        raft.require_pysyncobj()


def test_changed_configuration(tmp_path):
    folder = RunFolder(tmp_path / "run")
    path = changed_file(folder, "config.toml", ("pipeline=2", "clock_skew_ms = 900"))
    config = load(path)
    assert (config.PIPELINE, config.CLOCK_SKEW_MS) == (2, 900)
    assert config.CONFIG_HASH != CONFIG.CONFIG_HASH
    assert config.WINDOW == CONFIG.WINDOW


# --- figures ---


def test_spread_of_repetitions():
    assert spread([3, 1, 2]) == {"median": 2, "min": 1, "max": 3, "runs": [3, 1, 2]}
    assert spread([None, 1.23456]) == {
        "median": 1.235,
        "min": 1.235,
        "max": 1.235,
        "runs": [1.235],
    }
    assert spread([None]) is None and whisker(None) is None
    assert median_of(None) == "-" and range_of(None) == "" == range_of(spread([1]))
    assert range_of(spread([1, 2]), 1) == "1.0..2.0"


def test_ratio_is_taken_within_a_repetition():
    # Twice as slow a machine in the second repetition, for both.
    assert ratios([100, 50], [200, 100])["median"] == 0.5
    assert ratios([100, 50], [200, None])["runs"] == [0.5]


# --- target rates ---


def test_clients_of_a_target_rate_follow_one_another_evenly():
    options = Options(clients=(0, 1, 2, 3), rate=200)
    schedules = [schedule(CONFIG, options, node_id) for node_id in range(4)]
    assert {row["interval_us"] for row in schedules} == {20000}
    assert [row["offset_us"] for row in schedules] == [0, 5000, 10000, 15000]
    assert schedule(CONFIG, options, 4) == {"interval_us": 0, "offset_us": 0}
    assert schedule(CONFIG, Options(), 0)["interval_us"] == 0


class Clock:
    """A time that a test sets, in microseconds."""

    def __init__(self, monkeypatch):
        self.us = 0
        monkeypatch.setattr(driver_module, "now_us", lambda: self.us)


class FakeNode:
    """A client whose replies a test gives."""

    def __init__(self, clock, **config):
        self.node_id = 0
        self.config = SimpleNamespace(REQUEST_LENGTH_MAX=1024, **config)
        self.hal = SimpleNamespace(now_ms=lambda: clock.us // 1000)
        self.client = SimpleNamespace(busy=False, submit=self.submit, reply=b"\0", reply_length=1)
        self.submitted = []

    def submit(self, _operation, _length, _now, read_only):
        self.client.busy = True
        self.submitted.append(read_only)
        return True


def driver_of(node, tmp_path, mix="put", interval_us=10000):
    plan = {
        "latency_path": str(tmp_path / "latency"),
        "times_path": None,
        "workload": {
            "operations": 100,
            "seconds": 1000,
            "pause_ms": 0,
            "interval_us": interval_us,
            "offset_us": 3000,
        },
    }
    ledger = Ledger(len(layout_of((64,))), str(tmp_path / "ledger"))
    workload = Workload(0, (64,), mix, 1, ledger, 1024)
    return Driver(node, workload, ledger, plan), ledger, workload


def test_open_loop_counts_from_when_a_request_fell_due(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)
    node = FakeNode(clock)
    driver, ledger, workload = driver_of(node, tmp_path)
    driver.go()
    assert not driver.advance() and driver.wait_left_us() == 3000
    clock.us = 3500
    assert driver.advance() and len(node.submitted) == 1
    clock.us = 30000  # the next ones fell due at 13 and 23 ms
    assert driver.wait_left_us() == 0
    node.client.busy = False
    driver.advance()
    assert len(node.submitted) == 2, "the one of 13 ms"
    clock.us = 31000
    node.client.busy = False
    driver.advance()
    histogram = driver._histograms[workload.group]
    assert len(node.submitted) == 3 and ledger.get(ACKNOWLEDGED) == 2
    first, second = 26500, 18000  # from 3.5 (sent) and from 13 (due) on
    assert histogram.quantile(0.01) == pytest.approx(second, rel=0.05)
    assert histogram.quantile(1) == pytest.approx(first, rel=0.05)


def test_open_loop_waits_for_what_is_not_due(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)
    node = FakeNode(clock)
    driver, *_ = driver_of(node, tmp_path)
    driver.go()
    clock.us = 3000
    driver.advance()
    clock.us = 4000
    node.client.busy = False
    driver.advance()
    assert len(node.submitted) == 1 and driver.wait_left_us() == 9000


@pytest.mark.parametrize("unordered", (False, True))
def test_reads_put_each_key_first_and_are_read_only_if_the_group_knows_that(
    monkeypatch, tmp_path, unordered
):
    clock = Clock(monkeypatch)
    node = FakeNode(clock, READ_ONLY=unordered)
    driver, ledger, _ = driver_of(node, tmp_path, mix="get", interval_us=0)
    driver.go()
    kinds = []
    for _ in range(12):
        driver.advance()
        kinds.append(ledger.get(OUTSTANDING))
        node.client.busy = False
    assert kinds.count(PUT) == 2 and set(kinds[-3:]) == {GET}
    assert node.submitted == [unordered and kind == GET for kind in kinds]


# --- the floor ---


@pytest.mark.parametrize("mix", ("put", "get"))
def test_recording_of_one_client_is_one_agreement_per_operation(mix):
    recording = record(CONFIG, (1,), 64, mix)
    assert sorted(recording.programs) == [0, 1, 2, 3]
    assert recording.operations == OPERATIONS == recording.batches
    means = recording.per_operation()
    assert means["batch"] == 1
    assert means["macs"] >= 10 and means["digests"] >= 1
    # Request, pre-prepare, prepares, commits, replies: a broadcast is heard by three.
    assert 2 <= means["sent"] < means["received"] <= 3 * means["sent"]


def test_recording_of_four_clients_has_batches():
    means = record(CONFIG, (0, 1, 2, 3), 64).per_operation()
    assert 1 < means["batch"] <= CONFIG.BATCH_COUNT_MAX
    assert means["macs"] < record(CONFIG, (1,), 64).per_operation()["macs"]


def test_recording_is_repeatable():
    assert record(CONFIG, (1,), 64) == record(CONFIG, (1,), 64)


def test_recording_of_long_values_takes_more_datagrams():
    small, long = (record(CONFIG, (1,), size).per_operation() for size in (64, 1000))
    assert long["sent"] > small["sent"] and long["digest_bytes"] > small["digest_bytes"]


def test_program_has_all_kinds_of_actions():
    program = record(CONFIG, (1,), 64).programs[0]
    kinds = {action for action, _, _ in program} | {floor_node.TAG}
    assert kinds == {
        getattr(floor_node, name) for name in ("WAIT", "TAG", "TAGS", "CHECK", "HASH", "SEND")
    }
    assert BROADCAST in [first for action, first, _ in program if action == floor_node.SEND]


# --- tables and plots ---

ONE = spread([1.0, 2.0, 3.0])
MICRO_ROW = {"mix": "put", "size": 64, "clients": 4, "rate": ONE} | dict.fromkeys(
    ("p50_ms", "p90_ms", "p99_ms"), ONE
)
FIGURES = {
    micro: {
        "seconds": 3,
        "runs": 3,
        "closed_loop": [MICRO_ROW],
        "target_rates": [MICRO_ROW | {"target": 100}],
    },
    compare: {
        "size": 64,
        "seconds": 3,
        "runs": 3,
        "rows": [
            {
                "clients": 1,
                "target": 1140,
                "systems": {
                    "tinybft": dict.fromkeys(("rate", "cpu_us", "p50_ms", "p99_ms", "batch"), ONE),
                    "floor": {"rate": ONE, "cpu_us": ONE, "stalls": spread([0])},
                },
                "ratio": {"floor": ONE},
                "cpu_ratio": {"floor": ONE},
                "work": record(CONFIG, (1,), 64).per_operation(),
            }
        ],
    },
    clients: {
        "size": 64,
        "seconds": 3,
        "runs": 3,
        "rows": [
            {"clients": n}
            | dict.fromkeys(
                ("rate", "p50_ms", "p99_ms", "cpu_us", "batch", "retries", "heap"), ONE
            )
            for n in (1, 250)
        ],
    },
}


def test_tables_say_targets_and_what_the_floor_does():
    text = printed(compare.table_of(FIGURES[compare]))
    assert "1140 missed" in text and "0.5 met" in text and "14.0 MACs" in text
    assert "closed loop" in printed(micro.table_of(FIGURES[micro]))
    assert "250" in printed(clients.table_of(FIGURES[clients]))


@pytest.mark.parametrize("module", FIGURES, ids=lambda module: module.__name__)
def test_plots_are_drawn(module, tmp_path):
    pytest.importorskip("matplotlib")
    for path in module.draw(Results(tmp_path), FIGURES[module]):
        assert path.read_bytes().startswith(b"<?xml")
