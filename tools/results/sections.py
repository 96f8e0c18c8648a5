"""The sections of RESULTS.md: each makes lines of Markdown out of the documents it is of."""

from tools.results.headlines import HEADLINES, headlines
from tools.results.markdown import judged, middle, number, table
from tools.virt.summary import TARGET

MIX_WORDS = {"put": "write", "get": "read"}


def summary(results, steps):
    """All headlines beside target and paper; then what each step brought."""
    values = headlines(results)
    rows = []
    for name, headline in HEADLINES.items():
        value = values.get(name)
        shown = "not measured" if value is None else number(value, headline.digits)
        target = number(headline.target, 2 if headline.target and headline.target < 1 else 0)
        met = None if value is None or headline.target is None else headline.is_met(value)
        unit = f", {headline.unit}" if headline.unit else ""
        rows.append(
            (headline.words + unit, shown, target, judged(met), headline.paper, headline.kind)
        )
    lines = table(("", "now", "target", "", "C++ TinyBFT", "kind"), rows)
    lines += ["\\* of the authors' code on another host of this kind, with its signatures.", ""]
    if steps:
        lines += ["What each step brought:", ""]
        names = [name for name in HEADLINES if any(name in step["figures"] for step in steps)]
        rows = [
            [HEADLINES[name].words]
            + [number(step["figures"].get(name), HEADLINES[name].digits) for step in steps]
            for name in names
        ]
        lines += table(("", *(step["words"] for step in steps)), rows)
    return lines


def memory(figures):
    """Totals of the paper's model, of the regions and of the heap; Table I."""
    measured, model = figures["measured"], figures["model"]
    rows = [
        ("paper's model, equations 1 to 9", number(model["total"])),
        ("static regions", number(figures["total"])),
        ("heap of a started replica less a bare interpreter's", number(figures["measured_total"])),
    ]
    if measured and measured.get("stale"):
        rows.append(("(the measured heap is of older sources)", ""))
    lines = table(("", "bytes"), rows)
    ours = figures["table_1"]["regions"]
    theirs = figures["table_1"]["paper"]
    rows = [(row, number(ours[row]), number(theirs[row])) for row in theirs]
    rows.append(("sum", number(sum(ours.values())), number(sum(theirs.values()))))
    return lines + table(("Table I", "regions", "C++ TinyBFT"), rows)


def virt(figures):
    """Instructions per operation and message."""
    rows = []
    for row in figures["operations"]:
        length = f"{row['length']} B" if row["length"] else "the longest"
        cells = [row["primary"], row["client_replica"], row["backup"], row["mean"]]
        cells = [number(value and value / 1000) for value in cells]
        checkpoint = row["checkpoint"] and row["checkpoint"] / 1000
        words = f"{row['what']} {length}, client: {row['client']}"
        rows.append((words, *cells, number(checkpoint)))
    columns = ("1000 instructions", "primary", "client's replica", "backup", "mean", "checkpoint")
    lines = table(columns, rows)
    lines += [f"The target for a put of 64 B is {TARGET // 1000} (mean of the group).", ""]
    rows = [
        (name, number(row["length"]), number(row["mean"] / 1000), number(row["most"] / 1000))
        for name, row in figures["types"].items()
    ]
    return lines + table(("message received", "bytes", "mean, 1000", "most"), rows)


