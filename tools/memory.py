"""`tinybft memory`: what a configuration costs in RAM and in non-volatile memory.

Counted are the regions as `tinybft.memory` reserves them and the frame buffers of `hal`. The
interpreter's objects (class and module dicts, instances, memoryviews) come on top and are not
counted here.
"""

import json
from collections import Counter

import rich_click as click
from rich.console import Console
from rich.table import Table

from tools.config import chosen_file, load, summary
from tools.config_sizes import region_totals, static_rows
from tools.nonvolatile import comparison, comparison_table, grouped, map_report, map_table

# TinyBFT, RTAS 2024, Table I: bytes after start-up of the C++ system, PBFT_ESP
PAPER = {
    "client": 11460,
    "agreement": 11908,
    "execution": 115780,
    "view": 7920,
    "other": 18447,
}
_NOTE = (
    "Counted: the static regions and the frame buffers. Not counted: the interpreter's objects"
    " (module and class dicts, instances, views), which take further heap. The paper's figures"
    " are the C++ system in its configuration PBFT_ESP."
)


@click.command()
@click.argument("file", required=False)
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead of FILE.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def memory(file, name, as_json):
    """Print the static memory by region and by the paper's Table I, and the non-volatile map."""
    config = load(chosen_file(file, name))
    rows = static_rows(config)
    if as_json:
        click.echo(json.dumps(report(config, rows), indent=2))
        return
    console = Console()
    console.print(summary(config), highlight=False, soft_wrap=True)
    console.print(_region_table(config, rows))
    console.print(_paper_table(rows))
    console.print(comparison_table(compared(config)))
    if config.NVM_LENGTH:
        console.print(map_table(config))
    console.print(_NOTE, highlight=False)


def paper_totals(rows):
    """{row of Table I: bytes} in the order of the paper."""
    totals = Counter()
    for _, _, length, _, row in rows:
        totals[row] += length
    return {row: totals[row] for row in PAPER}


def compared(config):
    """Internal RAM with regions in "ram", "mirror" and "nvm"; see nonvolatile.comparison."""
    return comparison(config, lambda variant: region_totals(static_rows(variant)))


def report(config, rows):
    """All figures as one JSON-able dict."""
    return {
        "configuration": config.CONFIG_NAME,
        "hash": config.CONFIG_HASH,
        "fields": [
            {"region": region, "field": field, "bytes": length, "sum": text, "row": row}
            for region, field, length, text, row in rows
        ],
        "regions": region_totals(rows),
        "table_1": {"regions": paper_totals(rows), "paper": PAPER},
        "total": sum(row[2] for row in rows),
        "ram_max": config.RAM_MAX,
        "storage": compared(config),
        "non_volatile": map_report(config),
        "note": _NOTE,
    }


def _region_table(config, rows):
    table = Table(title="Static regions", title_justify="left")
    table.add_column("region")
    table.add_column("field")
    table.add_column("bytes", justify="right")
    table.add_column("how the sum is made")
    totals = region_totals(rows)
    previous = None
    for region, field, length, text, _ in rows:
        if region != previous:
            table.add_section()
            table.add_row(region, "", grouped(totals[region]), "", style="bold")
            previous = region
        table.add_row("", field, grouped(length), text)
    table.add_section()
    budget = f"of ram_max {grouped(config.RAM_MAX)}"
    table.add_row("total", "", grouped(sum(totals.values())), budget, style="bold")
    return table


def _paper_table(rows):
    table = Table(title="By the rows of the paper's Table I", title_justify="left")
    table.add_column("row")
    table.add_column("regions, bytes", justify="right")
    table.add_column("paper (C++), bytes", justify="right")
    totals = paper_totals(rows)
    for row, length in totals.items():
        table.add_row(row, grouped(length), grouped(PAPER[row]))
    table.add_section()
    ours, theirs = sum(totals.values()), sum(PAPER.values())
    table.add_row("total", grouped(ours), grouped(theirs), style="bold")
    return table
