"""What each parameter of a configuration costs: the sums again, with the next value that works."""

from tools.config_schema import BY_CONSTANT, PARAMETERS, Whole
from tools.memory.objects import measured
from tools.memory.sums import regions_total
from tools.memory.variants import is_valid, varied

_SECTIONS = ("group", "agreement", "sizes", "state", "authentication")
_FREE = ("GROUP_ID", "PIPELINE")  # cost no memory
# Lengths are rounded up to four bytes: a longer step shows what one byte takes.
_LENGTH_STEP = 64
_STEPS = (1, 2, 4, 8, 16, -1, -2)


def costs(config):
    """[{"parameter", "constant", "from", "to", "regions", "rest", "each"}, ...]

    regions, rest: bytes that the step takes in them, and in the heap besides; each: bytes of both
    per one more of the parameter.
    What has to grow with it (message_length_max, clients with replicas) is in the step.
    """
    rows = []
    for parameter in PARAMETERS:
        is_size = parameter.section in _SECTIONS and isinstance(parameter.kind, Whole)
        if is_size and parameter.constant not in _FREE:
            row = _cost(config, parameter)
            if row:
                rows.append(row)
    return rows


def _cost(config, parameter):
    name = parameter.constant
    for step in _steps(config, parameter):
        variant = stepped(config, name, step)
        if variant is None:
            continue
        regions = regions_total(variant) - regions_total(config)
        rest = measured(variant)["total"] - measured(config)["total"] - regions
        return {
            "parameter": parameter.key,
            "constant": name,
            "from": getattr(config, name),
            "to": getattr(variant, name),
            "regions": regions,
            "rest": rest,
            "each": round((regions + rest) / step, 2),
        }
    return None


def stepped(config, name, step):
    """The configuration with one parameter changed by a step, or None if none such works."""
    value = getattr(config, name) + step
    if BY_CONSTANT[name].kind.complaint(value):
        return None
    changes = {name: value}
    if name == "FAULT_COUNT":
        changes["CLIENT_COUNT"] = config.CLIENT_COUNT + 3 * step
    try:
        variant = varied(config, **changes)
    except (ArithmeticError, ValueError):
        return None
    return variant if is_valid(variant) else None


def _steps(config, parameter):
    name = parameter.constant
    if name == "STATE_LENGTH":
        return (config.BLOCK_LENGTH,)
    if name == "BLOCK_LENGTH":
        return (config.BLOCK_LENGTH, -config.BLOCK_LENGTH // 2)
    if name.endswith("LENGTH_MAX"):
        return (_LENGTH_STEP, -_LENGTH_STEP)
    return _STEPS
