"""Memory against the size of the group and of the state; all else as the configuration has it."""

from types import SimpleNamespace

from tools.memory.model import model_total
from tools.memory.objects import measured
from tools.memory.sums import regions_total
from tools.memory.variants import varied

REPLICA_COUNTS = (4, 7, 10, 13, 25)
STATE_KIB = (1, 4, 16, 64, 256)


def by_replicas(config):
    """[{"replicas", "model", "regions", "measured", "exact"}, ...]; one client more than those."""
    rows = []
    for n in REPLICA_COUNTS:
        variant = varied(config, FAULT_COUNT=(n - 1) // 3, CLIENT_COUNT=n + 1)
        rows.append({"replicas": n} | figures(variant))
    return rows


def by_state(config):
    """[{"state", "model", "regions", "measured", "exact"}, ...]"""
    page = config.PAGE_LENGTH
    lengths = [max(1, kib * 1024 // page) * page for kib in STATE_KIB]
    return [{"state": n} | figures(varied(config, STATE_LENGTH=n)) for n in lengths]


def figures(config: SimpleNamespace):
    """What a configuration takes, by the model, in regions, on the heap."""
    found = measured(config)
    return {
        "model": model_total(config),
        "regions": regions_total(config),
        "measured": found["total"],
        "exact": found["exact"],
    }
