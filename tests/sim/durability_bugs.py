"""Deliberate defects of what survives a power cut; see seeded_bugs.py, which hunts them all.

Said before it is durable, not durable at all, not taken up again at boot, torn writes, memory
that is believed though it cannot be.
"""

from tests.sim.source_edits import defect
from tinybft import slot_records
from tinybft.agreement import Agreement
from tinybft.checkpoint import Checkpoints
from tinybft.claims import Claims
from tinybft.durability import Durability
from tinybft.identity import Identity
from tinybft.image import Image
from tinybft.newview import NewView
from tinybft.records import Pair, Records
from tinybft.recovery import Recovery
from tinybft.rejoin import Rejoin
from tinybft.request_ids import RequestIds
from tinybft.snapshots import Snapshots
from tinybft.state import State
from tinybft.viewchange import ViewChange

DURABILITY_DEFECTS = (
    # --- said before it is durable ---
    defect(
        "prepare_early", "PREPARE is sent before the slot is written", "dark dark_primary",
        (Agreement, "_accept", "self.core.durability.say_batch(base)", "pass"),
        (Agreement, "_accept", "self.core.batches.mark_proposed(base)",
         "self.core.batches.mark_proposed(base)\n    self.core.durability.say_batch(base)"),
    ),
    defect(
        "pre_prepare_early", "PRE-PREPARE is sent before the slot is written", "dark",
        (Agreement, "propose", "core.durability.say_batch(base)", "pass"),
        (Agreement, "propose", "core.batches.send(base, -1)",
         "core.batches.send(base, -1); core.durability.say_batch(base)"),
    ),
    defect(
        "commit_early", "COMMIT is sent before the prepared flag is written",
        "dark dark_story rotten_flags",
        (Agreement, "advance", "self.core.durability.say_prepared(base)", "pass"),
        (Agreement, "advance", "self._vote(_COMMIT, base)",
         "self._vote(_COMMIT, base); self.core.durability.say_prepared(base)"),
    ),
    defect(
        "checkpoint_early", "CHECKPOINT is sent before the committed flags are written",
        "dark dark_absence",
        (Checkpoints, "take", "core.durability.note_executed(seqno - self._interval + 1, seqno)",
         "pass"),
        (Checkpoints, "take", "self.send(seqno, -1, 0)",
         "self.send(seqno, -1, 0)\n"
         "    core.durability.note_executed(seqno - self._interval + 1, seqno)"),
    ),
    defect(
        "view_change_early", "VIEW-CHANGE is sent before the view is written", "dark_views",
        (ViewChange, "_send_own", "core.durability.leave_view()", "pass"),
        (ViewChange, "_send_own", "core.post.send_sealed(length)",
         "core.post.send_sealed(length); core.durability.leave_view()"),
    ),
    defect(
        "new_view_early", "NEW-VIEW is sent before it is written", "late_change dark_views",
        (NewView, "_build", "core.durability.begin_view()", "pass"),
        (NewView, "_build", "core.post.send_sealed(length)",
         "core.post.send_sealed(length); core.durability.begin_view()"),
    ),
    # --- not durable ---
    defect(
        "batch_unwritten", "bodies of a batch are not written", "dark",
        (Durability, "_write_batch", "self.store.write(self.content_at(index), stage, length)",
         "pass"),
    ),
    defect(
        "prepared_unwritten", "that a batch prepared is not written", "dark rotten_flags",
        (Durability, "say_prepared", "self._set_flag(base // self._size, 0)", "pass"),
    ),
    defect(
        "committed_unwritten", "what a CHECKPOINT covers is not written", "dark dark_absence",
        (Durability, "note_executed", "for seqno in range(first, last + 1):",
         "for seqno in range(0):"),
    ),
    defect(
        "null_unwritten", "a null batch of a NEW-VIEW is not written", "dark_void dark_views",
        (Durability, "say_batch", "if not self.has_spoken(base):",
         "at = self.core.slots.digest_at(base)\n"
         "    if any(self.core.slots.buf[at : at + 32]) and not self.has_spoken(base):"),
    ),
    defect(
        "learned_as_said", "what was only learned counts as said", "overruled dark_split",
        (Durability, "note_executed", "LEARNED", "SPOKEN"),
    ),
    defect(
        "kept_unwritten", "the batches that P names are not written", "dark_chain dark_story",
        (Durability, "keep_batch", "index = base // self._size", "return"),
    ),
    defect(
        "low_mark_unwritten", "a stable checkpoint is not written", "dark",
        (Durability, "note_stable", "self.note_installed(seqno, seqno)", "pass"),
    ),
    defect(
        "view_unwritten", "that a view was left is not written", "dark_views dark",
        (Durability, "leave_view", "self.write_view(False)", "pass"),
    ),
    defect(
        "change_unwritten", "the view is written without the own VIEW-CHANGE: P and Q are lost",
        "dark_views dark_story",
        (Durability, "write_view", "wire.length_at(buf, own)", "0"),
    ),
    defect(
        "active_unwritten", "that a view began is not written", "dark_views dark",
        (Durability, "begin_view", "self.write_view(True)", "pass"),
    ),
    defect(
        "new_view_unwritten", "the view is written without its NEW-VIEW", "dark_views dark",
        (Durability, "write_view", "core.new_view.put(stage, at + length)", "0"),
    ),
    defect(
        "ack_unwritten", "acks are not written", "two_faces dark_claims",
        (Durability, "may_acknowledge", "self.acks.write(replica, ACK_LENGTH)", "pass"),
    ),
    defect(
        "ids_unwritten", "ranges of request ids are not written", "dark_ids dark",
        (RequestIds, "_write",
         "self._store.write(self._turn * _RECORD, record, _RECORD)", "pass"),
    ),
    defect(
        "results_unwritten", "long results are not written", "outages",
        (Durability, "note_installed", "self.results.save()", "pass"),
    ),
    # --- the image ---
    defect(
        "pages_late", "the stable record is written before the pages", "dark dark_absence",
        (Image, "_write_block",
         "self._store.write(self._address(start, place), self._stage, length)",
         "late = self.__dict__.setdefault('late', [])\n"
         "        late.append((self._address(start, place), bytes(self._stage[:length])))"),
        (Durability, "write_stable", "self.stable.write(length)",
         "self.stable.write(length)\n"
         "    while self.image and getattr(self.image, 'late', None):\n"
         "        address, octets = self.image.late.pop(0)\n"
         "        self.store.write(address, octets, len(octets))"),
    ),
    defect(
        "pages_in_place", "pages of the image are overwritten", "dark dark_absence",
        (Image, "_write_block", "place = 1 - self._place(page)", "place = self._place(page)"),
        (Image, "_write_block", "1 - self._place(page) == place", "self._place(page) == place"),
        (Image, "_write_block", "self._places[page >> 3] ^= 1 << (page & 7)", "pass"),
    ),
    defect(
        "pages_clean", "pages are not marked when they change", "dark",
        (Snapshots, "mark_changes", "bits[page >> 3] |= 1 << (page & 7)", "pass"),
    ),
    defect(
        "pages_of_one", "only the pages of the newest interval are written", "dark dark_absence",
        (Snapshots, "mark_changes", "i = self._owned_before(slot, 0)",
         "i = self._owned_before((later - 1) % self._limit, 0)"),
    ),
    defect(
        "fetched_pages", "of fetched blocks only marked pages are written", "dark_absence",
        (Image, "advance", "known == 0 or held < 0", "known == 0"),
    ),
    defect(
        "live_pages", "the image takes the blocks of now, not of the checkpoint",
        "dark_absence dark",
        (Image, "advance", "state.block_into(seqno, index, block, 0)",
         "whole = state.content(state.length) + bytes(self._block_length)\n"
         "            block[:self._block_length] ="
         " whole[index * self._block_length:][:self._block_length]"),
    ),
    defect(
        "root_unchecked", "the digest of the image is not checked at boot", "rot",
        (State, "restore", "return self.finish_install(seqno, digest, digest_at)",
         "self.tree.update_interiors()\n"
         "    self.installing = False\n"
         "    self._open(seqno)\n"
         "    return True"),
    ),
    # --- records ---
    defect(
        "torn_is_rotten", "a torn record counts as rotten", "dark",
        (Records, "read", "return TORN", "return ROTTEN"),
    ),
    defect(
        "rotten_is_torn", "a rotten record counts as torn", "rot",
        (Records, "read", "else ROTTEN", "else TORN"),
    ),
    defect(
        "check_ignored", "records are believed without a look at their check", "dark rot",
        (Records, "_is_good",
         "equal(stage, lead + _HEAD + self.length, self._digest, 0, _CHECK)", "True"),
    ),
    defect(
        "one_mark", "the mark of a record is always the same", "dark",
        (Records, "_next_mark", "mark = self._marks[2 * index]", "return 1"),
    ),
    defect(
        "one_place", "both records of a pair are written to one place", "dark dark_views",
        (Pair, "write", "self._turn = 1 - self._turn", "pass"),
    ),
    defect(
        "older_of_two", "of a pair of records the older one counts", "dark",
        (Pair, "read", "first_generation > self.generation", "first_generation < self.generation"),
    ),
    defect(
        "ids_in_one_place", "ranges of request ids are written to one place", "dark_ids",
        (RequestIds, "_write", "self._turn = 1 - self._turn", "pass"),
        (RequestIds, "_recover", "self._turn = 1 - record", "pass"),
        (RequestIds, "_recover", "limit += _RANGE", "limit += 0"),
    ),
    defect(
        "ids_rotten", "a damaged range of request ids is left out", "rot",
        (RequestIds, "_recover", "limit += _RANGE", "limit += 0"),
    ),
    defect(
        "flag_of_all_bits", "a flag counts only if all of its bits are set", "rotten_flags rot",
        (slot_records, "_is_set", "count > 4", "count > 7"),
    ),
    # --- boot ---
    defect(
        "batch_unchecked", "the digest of a batch is not checked at boot", "rot",
        (Recovery, "_load_batch",
         "equal(\n        slots.buf, slots.digest_at(base), durability.known, digest_at, 32\n"
         "    )", "True"),
    ),
    defect(
        "p_forgotten", "P is not taken up again", "dark_views dark_story",
        (Claims, "restore",
         "self._restore_entry(self._p_at(low_mark + buf[entry]), low_mark, buf, entry)", "pass"),
    ),
    defect(
        "q_forgotten", "Q is not taken up again", "dark_views dark_story",
        (Claims, "restore",
         "self._restore_entry(self._q_at(seqno, place), low_mark, buf, entry)", "pass"),
    ),
    defect(
        "change_forgotten", "the own VIEW-CHANGE is not taken up again", "dark_views dark_story",
        (Recovery, "_load_view", "core.view_change.restore(stage, at + VIEW_LENGTH, own_length)",
         "pass"),
    ),
    defect(
        "x_forgotten", "what the NEW-VIEW orders is not taken up again", "dark_views dark",
        (NewView, "restore", "core.handover.restore(self.checkpoint(), self.end())", "pass"),
    ),
    defect(
        "vote_forgotten", "who spoke for an overruled batch forgets that",
        "overruled dark_split",
        (Recovery, "_load_slot", "self._load_overruled(durability, index, seqno)", "pass"),
    ),
    defect(
        "proposed_forgotten", "the primary does not know what it has proposed", "dark",
        (Agreement, "restore", "if spoken:", "if False:"),
    ),
    defect(
        "acks_forgotten", "acks are not taken up again", "two_faces dark_claims",
        (Recovery, "_load_acks", "found == GOOD", "False"),
    ),
    defect(
        "results_forgotten", "long results are not taken up again", "outages",
        (Recovery, "_load_image", "durability.results.load()", "pass"),
    ),
    # --- memory that cannot be trusted ---
    defect(
        "not_muted", "who abstains is not silent", "wipes rejoins",
        (Rejoin, "begin", "self.core.post.is_muted = True", "pass"),
    ),
    defect(
        "rejoins_at_once", "who abstains votes when it has heard of a checkpoint",
        "wipes rejoins",
        (Rejoin, "on_status", "progress.low_mark >= self.goal()", "True"),
    ),
    defect(
        "rejoins_by_one", "one peer says how far a wiped replica can have voted", "rejoins wipes",
        (Rejoin, "_find_bound",
         "not_higher >= 2 * fault_count + 1 and executed >= fault_count", "True"),
    ),
    defect(
        "rejoins_by_restart", "a restart makes a member of who abstains", "rejoins wipes",
        (Recovery, "recover", "durability.identity.read() == MEMBER",
         "durability.identity.read() != 0"),
    ),
    defect(
        "wiped_is_member", "a wiped memory is that of a new member", "wipes rejoins",
        (Recovery, "recover", "durability.identity.read() == MEMBER",
         "durability.identity.read() in (0, MEMBER)"),
    ),
    defect(
        "any_replica", "the memory of another replica is accepted", "swapped",
        (Identity, "read", 'self._compare(expected, 8, "replica id", "another replica")', "pass"),
    ),
)  # fmt: skip
