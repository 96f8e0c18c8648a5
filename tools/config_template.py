"""Writes tinybft/config.py: a module that explains itself and checks itself.

The text depends on the values and on nothing else (no time, no path), so that two people
who generate it from one config.toml get the same bytes.
"""

import hashlib

from tools.config_rules import DERIVED, RULES
from tools.config_schema import PARAMETERS, SECTIONS

_HEAD = '''\
"""generated from config.toml by `tinybft config`; edit that file

Raw values as config.toml has them, sizes derived from them, and what must hold between
them. Plain integers and strings: reading one allocates nothing. CONFIG_HASH covers the
values that all members of a group must share.
"""

'''


_LINE_LENGTH_MAX = 100  # with its end, as the formatter has it


def render(name, raw):
    """The text of tinybft/config.py for raw constants that keep all rules."""
    parts = [_HEAD, _assignment("CONFIG_NAME", name), _assignment("CONFIG_HASH", hash_of(raw))]
    for section in SECTIONS:
        parts.append(f"\n# [{section}]\n")
        parts += [
            _assignment(parameter.constant, raw[parameter.constant])
            for parameter in PARAMETERS
            if parameter.section == section
        ]
    parts.append("\n# derived\n")
    parts += [_derivation(*row) for row in DERIVED]
    parts.append("\n")
    parts += [_assertion(rule) for rule in RULES]
    return "".join(parts)


def hash_of(raw):
    """First 8 hex digits of SHA-256 over the values that all members must share.

    Canonical form: one line `section.key=value` each, in the order of PARAMETERS.
    """
    lines = [
        f"{parameter.section}.{parameter.key}={raw[parameter.constant]}\n"
        for parameter in PARAMETERS
        if parameter.agreed
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:8]


def _assignment(name, value):
    return f"{name} = {_literal(value)}\n"


def _derivation(name, expression, words):
    line = f"{name} = {expression}\n"
    if len(line) > _LINE_LENGTH_MAX:
        line = f"{name} = (\n    {expression}\n)\n"
    return f"# {words}\n{line}"


def _literal(value):
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        inner = ", ".join(_literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return str(value)


def _assertion(rule):
    line = f'assert {rule.expression}, "{rule.words}"\n'
    if len(line) <= _LINE_LENGTH_MAX:
        return line
    return f'assert {rule.expression}, (\n    "{rule.words}"\n)\n'
