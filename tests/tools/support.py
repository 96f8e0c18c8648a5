"""Runs the `tinybft` command in this process, and makes variants of config.toml."""

import re

from click.testing import CliRunner

from tools.cli import main
from tools.config import ROOT


def run(*arguments):
    """Call `tinybft ...`; returns click's result (exit_code, stdout, stderr)."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def variant(path, changes, base="config.toml"):
    """Write a copy of a configuration with {"section.key": TOML text} replaced; None removes."""
    text = (ROOT / base).read_text(encoding="utf-8")
    for name, value in changes.items():
        section, key = name.split(".")
        start = text.index(f"[{section}]")
        pattern = re.compile(rf"^{key} = .*\n", re.MULTILINE)
        line = "" if value is None else f"{key} = {value}\n"
        head, tail = text[:start], text[start:]
        text = head + pattern.sub(lambda _, line=line: line, tail, count=1)
    path.write_text(text, encoding="utf-8")
    return path


def line_of(path, name):
    """Line number of "section.key", or of "section" itself."""
    section, _, key = name.partition(".")
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"[{section}]"))
    if not key:
        return start + 1
    return next(i for i in range(start, len(lines)) if lines[i].startswith(f"{key} =")) + 1
