"""`tinybft memory --fit BYTES`: configurations whose replica takes no more heap than that.

Out of a grid of smaller values of each parameter the ones that give up the least: a parameter
that is halved counts 1, weighted. Bulk may move out of RAM where that is durable anyway. The
number of faults to survive is not given up. Where the configuration fits as it is, each parameter
is raised instead as far as it goes.
"""

from itertools import product
from math import log2

from tools.config import summary
from tools.config_schema import BY_CONSTANT
from tools.memory.objects import measured
from tools.memory.parameters import stepped
from tools.memory.variants import differences, is_valid, snippet, varied
from tools.nonvolatile import grouped, stored
from tools.refusal import Refusal

_WEIGHTS = {
    "STATE_LENGTH": 1.0,
    "REQUEST_LENGTH_MAX": 1.0,
    "REPLY_LENGTH_MAX": 1.0,
    "WINDOW": 0.7,
    "CLIENT_COUNT": 0.7,
    "CHECKPOINT_INTERVAL": 0.2,
    "BATCH_COUNT_MAX": 0.2,
    "BLOCK_LENGTH": 0.1,
}
_NVM_WEIGHT = 1.5  # bulk outside of RAM makes everything slower
_STATE_SHARES = (1, 7 / 8, 3 / 4, 5 / 8, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 1 / 16)
_LENGTH_SHARES = (1, 3 / 4, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
_BLOCK_SHARES = (1, 1 / 2, 1 / 4)
_LENGTH_MIN = 16
_BLOCK_MIN = 64
# what a proposal keeps as it is: the least given up among those
_KEEPING = {
    "": (),
    "keeps the state": ("STATE_LENGTH",),
    "keeps the lengths of requests and replies": ("REQUEST_LENGTH_MAX", "REPLY_LENGTH_MAX"),
    "keeps window and clients": ("WINDOW", "CHECKPOINT_INTERVAL", "CLIENT_COUNT"),
}
_GROWING = {"STATE_LENGTH": None, "REQUEST_LENGTH_MAX": 64, "REPLY_LENGTH_MAX": 64}
_GROWING |= {"CLIENT_COUNT": 1, "WINDOW": None}


def proposals(config, budget):
    """[{"keeps", "changes": {key: [from, to]}, "toml", "measured_total", "exact", ...}, ...]

    The first one gives up the least; raises Refusal when nothing fits.
    """
    if budget <= 0:
        raise Refusal(f"--fit {budget}: a budget is a positive number of bytes")
    if most(config) <= budget:
        return _grown(config, budget)
    kinds = _kinds(config)
    least = min((smallest(kind) for kind in kinds), key=most)
    if most(least) > budget:
        raise Refusal(_nothing_fits(config, budget, least))
    found = []
    grid = _by_loss(kinds)
    fitting = {}
    for keeping, names in _KEEPING.items():
        variant = _first_fit(grid, names, budget, fitting)
        if variant and all(differences(variant, other["variant"]) for other in found):
            found.append(_proposal(config, variant, keeping))
    return found


def most(config):
    """Bytes of heap that a replica takes; of a shape that was not measured, the most it may."""
    found = measured(config)
    return found["total"] + found["error"]


def _first_fit(grid, names, budget, fitting):
    """fitting: {place in the grid: the configuration there, or None if it does not fit}, as far
    as they have been looked at."""
    for place, (kind, changes) in enumerate(grid):
        if any(getattr(kind, name) != changes[name] for name in names):
            continue
        if place not in fitting:
            variant = _shrunk(kind, changes)
            fits = most(variant) <= budget and is_valid(variant)
            fitting[place] = variant if fits else None
        if fitting[place]:
            return fitting[place]
    return None


def _kinds(config):
    """The configuration; and one with the bulk in non-volatile memory only, if it has that."""
    if not config.STATE_DURABLE or config.STORAGE_STATE == "nvm":
        return [config]
    return [config, stored(config, "nvm")]


def _by_loss(kinds):
    """[(configuration, {constant: value}), ...] of the grids, what gives up the least first."""
    found = []
    for number, kind in enumerate(kinds):
        for values in product(*_axes(kind)):
            changes = {}
            for part in values:
                changes |= part
            loss = _loss(kind, changes) + number * _NVM_WEIGHT
            found.append((loss, len(found), kind, changes))
    found.sort(key=lambda point: point[:2])
    return [point[2:] for point in found]


def _loss(config, changes):
    return sum(
        _WEIGHTS[name] * abs(log2(getattr(config, name) / value))
        for name, value in changes.items()
    )


def _axes(config):
    """For each axis of the grid, its points: [{constant: value}, ...]."""
    state, block = config.STATE_LENGTH, config.BLOCK_LENGTH
    page = config.PAGE_LENGTH
    blocks = {max(_BLOCK_MIN, int(block * s) // page * page) for s in _BLOCK_SHARES} | {block}
    blocks = sorted((b for b in blocks if b <= block), reverse=True)
    states = [
        {"BLOCK_LENGTH": b, "STATE_LENGTH": length}
        for b in blocks
        for length in _shares(state, _STATE_SHARES, page)
    ]
    return (
        states,
        [{"REQUEST_LENGTH_MAX": n} for n in _lengths(config.REQUEST_LENGTH_MAX)],
        [{"REPLY_LENGTH_MAX": n} for n in _lengths(config.REPLY_LENGTH_MAX)],
        _windows(config),
        [{"CLIENT_COUNT": n} for n in _between(config.REPLICA_COUNT, config.CLIENT_COUNT)],
        [{"BATCH_COUNT_MAX": n} for n in _between(1, config.BATCH_COUNT_MAX)],
    )


def _shares(length, shares, unit):
    return sorted({max(unit, int(length * share) // unit * unit) for share in shares})


def _lengths(length):
    return sorted({min(length, max(_LENGTH_MIN, int(length * s))) for s in _LENGTH_SHARES})


def _between(low, high):
    return sorted({low, (low + high) // 2, high})


def _windows(config):
    window, interval = config.WINDOW, config.CHECKPOINT_INTERVAL
    pairs = {(window, interval)}
    while window > 2:
        pairs |= {(window, k) for k in (interval, window // 2) if _is_pair(window, k)}
        window //= 2
    pairs.add((2, 1))
    return [{"WINDOW": w, "CHECKPOINT_INTERVAL": k} for w, k in sorted(pairs)]


def _is_pair(window, interval):
    return interval and window >= 2 * interval and window % interval == 0


def _shrunk(config, changes):
    """With the changes, and what need be no larger then: messages, pipeline, inlined requests, and
    the pages that a batch may change beyond those that a request fills."""
    values = changes | {
        "PIPELINE": min(config.PIPELINE, changes["WINDOW"]),
        "MESSAGE_LENGTH_MAX": 64,
        "BATCH_PAGES_MAX": config.BATCH_PAGES_MAX
        - (config.REQUEST_LENGTH_MAX - changes["REQUEST_LENGTH_MAX"]) // config.PAGE_LENGTH,
    }
    values["BATCH_PAGES_MAX"] = max(1, values["BATCH_PAGES_MAX"])
    variant = varied(config, **values)
    if variant.INLINE_LENGTH_MAX > variant.MESSAGE_LENGTH_MAX:
        values["INLINE_LENGTH_MAX"] = variant.MESSAGE_LENGTH_MAX
        variant = varied(config, **values)
    return variant


def smallest(config):
    """The point of the grid with every parameter at its least."""
    changes = {}
    for axis in _axes(config):
        changes |= min(axis, key=lambda point: tuple(point.values()))
    return _shrunk(config, changes)


def _proposal(config, variant, keeping=""):
    found = measured(variant)
    return {
        "keeps": keeping,
        "changes": {
            BY_CONSTANT[name].path: list(pair)
            for name, pair in differences(config, variant).items()
        },
        "toml": snippet(config, variant),
        "measured_total": found["total"],
        "exact": found["exact"],
        "error": found["error"],
        "variant": variant,
    }


def _grown(config, budget):
    """The configuration as it is; then each parameter alone, as large as it can be."""
    found = [_proposal(config, config, "everything, with room to spare")]
    for name, step in _GROWING.items():
        step = (
            step
            or {"STATE_LENGTH": config.BLOCK_LENGTH, "WINDOW": config.CHECKPOINT_INTERVAL}[name]
        )
        variant = _largest(config, name, step, budget)
        if variant:
            found.append(_proposal(config, variant, f"more: {BY_CONSTANT[name].key}"))
    return found


def _largest(config, name, step, budget):
    """The most steps that fit, by doubling and halving; None if not even one does."""

    def fits(count):
        variant = stepped(config, name, count * step)
        return variant if variant and most(variant) <= budget else None

    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return fits(low) if low else None


def _nothing_fits(config, budget, least):
    words = (
        f"--fit {budget}: no configuration fits for f = {config.FAULT_COUNT};"
        f" the least in the search takes {grouped(most(least))} bytes ({summary(least)},"
        f" requests of {least.REQUEST_LENGTH_MAX} bytes), of which"
        f" {grouped(measured(least)['objects'])} are the interpreter's objects; allow more"
    )
    if config.FAULT_COUNT > 1:
        words += ", lower fault_count"
    if not config.STATE_DURABLE:
        words += ', or keep the bulk in non-volatile memory ([storage] "nvm", see --name durable)'
    return words
