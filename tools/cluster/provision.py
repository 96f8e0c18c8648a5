"""Non-volatile memory of a new group: made and formatted once, before the first start.

A run begins with a new group, so the memory that an earlier run left is formatted anew; but
not that of a group that --keep left behind, see kept.py. From then on only the replicas write
to it: one that finds its memory gone, or somebody else's, says so and does not help itself.
"""

from hal.crypto import digest_into
from hal.filestore import FileStore, StoreError
from tinybft.identity import format_store
from tinybft.request_ids import STORE_LENGTH
from tools.cluster.plans import store_length
from tools.refusal import Refusal


def provision(folder, config):
    """Format the memory of all replicas for this configuration; raises Refusal.

    Request ids rise on: they are the only thing that an earlier group leaves behind.
    """
    for replica_id in range(config.REPLICA_COUNT):
        path = folder.node_file(replica_id, "store")
        try:
            store = FileStore(str(path), store_length(config))
        except StoreError as error:
            raise Refusal(str(error)) from error
        try:
            request_ids = bytearray(STORE_LENGTH)
            store.read_into(0, request_ids, STORE_LENGTH)
            format_store(store, config, replica_id, digest_into)
            store.write(0, request_ids, STORE_LENGTH)
        finally:
            store.close()
