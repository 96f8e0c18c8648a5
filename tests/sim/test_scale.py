"""`tinybft bench scale`: messages by replicas, checkpoint and transfer by the state's length."""

import json

import pytest

from tests.tools.support import run
from tools.simulate.scale import GroupCell, group, ideal, measure_group, messages_needed
from tools.simulate.state_scale import Lines, StateCell, checkpoint, transfer


@pytest.mark.parametrize("replicas", [4, 7, 10])
def test_messages_of_an_operation_are_those_of_the_protocol(replicas):
    """Nothing lost, nothing late: no message more than PBFT needs, checkpoints included."""
    config = group(replicas, None, REPAIR_MS=100, RETRY_MS=200)
    found = ideal(config, GroupCell(replicas, 1, 8, 1))
    assert found == pytest.approx(messages_needed(config), abs=0.1)


def test_a_row_of_replicas():
    row = measure_group(GroupCell(4, 6, 6, 1))
    assert row["messages_needed"] == 11
    assert 7 <= row["messages_sent"] < 11  # in turns: who is prepared says COMMIT alone
    assert (
        row["macs"] >= 10 and row["digests"] >= 1 and row["memory"] == sum(row["regions"].values())
    )


def test_a_checkpoint_costs_what_was_modified_not_what_there_is():
    short, long, more = (
        checkpoint(StateCell(kib, blocks, 1, 1), blocks)
        for kib, blocks in ((16, 1), (256, 1), (256, 4))
    )
    looked_through = 256 * 1024 // 64 // 8  # bytes of the bitmap of its pages, for each level
    assert long["digested"] < 1.8 * short["digested"]
    assert long["lines"] < 1.5 * short["lines"] + 8 * looked_through
    assert more["digested"] > 2 * long["digested"]


def test_a_transfer_moves_what_was_modified_not_what_there_is():
    short, long = (transfer(StateCell(kib, 1, 1, 1), 1) for kib in (16, 256))
    assert short["blocks"] == long["blocks"] == 2  # one of them the library's own
    assert long["bytes"] < 1.6 * short["bytes"]


def test_lines_of_the_library_alone_are_counted():
    with Lines() as lines:
        json.dumps([1, 2, 3])
    assert lines.count == 0


def test_the_command_writes_its_document(tmp_path):
    result = run(
        *("bench", "scale", "--replicas", "4", "--state", "1", "--operations", "4"),
        *("--no-plots", "--output", tmp_path, "--json"),
    )
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "scale.json").read_text(encoding="utf-8"))["figures"]
    assert [row["replicas"] for row in figures["replicas"]] == [4]
    assert [row["kib"] for row in figures["state"]] == [1]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--replicas", "5"), "--replicas 5: choose among 4, 7, 10, 13, 25"),
        (("--state", "2000"), "--state 2000: must lie in 1..1024 KiB"),
    ],
)
def test_bad_input_is_refused(tmp_path, arguments, words):
    result = run("bench", "scale", "--no-plots", "--output", tmp_path, *arguments)
    assert result.exit_code == 2 and words in result.stderr
