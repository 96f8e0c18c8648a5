"""What must hold between parameters; each rule is written once and used twice.

`DERIVED` and `RULES` are expressions over the names of tinybft/config.py. The generated
module contains them as they stand here, so a device checks itself when it boots, and
`broken_rules` evaluates them to tell a person which line of config.toml to change.

A rule has the place where its message points (`at`, a constant), the remedy, in which
`{expression}` is computed, and the words that explain it.
"""

import re
from dataclasses import dataclass
from functools import cache

from tools.config_schema import BY_CONSTANT, shown

DERIVED = (
    ("REPLICA_COUNT", "3 * FAULT_COUNT + 1", "n, ids 0..n-1"),
    ("QUORUM", "2 * FAULT_COUNT + 1", "any two share a correct replica"),
    ("WEAK_QUORUM", "FAULT_COUNT + 1", "one of them is correct"),
    (
        "SLOT_COUNT",
        "WINDOW + PIPELINE",
        "open batches, and those that prepared in an earlier view and are not executed",
    ),
    ("CHECKPOINT_COUNT", "WINDOW // CHECKPOINT_INTERVAL + 1", "snapshots alive at once"),
    ("CLIENT_ENTRY_LENGTH", "40", "bytes per client in the replicated client table"),
    (
        "SYSTEM_LENGTH",
        "16 + CLIENT_ENTRY_LENGTH * CLIENT_COUNT",
        "execution record and client table, the library's part of the replicated state",
    ),
    (
        "BLOCK_COUNT",
        "(STATE_LENGTH + SYSTEM_LENGTH + BLOCK_LENGTH - 1) // BLOCK_LENGTH",
        "blocks of the whole replicated state",
    ),
    ("PAGE_LENGTH", "64 if BLOCK_LENGTH % 64 == 0 else 16", "bytes copied at once of a block"),
    ("PAGE_COUNT", "BLOCK_COUNT * BLOCK_LENGTH // PAGE_LENGTH", "pages of the whole state"),
    ("STATE_PAGE_COUNT", "STATE_LENGTH // PAGE_LENGTH", "pages of the application's part"),
    (
        "SYSTEM_PAGE_COUNT",
        "(SYSTEM_LENGTH + PAGE_LENGTH - 1) // PAGE_LENGTH",
        "pages of the library's part",
    ),
    (
        "CHANGED_PAGES_MAX",
        "min(CHECKPOINT_INTERVAL * BATCH_PAGES_MAX, STATE_PAGE_COUNT) + SYSTEM_PAGE_COUNT",
        "pages that change from one checkpoint to the next, the worst case: of the application\n"
        "# what the budget of K batches allows, of the library all of them",
    ),
    (
        "POOL_PAGE_COUNT",
        "(CHECKPOINT_COUNT - 1) * CHANGED_PAGES_MAX",
        "old pages kept for snapshots, see tinybft/snapshots.py",
    ),
    (
        "WINDOW_PAGE_COUNT",
        "min(WINDOW * BATCH_PAGES_MAX, (CHECKPOINT_COUNT - 1) * STATE_PAGE_COUNT)",
        "pages of the application that the batches from low to high mark change: each of the\n"
        "# W batches as many as its budget, and between two checkpoints each page once",
    ),
    ("DURABLE", 'STORAGE_EVENT != "ram"', "what a replica said survives a power cut"),
    ("STATE_DURABLE", 'STORAGE_STATE != "ram"', "and so does the last stable checkpoint"),
)


@dataclass(frozen=True)
class Rule:
    expression: str
    words: str
    at: str
    remedy: str


