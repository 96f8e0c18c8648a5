"""Stand-ins that the tests of the core share: a configuration of any size, a hash."""

import hashlib

_RAW = {
    "FAULT_COUNT": 1,
    "GROUP_ID": 1,
    "CLIENT_COUNT": 5,
    "WINDOW": 4,
    "CHECKPOINT_INTERVAL": 2,
    "BATCH_COUNT_MAX": 4,
    "PIPELINE": 2,
    "READ_ONLY": False,
    "TENTATIVE": False,
    "REQUEST_LENGTH_MAX": 1024,
    "REPLY_LENGTH_MAX": 1024,
    "MESSAGE_LENGTH_MAX": 1152,
    "INLINE_LENGTH_MAX": 128,
    "STATE_LENGTH": 16384,
    "BLOCK_LENGTH": 1024,
    "BATCH_PAGES_MAX": 65535,
    "TAG_LENGTH": 8,
    "CONFIG_HASH": "18d62a17",
    "STORAGE_AGREEMENT": "ram",
    "STORAGE_CHECKPOINT": "ram",
    "STORAGE_EVENT": "ram",
    "STORAGE_STATE": "ram",
    "NVM_LENGTH": 0,
}


class Config:
    """`Config(BLOCK_LENGTH=64)`: the defaults of config.toml but for what is named."""

    def __init__(self, **changed):
        for name in _RAW:
            setattr(self, name, changed.pop(name, _RAW[name]))
        assert not changed, changed
        self.REPLICA_COUNT = 3 * self.FAULT_COUNT + 1
        self.QUORUM = 2 * self.FAULT_COUNT + 1
        self.WEAK_QUORUM = self.FAULT_COUNT + 1
        self.CHECKPOINT_COUNT = self.WINDOW // self.CHECKPOINT_INTERVAL + 1
        self.SLOT_COUNT = self.WINDOW + self.PIPELINE
        self.CLIENT_ENTRY_LENGTH = 40
        self.SYSTEM_LENGTH = 16 + 40 * self.CLIENT_COUNT
        self.BLOCK_COUNT = -(-(self.STATE_LENGTH + self.SYSTEM_LENGTH) // self.BLOCK_LENGTH)
        self.DURABLE = self.STORAGE_EVENT != "ram"
        self.STATE_DURABLE = self.STORAGE_STATE != "ram"
        self.PAGE_LENGTH = 64 if self.BLOCK_LENGTH % 64 == 0 else 16
        self.PAGE_COUNT = self.BLOCK_COUNT * self.BLOCK_LENGTH // self.PAGE_LENGTH
        self.STATE_PAGE_COUNT = self.STATE_LENGTH // self.PAGE_LENGTH
        pages = min(self.CHECKPOINT_INTERVAL * self.BATCH_PAGES_MAX, self.STATE_PAGE_COUNT)
        pages += -(-self.SYSTEM_LENGTH // self.PAGE_LENGTH)
        self.CHANGED_PAGES_MAX = pages
        self.POOL_PAGE_COUNT = (self.CHECKPOINT_COUNT - 1) * pages


def digest_into(buf, start, length, out, at):
    out[at : at + 32] = sha256(bytes(memoryview(buf)[start : start + length]))


def digest_nothing(buf, start, length, out, at):
    """Takes the place of `digest_into` where allocation is measured."""


def sha256(octets):
    return hashlib.sha256(octets).digest()


def allocated_by(action):
    """Bytes of heap that a call of `action` takes, or 0 where nobody can tell (CPython)."""
    import gc

    if not hasattr(gc, "mem_alloc"):
        action()
        return 0
    action()  # first calls may fill caches
    gc.collect()
    gc.disable()
    try:
        before = gc.mem_alloc()
        between = gc.mem_alloc()
        action()
        return gc.mem_alloc() - between - (between - before)
    finally:
        gc.enable()
