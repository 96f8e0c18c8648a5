"""`tinybft memory`: model, regions and measured heap side by side; what fits a budget."""

import json

import rich_click as click
from rich.console import Console

from tools.config import chosen_file, load, summary
from tools.memory import fit, objects, scale, tables
from tools.memory.parameters import costs
from tools.memory.report import NOTE, on_board, references, report
from tools.memory.sums import compared
from tools.nonvolatile import comparison_table, grouped, map_table
from tools.refusal import Refusal

_FOLDER = "build/heap"


@click.command()
@click.argument("file", required=False)
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead of FILE.")
@click.option("--fit", "budget", type=int, metavar="BYTES", help="Propose what takes no more.")
@click.option("--scale", "with_scale", is_flag=True, help="Against the sizes of group and state.")
@click.option("--measure", "measures", is_flag=True, help="Measure now, on an emulated board.")
@click.option("--record", "records", is_flag=True, help="Measure and record what is shipped.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def memory(file, name, budget, with_scale, measures, records, as_json):  # noqa: PLR0913
    """Print the RAM of a replica: the paper's model, the static regions, the measured heap.

    By region and by the paper's Table I, beside the paper's configurations; what each parameter
    costs; and the map of the non-volatile memory.
    """
    path = chosen_file(file, name)
    if records:
        _refuse_together(record=True, fit=budget is not None, measure=measures)
        _record()
        return
    config = load(path)
    found = _on_board(path, config, as_json) if measures else objects.measured(config)
    proposals = None if budget is None else fit.proposals(config, budget)
    if as_json:
        result = report(config, found)
        if proposals is not None:
            result["fit"] = {"budget": budget, "proposals": [_plain(one) for one in proposals]}
        click.echo(json.dumps(result, indent=2))
        return
    console = Console()
    console.print(summary(config), highlight=False, soft_wrap=True)
    if proposals is not None:
        _say_proposals(budget, found, proposals)
    elif with_scale:
        _print_scale(console, config)
    else:
        _print(console, config, found)


def _print(console, config, found):
    console.print(tables.three_ways(config, found))
    console.print(tables.source_line(config, found), highlight=False)
    console.print(tables.references(references()))
    console.print(tables.model(config))
    console.print(tables.parameters(costs(config)))
    console.print(tables.regions(config))
    console.print(comparison_table(compared(config)))
    if config.NVM_LENGTH:
        console.print(map_table(config))
    console.print(NOTE, highlight=False)


def _print_scale(console, config):
    rows = scale.by_replicas(config)
    console.print(tables.scale("RAM by the size of the group, bytes", "replicas", rows))
    rows = scale.by_state(config)
    console.print(tables.scale("RAM by the size of the state, bytes", "state", rows))
    console.print("About: estimated from what was measured of others.")


def _say_proposals(budget, found, proposals):
    click.echo(f"takes {grouped(found['total'])} bytes of heap; budget {grouped(budget)}\n")
    for number, proposal in enumerate(proposals, 1):
        for line in tables.proposal_lines(number, proposal):
            click.echo(line)


def _plain(proposal):
    return {key: value for key, value in proposal.items() if key != "variant"}


def _on_board(path, config, silent):
    from tools.virt.heap import measure

    if not silent:
        click.echo("building firmware, measuring", err=True)
    estimate = objects.measured(config)["total"]
    return on_board(config, measure(_FOLDER, path, objects.heap_length(estimate)))


def _record():
    from tools.virt.heap import measure

    objects.record(_FOLDER, measure, lambda line: click.echo(line, err=True))


def _refuse_together(**options):
    given = [f"--{name}" for name, is_given in options.items() if is_given]
    if len(given) > 1:
        raise Refusal(f"{' and '.join(given)}: not both; leave out one of them")
