"""`tinybft config`: config.toml in, tinybft/config.py out, or every reason why not.

`load` is what the other subcommands use: it returns the checked configuration as an object
with the same attributes as the module `tinybft.config`.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import rich_click as click
from rich.console import Console

from tools.config_rules import broken_rules
from tools.config_schema import BY_CONSTANT
from tools.config_sizes import broken_sizes
from tools.config_source import Source
from tools.config_template import render
from tools.nonvolatile import map_report, map_table
from tools.refusal import Refusal

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_FILE = "config.toml"


def named_files():
    """{name: path} of the configurations that ship with the project."""
    shipped = sorted((ROOT / "tools" / "configs").glob("*.toml"))
    return {"default": ROOT / DEFAULT_FILE} | {path.stem: path for path in shipped}


def generate(path):
    """Check a file and return the text of tinybft/config.py; raises Refusal."""
    source = Source(path)
    values, complaints = source.constants()
    for constant, message in broken_rules(values):
        complaints.append(_located(source, constant, message))
    if complaints:
        raise Refusal(*complaints)
    text = render(_name_of(path), values)
    for constant, message in broken_sizes(_namespace(text)):
        complaints.append(_located(source, constant, message))
    if complaints:
        raise Refusal(*complaints)
    return text


def load(path):
    """The checked configuration of a file, as an object like the module tinybft.config."""
    return _namespace(generate(path))


def chosen_file(file, name):
    """The path that FILE or --name means; raises Refusal."""
    if name is None:
        return file or DEFAULT_FILE
    if file is not None:
        raise Refusal(f"--name {name}: a FILE is given too ({file}); leave out one of the two")
    names = named_files()
    if name not in names:
        known = ", ".join(names)
        raise Refusal(f"--name {name}: no such named configuration; choose one of {known}")
    return names[name]


def write_atomically(path, text):
    """Replace a file by text as a whole: a reader sees the old or the new content."""
    path = Path(path)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Refusal(
            f"{path}: cannot be written ({error.strerror}); run it in the project's folder,"
            " or choose another --output"
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise Refusal(
            f"{path}: cannot be written ({error.strerror}); choose another --output"
        ) from error


@click.command()
@click.argument("file", required=False)
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead of FILE.")
@click.option("--output", default="tinybft/config.py", show_default=True, help="- is stdout.")
@click.option("--check", is_flag=True, help="Write nothing; fail if the output is not current.")
@click.option("--json", "as_json", is_flag=True, help="Say it as one JSON document.")
def config(file, name, output, check, as_json):
    """Check a configuration (FILE, else config.toml) and generate tinybft/config.py.

    Prints the map of the non-volatile memory, too, if the configuration has any.
    """
    path = chosen_file(file, name)
    text = generate(path)
    if check:
        _require_current(path, output, text)
        words = f"{path}: valid, {output} is current"
    elif output == "-":
        click.echo(text, nl=False)
        return
    else:
        write_atomically(output, text)
        words = f"{output}: {summary(_namespace(text))}"
    _say(words, _namespace(text), as_json)


def _say(words, config, as_json):
    if as_json:
        known = {"configuration": config.CONFIG_NAME, "hash": config.CONFIG_HASH}
        click.echo(json.dumps(known | {"non_volatile": map_report(config)}, indent=2))
        return
    click.echo(words)
    if config.NVM_LENGTH:
        Console().print(map_table(config))


def summary(config):
    """One line that says which group a configuration describes."""
    return (
        f"{config.CONFIG_NAME} {config.CONFIG_HASH}: n={config.REPLICA_COUNT}"
        f" f={config.FAULT_COUNT} W={config.WINDOW} K={config.CHECKPOINT_INTERVAL},"
        f" {config.CLIENT_COUNT} clients, {config.STATE_LENGTH} bytes of state"
    )


def _require_current(path, output, text):
    try:
        current = Path(output).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        current = ""
    if current != text:
        raise Refusal(f"{output}:1: is not what {path} gives; run `tinybft config {path}`")


def _located(source, constant, message):
    parameter = BY_CONSTANT[constant]
    return f"{source.place(parameter.section, parameter.key)}: {parameter.path}: {message}"


def _name_of(path):
    stem = Path(path).stem
    return "default" if stem == "config" else stem


def _namespace(text):
    """An object with the attributes of the generated module (its asserts run here)."""
    names = {}
    exec(text, names)
    return SimpleNamespace(**{key: value for key, value in names.items() if key.isupper()})
