"""The figures that the project is judged by: each with its target, the paper's, and its kind.

`headlines(results)` takes them from the stored documents; `Steps` remembers them, so that a table
shows what each optimisation brought.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from tools.results.store import sources_hash

MEASURED_RV32 = "measured, emulated rv32"
MEASURED_HOST = "measured, this host"
MODELLED = "modelled"
STEPS = "steps"


@dataclass(frozen=True)
class Headline:
    """`sign`: 1 if more is better, -1 if less is; `paper`: words, of the C++ TinyBFT."""

    words: str
    unit: str
    kind: str
    target: float | None
    sign: int
    paper: str = ""
    digits: int = 0

    def is_met(self, value):
        return self.target is None or self.sign * (value - self.target) >= 0


HEADLINES = {
    "memory": Headline(
        "RAM that the library takes, 32 bits", "B", MEASURED_RV32, 82700, -1, "165 515 B"
    ),
    "regions": Headline("... of it static regions", "B", MEASURED_RV32, None, -1),
    "instructions": Headline(
        "instructions per write of 64 B and replica", "k", MEASURED_RV32, 600, -1
    ),
    "small_ms": Headline("latency, write of 64 B, median", "ms", MODELLED, 25, -1, "50 ms", 1),
    "long_ms": Headline("latency, write of 1 KiB, median", "ms", MODELLED, 40, -1, "80 ms", 1),
    "writes": Headline("writes of 64 B, 4 clients", "/s", MODELLED, 62, 1, "31 /s", 1),
    "reads": Headline("reads of 64 B, 4 clients", "/s", MODELLED, 86, 1, "43 /s", 1),
    "read_only": Headline("... read-only, median", "ms", MODELLED, None, -1, "", 1),
    "host_1": Headline(
        "writes of 64 B, unix cluster, 1 client", "/s", MEASURED_HOST, 1140, 1, "570 /s *"
    ),
    "host_4": Headline(
        "writes of 64 B, unix cluster, 4 clients", "/s", MEASURED_HOST, 2050, 1, "1 025 /s *"
    ),
    "floor": Headline("... against the machine's floor", "", MEASURED_HOST, 0.5, 1, "", 2),
    "battery": Headline("battery life", "days", MODELLED, None, 1, "about 1 000 days"),
}


def headlines(results):
    """{name of HEADLINES: value} as far as it was measured."""
    found = {}
    for add in (_memory, _virt, _radio, _host, _energy):
        add(results, found)
    return {name: found[name] for name in HEADLINES if name in found}


def _figures(results, name):
    one = results.read(name)
    return one["figures"] if one else None


def _memory(results, found):
    figures = _figures(results, "memory")
    if figures:
        found["regions"] = figures["total"]
        found["memory"] = figures["measured_total"]


def _virt(results, found):
    figures = _figures(results, "virt")
    for row in figures["operations"] if figures else ():
        if (row["what"], row["length"], row["client"]) == ("put", 64, "external"):
            found["instructions"] = row["mean"] / 1000


def _radio(results, found):
    figures = _figures(results, "radio")
    for row in figures["rows"] if figures else ():
        if row["rate"] != 1:
            continue
        is_small = row["size"] == figures["small"]
        if row["clients"] == 1 and row["mix"] == "put":
            found["small_ms" if is_small else "long_ms"] = row["ms"]["p50"]
        if row["clients"] == 4 and is_small:
            found["writes" if row["mix"] == "put" else "reads"] = row["per_second"]

    figures = _figures(results, "radio-read-only")
    for row in figures["rows"] if figures else ():
        if (row["rate"], row["clients"], row["mix"]) == (1, 1, "get"):
            found.setdefault("read_only", row["ms"]["p50"])


def _host(results, found):
    figures = _figures(results, "compare")
    for row in figures["rows"] if figures else ():
        if row["clients"] in (1, 4):
            found[f"host_{row['clients']}"] = row["systems"]["tinybft"]["rate"]["median"]
        ratio = row["ratio"].get("floor")
        if row["clients"] == 1 and ratio:
            found["floor"] = ratio["median"]


def _energy(results, found):
    figures = _figures(results, "energy")
    if figures:
        found["battery"] = figures["days"]


class Steps:
    """What the headlines were, step by step: the document "steps" of a folder of results."""

    def __init__(self, results):
        self._results = results
        document = results.read(STEPS)
        self.rows = document["rows"] if document else []

    def add(self, words):
        """Note the headlines of now under these words."""
        row = {
            "words": words,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "sources": sources_hash(),
            "figures": headlines(self._results),
        }
        self.rows = [old for old in self.rows if old["words"] != words] + [row]
        self._results.write({"name": STEPS, "rows": self.rows})
