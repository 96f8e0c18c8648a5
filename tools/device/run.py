"""`tinybft run`: firmware, identity and keys onto boards, then what they print: the first day."""

import rich_click as click

from tools.device import build, options
from tools.device.flash import check_fit
from tools.device.flash import write as write_firmware
from tools.device.fleet import Fleet
from tools.device.logs import follow
from tools.device.provision import Plan, write_all
from tools.device.provision import check as check_identity
from tools.device.provision import write as write_identity


@click.command()
@options.identity
@options.port
@options.firmware
@options.no_stub
@click.option("--force", is_flag=True, help="Replace another group's or node's identity.")
@click.option("--seconds", type=float, metavar="S", help="Show the logs for S seconds only.")
def run(ports, firmware, no_stub, force, seconds, **choice):
    """Flash and provision boards, start them, and show what they print, until Ctrl-C."""
    built = build.load(firmware or options.FIRMWARE)
    plan = Plan(ports, built.config, **choice)
    click.echo(f"{built.folder}: {built.words}")
    with Fleet(plan.ports, stub=not no_stub) as fleet:
        identities = plan.identities(fleet.boards)

        def check(board):
            check_fit(board, built)
            # the partition table that counts is the one that will be written
            check_identity(board, identities[board], force, table=False)

        def write(board):
            return f"{write_firmware(board, built)}; {write_identity(board, identities[board])}"

        fleet.each(check)
        write_all(fleet, identities, write)
    click.echo("the boards start now; what they print, until Ctrl-C:")
    names = {board.port: f"node {identities[board].node_id}" for board in fleet.boards}
    follow(names, seconds)
