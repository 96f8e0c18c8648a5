"""`tinybft provision`: identity and keys onto boards, each its own and no more.

Which board becomes which node: --assign PORT=NODE; or --node in the order of the ports; or, with
neither, a board of this group stays what it is, and the others take the free replica ids in the
order of the ports.
"""

import time
from dataclasses import replace
from pathlib import Path

import rich_click as click

from tools.device import build, nvs, options
from tools.device.board import BoardFailure
from tools.device.boards import record
from tools.device.fleet import Fleet
from tools.device.identity import (
    first_request_ids,
    from_key_file,
    wifi_from_file,
    wifi_from_prompt,
)
from tools.device.ports import chosen_ports
from tools.refusal import Refusal

_STATE = (
    "its identity is incomplete, and it takes part in nothing until that is written whole. Its"
    " firmware is untouched. Plug it in again and run the same command"
)


@click.command()
@options.identity
@options.port
@options.firmware
@options.no_stub
@click.option("--force", is_flag=True, help="Replace another group's or node's identity.")
def provision(ports, firmware, no_stub, force, **choice):
    """Give boards their identity: group, node id, and the keys of that node only."""
    config = None
    if firmware or (Path(options.FIRMWARE) / build.MANIFEST).exists():
        config = build.load(firmware or options.FIRMWARE).config
    plan = Plan(ports, config, **choice)
    with Fleet(plan.ports, stub=not no_stub) as fleet:
        identities = plan.identities(fleet.boards)
        fleet.each(lambda board: check(board, identities[board], force))
        write_all(fleet, identities, lambda board: write(board, identities[board]))


class Plan:
    """Who is to become whom; what can be refused before a board is touched is refused here.

    config: of the firmware (GROUP_ID, ...), or None if that is not known.
    """

    def __init__(self, ports, config, keys, nodes, pairs, wifi, ask_wifi):
        self._config = config
        self._keys = keys
        chosen = _assigned(list(ports), list(nodes), list(pairs))
        self.ports = list(chosen)
        self._chosen = {
            port: from_key_file(keys, node_id, config)
            for port, node_id in chosen.items()
            if node_id is not None
        }
        if not self._chosen:
            self._any = from_key_file(keys, 0, config)
        if wifi and ask_wifi:
            raise Refusal("--wifi and --ask-wifi: leave out one of the two")
        self._wifi = wifi_from_file(wifi) if wifi else wifi_from_prompt() if ask_wifi else None

    def identities(self, boards):
        """{board: Identity}; raises Refusal."""
        if self._chosen:
            found = {board: self._chosen[board.port] for board in boards}
        else:
            found = {
                board: from_key_file(self._keys, node_id, self._config)
                for board, node_id in _free_ids(boards, self._any).items()
            }
        return {board: replace(identity, wifi=self._wifi) for board, identity in found.items()}


def write_all(fleet, identities, action):
    """Call action(board) for all, and note where each node now is, for other commands."""
    done = {}

    def run(board):
        words = action(board)
        done[identities[board].node_id] = board.port
        return words

    try:
        fleet.each(run)
    finally:
        record(done)


def check(board, identity, force, table=True):
    """Raise BoardFailure if this identity must not go onto this board.

    table: whether the board keeps the partition table that it has.
    """
    if board.chip != build.CHIP:
        raise BoardFailure(
            f"is an {board.chip}, not an {build.CHIP}; nothing was written. Choose another --port"
        )
    if force:
        return
    if table and board.partitions and not build.has_nvs(board.partitions):
        raise BoardFailure(
            "has a partition table of other software, without NVS where the identity belongs;"
            " nothing was written. Run `tinybft flash` first, or --force to write all the same"
        )
    found = board.found
    own = (identity.group_id, identity.node_id)
    if found.kind in ("foreign", "damaged") or (
        found.kind in ("provisioned", "incomplete") and found.claims != own
    ):
        raise BoardFailure(
            f"its NVS is {found}; to make it {identity} would erase that. Nothing was"
            " written. Choose another --port or node, or --force to replace it"
        )


def write(board, identity):
    """Write the NVS image, read it back and compare; returns words of what was done."""
    own = board.found.identity
    if own and str(own) == str(identity):
        identity = replace(identity, wifi=identity.wifi or own.wifi, request_ids=own.request_ids)
    if own == identity:
        return f"is {identity} with these keys already, nothing to do"
    if not identity.request_ids:
        identity = replace(identity, request_ids=first_request_ids(time.time()))
    image = identity.image()
    board.write(nvs.OFFSET, image, "identity", _STATE)
    read = board.read(nvs.OFFSET, nvs.LENGTH)
    if read != image:
        place = next(place for place, byte in enumerate(image) if read[place] != byte)
        raise BoardFailure(
            f"reads back other bytes than were written, first at {nvs.OFFSET + place:#x}; its"
            " identity is not to be relied on. Run the same command with --force; if it fails"
            " again, the flash is worn out: take another board"
        )
    before = "" if board.found.kind == "blank" else f", in place of: {board.found}"
    return f"is now {identity}{before}"


def _assigned(ports, nodes, pairs):
    """{port: node id or None}, in order; raises Refusal."""
    if nodes and pairs:
        raise Refusal("--node and --assign: leave out one of the two")
    if pairs:
        return _assigned_by_name(ports, pairs)
    ports = chosen_ports(ports)
    if nodes and len(nodes) != len(ports):
        raise Refusal(
            f"--node: {len(nodes)} node ids for {len(ports)} boards ({', '.join(ports)}); give one"
            " for each, in this order, or use --assign PORT=NODE"
        )
    return dict(zip(ports, _distinct(nodes) or [None] * len(ports), strict=True))


def _assigned_by_name(ports, pairs):
    named = []
    for pair in pairs:
        port, sign, digits = pair.rpartition("=")
        if not sign or not port or not digits.isdecimal():
            raise Refusal(f"--assign {pair}: must be PORT=NODE, as /dev/ttyACM0=2")
        named.append((port, int(digits)))
    names = [port for port, _ in named]
    if ports and sorted(ports) != sorted(names):
        raise Refusal(
            f"--assign: names {', '.join(names)}, but --port {', '.join(ports)}; --port can be"
            " left out"
        )
    _distinct([node_id for _, node_id in named])
    return dict(zip(chosen_ports(names), (node_id for _, node_id in named), strict=True))


def _distinct(nodes):
    for node_id in nodes:
        if nodes.count(node_id) > 1:
            raise Refusal(
                f"node {node_id}: is given to two boards; two replicas with one identity count"
                " as a faulty one. Give each board its own id"
            )
    return nodes


def _free_ids(boards, any_identity):
    """{board: node id}: boards of the group stay who they are, the others take what is free."""
    chosen = {}
    for board in boards:
        own = board.found.identity
        if own and own.group_id == any_identity.group_id:
            if own.node_id in chosen.values():
                raise Refusal(
                    f"{board.port}: is {own}, and so is another board; say which is which with"
                    " --assign PORT=NODE, and --force"
                )
            chosen[board] = own.node_id
    free = [
        node_id for node_id in range(any_identity.replica_count) if node_id not in chosen.values()
    ]
    rest = [board for board in boards if board not in chosen]
    if len(rest) > len(free):
        raise Refusal(
            f"{len(boards)} boards, but the group has {any_identity.replica_count} replicas;"
            " name the boards that are meant with --port"
        )
    return chosen | dict(zip(rest, free, strict=False))