RULES = (
    Rule(
        "REPLICA_COUNT <= 31",
        "vote masks have 31 bits",
        at="FAULT_COUNT",
        remedy="lower fault_count to 10",
    ),
    Rule(
        "CLIENT_COUNT >= REPLICA_COUNT",
        "every replica is a client too",
        at="CLIENT_COUNT",
        remedy="raise client_count to {REPLICA_COUNT} or lower fault_count",
    ),
    Rule(
        "CLIENT_COUNT <= 255",
        "a frame names its transmitter and its receiver in two bytes",
        at="CLIENT_COUNT",
        remedy="lower client_count to 255",
    ),
    Rule(
        "WINDOW >= 2 * CHECKPOINT_INTERVAL",
        "the window must hold two checkpoint intervals, or it stops until one is stable",
        at="WINDOW",
        remedy="raise window to {2 * CHECKPOINT_INTERVAL} or lower checkpoint_interval",
    ),
    Rule(
        "WINDOW % CHECKPOINT_INTERVAL == 0",
        "the window must be a multiple of the checkpoint interval",
        at="WINDOW",
        remedy="set window to {(WINDOW // CHECKPOINT_INTERVAL + 1) * CHECKPOINT_INTERVAL}"
        " or choose a checkpoint_interval that divides it",
    ),
    Rule(
        "WINDOW * (FAULT_COUNT + 2) <= 255",
        "a VIEW-CHANGE counts its f + 2 claims per slot in one byte",
        at="WINDOW",
        remedy="lower window to {255 // (FAULT_COUNT + 2)} or less, or fault_count",
    ),
    Rule(
        "PIPELINE <= WINDOW",
        "only batches inside the window can be open",
        at="PIPELINE",
        remedy="lower pipeline to {WINDOW} or raise window",
    ),
    Rule(
        "MESSAGE_LENGTH_MAX % 4 == 0",
        "message slots lie one after another and must stay aligned to 4 bytes",
        at="MESSAGE_LENGTH_MAX",
        remedy="set message_length_max to {(MESSAGE_LENGTH_MAX + 3) // 4 * 4}",
    ),
    Rule(
        "INLINE_LENGTH_MAX <= MESSAGE_LENGTH_MAX",
        "a request inside a pre-prepare is shorter than the message",
        at="INLINE_LENGTH_MAX",
        remedy="lower inline_length_max to {MESSAGE_LENGTH_MAX} or less",
    ),
    Rule(
        "BLOCK_LENGTH % 16 == 0",
        "blocks must stay aligned for hashing and copying",
        at="BLOCK_LENGTH",
        remedy="set block_length to {(BLOCK_LENGTH + 15) // 16 * 16}",
    ),
    Rule(
        "STATE_LENGTH % PAGE_LENGTH == 0",
        "a page belongs to the application or to the library",
        at="STATE_LENGTH",
        remedy="set state_length to {-(-STATE_LENGTH // PAGE_LENGTH) * PAGE_LENGTH}",
    ),
    Rule(
        "PAGE_COUNT <= 65535",
        "a page of the state is named by two bytes",
        at="STATE_LENGTH",
        remedy="lower state_length to {65000 * PAGE_LENGTH - SYSTEM_LENGTH // 16 * 16}, or choose"
        " a block_length that is a multiple of 64",
    ),
    Rule(
        "POOL_PAGE_COUNT - (CHECKPOINT_COUNT - 1) * SYSTEM_PAGE_COUNT >= WINDOW_PAGE_COUNT",
        "the snapshot pool has room for all that the batches of a window change",
        at="WINDOW",
        remedy="choose a checkpoint_interval that divides the window",
    ),
    Rule(
        "REPAIR_MS <= RETRY_MS",
        "replicas repair among themselves before clients retry",
        at="REPAIR_MS",
        remedy="lower repair_ms to {RETRY_MS} or raise retry_ms",
    ),
    Rule(
        "RETRY_MS < STATUS_MS",
        "an idle replica speaks less often than a waiting client",
        at="STATUS_MS",
        remedy="raise status_ms above {RETRY_MS} or lower retry_ms",
    ),
    Rule(
        "STATUS_MS <= REQUEST_MS",
        "a lost proposal is noticed before the primary is suspected",
        at="REQUEST_MS",
        remedy="raise request_ms to {STATUS_MS} or lower status_ms",
    ),
    Rule(
        "REQUEST_MS <= VIEW_CHANGE_MS",
        "a view change gets at least the time of a request",
        at="VIEW_CHANGE_MS",
        remedy="raise view_change_ms to {REQUEST_MS} or lower request_ms",
    ),
    Rule(
        "RETRY_MS <= RETRY_MAX_MS",
        "a client's retry delay starts below its limit",
        at="RETRY_MAX_MS",
        remedy="raise retry_max_ms to {RETRY_MS} or lower retry_ms",
    ),
    Rule(
        '(STORAGE_AGREEMENT == "ram") == (STORAGE_CHECKPOINT == "ram")'
        ' == (STORAGE_EVENT == "ram")',
        "what a replica said is known after a power cut only if all three regions are durable",
        at="STORAGE_AGREEMENT",
        remedy='write "mirror" for all three, or "ram" for all three',
    ),
    Rule(
        'STORAGE_CHECKPOINT != "nvm"',
        "a window onto so small a region would be as large as the region",
        at="STORAGE_CHECKPOINT",
        remedy='write checkpoint = "mirror"',
    ),
    Rule(
        'STORAGE_STATE == "ram" or STORAGE_EVENT != "ram"',
        "a state that outlives a power cut needs votes that do",
        at="STORAGE_STATE",
        remedy='write state = "ram", or agreement, checkpoint and event = "mirror"',
    ),
    Rule(
        'FRAME_LENGTH <= 250 or TRANSPORT != "esp_now"',
        "an ESP-NOW frame carries at most 250 bytes",
        at="FRAME_LENGTH",
        remedy="lower frame_length to 250",
    ),
    Rule(
        "PORT + CLIENT_COUNT <= 65535",
        "each node has a UDP port of its own above the group's",
        at="PORT",
        remedy="lower port to {65535 - CLIENT_COUNT}",
    ),
    Rule(
        "len(HOSTS) in (0, REPLICA_COUNT)",
        "hosts names one machine per replica, or none",
        at="HOSTS",
        remedy="list {REPLICA_COUNT} addresses, or write hosts = []",
    ),
    Rule(
        "WATCHDOG_MS == 0 or WATCHDOG_MS >= 6000",
        "a radio that is stuck holds a node for four seconds before it is restarted",
        at="WATCHDOG_MS",
        remedy="raise watchdog_ms to 6000, or write 0 to do without",
    ),
    Rule(
        'not DURABLE or TRANSPORT == "unix" or len(FRAM_PARTS) > 0',
        "what a board says outlives a power cut only in FRAM",
        at="FRAM_PARTS",
        remedy='name the chips, as parts = ["0x50:MB85RC512T"], or write "ram" in [storage]',
    ),
    Rule(
        "FRAM_SDA != FRAM_SCL",
        "data and clock of the FRAM are two pins",
        at="FRAM_SCL",
        remedy="give scl another pin than sda",
    ),
)


