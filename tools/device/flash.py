"""`tinybft flash`: firmware onto boards, many at once; what a board is stays as it is."""

import rich_click as click

from tools.device import build, options
from tools.device.board import BoardFailure
from tools.device.fleet import Fleet
from tools.device.ports import chosen_ports

_STATE = (
    "the board cannot start until it is written whole. Its identity is untouched. Plug it in"
    " again and run the same command"
)


@click.command()
@options.port
@options.firmware
@options.no_stub
@click.option("--force", is_flag=True, help="Also onto a board of another group.")
def flash(ports, firmware, no_stub, force):
    """Write the firmware to boards; their identity and keys stay, unchanged pieces are skipped."""
    built = build.load(firmware or options.FIRMWARE)
    ports = chosen_ports(ports)
    click.echo(f"{built.folder}: {built.words}")
    with Fleet(ports, stub=not no_stub) as fleet:
        fleet.each(lambda board: check(board, built, force))
        fleet.each(lambda board: f"{write(board, built)}; identity kept: {board.found}")


def check(board, built, force):
    """Raise BoardFailure if this firmware must not, or cannot, go onto this board."""
    check_fit(board, built)
    own = board.found.identity
    config = built.config
    expected = (config.GROUP_ID, config.REPLICA_COUNT, config.CLIENT_COUNT)
    if own and (own.group_id, own.replica_count, own.client_count) != expected and not force:
        raise BoardFailure(
            f"is {own} of {own.replica_count} replicas and {own.client_count} nodes, but the"
            f" firmware in {built.folder} is for group {expected[0]} of {expected[1]} and"
            f" {expected[2]}, and would not run with these keys; nothing was written. Choose"
            " another --port or --firmware, or --force (its identity stays even then)"
        )


def check_fit(board, built):
    """Raise BoardFailure if the chip is another one, or its flash too small."""
    if board.chip != built.chip:
        raise BoardFailure(
            f"is an {board.chip}, but the firmware in {built.folder} is for {built.chip};"
            " nothing was written. Choose another --port or --firmware"
        )
    if board.flash_length is not None and board.flash_length < built.flash_length:
        raise BoardFailure(
            f"has {board.flash_length} bytes of flash, but the firmware in {built.folder} needs"
            f" {built.flash_length}; nothing was written. Take a board with more flash"
        )


def write(board, built):
    """Write the pieces that the board does not hold yet; returns words of what was done."""
    written = []
    for piece in built.pieces:
        if not board.holds(piece.offset, piece.data):
            board.write(piece.offset, piece.data, piece.name, _STATE)
            written.append(f"{piece.name} ({len(piece.data)} bytes)")
    return f"wrote {', '.join(written)}" if written else "has this firmware already"
