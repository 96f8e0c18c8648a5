"""Reads a config.toml and keeps the line of every key, which `tomllib` does not tell."""

import re
import tomllib

from tools.config_schema import PARAMETERS, SECTIONS, constant_of, shown
from tools.refusal import Refusal

_SECTION = re.compile(r"\s*\[\s*([\w-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")


class Source:
    """One parsed file: `tables` {section: {key: value}} and where its keys stand."""

    def __init__(self, path):
        self.path = str(path)
        text = _read(self.path)
        self.tables = _parse(self.path, text)
        self._lines = _lines_of(text)

    def place(self, section, key=None):
        """`FILE:LINE` of a key, else of its section, else of the file's first line."""
        line = self._lines.get((section, key)) or self._lines.get((section, None)) or 1
        return f"{self.path}:{line}"

    def constants(self):
        """Return ({constant: value} that are sound in themselves, [complaint, ...])."""
        complaints = list(self._strangers())
        values = {}
        for parameter in PARAMETERS:
            complaint = self._complaint(parameter)
            if complaint:
                place = self.place(parameter.section, parameter.key)
                complaints.append(f"{place}: {parameter.path}{complaint}")
                continue
            value = self.tables[parameter.section][parameter.key]
            values[parameter.constant] = constant_of(parameter.kind, value)
        return values, complaints

    def _complaint(self, parameter):
        table = self.tables.get(parameter.section)
        if not isinstance(table, dict):
            return f" is missing; add a section [{parameter.section}] with {parameter.key} = ..."
        if parameter.key not in table:
            return f" is missing; add a line {parameter.key} = ..."
        value = table[parameter.key]
        wrong = parameter.kind.complaint(value)
        return wrong and f" = {shown(value)} {wrong}"

    def _strangers(self):
        known = [(parameter.section, parameter.key) for parameter in PARAMETERS]
        for section, table in self.tables.items():
            if section not in SECTIONS:
                place = self.place(section) if isinstance(table, dict) else self.place("", section)
                sections = ", ".join(SECTIONS)
                yield f"{place}: unknown section or key {section}; remove it (known: {sections})"
                continue
            for key in table if isinstance(table, dict) else ():
                if (section, key) not in known:
                    keys = ", ".join(k for s, k in known if s == section)
                    yield (
                        f"{self.place(section, key)}: unknown key {key} in [{section}];"
                        f" remove it (known: {keys})"
                    )


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}:1: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise Refusal(
            f"{path}:1: cannot be read ({error.strerror}); name an existing configuration file"
        ) from error


def _parse(path, text):
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise Refusal(f"{path}:{line}: not TOML: {error}; correct the spelling") from error


def _lines_of(text):
    """{(section, key or None): line number}; the first occurrence counts."""
    lines = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _SECTION.match(line):
            section = match[1]
            lines.setdefault((section, None), number)
        elif match := _KEY.match(line):
            lines.setdefault((section, match[1]), number)
    return lines
