"""`tinybft bench`: a table of benchmarks, each imported only when it is called.

Without a name the first one runs: `tinybft bench --loss 0,10` is `tinybft bench loss --loss 0,10`.
"""

import importlib

import rich_click as click

BENCHES = {
    "loss": "tools.cluster.bench:loss",
    "micro": "tools.bench.micro:micro",
    "compare": "tools.bench.compare:compare",
    "clients": "tools.bench.clients:clients",
    "radio": "tools.simulate.radio:radio",
    "scale": "tools.simulate.scale:scale",
}
FIRST = "loss"
HELP_OPTIONS = ("-h", "--help")


class BenchTable(click.RichGroup):
    """A group that looks its commands up in BENCHES."""

    def parse_args(self, ctx, args):
        if not args or args[0].startswith("-") and args[0] not in HELP_OPTIONS:
            args = [FIRST, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx):
        return list(BENCHES)

    def get_command(self, ctx, name):
        if name not in BENCHES:
            return None
        module, attribute = BENCHES[name].split(":")
        return getattr(importlib.import_module(module), attribute)


@click.group(cls=BenchTable)
def bench():
    """Measure the library on this machine; without a command's name: loss."""
