"""Everything that `tinybft memory` knows about a configuration, as one JSON-able dict."""

from hal.espnow_sizes import espnow_memory_rows
from tools.config_sizes import region_totals, static_rows
from tools.memory import scale
from tools.memory.model import REFERENCES, equations, model_total, model_totals, reference, sizes
from tools.memory.parameters import costs
from tools.memory.sums import PAPER, compared, on_heap, paper_totals
from tools.memory.variants import is_valid
from tools.nonvolatile import map_report

NOTE = (
    "Model: the paper's equations 1 to 9 with the longest messages of this project. Regions: the"
    " static regions and the frame buffers, as they are allocated at the start. Measured: heap in"
    " use of a started 32-bit replica less that of a bare interpreter, so everything that the"
    " library takes: regions in whole blocks of the heap, and the interpreter's objects (module"
    " and class dicts, instances, views). The paper's figures are the C++ system's."
)


def report(config, found):
    """found: of the heap, as `objects.measured` returns it, or `on_board`."""
    rows = static_rows(config)
    return {
        "measured_total": found["total"],
        "configuration": config.CONFIG_NAME,
        "hash": config.CONFIG_HASH,
        "measured": {**found, "espnow_besides": espnow_length(config)},
        "model": {
            "total": model_total(config),
            "table_1": model_totals(config),
            "messages": sizes(config),
            "equations": [
                {"number": number, "name": name, "formula": formula, "bytes": length, "row": row}
                for number, name, formula, length, row in equations(config)
            ],
        },
        "fields": [
            {"region": region, "field": field, "bytes": length, "sum": text, "row": row}
            for region, field, length, text, row in rows
        ],
        "regions": region_totals(rows),
        "table_1": {"regions": paper_totals(rows), "paper": PAPER},
        "total": sum(row[2] for row in rows),
        "ram_max": config.RAM_MAX,
        "references": references(),
        "parameters": costs(config),
        "scale": {
            "replicas": scale.by_replicas(config),
            "state": scale.by_state(config),
        },
        "storage": compared(config),
        "non_volatile": map_report(config),
        "note": NOTE,
    }


def on_board(config, heap):
    """As `objects.measured`, out of what `tools.virt.heap.measure` found just now."""
    total = heap["started"] - heap["bare"]
    return {
        "total": total,
        "regions_on_heap": on_heap(config),
        "objects": total - on_heap(config),
        "exact": True,
        "error": 0,
        "stale": False,
        "source": "measured now",
    }


def references():
    """The paper's configurations: its figure, and what this project has to set against it."""
    rows = []
    for name, (shipped, changes, octets, kind) in REFERENCES.items():
        config = reference(name)
        row = {"name": name, "configuration": shipped, "changes": changes}
        row["paper"] = {"bytes": octets, "kind": kind}
        row |= scale.figures(config)
        if not is_valid(config):  # no replica would start with it
            row |= {"measured": None, "exact": False}
        rows.append(row)
    return rows


def espnow_length(config):
    """Bytes of ESP-NOW's buffers, which an emulated board does not have."""
    return sum(row[2] for row in espnow_memory_rows(config))


def source_words(found):
    """Where the measured figure comes from, in words."""
    if found["source"] == "measured now":
        return "now, on an emulated board"
    if not found["exact"]:
        words = f"not yet; estimated, +- {found['error']} bytes (--measure measures)"
    else:
        words = "on an emulated board, and recorded"
    if found["stale"]:
        words += "; the code has changed since: `tinybft memory --record`"
    return words
