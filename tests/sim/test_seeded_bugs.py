"""Seeded bugs that simulation finds at once, and the same runs without a bug.

All of them, and the seeds they need: `python -m tests.sim.seeded_bugs`.
"""

import pytest

from tests.sim.seeded_bugs import DEFECTS, one_run
from tests.sim.source_edits import Edit, edited
from tinybft.client import Client
from tinybft.execution import Execution

BY_NAME = {defect.name: defect for defect in DEFECTS}

# (defect, hunt that finds it soon)
KNOWN = (
    ("commit_digest", "primary"),
    ("primary_prepares", "split"),
    ("no_doubt", "primary"),
    ("vote_tags", "backup"),
    ("slot_reuse", "clog"),
    ("request_id", "primary"),
    ("stable_weak", "clog"),
    ("block", "absence"),
    ("p_lost", "forget"),
    ("batch_lost", "chain"),
    ("a2_none", "invent"),
    ("b_weak", "story"),
    ("x_short", "void"),
    ("unverified", "story"),
    ("early_timer", "alone"),
    # of what survives a power cut
    ("prepare_early", "dark"),
    ("pre_prepare_early", "dark"),
    ("commit_early", "dark"),
    ("view_change_early", "dark_views"),
    ("prepared_unwritten", "dark"),
    ("null_unwritten", "dark_void"),
    ("low_mark_unwritten", "dark"),
    ("change_unwritten", "dark_views"),
    ("new_view_unwritten", "dark_views"),
    ("ids_unwritten", "dark_ids"),
    ("results_unwritten", "outages"),
    ("pages_in_place", "dark_absence"),
    ("pages_clean", "dark"),
    ("one_mark", "dark"),
    ("torn_is_rotten", "dark"),
    ("rotten_is_torn", "rot"),
    ("p_forgotten", "dark_views"),
    ("q_forgotten", "dark_views"),
    ("proposed_forgotten", "dark"),
    ("kept_unwritten", "dark_chain"),
    ("flag_of_all_bits", "rotten_flags"),
    ("not_muted", "wipes"),
    ("rejoins_by_restart", "rejoins"),
    ("any_replica", "swapped"),
    # of early replies
    ("reads_weak", "stale"),
    ("reads_prepared", "stale"),
    ("reads_new_view", "stale"),
    ("reads_of_the_wiped", "wiped_ahead"),
    ("tentative_weak", "told"),
    ("final_never", "deaf"),
    ("no_roll_back", "undone"),
    ("undone_reply", "undone"),
    ("rolled_too_far", "told"),
    ("abandoned_not", "fetched"),
)
SEEDS_MAX = 40


@pytest.mark.parametrize(("name", "hunt"), KNOWN)
def test_a_defect_is_found(name, hunt):
    """Which seed finds it changes with the code, so a few are tried."""
    with edited(*BY_NAME[name].edits):
        assert any(one_run(hunt, seed)[0] for seed in range(1, SEEDS_MAX + 1))


@pytest.mark.parametrize("hunt", sorted({hunt for _, hunt in KNOWN}))
def test_the_code_without_a_defect_passes(hunt):
    for seed in range(1, 4):
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