def radio(figures):
    """Latency, throughput, channel, processor."""
    rows = []
    for row in figures["rows"]:
        rows.append(
            (
                f"{MIX_WORDS[row['mix']]} {row['size']} B",
                f"{row['rate']:g}",
                row["clients"],
                *(number(row["ms"][name], 1) for name in ("p50", "mean", "p99")),
                number(row["per_second"], 1),
                number(row["frames"], 1),
                number(row["airtime_ms"], 1),
                number(100 * row["channel"]),
                f"{100 * row['processor']['primary']:.0f}/{100 * row['processor']['backups']:.0f}",
            )
        )
    columns = ("", "Mbit/s", "clients", "p50 ms", "mean", "p99", "op/s", "frames/op")
    columns += ("air ms/op", "channel %", "CPU %")
    lines = table(columns, rows)
    lines += ["Where the time of a write goes at 1 Mbit/s, one client, mean ms on the path:", ""]
    rows = []
    for row in figures["rows"]:
        if (row["rate"], row["clients"], row["mix"]) == (1, 1, "put"):
            rows += [_path(row, beginning, chain) for beginning, chain in row["path"].items()]
    columns = ("", "share %", "ms", "processor", "waiting for it", "air", "others' frames")
    lines += table((*columns, "access", "queue", "before"), rows)
    lines += [
        "*call*: nothing was lost. *timer*: somebody's timer made up for a lost message, *before*"
        " is the time until then. *earlier*: the request waited for an earlier batch.",
        "",
    ]
    return lines


def _path(row, beginning, chain):
    def total(*ways):
        parts = chain["messages"].values()
        return number(sum(part.get(way, 0) for part in parts for way in ways), 1)

    before = total("timer", "earlier")
    return (
        f"{row['size']} B, {beginning}",
        number(100 * chain["share"]),
        number(chain["ms"], 1),
        total("processor", "execution", "call"),
        *(total(way) for way in ("wait", "air", "busy", "access", "queue")),
        before,
    )


def scale(figures):
    """By replicas, then by the length of the state."""
    rows = [
        (
            row["replicas"],
            number(row["memory"]),
            number(row["messages_needed"], 1),
            number(row["messages_ideal"], 1),
            number(row["messages_sent"], 1),
            number(row["frames"], 1),
            number(row["airtime_ms"]),
            number(row["macs"]),
            number(row["instructions"] / 1000),
            number(row["ms"]["p50"]),
            number(row["ms"]["mean"]),
        )
        for row in figures["replicas"]
    ]
    columns = ("n", "regions, B", "messages needed", "nothing lost", "on the radio", "frames")
    columns += ("air ms", "MACs", "k instr.", "p50 ms", "mean ms")
    lines = table(columns, rows)
    lines += [
        "Per write of 64 B; MACs and instructions per replica. The instructions are those counted"
        " with four replicas, times the messages.",
        "",
        f"{figures['chosen']['blocks']} block of 1 KiB modified, state of so many KiB:",
        "",
    ]
    rows = [
        (
            row["kib"],
            *(number(row["checkpoint"][name]) for name in ("digested", "lines")),
            *(number(row["transfer"][name]) for name in ("bytes", "frames", "ms", "digested")),
        )
        for row in figures["state"]
    ]
    columns = ("KiB", "checkpoint: bytes hashed", "lines executed", "transfer: bytes sent")
    return lines + table((*columns, "frames", "ms", "bytes hashed by who fetches"), rows)


def ycsb(figures):
    """Rate, and latency by kind of operation."""
    is_radio = figures["medium"] == "radio"
    rows = []
    for row in figures["rows"]:
        for kind in ("read", "update"):
            ms = row["ms"].get(kind)
            if not ms:
                continue
            names = ("mean", "p50", "p95", "p99")
            if is_radio:
                rate, cells = number(row["per_second"], 1), [number(ms[n], 1) for n in names]
            else:
                rate = middle(row["per_second"])
                cells = [number(ms[n]["median"], 2) for n in names]
            head = (f"{row['workload'].upper()}, {kind}",)
            head += (f"{row['rate']:g}",) if is_radio else ()
            rows.append((*head, row["clients"], rate, *cells))
    columns = ("", *(("Mbit/s",) if is_radio else ()), "clients", "op/s of all", "mean ms")
    return table((*columns, "p50", "p95", "p99"), rows)


