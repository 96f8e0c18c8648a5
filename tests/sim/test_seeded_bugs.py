"""Seeded bugs that simulation finds at once, and the same runs without a bug.

All of them, and the seeds they need: `python -m tests.sim.seeded_bugs`.
"""

import pytest

from tests.sim.seeded_bugs import DEFECTS, one_run
from tests.sim.source_edits import Edit, edited
from tinybft.client import Client
from tinybft.execution import Execution

BY_NAME = {defect.name: defect for defect in DEFECTS}

# (defect, hunt, seed, oracle)
KNOWN = (
    ("commit_digest", "primary", 9, "S4"),
    ("primary_prepares", "split", 1, "L1"),
    ("no_doubt", "primary", 3, "S3"),
    ("vote_tags", "backup", 2, "S1"),
    ("slot_reuse", "clog", 1, "S1"),
    ("request_id", "primary", 1, "S3"),
    ("stable_weak", "clog", 1, "S7"),
    ("block", "absence", 1, "S6"),
    ("p_lost", "forget", 4, "S1"),
    ("batch_lost", "chain", 8, "L1"),
    ("a1_later", "overtaken", 9, "S1"),
    ("a2_none", "invent", 2, "S6"),
    ("b_weak", "story", 3, "S1"),
    ("x_short", "void", 3, "S1"),
    ("unverified", "choice", 1, "S6"),
    ("early_timer", "alone", 1, "L1"),
)


@pytest.mark.parametrize(("name", "hunt", "seed", "oracle"), KNOWN)
def test_a_defect_is_found(name, hunt, seed, oracle):
    with edited(*BY_NAME[name].edits):
        assert one_run(hunt, seed)[0] == oracle


@pytest.mark.parametrize(("hunt", "seed"), sorted({known[1:3] for known in KNOWN}))
def test_the_code_without_a_defect_passes(hunt, seed):
    assert one_run(hunt, seed)[:2] == ("", "")


def test_every_defect_fits_the_source():
    for defect in DEFECTS:
        with edited(*defect.edits):
            pass
    assert len(BY_NAME) == len(DEFECTS)


def test_an_edit_is_undone():
    before = Client.on_result
    with edited(*BY_NAME["one_reply"].edits):
        assert Client.on_result is not before
    assert Client.on_result is before


def test_an_edit_that_does_not_fit_is_an_error():
    edit = Edit(Execution, "run", "no such text", "")
    with (
        pytest.raises(LookupError, match="Execution.run has 0 times 'no such text'"),
        edited(edit),
    ):
        pass
