"""From what the board counted to figures per message, operation, checkpoint, event; tables.

Everything is in rv32imc instructions, or bytes. Replicas only, unless a row says "client".
"""

from rich.console import Console
from rich.table import Table

from tinybft import wire

EXECUTING = " executing"
CYCLES_PER_INSTRUCTION = 1.4
CYCLES_PER_US = 160
TARGET = 600000  # per committed put of 64 bytes and replica
_BACKGROUND = ("timer", "submit", "nothing due")


def microseconds(instructions):
    """Of an ESP32-C3."""
    return instructions * CYCLES_PER_INSTRUCTION / CYCLES_PER_US


def summary(config, counted, heap):
    """One JSON-able dict of what `counting/stories.py` and `counting/start.py` returned."""
    stories = counted["operations"]
    n = config.REPLICA_COUNT
    everything = [story["spans"] for story in stories]
    everything += [counted["idle"]["spans"], counted["transfer"]["spans"]]
    everything += [counted["view_change"]["spans"], counted["view_change"]["returned"]]
    operations = [_operation(config, story) for story in stories]
    return {
        "configuration": {
            "name": config.CONFIG_NAME,
            "hash": config.CONFIG_HASH,
            "checkpoint_interval": config.CHECKPOINT_INTERVAL,
        },
        "operations": operations,
        "types": _types(everything, n),
        "idle": _idle(counted["idle"], n),
        "transfer": _transfer(counted["transfer"], n),
        "view_change": _view_change(counted["view_change"], n),
        "heap": _heap(heap, counted["allocation"], n),
        "points": _points(stories, n),
        "client": _client(stories, config),
    }


# --- sums over spans: {node id: {what: [messages, instructions, most, bytes]}} ---


def _rows(spans, nodes):
    for node_id in nodes:
        yield from spans.get(str(node_id), {}).items()


def _added(rows):
    """[messages, instructions, most, bytes] over rows."""
    total = [0, 0, 0, 0]
    for row in rows:
        total = [total[0] + row[0], total[1] + row[1], max(total[2], row[2]), total[3] + row[3]]
    return total


def _by_type(spans, nodes):
    """{name of a type: [...]}, steps in which something was executed included."""
    found = {}
    for what, row in _rows(spans, nodes):
        found.setdefault(what.removesuffix(EXECUTING), []).append(row)
    return {what: _added(rows) for what, rows in found.items()}


def _instructions(spans, nodes):
    return sum(row[1] for _, row in _rows(spans, nodes))


def _mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


# --- figures ---


def _operation(config, story):
    n, interval = config.REPLICA_COUNT, config.CHECKPOINT_INTERVAL
    client, count = story["client"], len(story["totals"])
    totals = story["totals"]
    backups = [i for i in range(1, n) if i != client]
    by_type = _by_type(story["spans"], range(n))
    means = [_mean(total[i] for total in totals) for i in range(len(totals[0]))]
    per_operation = [_mean(total[:n]) for total in totals]
    is_ordered = story["what"] != "read"
    checkpoint = None
    if is_ordered and interval > 1:
        # Operations one by one: each interval holds one with a checkpoint, the dearest.
        spans = [
            per_operation[at : at + interval] for at in range(0, count - interval + 1, interval)
        ]
        checkpoint = _mean(max(s) - (sum(s) - max(s)) / (interval - 1) for s in spans)
    return {
        "what": story["what"],
        "length": story["length"],
        "client": "external" if client >= n else f"replica {client}",
        "status": story["status"],
        "operations": count,
        "primary": round(means[0]),
        "client_replica": round(means[client]) if client < n else None,
        "backup": round(_mean(means[i] for i in backups)),
        "mean": round(_mean(means[:n])),
        "client_itself": round(means[client]) if client >= n else None,
        "checkpoint": None if checkpoint is None else round(checkpoint),
        "types": {
            what: {
                "per_operation": round(row[0] / count / n, 3),
                "instructions": round(row[1] / count / n),
            }
            for what, row in sorted(by_type.items())
        },
    }


