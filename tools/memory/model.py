"""The memory model of the TinyBFT paper (RTAS 2024, equations 1 to 9), by this project's sizes.

M is the longest message of a kind, with its operation, result or claims; B one of fixed length.
Both are what `tinybft.lengths` says. U: clients. A: bytes of the application's state. The model
has no pending requests, no reassembly, no claims of the view change, and no interpreter.
"""

from tinybft.lengths import length_rows
from tools.config import load, named_files
from tools.memory.variants import varied

_CASTRO = {"WINDOW": 256, "CHECKPOINT_INTERVAL": 128, "FRAME_LENGTH": 2400}
# name: shipped configuration, what its constants are changed to, the paper's figure and its kind
REFERENCES = {
    "PBFT_Min": ("smallest", {}, 5400, "model, about"),
    "PBFT_ESP": ("default", {}, 165515, "measured"),
    "PBFT_25": ("n25", {}, 600000, "model, above"),
    # BFT library of Castro and Liskov; all else as in PBFT_ESP, in frames that hold a VIEW-CHANGE
    "Castro": ("default", _CASTRO, 7959872, "measured"),
}


def equations(config):
    """((number, name, formula, bytes, row of Table I or None), ...)."""
    longest = {name: length for name, length, _ in length_rows(config)}
    f, w, k = config.FAULT_COUNT, config.WINDOW, config.CHECKPOINT_INTERVAL
    state = config.STATE_LENGTH
    client = config.CLIENT_COUNT * (longest["REQUEST"] + longest["REPLY"])
    prepare = longest["PRE-PREPARE"] + 2 * f * longest["PREPARE"]
    commit = (2 * f + 1) * longest["COMMIT"]
    agreement = w * (prepare + commit)
    snapshots = (w // k + 1) * state
    checkpoint = (2 * f + 1) * longest["CHECKPOINT"]
    execution = snapshots + w // k * checkpoint + state
    change = longest["VIEW-CHANGE"] + 2 * f * longest["VIEW-CHANGE-ACK"]
    view = (3 * f + 1) * (change + longest["NEW-VIEW"])
    return (
        (1, "S_client", "U (M_request + M_reply)", client, "client"),
        (2, "C_prepare", "M_pre-prepare + 2f B_prepare", prepare, None),
        (3, "C_commit", "(2f+1) B_commit", commit, None),
        (4, "S_agreement", "W (C_prepare + C_commit)", agreement, "agreement"),
        (5, "S_snapshots", "(W/K + 1) A", snapshots, None),
        (6, "C_checkpoint", "(2f+1) B_checkpoint", checkpoint, None),
        (7, "S_execution", "S_snapshots + W/K C_checkpoint + A", execution, "execution"),
        (8, "C_view-change", "M_view-change + 2f B_ack", change, None),
        (9, "S_view-change", "(3f+1) (C_view-change + M_new-view)", view, "view"),
    )


def sizes(config):
    """{message: longest length} that enter the equations."""
    used = ("REQUEST", "REPLY", "PRE-PREPARE", "PREPARE", "COMMIT", "CHECKPOINT")
    used += ("VIEW-CHANGE", "VIEW-CHANGE-ACK", "NEW-VIEW")
    return {name: length for name, length, _ in length_rows(config) if name in used}


def model_totals(config):
    """{row of Table I: bytes}; the model has nothing in the row "other"."""
    return {row: length for _, _, _, length, row in equations(config) if row}


def model_total(config):
    return sum(model_totals(config).values())


def reference(name):
    """The configuration that stands for one of the paper's."""
    shipped, changes, _, _ = REFERENCES[name]
    config = load(named_files()[shipped])
    return varied(config, **changes) if changes else config
