"""The external client inside the `tinybft` command: it asks a running group and waits.

The same Node as everywhere, on CPython. One process at a time may be a client id: a lock file
makes the second wait, because request ids of one client must rise.
"""

import fcntl
import time

from hal.crypto import Crypto
from hal.filestore import StoreError
from hal.keys import KeyFileError, load_keys
from hal.unix import Hal, HalError
from tinybft.node import Node
from tinybft.request_ids import StoreError as UntrustedStore
from tools.cluster.plans import store_length
from tools.refusal import Refusal

SECONDS_MAX = 15.0


class ExternalClient:
    """One client id of a run. Use as a context manager; raises Refusal."""

    def __init__(self, folder, config, client_id, key_path=None, network=None):
        if not config.REPLICA_COUNT <= client_id < config.CLIENT_COUNT:
            raise Refusal(
                f"client {client_id}: unknown; external clients of this group have the ids"
                f" {config.REPLICA_COUNT}..{config.CLIENT_COUNT - 1} (client_count ="
                f" {config.CLIENT_COUNT})"
            )
        self.config = config
        self.client_id = client_id
        self._folder = folder
        self._key_path = str(key_path or folder.key_file(client_id))
        self._network = network or {}
        self._lock = None
        self._node = None

    def __enter__(self):
        self._lock = self._folder.node_file(self.client_id, "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._node = self._open()
        except (HalError, KeyFileError, StoreError) as error:
            self._lock.close()
            raise Refusal(str(error)) from error
        return self

    def __exit__(self, *_):
        self._node.hal.close()
        self._lock.close()

    def _open(self):
        config = self.config
        key_id, keys = load_keys(self._key_path, config)
        if key_id != self.client_id:
            raise KeyFileError(
                f"{self._key_path}: holds the keys of node {key_id}, but this is client"
                f" {self.client_id}; name its own file"
            )
        crypto = Crypto(self.client_id, keys, config.TAG_LENGTH)
        store_path = str(self._folder.node_file(self.client_id, "store"))
        length = store_length(config)
        hal = Hal(
            config,
            self.client_id,
            crypto,
            store_path=store_path,
            store_length=length,
            **self._network,
        )
        try:
            return Node(hal, config)
        except UntrustedStore as error:
            hal.close()
            raise StoreError(f"{store_path}: {error}") from error

    def ask(self, operation, length, seconds_max=SECONDS_MAX):
        """Have operation[:length] executed; the reply as bytes. Raises Refusal on time-out."""
        node = self._node
        client = node.client
        deadline = time.monotonic() + seconds_max
        client.submit(operation, length, node.hal.now_ms())
        while client.busy:
            if not node.step():
                node.hal.wait(min(node.idle_ms(), 100))
            if time.monotonic() > deadline:
                raise Refusal(
                    f"no {self.config.WEAK_QUORUM} matching replies within {seconds_max:.0f} s;"
                    f" see `tinybft status --run-dir {self._folder.path}`: more than"
                    f" {self.config.FAULT_COUNT} dead replicas, or `mac` faults (keys of"
                    " another group)?"
                )
        return bytes(client.reply[: client.reply_length])
