"""Configurations that differ from a given one in a few constants, to sum up their memory.

A variant is an object like the module tinybft.config. Its sums follow from the formulas alone,
so that also one that breaks a rule has them (`is_valid` tells).
"""

import re
from types import SimpleNamespace

from tinybft.layout import areas
from tinybft.lengths import length_rows
from tools.config_rules import broken_rules, derive
from tools.config_schema import BY_CONSTANT, PARAMETERS, shown
from tools.config_sizes import broken_sizes, region_totals, static_rows
from tools.nonvolatile import smallest_part
from tools.refusal import Refusal


def raw(config):
    """{constant: value} of the parameters, without what is derived from them."""
    return {parameter.constant: getattr(config, parameter.constant) for parameter in PARAMETERS}


def varied(config, **changes):
    """The configuration with some constants changed.

    What is too short for the change grows with it: message_length_max, nvm_length, ram_max.
    """
    values = raw(config) | changes
    values["MESSAGE_LENGTH_MAX"] = _longest_message(values)
    variant = _derived(config, values)
    if variant.DURABLE and "NVM_LENGTH" not in changes:
        needed = areas(variant)["size"]
        if needed > variant.NVM_LENGTH:
            variant.NVM_LENGTH = smallest_part(needed)
    total = sum(region_totals(static_rows(variant)).values())
    variant.RAM_MAX = max(variant.RAM_MAX, total)
    return variant


def is_valid(variant):
    """Whether `tinybft config` would take it."""
    return not any(broken_rules(raw(variant))) and not any(broken_sizes(variant))


def differences(config, variant):
    """{constant: (value, the variant's value)} of the parameters that differ."""
    before, after = raw(config), raw(variant)
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def snippet(config, variant):
    """The lines of config.toml that make the variant out of the configuration."""
    lines = []
    section = None
    for name, (_, value) in differences(config, variant).items():
        parameter = BY_CONSTANT[name]
        if parameter.section != section:
            section = parameter.section
            lines.append(f"[{section}]")
        lines.append(f"{parameter.key} = {shown(value)}")
    return "\n".join(lines)


def rewritten(text, config, variant):
    """The text of a config.toml with the variant's values in place of the configuration's."""
    for name, (_, value) in differences(config, variant).items():
        parameter = BY_CONSTANT[name]
        start = text.index(f"[{parameter.section}]")
        head, tail = text[:start], text[start:]
        pattern = re.compile(rf"^({parameter.key} *= *)[^\s#]+", re.MULTILINE)
        tail, count = pattern.subn(rf"\g<1>{shown(value)}", tail, count=1)
        if not count:
            raise Refusal(f"[{parameter.section}] {parameter.key}: is not on a line of its own")
        text = head + tail
    return text


def _derived(config, values):
    return SimpleNamespace(**vars(config) | derive(values))


def _longest_message(values):
    """message_length_max as it is, or as much as the longest message needs."""
    limit = values["MESSAGE_LENGTH_MAX"]
    for _ in range(4):  # with more room META-DATA takes more
        variant = SimpleNamespace(**derive(values | {"MESSAGE_LENGTH_MAX": limit}))
        longest = max(length for _, length, _ in length_rows(variant))
        if longest <= limit:
            break
        limit = (longest + 3) // 4 * 4
    return limit
