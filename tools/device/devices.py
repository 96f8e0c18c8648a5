"""`tinybft devices`: which boards are there, and what is on them."""

import json

import rich_click as click

from tools.device import build, options
from tools.device.fleet import Fleet
from tools.device.ports import chosen_ports


@click.command()
@options.port
@options.no_stub
@click.option("--names", is_flag=True, help="Only name the ports; leave the boards alone.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def devices(ports, no_stub, names, as_json):
    """List boards: chip, MAC, flash, firmware, identity. This restarts them, unless --names."""
    ports = chosen_ports(ports)
    if names:
        click.echo(json.dumps(ports) if as_json else "\n".join(ports))
        return
    seen = {}

    def look(board):
        try:
            board.open()
        finally:
            board.close()
        seen[board.port] = report(board)
        return None if as_json else _line(seen[board.port])

    try:
        Fleet(ports, stub=not no_stub).each(look)
    finally:
        if as_json:
            click.echo(json.dumps([seen[port] for port in ports if port in seen], indent=2))


def report(board):
    """What is known of a board, in plain values."""
    own = board.found.identity
    return {
        "port": board.port,
        "chip": board.chip,
        "mac": board.mac,
        "flash_length": board.flash_length,
        "firmware": build.app_words(board.app_head),
        "state": board.found.kind,
        "words": str(board.found),
        "group_id": own.group_id if own else None,
        "node_id": own.node_id if own else None,
    }


def _line(row):
    length = row["flash_length"]
    return ", ".join(
        (
            f"{row['chip']} {row['mac']}",
            f"{length // 2**20} MiB flash" if length else "flash of unknown size",
            row["firmware"] or "no firmware",
            row["words"],
        )
    )