def _types(everything, n):
    """Receiving a message of each type: how many were counted, mean, most."""
    found = {}
    for name in wire.TYPE_NAMES[1:]:
        rows = [_by_type(spans, range(n)).get(name, [0, 0, 0, 0]) for spans in everything]
        messages, instructions, most, octets = _added(rows)
        if messages:
            found[name] = {
                "messages": messages,
                "length": round(octets / messages),
                "mean": round(instructions / messages),
                "most": most,
            }
    return found


def _idle(idle, n):
    steps = _by_type(idle["steps"], range(n))["nothing due"]
    second = _instructions(idle["spans"], range(n)) / n / idle["seconds"]
    return {"step": round(steps[1] / steps[0]), "per_second": round(second)}


def _transfer(transfer, n):
    kinds = {"FETCH", "META-DATA", "DATA", "timer"}
    blocks = transfer["blocks"]
    fetching = _by_type(transfer["spans"], [n - 1])
    serving = _by_type(transfer["spans"], range(n - 1))

    def per_block(table):
        return round(sum(row[1] for what, row in table.items() if what in kinds) / blocks)

    return {"blocks": blocks, "fetching": per_block(fetching), "serving": per_block(serving)}


def _view_change(story, n):
    """Of a replica, from the silence of the primary to the reply in the next view."""
    spans = story["spans"]
    primary, others = [1], [i for i in range(2, n)]
    kinds = ("VIEW-CHANGE", "VIEW-CHANGE-ACK", "NEW-VIEW")
    by_type = _by_type(spans, range(1, n))
    own = sum(by_type[what][1] for what in kinds if what in by_type) / (n - 1)
    return {
        "new_primary": round(_instructions(spans, primary)),
        "backup": round(_instructions(spans, others) / len(others)),
        "its_messages": round(own),
        "old_primary_returns": round(_instructions(story["returned"], [0])),
    }


def _heap(heap, allocation, n):
    per_operation = {}
    for story, rows in allocation.items():
        outside = sum(row[0] for row in rows.values())
        hashing = sum(row[1] for row in rows.values())
        per_operation[story] = {"outside": outside, "hashing": hashing}
    return {**heap, "allocation": per_operation}


def _points(stories, n):
    """{what: [[bytes, instructions, messages], ...]}: one point per story, for the costs."""
    found = {}
    for story in stories:
        if story["what"] == "read":
            continue
        for role, nodes in (("", range(n)), (" primary", [0])):
            table = {}
            for what, row in _rows(story["spans"], nodes):
                if what.removesuffix(EXECUTING) in wire.TYPE_NAMES:
                    table.setdefault(what, []).append(row)
            for what, rows in table.items():
                messages, instructions, _, octets = _added(rows)
                if messages:
                    point = [octets / messages, instructions / messages, messages]
                    found.setdefault(what + role, []).append(point)
    return found


def _client(stories, config):
    """What an external client pays: for a request of its own, for each message it hears."""
    client = config.CLIENT_COUNT - 1
    tables = [_by_type(story["spans"], [client]) for story in stories if story["client"] == client]
    submits = [table["submit"] for table in tables]
    replies = [table["REPLY"] for table in tables]
    others = [
        row
        for table in tables
        for what, row in table.items()
        if what in wire.TYPE_NAMES and what != "REPLY"
    ]
    return {
        "submit": [[row[3] / row[0], row[1] / row[0], row[0]] for row in submits],
        "reply": [[row[3] / row[0], row[1] / row[0], row[0]] for row in replies],
        "other": round(_added(others)[1] / _added(others)[0]),
    }


def functions(profile, result):
    """[{name, calls, instructions}] per operation and replica; the sum is the true one.

    What counting each call costs beyond what was calibrated is taken from the callers, evenly.
    """
    told = profile["profiles"][0]
    true = next(
        row["mean"]
        for row in result["operations"]
        if (row["what"], row["length"], row["client"])
        == (told["what"], told["length"], "external")
    )
    n, count = profile["replicas"], told["operations"]
    rows = {name: [value / count / n for value in row] for name, row in told["functions"].items()}
    excess = sum(row[1] for row in rows.values()) - true
    called = sum(row[2] for row in rows.values())
    share = excess / called
    found = [
        {"name": name, "calls": round(row[0], 2), "instructions": round(row[1] - share * row[2])}
        for name, row in rows.items()
    ]
    found.sort(key=lambda row: -row["instructions"])
    return {"total": true, "per_call_removed": round(share), "functions": found}


