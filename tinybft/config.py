"""generated from config.toml by `tinybft config`; edit that file

Raw values as config.toml has them, sizes derived from them, and what must hold between
them. Plain integers and strings: reading one allocates nothing. CONFIG_HASH covers the
values that all members of a group must share.
"""

CONFIG_NAME = "default"
CONFIG_HASH = "97930594"

# [group]
FAULT_COUNT = 1
GROUP_ID = 1
CLIENT_COUNT = 5

# [agreement]
WINDOW = 4
CHECKPOINT_INTERVAL = 2
BATCH_COUNT_MAX = 4
PIPELINE = 1
READ_ONLY = False
TENTATIVE = False

# [sizes]
REQUEST_LENGTH_MAX = 1024
REPLY_LENGTH_MAX = 1024
MESSAGE_LENGTH_MAX = 1072
INLINE_LENGTH_MAX = 128

# [state]
STATE_LENGTH = 16384
BLOCK_LENGTH = 1024
BATCH_PAGES_MAX = 22

# [authentication]
TAG_LENGTH = 8

# [timeouts]
REPAIR_MS = 2
RETRY_MS = 20
STATUS_MS = 500
REQUEST_MS = 1000
VIEW_CHANGE_MS = 2000
RETRY_MAX_MS = 2000
CLOCK_SKEW_MS = 1000
STAGGER_MS = 0

# [storage]
STORAGE_AGREEMENT = "ram"
STORAGE_CHECKPOINT = "ram"
STORAGE_EVENT = "ram"
STORAGE_STATE = "ram"
NVM_LENGTH = 0

# [budget]
RAM_MAX = 60000

# [transport]
TRANSPORT = "unix"
FRAME_LENGTH = 250
MULTICAST_GROUP = "239.66.84.1"
PORT = 47000
INTERFACE = "127.0.0.1"
HOSTS = ()

# [radio]
RADIO_CHANNEL = 1
RADIO_RATE_KBIT = 1000
RADIO_POWER_SAVE = False
WATCHDOG_MS = 0

# [fram]
FRAM_SDA = 6
FRAM_SCL = 7
FRAM_FREQUENCY = 400000
FRAM_PARTS = ()

# derived
# n, ids 0..n-1
REPLICA_COUNT = 3 * FAULT_COUNT + 1
# any two share a correct replica
QUORUM = 2 * FAULT_COUNT + 1
# one of them is correct
WEAK_QUORUM = FAULT_COUNT + 1
# open batches, and those that prepared in an earlier view and are not executed
SLOT_COUNT = WINDOW + PIPELINE
# snapshots alive at once
CHECKPOINT_COUNT = WINDOW // CHECKPOINT_INTERVAL + 1
# bytes per client in the replicated client table
CLIENT_ENTRY_LENGTH = 40
# execution record and client table, the library's part of the replicated state
SYSTEM_LENGTH = 16 + CLIENT_ENTRY_LENGTH * CLIENT_COUNT
# blocks of the whole replicated state
BLOCK_COUNT = (STATE_LENGTH + SYSTEM_LENGTH + BLOCK_LENGTH - 1) // BLOCK_LENGTH
# bytes copied at once of a block
PAGE_LENGTH = 64 if BLOCK_LENGTH % 64 == 0 else 16
# pages of the whole state
PAGE_COUNT = BLOCK_COUNT * BLOCK_LENGTH // PAGE_LENGTH
# pages of the application's part
STATE_PAGE_COUNT = STATE_LENGTH // PAGE_LENGTH
# pages of the library's part
SYSTEM_PAGE_COUNT = (SYSTEM_LENGTH + PAGE_LENGTH - 1) // PAGE_LENGTH
# pages that change from one checkpoint to the next, the worst case: of the application
# what the budget of K batches allows, of the library all of them
CHANGED_PAGES_MAX = (
    min(CHECKPOINT_INTERVAL * BATCH_PAGES_MAX, STATE_PAGE_COUNT) + SYSTEM_PAGE_COUNT
)
# old pages kept for snapshots, see tinybft/snapshots.py
POOL_PAGE_COUNT = (CHECKPOINT_COUNT - 1) * CHANGED_PAGES_MAX
# pages of the application that the batches from low to high mark change: each of the
# W batches as many as its budget, and between two checkpoints each page once
WINDOW_PAGE_COUNT = min(WINDOW * BATCH_PAGES_MAX, (CHECKPOINT_COUNT - 1) * STATE_PAGE_COUNT)
# what a replica said survives a power cut
DURABLE = STORAGE_EVENT != "ram"
# and so does the last stable checkpoint
STATE_DURABLE = STORAGE_STATE != "ram"

