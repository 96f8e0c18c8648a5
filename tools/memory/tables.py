"""What `tinybft memory` prints. Every table fits into 80 columns."""

from rich.table import Table

from tools.config_sizes import region_totals, static_rows
from tools.memory.model import equations, model_total, model_totals
from tools.memory.report import espnow_length, source_words
from tools.memory.sums import PAPER, paper_totals
from tools.nonvolatile import grouped


def three_ways(config, found):
    """Model, regions, measured heap, and the paper's heap, by the rows of Table I."""
    table = _table("RAM of a replica in bytes, by the rows of the paper's Table I")
    table.add_column("row")
    for name in ("model", "regions", "measured", "paper, C++"):
        table.add_column(name, justify="right")
    model, regions = model_totals(config), paper_totals(static_rows(config))
    for row, paper in PAPER.items():
        by_model = grouped(model[row]) if row in model else ""
        table.add_row(row, by_model, grouped(regions[row]), "", grouped(paper))
    table.add_section()
    total = sum(regions.values())
    blocks = grouped(found["regions_on_heap"])
    table.add_row("regions, in blocks of the heap", "", "", blocks, "")
    table.add_row("interpreter's objects", "", "", grouped(found["objects"]), "")
    table.add_section()
    figures = (model_total(config), total, found["total"], sum(PAPER.values()))
    table.add_row("total", *map(grouped, figures), style="bold")
    return table


def source_line(config, found):
    """What the column "measured" is."""
    line = "Measured: " + source_words(found) + "."
    if espnow_length(config):
        line += f" ESP-NOW's buffers ({grouped(espnow_length(config))} bytes) are not in it."
    return line


def references(rows):
    table = _table("The paper's configurations, bytes")
    table.add_column("")
    for name in ("paper", "model", "regions", "measured"):
        table.add_column(name, justify="right")
    for row in rows:
        changed = row["changes"] and f", W={row['changes']['WINDOW']}"
        title = f"{row['name']} ({row['configuration']}{changed or ''})"
        paper = f"{grouped(row['paper']['bytes'])}\n{row['paper']['kind']}"
        cells = (grouped(row[name]) for name in ("model", "regions"))
        table.add_row(title, paper, *cells, _measured(row))
    return table


def model(config):
    """Equations 1 to 9."""
    table = _table("The paper's memory model")
    table.add_column("", justify="right")
    table.add_column("part")
    table.add_column("sum")
    table.add_column("bytes", justify="right")
    for number, name, formula, length, row in equations(config):
        table.add_row(str(number), name, formula, grouped(length), style="bold" if row else None)
    return table


def parameters(rows):
    table = _table("What a parameter costs, bytes")
    table.add_column("parameter")
    table.add_column("step")
    for name in ("regions", "else", "per one more"):
        table.add_column(name, justify="right")
    for row in rows:
        step = f"{grouped(row['from'])} -> {grouped(row['to'])}"
        cells = (f"{row['regions']:+}", f"{row['rest']:+}", f"{row['each']:g}")
        table.add_row(row["parameter"], step, *cells)
    return table


def scale(title, key, rows):
    table = _table(title)
    table.add_column(key, justify="right")
    for name in ("model", "regions", "measured"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = (grouped(row[name]) for name in ("model", "regions"))
        table.add_row(grouped(row[key]), *cells, _measured(row))
    return table


def regions(config):
    rows = static_rows(config)
    table = _table("Static regions")
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


def proposal_lines(number, proposal):
    """A configuration that fits, as lines of text."""
    about = "" if proposal["exact"] else f" (estimated, +- {proposal['error']})"
    keeps = proposal["keeps"] or "gives up the least"
    yield f"{number}. {keeps}: {grouped(proposal['measured_total'])} bytes{about}"
    changes = (f"{path} {old} -> {new}" for path, (old, new) in proposal["changes"].items())
    yield from (f"   {line}" for line in changes)
    if proposal["toml"]:
        yield ""
        yield from (f"       {line}" for line in proposal["toml"].splitlines())
    yield ""


def _measured(row):
    if row["measured"] is None:
        return "does not run"
    return ("" if row["exact"] else "about ") + grouped(row["measured"])


def _table(title):
    return Table(title=title, title_justify="left")