# --- tables ---


def _kilo(value):
    return "" if value is None else f"{value / 1000:.1f}"


def print_summary(result, console=None):
    """Instructions in thousands."""
    console = console or Console()
    console.print(_operation_table(result["operations"]))
    console.print(_type_table(result))
    console.print(_event_table(result))
    console.print(_heap_table(result["heap"]))
    if "functions" in result:
        console.print(_function_table(result["functions"]))


def _table(title, *columns):
    table = Table(title=title, title_justify="left")
    table.add_column(columns[0])
    for name in columns[1:]:
        table.add_column(name, justify="right")
    return table


def _title(row):
    length = f"{row['length']} B" if row["length"] else "longest"
    return f"{row['what']} {length}, client: {row['client']}"


def _operation_table(rows):
    title = f"1000 rv32imc instructions per operation (target: {TARGET // 1000} for a put of 64 B)"
    table = _table(
        title, "operation", "primary", "client's replica", "backup", "mean", "a checkpoint"
    )
    for row in rows:
        failed = "" if row["status"] == 0 else f" (status {row['status']})"
        figures = ("primary", "client_replica", "backup", "mean", "checkpoint")
        table.add_row(_title(row) + failed, *(_kilo(row[name]) for name in figures))
    return table


def _type_table(result):
    operations = [row for row in result["operations"] if row["client"] == "external"][:1]
    title = "1000 instructions for a message received; per operation and replica"
    names = [_title(row) for row in operations]
    columns = [column for name in names for column in (f"{name}: messages", "1000 instructions")]
    table = _table(title, "type", "counted", "bytes", "mean", "most", "us", *columns)
    for name, row in result["types"].items():
        cells = [str(row["messages"]), str(row["length"]), _kilo(row["mean"]), _kilo(row["most"])]
        cells.append(f"{microseconds(row['mean']):.0f}")
        for operation in operations:
            of_it = operation["types"].get(name)
            cells += (
                [f"{of_it['per_operation']:.2f}", _kilo(of_it["instructions"])]
                if of_it
                else ["", ""]
            )
        table.add_row(name, *cells)
    return table


def _event_table(result):
    table = _table("1000 instructions of", "what", "")
    transfer, change = result["transfer"], result["view_change"]
    table.add_row("a step with nothing to do", _kilo(result["idle"]["step"]))
    table.add_row("a second of an idle replica", _kilo(result["idle"]["per_second"]))
    table.add_row(f"a block fetched ({transfer['blocks']} were)", _kilo(transfer["fetching"]))
    table.add_row("a block served", _kilo(transfer["serving"]))
    table.add_row("a view change and its wait: new primary", _kilo(change["new_primary"]))
    table.add_row("a view change and its wait: backup", _kilo(change["backup"]))
    table.add_row("its own messages, of a replica", _kilo(change["its_messages"]))
    table.add_row("return of the old primary", _kilo(change["old_primary_returns"]))
    return table


def _heap_table(heap):
    table = _table("Heap of one replica, bytes", "", "")
    table.add_row("bare interpreter", str(heap["bare"]))
    table.add_row("modules imported", str(heap["imported"]))
    table.add_row("replica started", str(heap["started"]))
    table.add_row("of it the library's", str(heap["started"] - heap["bare"]))
    for name, row in heap["allocation"].items():
        table.add_row(f"{name} B, whole group: outside hashing", str(row["outside"]))
        table.add_row(f"{name} B, whole group: by hashing", str(row["hashing"]))
    table.add_row("a digest", str(heap["digest"]))
    table.add_row("1000 instructions of a collection", _kilo(heap["collect"]))
    return table


def _function_table(profile):
    total = profile["total"]
    title = f"Where the {total / 1000:.0f} k of a put of 64 B and replica go"
    table = _table(title, "function", "calls", "1000 instructions", "%")
    for row in profile["functions"][:40]:
        share = 100 * row["instructions"] / total
        table.add_row(
            row["name"], f"{row['calls']:.2f}", _kilo(row["instructions"]), f"{share:.1f}"
        )
    return table
