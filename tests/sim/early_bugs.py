"""Deliberate defects of what makes replies come early: reads.py, tentative.py, early.py."""

from tests.sim.source_edits import defect
from tinybft.early import EarlyClient
from tinybft.reads import Reads
from tinybft.state import State
from tinybft.tentative import TentativeExecution, TentativeReplies
from tinybft.viewchange import ViewChange

EARLY_DEFECTS = (
    defect(
        "reads_weak", "f + 1 replies are enough for a read that is not ordered", "reads stale",
        (EarlyClient, "_is_enough", ">= self._quorum", ">= self._weak"),
    ),
    defect(
        "reads_prepared", "a read does not wait for what is prepared", "stale reads",
        (Reads, "is_current", "if base >= 0 and slots.has(base, PREPARED | COMMITTED):",
         "if False:"),
    ),
    defect(
        "reads_new_view", "a read does not wait for what the NEW-VIEW names", "stale told",
        (Reads, "is_current", "core.new_view.end() > executed", "False"),
    ),
    defect(
        "reads_of_the_wiped", "who abstains answers reads", "wiped_ahead",
        (Reads, "is_current", "or core.durability.abstains", ""),
    ),
    defect(
        "ahead_of_the_wiped", "who abstains executes tentatively", "wiped_ahead",
        (TentativeExecution, "_run_ahead", "or core.durability.abstains", ""),
    ),
    defect(
        "reads_ordered", "replies to the two requests of a read are mixed", "told stale ahead",
        (EarlyClient, "_is_known", "(flags & wire.FLAG_UNORDERED != 0) != self.is_unordered",
         "False"),
    ),
    defect(
        "no_fall_back", "a read is not ordered when it is not answered", "stale reads",
        (EarlyClient, "tick", "self._fall_back(now)", "pass"),
        (EarlyClient, "on_result", "self.is_unordered and not self._may_agree()", "False"),
    ),
    defect(
        "tentative_weak", "f + 1 tentative replies are enough", "undone told ahead",
        (EarlyClient, "_is_enough", ">= self._quorum", ">= self._weak"),
    ),
    defect(
        "tentative_final", "a tentative reply counts like one that is not", "undone told ahead",
        (EarlyClient, "on_result", "if not flags & _EARLY:", "if True:"),
    ),
    defect(
        "final_never", "2f + 1 replies are needed in any case", "deaf",
        (EarlyClient, "_is_enough", "if final >= self._weak:", "if False:"),
    ),
    defect(
        "no_roll_back", "what is tentative stays when the view is left", "undone told ahead",
        (ViewChange, "enter", "if core.tentative:", "if False:"),
    ),
    defect(
        "rolled_too_far", "the state goes back to the checkpoint, and no further forward",
        "undone told ahead",
        (TentativeExecution, "roll_back", "while seqno < core.progress.last_executed:",
         "while False:"),
    ),
    defect(
        "undone_reply", "the reply of what was undone is sent again", "undone told ahead",
        (TentativeReplies, "forget", "put_u32(self._buf, client * _REPLIED_LENGTH, 0)", "pass"),
    ),
    defect(
        "repeated_as_final", "a tentative reply is repeated as one that is not",
        "undone told ahead",
        (TentativeReplies, "repeat", "self.core.tentative.marks[client]", "False"),
    ),
    defect(
        "two_ahead", "what is accepted is executed, prepared or not", "ahead undone told",
        (TentativeExecution, "_run_ahead", "PREPARED", "2"),
    ),
    defect(
        "counted_early", "last_executed knows of what is tentative", "ahead undone",
        (TentativeExecution, "_run_ahead", "self._is_ahead = False",
         "self._is_ahead = False; progress.last_executed = seqno; self.ahead = 0"),
    ),
    defect(
        "abandoned_not", "a state transfer keeps what was tentative", "fetched told",
        (TentativeExecution, "abandon", "self.ahead = 0", "pass"),
    ),
    defect(
        "no_undo", "the state is not put back", "undone told ahead",
        (State, "roll_back", "self.snapshots.restore(self._blocks)", "pass"),
    ),
    defect(
        "executed_twice", "what was tentative is executed once more", "ahead",
        (TentativeExecution, "_execute_batch", "self._confirm(base)",
         "self._confirm(base); Execution._execute_batch(self, base); self.core.state.write("
         "0, self._record_copy, 0, 1)"),
    ),
)  # fmt: skip
