"""Deliberate defects of the core, one at a time, and what finds them (FAULTS.md, Method).

    python -m tests.sim.seeded_bugs                      all of them, seeds 1..40 of their hunts
    python -m tests.sim.seeded_bugs --only b_weak        one of them
    python -m tests.sim.seeded_bugs --hunt claims --seed 4 [--only NAME] --trace

A defect is a few words of the source replaced (source_edits.py). It is hunted (hunts.py) seed by
seed, the hunts that suit it taking turns, until an oracle of the simulator speaks. The code
without a defect goes through all hunts with the same seeds, and no oracle may.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.sim.durability_bugs import DURABILITY_DEFECTS
from tests.sim.early_bugs import EARLY_DEFECTS
from tests.sim.early_hunts import EARLY_HUNTS
from tests.sim.hunts import PROTOCOL_HUNTS
from tests.sim.power_hunts import POWER_HUNTS
from tests.sim.source_edits import defect, edited
from tinybft.agreement import Agreement
from tinybft.auth import Authenticator
from tinybft.checkpoint import Checkpoints
from tinybft.claims import Claims
from tinybft.client import Client
from tinybft.clock import GroupClock
from tinybft.decision import Decision
from tinybft.execution import Execution
from tinybft.handover import Handover
from tinybft.newview import NewView
from tinybft.requests import Requests
from tinybft.slots import Slots
from tinybft.state import State
from tinybft.status import Status
from tinybft.timers import Timers
from tinybft.transfer import Transfer
from tinybft.viewchange import ViewChange
from tools.simulate.oracles import Violation

SEEDS = 40
_STUCK_S = 60


DEFECTS = (
    # --- votes ---
    defect(
        "commit_2f", "committed with 2f COMMITs", "story choice",
        (Agreement, "advance", "COMMITTED or not self._is_quorum(slots.commits(base))",
         "COMMITTED or not self._is_prepared(slots.commits(base))"),
    ),
    defect(
        "prepared_2f_1", "prepared with 2f - 1 PREPAREs", "split primary",
        (Agreement, "advance", "self._is_prepared(self._prepares(base))",
         "self._prepares(base)"),
    ),
    defect(
        "primary_prepares", "a PREPARE of the primary counts", "split",
        (Agreement, "on_vote", "sender == int(progress.primary())", "False"),
    ),
    defect(
        "votes_by_message", "messages are counted, not replicas", "story claims backup",
        (Slots, "has_voted", "return mask >> (replica & 7) & 1", "return 0"),
        (Slots, "add_vote", "buf[at] | 1 << (replica & 7)",
         "buf[at] | 1 << (replica & 7) if kind == _PREPARE else buf[at] | 1 << (replica & 7)"
         " | (buf[at] + 1 & 15) * (buf[at] >> (replica & 7) & 1)"),
    ),
    defect(
        "second_pre_prepare", "a second pre-prepare of the primary replaces the first", "primary",
        (Agreement, "_unwanted", "self._has_from_primary(known)", "False"),
    ),
    defect(
        "prepare_digest", "PREPAREs count whatever their digest", "split primary",
        (Slots, "add_vote", "not equal(self.buf, base + _DIGEST, vote, 16, 32)",
         "kind != _PREPARE and not equal(self.buf, base + _DIGEST, vote, 16, 32)"),
    ),
    defect(
        "commit_digest", "COMMITs count whatever their digest", "primary claims",
        (Slots, "add_vote", "not equal(self.buf, base + _DIGEST, vote, 16, 32)",
         "kind == _PREPARE and not equal(self.buf, base + _DIGEST, vote, 16, 32)"),
    ),
    defect(
        "learn_weak", "between views f + 1 COMMITs are enough to execute", "story claims",
        (Handover, "learn", "self.core.quorum.is_quorum(slots.commits(base))",
         "self.core.quorum.is_weak(slots.commits(base))"),
    ),
    defect(
        "anybody_proposes", "a forwarded pre-prepare needs no votes for it", "backup",
        (Agreement, "_is_acceptable", "self.is_vouched(base)", "True"),
    ),
    # --- authenticity ---
    defect(
        "no_doubt", "a batch with a request that has no good tag is accepted", "primary",
        (Agreement, "_is_acceptable", "or slots.doubts(base)", ""),
    ),
    defect(
        "vote_tags", "tags of votes are not checked", "backup",
        (Authenticator, "check_digested", "if end > _DIRECT_MAX and (",
         "if kind in (3, 4):\n        return True\n    if end > _DIRECT_MAX and ("),
    ),
    defect(
        "request_tags", "tags of requests are not checked", "backup primary",
        (Authenticator, "check_digested", "if end > _DIRECT_MAX and (",
         "if kind == 1:\n        return True\n    if end > _DIRECT_MAX and ("),
    ),
    # --- window, execution, client ---
    defect(
        "slot_reuse", "a slot is not asked which seqno it serves", "clog primary",
        (Slots, "find", "if held == seqno", "if held"),
    ),
    defect(
        "window", "votes and proposals behind the window are taken", "primary clog",
        (Agreement, "_misplaced", "not progress.in_window(number)", "False"),
        (Agreement, "on_vote", "number - low_mark <= uint(self._window)", "True"),
    ),
    defect(
        "request_id", "execution does not look at the client table", "primary clog",
        (Execution, "_execute_batch", "uint(number) > uint(self.last_request_id(client))", "True"),
    ),
    defect(
        "executed_again", "a new view executes again what is not stable", "clog choice",
        (NewView, "_install", "progress.active = True",
         "progress.active = True; progress.last_executed = progress.low_mark"),
    ),
    defect(
        "time", "the time of a batch is not looked at", "clock",
        (GroupClock, "is_plausible", "if time_s < agreed_s:", "if False:"),
        (GroupClock, "is_plausible", "if time_s == agreed_s and", "if False and"),
        (Execution, "_execute_batch", "self._is_before_record(time_s, time_ms)", "False"),
    ),
    defect(
        "one_reply", "a client believes one replica", "primary backup",
        (Client, "on_result", ">= self._weak", ">= 1"),
    ),
    # --- checkpoints and transfer ---
    defect(
        "stable_weak", "a checkpoint is stable by f + 1", "clog absence",
        (Checkpoints, "_look", "is_quorum(get_u32(buf, base + int(self._mask)))",
         "self.core.quorum.is_weak(get_u32(buf, base + int(self._mask)))"),
    ),
    defect(
        "stable_own", "a checkpoint is stable by the own one", "clog absence",
        (Checkpoints, "_look", "is_quorum(get_u32(buf, base + int(self._mask)))",
         "get_u32(buf, base + int(self._mask))"),
    ),
    defect(
        "checkpoint_digest", "CHECKPOINTs count whatever their digest", "absence clog",
        (Checkpoints, "_count_vote", "equal(own, base + int(self._own), buf, 16, 32)",
         "True"),
    ),
    defect(
        "low_mark", "a new view moves the window to where it starts", "clog story claims",
        (NewView, "_install", "min(checkpoint, self.decision.provably_stable(members))",
         "checkpoint"),
    ),
    defect(
        "target_by_one", "one replica can send others to a checkpoint", "absence",
        (Checkpoints, "_agree_with", "self.core.quorum.is_weak(mask)", "mask"),
    ),
    defect(
        "block", "fetched blocks are not checked", "absence",
        (State, "install_block",
         "not tree.leaf_matches(index, modified_seqno, buf, start, digest, digest_at)", "False"),
    ),
    defect(
        "same_source", "a transfer asks the same replica for ever", "absence",
        (Transfer, "_next_source", "progress = self.core.progress",
         "progress = self.core.progress\n    if self._source != progress.replica_id: return"),
    ),
    # --- what survives a view ---
    defect(
        "p_lost", "P is forgotten at the second view change", "forget story",
        (Claims, "update", "progress = self.core.progress",
         "progress = self.core.progress\n"
         "    for i in range(self._window): put_u32(self._buf, self._p + i * _ENTRY_LENGTH, 0)"),
    ),
    defect(
        "q_lost", "Q is forgotten at the second view change", "chain story",
        (Claims, "update", "progress = self.core.progress",
         "progress = self.core.progress\n"
         "    for i in range(self._window * self._places):\n"
         "        put_u32(self._buf, self._q + i * _ENTRY_LENGTH, 0)"),
    ),
    defect(
        "batch_lost", "the batches that P names are not kept", "chain story",
        (Claims, "update", "self.core.durability.keep_batch(slots.keep(base))", "pass"),
    ),
    # --- the decision ---
    defect(
        "p_weak", "f + 1 claims in P instead of A1 and A2", "invent overtaken choice",
        (Decision, "_is_supported", "if self._supports(replica, seqno, claim):",
         "own = self._prepared(members, replica, seqno)\n"
         "            if own >= 0 and equal(self._buf, own + 5, self._buf, claim + 5, 32):"),
        (Decision, "_is_supported", "self._quorum.is_quorum(unopposed) and", ""),
    ),
    defect(
        "a1_later", "A1 does not mind a P of a later view", "overtaken story",
        (Decision, "_opposes", "return own_view > view", "return False"),
    ),
    defect(
        "a1_weak", "A1 by f + 1", "overtaken story",
        (Decision, "_is_supported", "self._quorum.is_quorum(unopposed)",
         "self._quorum.is_weak(unopposed)"),
    ),
    defect(
        "a2_none", "A2 is left out", "invent choice",
        (Decision, "_is_supported", "and self._quorum.is_weak(supporters)", ""),
    ),
    defect(
        "b_weak", "null by f + 1 without a P", "story choice",
        (Decision, "is_unprepared", "self._quorum.is_quorum(mask)", "self._quorum.is_weak(mask)"),
    ),
    defect(
        "x_short", "nulls at the end of X are cut off though they may be committed",
        "void story",
        (NewView, "_build",
         "if not is_null or not self.decision.is_unprepared(members, seqno + 1 + i):",
         "if not is_null:"),
        (NewView, "_is_permitted", "elif not decision.is_unprepared(members, seqno):",
         "elif False:"),
    ),
    defect(
        "start_by_one", "a new view starts behind a checkpoint that one replica lists",
        "story claims",
        (Decision, "_is_common", "self._quorum.is_weak(listed)", "listed"),
    ),
    # --- the course of a view change ---
    defect(
        "unverified", "backups do not verify NEW-VIEW", "story choice",
        (NewView, "look", "not self._is_permitted(members)", "False"),
    ),
    defect(
        "confirmed_by_one", "one replica that has installed a NEW-VIEW is enough", "story choice",
        (NewView, "_is_confirmed", "self.core.quorum.is_weak(mask)", "mask"),
    ),
    defect(
        "no_acks", "the new primary counts VIEW-CHANGEs that nobody acknowledged", "unseen tags",
        (ViewChange, "members", "replica == own_id or count >= self._ack_count", "True"),
    ),
    defect(
        "unproven_change", "a VIEW-CHANGE without good tag needs no acks", "impostor choice",
        (ViewChange, "has", "return good or", "return True or"),
    ),
    defect(
        "join_by_one", "one VIEW-CHANGE takes others along", "backup tags",
        (ViewChange, "_view_to_join", "self.core.quorum.is_weak(mask)", "mask"),
    ),
    defect(
        "join_highest", "joins the highest view, not the lowest", "tags backup",
        (ViewChange, "_view_to_join", "view < lowest", "view > lowest"),
    ),
    defect(
        "old_votes", "votes of an earlier view count in the next one", "overtaken forget",
        (Slots, "strip", "fill(self.buf, base + _PREPARES, self._batch - _PREPARES, 0)",
         "pass"),
    ),
    defect(
        "not_again", "a new view does not propose what waits", "primary clog tags",
        (Requests, "propose_again", "for client in range(self._client_count):",
         "for client in range(0):"),
    ),
    # --- patience ---
    defect(
        "no_timer", "nobody loses patience with the primary", "primary slow",
        (Timers, "is_expired", "elapsed(now, self._since[client]) >= limit", "False"),
    ),
    defect(
        "one_timer", "any execution restarts the patience for all requests", "starve",
        (Timers, "on_executed", "self._strikes[client] = 0",
         "self._strikes[client] = 0; self.restart()"),
    ),
    defect(
        "no_back_off", "time-outs do not grow", "slow",
        (Timers, "on_view_left", "min(self._back_off + 1, _BACK_OFF_MAX)", "0"),
    ),
    defect(
        "asks_one", "the same replica has to answer, over and over", "void primary",
        (Status, "on_work", "self._late = 0", "self._late = 0; self._round = 1"),
    ),
    defect(
        "early_timer", "the new-view timer starts with the own VIEW-CHANGE", "alone",
        (ViewChange, "settle", "and self._is_wanted()", ""),
    ),
    *DURABILITY_DEFECTS,
    *EARLY_DEFECTS,
)  # fmt: skip
HUNTS = PROTOCOL_HUNTS | POWER_HUNTS | EARLY_HUNTS


class Stuck(Exception):
    """A run that does not end: no work is bounded any more."""


@contextmanager
def _limited(seconds):
    def expire(*_):
        raise Stuck

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Outcome:
    """What runs of one defect (or of none) came to."""

    oracle: str = ""
    words: str = ""
    hunt: str = ""
    seed: int = 0
    runs: int = 0
    operations: int = 0


def one_run(hunt_name, seed, trace=None):
    """(oracle or "", words, operations) of the code as it is now."""
    hunt = HUNTS[hunt_name]
    sim = hunt.sim(seed, trace)
    oracle = words = ""
    try:
        with _limited(_STUCK_S):
            hunt.play(sim)
    except Violation as found:
        oracle, words = found.oracle, found.words
    except Stuck:
        oracle, words = "S10", f"a step takes more than {_STUCK_S} s"
    return oracle, words, sim.oracles.operations


def hunted(bug, seeds):
    """Seed by seed, its hunts taking turns, until one finds it."""
    outcome = Outcome()
    with edited(*bug.edits):
        for seed in seeds:
            for hunt in bug.hunts:
                oracle, words, operations = one_run(hunt, seed)
                outcome.runs += 1
                outcome.operations += operations
                if oracle:
                    outcome.oracle, outcome.words = oracle, words
                    outcome.hunt, outcome.seed = hunt, seed
                    return outcome
    return outcome


def _hunted_by_name(task):
    index, count = task
    begin = time.process_time()
    outcome = hunted(DEFECTS[index], range(1, count + 1))
    return index, outcome, time.process_time() - begin


def _sound_run(task):
    return task, one_run(*task)


def hunt_all(defects, count, pool, console):
    """Print the table; return the number of defects that were found."""
    table = Table("defect", "what is wrong", "oracle", "hunt", "seed", "runs", "operations", "s")
    found = 0
    total = Counter()
    tasks = [(DEFECTS.index(bug), count) for bug in defects]
    for index, outcome, seconds in pool.imap(_hunted_by_name, tasks):
        bug = DEFECTS[index]
        found += bool(outcome.oracle)
        total.update(runs=outcome.runs, operations=outcome.operations)
        seed = str(outcome.seed) if outcome.oracle else "-"
        oracle = outcome.oracle or "not found"
        numbers = [str(outcome.runs), str(outcome.operations), f"{seconds:.1f}"]
        table.add_row(bug.name, bug.words, oracle, outcome.hunt, seed, *numbers)
    console.print(table)
    share = 100 * found / len(defects)
    console.print(
        f"{found} of {len(defects)} defects found ({share:.0f} %) with at most {count} seeds of"
        f" each hunt; {total['runs']} runs, {total['operations']} operations"
    )
    return found


def check_sound(hunts, count, pool, console):
    """All hunts without a defect; return the number of violations."""
    tasks = [(hunt, seed) for seed in range(1, count + 1) for hunt in hunts]
    operations = violations = 0
    for (hunt, seed), (oracle, words, executed) in pool.imap(_sound_run, tasks, 4):
        operations += executed
        if oracle:
            violations += 1
            console.print(f"[bold]no defect, {hunt}, seed {seed}: {oracle}[/]: {words}")
    console.print(
        f"without a defect: {len(tasks)} runs of {len(hunts)} hunts, {operations} operations,"
        f" {violations} violations"
    )
    return violations


def _tell(args):
    """One run of one hunt."""
    edits = DEFECTS[_index_of(args.only)].edits if args.only else ()
    with edited(*edits):
        oracle, words, operations = one_run(args.hunt, args.seed, print if args.trace else None)
    print(f"{oracle}: {words}" if oracle else f"no violation, {operations} operations")
    return 1 if oracle else 0


def _index_of(name):
    names = [bug.name for bug in DEFECTS]
    if name not in names:
        sys.exit(f"--only {name}: no such defect; choose one of {', '.join(names)}")
    return names.index(name)


def main():
    parser = argparse.ArgumentParser(description="Seeded bugs: how many does the simulator find?")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most so many of each hunt")
    parser.add_argument("--only", metavar="NAME", help="this defect alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--sound", action="store_true", help="the code without a defect alone")
    parser.add_argument("--hunt", choices=sorted(HUNTS), help="one run of one hunt")
    parser.add_argument("--seed", type=int, default=1, help="of that run")
    parser.add_argument("--trace", action="store_true", help="tell the story of that run")
    args = parser.parse_args()
    if args.hunt:
        return _tell(args)
    defects = [DEFECTS[_index_of(args.only)]] if args.only else list(DEFECTS)
    console = Console()
    begin = time.monotonic()
    missed = violations = 0
    with multiprocessing.get_context("fork").Pool(args.jobs) as pool:
        if not args.sound:
            missed = len(defects) - hunt_all(defects, args.seeds, pool, console)
        if not args.only:
            violations = check_sound(sorted(HUNTS), args.seeds, pool, console)
    console.print(f"{time.monotonic() - begin:.0f} s")
    return 1 if missed or violations else 0


if __name__ == "__main__":
    sys.exit(main())