assert REPLICA_COUNT <= 31, "vote masks have 31 bits"
assert CLIENT_COUNT >= REPLICA_COUNT, "every replica is a client too"
assert CLIENT_COUNT <= 255, "a frame names its transmitter and its receiver in two bytes"
assert WINDOW >= 2 * CHECKPOINT_INTERVAL, (
    "the window must hold two checkpoint intervals, or it stops until one is stable"
)
assert WINDOW % CHECKPOINT_INTERVAL == 0, (
    "the window must be a multiple of the checkpoint interval"
)
assert WINDOW * (FAULT_COUNT + 2) <= 255, (
    "a VIEW-CHANGE counts its f + 2 claims per slot in one byte"
)
assert PIPELINE <= WINDOW, "only batches inside the window can be open"
assert MESSAGE_LENGTH_MAX % 4 == 0, (
    "message slots lie one after another and must stay aligned to 4 bytes"
)
assert INLINE_LENGTH_MAX <= MESSAGE_LENGTH_MAX, (
    "a request inside a pre-prepare is shorter than the message"
)
assert BLOCK_LENGTH % 16 == 0, "blocks must stay aligned for hashing and copying"
assert STATE_LENGTH % PAGE_LENGTH == 0, "a page belongs to the application or to the library"
assert PAGE_COUNT <= 65535, "a page of the state is named by two bytes"
assert POOL_PAGE_COUNT - (CHECKPOINT_COUNT - 1) * SYSTEM_PAGE_COUNT >= WINDOW_PAGE_COUNT, (
    "the snapshot pool has room for all that the batches of a window change"
)
assert REPAIR_MS <= RETRY_MS, "replicas repair among themselves before clients retry"
assert RETRY_MS < STATUS_MS, "an idle replica speaks less often than a waiting client"
assert STATUS_MS <= REQUEST_MS, "a lost proposal is noticed before the primary is suspected"
assert REQUEST_MS <= VIEW_CHANGE_MS, "a view change gets at least the time of a request"
assert RETRY_MS <= RETRY_MAX_MS, "a client's retry delay starts below its limit"
assert (STORAGE_AGREEMENT == "ram") == (STORAGE_CHECKPOINT == "ram") == (STORAGE_EVENT == "ram"), (
    "what a replica said is known after a power cut only if all three regions are durable"
)
assert STORAGE_CHECKPOINT != "nvm", (
    "a window onto so small a region would be as large as the region"
)
assert STORAGE_STATE == "ram" or STORAGE_EVENT != "ram", (
    "a state that outlives a power cut needs votes that do"
)
assert FRAME_LENGTH <= 250 or TRANSPORT != "esp_now", "an ESP-NOW frame carries at most 250 bytes"
assert PORT + CLIENT_COUNT <= 65535, "each node has a UDP port of its own above the group's"
assert len(HOSTS) in (0, REPLICA_COUNT), "hosts names one machine per replica, or none"
assert WATCHDOG_MS == 0 or WATCHDOG_MS >= 6000, (
    "a radio that is stuck holds a node for four seconds before it is restarted"
)
assert not DURABLE or TRANSPORT == "unix" or len(FRAM_PARTS) > 0, (
    "what a board says outlives a power cut only in FRAM"
)
assert FRAM_SDA != FRAM_SCL, "data and clock of the FRAM are two pins"
