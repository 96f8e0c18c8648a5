"""Which board is where: a small file, {"node id": "device"}, that commands leave for each other.

    {"0": "socket://127.0.0.1:47100", "1": "/dev/ttyACM0"}

`record` is for who has just seen a board (flash, provision, an emulated group); who wants one
asks `device_of`.
"""

import json
from pathlib import Path

from tools.refusal import Refusal

BOARDS_FILE = "build/boards.json"


def read_boards(path=BOARDS_FILE):
    """{node id: device}, in the order of the ids."""
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(
            f"{path}: not there, so it is not known which board is where; it is written by"
            " `tinybft provision` and `tinybft cluster --virt`, or name a board with --port"
        ) from None
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: cannot be read ({error}); remove it, or name --port") from None
    if not isinstance(table, dict) or not all(
        key.isdecimal() and isinstance(device, str) for key, device in table.items()
    ):
        raise Refusal(f'{path}: must be {{"node id": "device", ...}}; remove it, or name --port')
    return {int(key): table[key] for key in sorted(table, key=int)}


def record(boards, path=BOARDS_FILE, anew=False):
    """Note where boards are, {node id: device}. A device is one board: whoever was noted there
    before is not any more. anew: forget all others."""
    path = Path(path)
    known = {}
    if path.exists() and not anew:
        known = {key: device for key, device in read_boards(path).items()}
    known = {key: device for key, device in known.items() if device not in boards.values()}
    known.update(boards)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({str(key): known[key] for key in sorted(known)}) + "\n")
    fresh.replace(path)


def device_of(node_id, path=BOARDS_FILE):
    boards = read_boards(path)
    if node_id not in boards:
        known = ", ".join(str(key) for key in boards) or "none"
        raise Refusal(f"{path}: no board of node {node_id}; known: {known}; or name --port")
    return boards[node_id]