def derive(raw):
    """The raw constants and whatever of DERIVED can be computed from them."""
    values = dict(raw)
    for name, expression, _ in DERIVED:
        try:
            values[name] = _evaluate(expression, values)
        except NameError:
            continue
    return values


def broken_rules(raw):
    """Yield (constant, message) per rule that does not hold; `raw` may lack constants.

    A rule over a constant that is absent (its own message has been given) is skipped.
    """
    values = derive(raw)
    for rule in RULES:
        try:
            holds = _evaluate(rule.expression, values)
        except NameError:
            continue
        if not holds:
            remedy = re.sub(r"{(.*?)}", lambda m: str(_evaluate(m[1], values)), rule.remedy)
            facts = facts_of(rule.expression, values)
            yield rule.at, f"{rule.words} (rule: {rule.expression}); {facts}; {remedy}"


def facts_of(expression, values):
    """The constants in an expression with their values: `window = 3, QUORUM = 3`."""
    names = dict.fromkeys(re.findall(r"\b[A-Z][A-Z_]+\b", expression))
    return ", ".join(
        f"{BY_CONSTANT[name].key if name in BY_CONSTANT else name} = {shown(values[name])}"
        for name in names
        if name in values
    )


def _evaluate(expression, values):
    """Compute one of the expressions above (never one from outside)."""
    return eval(_compiled(expression), {"__builtins__": {"len": len, "min": min}}, values)


@cache
def _compiled(expression):
    """Thousands of configurations are looked at to find one that fits a budget."""
    return compile(expression, "<rule>", "eval")
