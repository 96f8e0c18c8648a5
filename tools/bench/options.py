"""What the benchmarks have in common: options, the configuration, where the figures go."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import rich_click as click
from rich.console import Console

from tools.cluster.commands import LEAN, prepared
from tools.cluster.files import RunFolder
from tools.cluster.kept import refuse_if_kept, refuse_if_running
from tools.config import chosen_file
from tools.refusal import Refusal
from tools.results.invocation import command_line
from tools.results.plots import require_matplotlib
from tools.results.store import RESULTS_FOLDER, Results, document

_OPTIONS = (
    click.option("--runs", default=5, show_default=True, type=click.IntRange(1, 100)),
    click.option("--seconds", default=3, show_default=True, type=click.IntRange(1, 600)),
    click.option("--heap", default="640K", show_default=True, help="Heap of each replica."),
    LEAN,
    click.option("--config", "file", metavar="FILE", help="Configuration. [config.toml]"),
    click.option("--name", metavar="NAMED", help="Take a shipped configuration instead."),
    click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Of config.toml."),
    click.option("--run-dir", default="build/bench", show_default=True, help="Folder of the run."),
    click.option("--output", default=RESULTS_FOLDER, show_default=True, help="Folder of results."),
    click.option("--plots/--no-plots", default=True, help="Plots beside the figures. [plots]"),
    click.option("--json", "as_json", is_flag=True, help="Print the JSON document, nothing else."),
)


def common_options(command):
    """The options of every benchmark, below its own; they come as fields of a `Setting`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass
class Setting:
    """What the common options say. The results' folder is there, and matplotlib if wanted."""

    runs: int
    seconds: int
    heap: str
    lean: bool
    file: str | None
    name: str | None
    changes: tuple
    run_dir: str
    output: str
    plots: bool
    as_json: bool

    def __post_init__(self):
        self.folder = RunFolder(self.run_dir)
        refuse_if_running(self.folder)
        refuse_if_kept(self.folder)
        self.path = chosen_file(self.file, self.name)
        if self.changes:
            self.path = changed_file(self.folder, self.path, self.changes)
        self.results = Results(self.output)
        self.results.make_folder()
        if self.plots:
            require_matplotlib()
        self.console = Console(quiet=self.as_json, highlight=False)

    def measured(self, run, words, figures):
        """Say what one repetition gave."""
        self.say(f"run {run + 1}: {words}: {figures['rate']:.0f} op/s")

    def prepare(self, **chosen):
        """(config, Options) of a loss-free run of `seconds`; the run's files are laid out."""
        chosen = {"value_sizes": None, "operations": 10**9, "loss": 0.0} | chosen
        return prepared(
            self.folder,
            self.path,
            {**chosen, "seconds": self.seconds, "heap": self.heap, "lean": self.lean},
            self.as_json,
        )

    def say(self, words):
        self.console.print(words)

    def conclude(self, name, config, figures, table, draw):
        """Write the document, draw what `draw(path)` draws, show the table; exit code 1 if a
        check failed (figures["ok"])."""
        content = document(name, command_line(click.get_current_context()), config, figures)
        written = [self.results.write(content)]
        if self.plots:
            written += draw(self.results)
        self.say(table)
        self.say(" ".join(["written:", *map(str, written)]))
        if self.as_json:
            click.echo(json.dumps(content, indent=1))
        sys.exit(0 if figures["ok"] else 1)


def changed_file(folder, path, changes):
    """The path of a copy of a configuration in which the values of some keys are others.

    changes: ("tentative=true", ...), values as TOML writes them; raises Refusal.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror})") from error
    for change in changes:
        key, equals, value = change.partition("=")
        line = re.compile(rf"^{re.escape(key.strip())} = [^#\n]*", re.MULTILINE)
        if not equals or not value.strip() or not line.search(text):
            raise Refusal(
                f"--set {change}: write KEY=VALUE with a key of {path}, as in pipeline=2"
            )
        text = line.sub(lambda _, key=key, value=value: f"{key.strip()} = {value.strip()} ", text)
    copy = folder.path / f"{Path(path).stem}-changed.toml"
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(
            f"{copy}: cannot be written ({error.strerror}); choose another --run-dir"
        ) from error
    return copy
