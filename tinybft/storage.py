"""Where the bulk fields of a replica lie: each in RAM or in the store, as its region's mode says.

    field      mode of        content
    bodies     agreement      request bodies of the slots; that of slot i is place i
    requests   event          the pending request of each client
    replies    event          the last reply to each client
    blocks     state          the live state
    pool       state          blocks as held checkpoints had them

"ram" and "mirror": in RAM (what "mirror" writes beside it is durability.py's). "nvm": in the
store alone, where layout.py says. Only `bodies` mean anything after a restart, and only those
that a record beside them names; the other fields are filled anew, as they are in RAM.

VIEW-CHANGE messages stay in RAM in every mode: the decision about a new view reads them at
random, entry by entry, over and over.
"""

from tinybft.bulk import InRam
from tinybft.memory import body_length, is_in_store, message_length


class Storage:
    """`store`: the HAL's, or None. StoreError: some field needs one, or a larger one."""

    def __init__(self, config, memory, store):
        self._store = store
        self._window = memory.window
        self._config = config
        # Where the state's are None `State` makes them from its own fields.
        self.blocks = self.pool = None
        if len(memory.window):
            from tinybft.identity import require_room

            require_room(store, config)
        body = body_length(config)
        reply = message_length(config, "REPLY")
        if is_in_store(config, "STORAGE_AGREEMENT"):
            self.bodies = self._stored("slots")
        else:
            self.bodies = InRam(memory.bodies, body)
        if is_in_store(config, "STORAGE_EVENT"):
            self.requests = self._stored("pending", body)
            self.replies = self._stored("replies", reply)
        else:
            self.requests = InRam(memory.requests, body)
            self.replies = InRam(memory.replies, reply)
        if is_in_store(config, "STORAGE_STATE"):
            self.blocks = self._stored("blocks", config.BLOCK_LENGTH)
            self.pool = self._stored("pool", config.PAGE_LENGTH)

    def _stored(self, area, stride=0):
        """Imported where it is needed: its modules take memory."""
        from tinybft.bulk_store import InStore
        from tinybft.layout import BATCH_TIME_LENGTH, SLOT_HEADER_LENGTH, areas, slot_length

        address = areas(self._config)[area]
        if area == "slots":
            stride = slot_length(self._config)
            address += SLOT_HEADER_LENGTH + BATCH_TIME_LENGTH  # durability.py's, before bodies
        return InStore(self._store, address, stride, self._window)
