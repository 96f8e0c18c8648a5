"""`tinybft keys`: one secret per pair of nodes, one file per node with that node's keys only.

Replicas share a key with everybody; external clients (ids from replica_count on) share keys
with replicas only. Keys are never printed. Files have mode 0600 in a folder of mode 0700 and
appear as a set: all are written under other names first, then put in place.
"""

import json
import os
import re
import secrets
import tempfile
from pathlib import Path

import rich_click as click

from tools.config import chosen_file, load
from tools.refusal import Refusal

FORMAT = 1
KEY_LENGTH = 16
_FILE_NAME = re.compile(r"node-\d+\.key\.json")


@click.command()
@click.argument("file", required=False)
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead of FILE.")
@click.option("--output", default="keys", show_default=True, help="Folder for the key files.")
@click.option("--force", is_flag=True, help="Replace the keys that are there, all of them.")
@click.option(
    "--node-count", type=int, metavar="N", help="Write the files of the first N nodes only."
)
def keys(file, name, output, force, node_count):
    """Make pairwise random keys for a group: OUTPUT/node-<id>.key.json for every node."""
    config = load(chosen_file(file, name))
    count = config.CLIENT_COUNT if node_count is None else node_count
    if not config.REPLICA_COUNT <= count <= config.CLIENT_COUNT:
        raise Refusal(
            f"--node-count {count}: must lie in {config.REPLICA_COUNT}..{config.CLIENT_COUNT}"
            " (replica_count..client_count); choose one in it or change client_count"
        )
    write_keys(config, Path(output), count, force)
    click.echo(f"{output}: keys of group {config.GROUP_ID} for {count} nodes, one file each")


def write_keys(config, folder, node_count, force=False):
    """Write the key files of nodes 0..node_count-1; raises Refusal.

    Each file has the keys of all peers that the configuration knows, as nodes demand. A node
    whose file is left out can join only after the keys of all have been made anew.
    """
    try:
        _prepare_folder(folder)
        old = {path for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name)}
        if old and not force:
            raise Refusal(
                f"{folder}: holds {len(old)} key files already; nodes that use them would be"
                " cut off. --force replaces them all, --output names another folder"
            )
        new = _write_set(config, folder, node_count)
        for path in old - new:
            path.unlink()
    except OSError as error:
        raise Refusal(
            f"{folder}: keys cannot be written ({error.strerror}); choose another --output"
        ) from error


def pairwise_keys(replica_count, node_count):
    """{node_id: {peer_id: key in hex}}; both ends of a pair hold the same key."""
    table = {node_id: {} for node_id in range(node_count)}
    for low in range(replica_count):
        for high in range(low + 1, node_count):
            key = secrets.token_hex(KEY_LENGTH)
            table[low][high] = key
            table[high][low] = key
    return table


def _prepare_folder(folder):
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
        folder.chmod(0o700)
    if not folder.is_dir():
        raise Refusal(f"{folder}: is not a folder; choose another --output")
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise Refusal(
            f"{folder}: other users may enter it (mode {mode:o}); run `chmod 700 {folder}`"
            " or choose another --output"
        )


def _write_set(config, folder, node_count):
    table = pairwise_keys(config.REPLICA_COUNT, config.CLIENT_COUNT)
    staged = []
    try:
        for node_id in range(node_count):
            text = _file_text(config, node_id, table[node_id])
            staged.append((_stage(folder, text), folder / f"node-{node_id}.key.json"))
        for temporary, path in staged:
            os.replace(temporary, path)
    finally:
        for temporary, _ in staged:
            Path(temporary).unlink(missing_ok=True)
    return {path for _, path in staged}


def _file_text(config, node_id, peers):
    content = {
        "format": FORMAT,
        "group_id": config.GROUP_ID,
        "node_id": node_id,
        "replica_count": config.REPLICA_COUNT,
        "client_count": config.CLIENT_COUNT,
        "keys": {str(peer_id): key for peer_id, key in sorted(peers.items())},
    }
    return json.dumps(content, indent=2) + "\n"


def _stage(folder, text):
    """Write text to a new file (mkstemp gives it mode 0600) and return its name."""
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".key.json")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return temporary
