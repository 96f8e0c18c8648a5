"""What README.md and boards/README.md name is there: commands, options, files, keys, messages."""

import ast
import re
import shlex
import tomllib
from importlib.util import find_spec

import pytest
import rich_click as click

from hal import faults as frame_faults
from tinybft import faults as message_faults
from tools.cli import COMMANDS, main
from tools.config import ROOT, named_files
from tools.firmware.stage import PLATFORMS

GUIDE = ROOT / "boards" / "README.md"
TEXTS = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", GUIDE)}
SOURCES = ("tinybft", "hal", "tools")
# What a command takes that is not one of its options: words, numbers, placeholders.
_ENDS_A_COMMAND = re.compile(r"[#|;]|  +|\.\.\.|\[")


@pytest.fixture(params=TEXTS.values(), ids=TEXTS.keys())
def text(request):
    return request.param.read_text(encoding="utf-8")


def commands_in(text):
    """[command, argument, ...] of each `tinybft ...` of a text."""
    joined = re.sub(r"(`[^`\n]*)\n *([^`\n]*`)", r"\1 \2", text)
    for match in re.finditer(r"(?<![\w/.-])tinybft ([a-z]+[^\n`]*)", joined):
        words = _ENDS_A_COMMAND.split(match[1])[0]
        yield shlex.split(words.replace("'", " ").replace('"', " "))


def options_of(name):
    """All spellings of the options of a command, and of its commands if it is a group."""
    command = main.get_command(None, name)
    params = list(command.params)
    for below in command.list_commands(None) if isinstance(command, click.Group) else ():
        params += command.get_command(None, below).params
    return {word for option in params for word in (*option.opts, *option.secondary_opts)}


def test_commands_and_options_exist(text):
    found = [words for words in commands_in(text) if words[0] in COMMANDS]
    assert len(found) > 5
    for name, *arguments in found:
        if name == "kv":
            continue
        for argument in arguments:
            if argument.startswith("--"):
                assert argument in options_of(name), f"tinybft {name} {argument}"


def test_the_guide_names_no_other_command():
    for words in commands_in(GUIDE.read_text(encoding="utf-8")):
        assert words[0] in COMMANDS, f"tinybft {words[0]}"


def test_commands_read_as_written():
    text = "`tinybft run --wifi FILE`, `tinybft flash`, and\n"
    text += "    tinybft repl 0 --exec 't.why()'   # `asks`\n"
    assert list(commands_in(text)) == [
        ["run", "--wifi", "FILE"],
        ["flash"],
        ["repl", "0", "--exec", "t.why()"],
    ]
    assert list(commands_in("`tinybft memory\n--json`")) == [["memory", "--json"]]


def test_files_and_folders_exist(text):
    for name in re.findall(r"`(?:\.\./)?((?:tinybft|hal|tests|tools|boards)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name


def test_modules_and_targets_exist(text):
    for name in re.findall(r"python -m (t\w+[\w.]*)", text):
        assert find_spec(name), name
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name in re.findall(r"^    make (\w+)", text, re.MULTILINE):
        assert name in targets, name


def test_configurations_and_boards_exist(text):
    for name in re.findall(r"--name ([a-z]\w+)", text):
        assert name in named_files(), name
    for name in re.findall(r"--board (\w+)", text):
        assert name in PLATFORMS, name


def test_keys_of_the_configuration_exist(text):
    table = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))
    for section, key in re.findall(r"\[([a-z]+)\] ([a-z]+_?[a-z]*)\b", text):
        if section in table and key not in ("says", "is", "names", "other", "has"):
            assert key in table[section], f"[{section}] {key}"


def constants():
    """Every string that a source file may print or raise, as far as it is fixed."""
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_messages_are_those_of_the_code():
    guide = GUIDE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \|", guide[guide.index("## When it fails") :], re.MULTILINE)
    assert len(rows) > 30
    known = list(constants())
    for row in rows:
        for part in row.split(" ... "):
            assert any(part in text for text in known), row


def test_names_of_faults_exist():
    guide = GUIDE.read_text(encoding="utf-8")
    section = guide[guide.index("Names in `t.faults()`") :]
    for name in re.findall(r"`([a-z_]+)`", section):
        assert name in frame_faults.NAMES + message_faults.NAMES, name
