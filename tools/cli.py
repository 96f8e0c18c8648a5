"""The `tinybft` command: a table of subcommands, each imported only when it is called.

A subcommand reports bad input by raising `Refusal`; it is printed here, in one place, as
plain lines on stderr, and the exit code is 2.
"""

import importlib
import sys

import rich_click as click

from tools.refusal import Refusal

COMMANDS = {
    "config": "tools.config:config",
    "memory": "tools.memory.command:memory",
    "energy": "tools.energy:energy",
    "keys": "tools.keys:keys",
    "cluster": "tools.cluster.commands:cluster",
    "status": "tools.cluster.commands:status",
    "kv": "tools.cluster.commands:kv",
    "bench": "tools.bench.command:bench",
    "ycsb": "tools.ycsb.command:ycsb",
    "results": "tools.results.command:results",
    "simulate": "tools.simulate.command:simulate",
    "firmware": "tools.firmware.command:firmware",
    "devices": "tools.device.devices:devices",
    "flash": "tools.device.flash:flash",
    "provision": "tools.device.provision:provision",
    "run": "tools.device.run:run",
    "logs": "tools.device.logs:logs",
    "repl": "tools.device.console:repl",
    "monitor": "tools.device.monitor:monitor",
}


class CommandTable(click.RichGroup):
    """A group that looks its commands up in COMMANDS."""

    def list_commands(self, ctx):
        return list(COMMANDS)

    def get_command(self, ctx, name):
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name].split(":")
        return getattr(importlib.import_module(module), attribute)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            for line in refusal.lines:
                click.echo(line, err=True)
            ctx.exit(2)


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
def main():
    """TinyBFT for MicroPython: Byzantine fault tolerance in static memory."""


if __name__ == "__main__":
    sys.exit(main())
