"""The host's client of an emulated group: the same Node as everywhere, at the modelled radio."""

import time

from hal.crypto import Crypto
from hal.filestore import FileStore
from hal.keys import load_keys
from tinybft.node import Node
from tools.refusal import Refusal
from tools.virt.station import Station

ASK_SECONDS = 30.0
STORE_LENGTH = 4096


class Client:
    """External client `client_id` (the first one by default) of a Group. `node`, `ask`."""

    def __init__(self, group, client_id=None):
        config = self.config = group.config
        self.client_id = config.REPLICA_COUNT if client_id is None else client_id
        if not config.REPLICA_COUNT <= self.client_id < config.CLIENT_COUNT:
            raise Refusal(
                f"client_count = {config.CLIENT_COUNT}: the host needs a client id of its own;"
                f" set it to {config.REPLICA_COUNT + 1} or more"
            )
        node_id, keys = load_keys(str(group.folder.key_file(self.client_id)), config)
        crypto = Crypto(node_id, keys, config.TAG_LENGTH)
        store = FileStore(str(group.folder.node_file(self.client_id, "store")), STORE_LENGTH)
        self.node = Node(Station(group.radio, config, node_id, crypto, store), config)

    def turn(self, wait_ms_max=20):
        """Let the node go on for a moment."""
        if not self.node.step():
            self.node.hal.wait(min(self.node.idle_ms(), wait_ms_max))

    def ask(self, operation, length, seconds_max=ASK_SECONDS):
        """Have operation[:length] executed; the reply as bytes. Raises Refusal on time-out."""
        client = self.node.client
        client.submit(operation, length, self.node.hal.now_ms())
        deadline = time.monotonic() + seconds_max
        while client.busy:
            self.turn()
            if time.monotonic() > deadline:
                raise Refusal(
                    f"no {self.config.WEAK_QUORUM} matching replies within {seconds_max:.0f} s;"
                    " see `tinybft monitor` and `t.why()` on a board"
                )
        return bytes(client.reply[: client.reply_length])

    def close(self):
        self.node.hal.close()
        self.node.hal.store.close()