def micro(figures):
    """Closed loops; the plots have the target rates."""
    rows = [
        (
            f"{MIX_WORDS[row['mix']]} {row['size']} B",
            row["clients"],
            middle(row["rate"]),
            middle(row["p50_ms"], 2),
            middle(row["p99_ms"], 2),
        )
        for row in figures["closed_loop"]
    ]
    return table(("closed loop", "clients", "op/s", "p50 ms", "p99 ms"), rows)


def compare(figures):
    """The systems beside each other."""
    rows = []
    for row in figures["rows"]:
        for name, system in row["systems"].items():
            rows.append(
                (
                    f"{name}, {row['clients']} client(s)",
                    middle(system["rate"]),
                    middle(row["ratio"].get(name), 2),
                    middle(system.get("p50_ms"), 2),
                    middle(system.get("p99_ms"), 2),
                )
            )
    return table(("", "op/s", "tinybft / it", "p50 ms", "p99 ms"), rows)


def clients(figures):
    """By the number of external clients."""
    rows = [
        (row["clients"], middle(row["rate"]), middle(row["p50_ms"], 1), middle(row["p99_ms"], 1))
        for row in figures["rows"]
    ]
    return table(("external clients", "op/s", "p50 ms", "p99 ms"), rows)


def loss(figures):
    """Rates under loss, as shares of the loss-free one."""
    rows = [
        (
            f"{cell['loss']} %",
            cell["clients"],
            number(cell["rate"]),
            number(cell["p50_ms"], 1),
            number(cell["p99_ms"], 1),
            number(cell["ratio"], 2),
            number(cell["ratio_target"], 2),
        )
        for cell in figures["cells"]
    ]
    return table(("loss", "clients", "op/s", "p50 ms", "p99 ms", "share", "target"), rows)


def failover(figures):
    """Gaps after SIGKILL of the primary."""
    rows = []
    for row in figures["failover"]:
        gap, back = row["gap_ms"] or {}, row["return_ms"] or {}
        rows.append(
            (
                f"{row['loss']} % loss",
                f"{row['recovered']} of {row['rounds']}",
                number(gap.get("median")),
                number(gap.get("max")),
                number(row["median_gap_target_ms"]),
                number(back.get("median")),
            )
        )
    columns = ("", "recovered", "gap ms, median", "max", "target of the median")
    return table((*columns, "return ms, median"), rows)


def energy(figures):
    """Days, and what they depend on."""
    inputs = figures["inputs"]
    rows = [
        ("battery life, days", number(figures["days"])),
        ("the paper's", f"about {number(figures['paper_days'])}"),
        ("radio on per agreement, ms", number(inputs["radio_on"], 1)),
        ("agreements per hour", number(inputs["rate"])),
        ("mA in an agreement; uA asleep", f"{inputs['peak']:g}; {inputs['sleep']:g}"),
        ("capacity, mAh", number(inputs["capacity"])),
    ]
    return table(("", ""), rows)


# (document, heading, kind, what makes its lines); in the order of the text.
SECTIONS = (
    ("memory", "Memory", "measured on emulated rv32, and computed", memory),
    ("virt", "Instructions", "measured on emulated rv32", virt),
    ("radio", "Reads and writes on the radio", "modelled", radio),
    ("radio-read-only", "The same with read-only requests", "modelled", radio),
    ("radio-tentative", "The same with tentative execution", "modelled", radio),
    ("ycsb-radio", "YCSB on the radio", "modelled", ycsb),
    ("energy", "Energy", "modelled", energy),
    ("scale", "Scale", "simulated", scale),
    ("micro", "Reads and writes on a host", "measured on a host", micro),
    ("compare", "Beside the floor and beside Raft", "measured on a host", compare),
    ("clients", "External clients", "measured on a host", clients),
    ("ycsb-cluster", "YCSB on a host", "measured on a host", ycsb),
    ("loss", "Loss", "measured on a host", loss),
    ("failover", "The primary is killed", "measured on a host", failover),
)
