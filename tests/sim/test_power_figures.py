"""The figures of power-cut safety: they come out, and are what the protocol writes."""

import json

import pytest

from hal.fram_i2c import write_us
from tests.sim import power_figures
from tests.sim.bus import COMMIT, PREPARE, REPLY, STABLE


def run(capsys, monkeypatch, *line):
    monkeypatch.setattr("sys.argv", ["power_figures", *line])
    power_figures.main()
    return capsys.readouterr().out


@pytest.mark.parametrize("storage", ["mirror", "nvm"])
def test_transfers_of_an_operation(storage):
    config = power_figures.group(storage)
    causes, checkpoint = power_figures.per_operation(config, "put 64 B", 4)
    assert causes[PREPARE].writes >= 1
    assert causes[COMMIT].writes == 2  # the batch, the flag
    if storage == "mirror":
        assert causes[PREPARE].written < 64 < causes[COMMIT].written
    assert (causes[REPLY].read > 0) == (storage == "nvm")
    per_operation = causes[STABLE].per(1 / config.CHECKPOINT_INTERVAL)
    assert checkpoint.written == pytest.approx(per_operation.written + config.CHECKPOINT_INTERVAL)


def test_boot_reads_the_whole_image_and_writes_nothing():
    config = power_figures.group("mirror")
    boot = power_figures.per_boot(config, wiped=False, seed=1)
    assert boot.written == 0
    assert boot.read > config.STATE_LENGTH


def test_a_slow_bus_costs_latency():
    count, name = 12, "put 900 B"
    in_ram = power_figures.latencies(power_figures.group("ram", 1), 1, None, name, count)
    mirrored = power_figures.group("mirror", 1)
    slow = power_figures.latencies(mirrored, 1, 400000, name, count)
    assert min(slow) > min(in_ram) and sum(slow) > sum(in_ram) + count * write_us(900) / 1000


def test_json_and_table(capsys, monkeypatch):
    short = ("--count", "2", "--seeds", "1", "--storages", "ram", "mirror")
    found = json.loads(run(capsys, monkeypatch, *short, "--json"))
    assert found["events"]["mirror"]["view change"]["written"] > 0
    assert set(found["latency"]["operations"]["get 64 B"]) == {
        "ram",
        "mirror, 400 kHz",
        "mirror, 1 MHz",
    }
    assert found["ram"]["ram"]["nvm"] == 0
    assert "state transfer" in run(capsys, monkeypatch, *short)


def test_study(capsys, monkeypatch):
    line = ("--study", "--count", "2", "--storages", "mirror", "--intervals", "4")
    words = run(capsys, monkeypatch, *line, "--page-lengths", "32", "64")
    assert words.count("mirror") == 4
