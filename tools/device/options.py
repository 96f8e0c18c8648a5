"""Options that several of the device commands have."""

import rich_click as click

FIRMWARE = "build/firmware/TINYBFT_C3"

port = click.option(
    "--port", "ports", metavar="PORT", multiple=True, help="A board's port; default: all found."
)
firmware = click.option(
    "--firmware", metavar="DIR", help=f"What `tinybft firmware` built; default: {FIRMWARE}."
)
no_stub = click.option(
    "--no-stub", is_flag=True, help="Talk to the chip's own boot loader only (slow, sturdy)."
)


def identity(command):
    """--keys, --node, --assign, --wifi, --ask-wifi of a command that provisions."""
    for option in (
        click.option(
            "--ask-wifi", is_flag=True, help="Ask for the WiFi network and its password."
        ),
        click.option("--wifi", metavar="FILE", help="TOML with ssid and password, mode 600."),
        click.option(
            "--assign", "pairs", metavar="PORT=NODE", multiple=True, help="Node id of one board."
        ),
        click.option(
            "--node",
            "nodes",
            type=int,
            metavar="N",
            multiple=True,
            help="Node ids of the boards, in the order of the ports.",
        ),
        click.option(
            "--keys",
            default="keys",
            show_default=True,
            metavar="DIR",
            help="What `tinybft keys` made.",
        ),
    ):
        command = option(command)
    return command
