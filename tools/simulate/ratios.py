"""Throughput beside one faulty replica of each behaviour, against a fault-free group (L4).

Seed s is one case: the reference or a behaviour, of a backup (the last replica) or of the
primary of view 0. The clients of all other nodes submit one operation after the other over an
ideal network. Measured in virtual time: the rate while the fault begins (what removing a faulty
primary costs is part of it), and after that.
"""

from tools.simulate.byzantine import behaviours

WORDS = "Operations per second beside a faulty replica of each behaviour (L4)."

_MS = 4000
_ROLES = ("backup", "primary")
_NONE = "fault-free"


def cases():
    """[(role, behaviour), ...]"""
    return [(role, name) for role in _ROLES for name in (_NONE, *sorted(behaviours))]


def seeds(_job):
    return range(1, 1 + len(cases()))


def case(seed):
    return cases()[(seed - 1) % len(cases())]


def label(_job):
    return ""


def plan(_sim, _job):
    return None


def play(sim, job, plan):  # noqa: ARG001
    role, name = case(sim.seed)
    faulty = 0 if role == "primary" else sim.replica_count - 1
    clients = [i for i in range(sim.client_count) if i != faulty]
    if name != _NONE:
        sim.byzantine(faulty, name)
    ms = job.ms or _MS
    at_first = sim.throughput(ms, clients)
    later = sim.throughput(ms, clients)
    views = max(sim.view(i) for i in sim.replicas if i != faulty)
    return {"at_first": at_first, "later": later, "views": views}


def report(results):
    """The table of ratios."""
    rates = {case(r.job.seed): r.liveness for r in results if r.liveness}
    yield f"{'behaviour':20} {'of a':8} {'at first':>9} {'later':>9} {'ratios':>12}  view"
    for (role, name), rate in rates.items():
        reference = rates.get((role, _NONE))
        ratios = ""
        if reference:
            pair = [rate[key] / reference[key] for key in ("at_first", "later")]
            ratios = f"{pair[0]:5.2f} {pair[1]:5.2f}"
        numbers = f"{rate['at_first']:7.1f}/s {rate['later']:7.1f}/s"
        yield f"{name:20} {role:8} {numbers} {ratios:>12}  {rate['views']:4}"
