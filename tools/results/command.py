"""`tinybft results`: measures everything, and writes RESULTS.md from what was stored."""

import os
import sys
from pathlib import Path

import rich_click as click

from tools.refusal import Refusal
from tools.results.headlines import Steps
from tools.results.parts import PARTS, run_part
from tools.results.plots import require_matplotlib
from tools.results.report import render
from tools.results.store import ROOT, Results

FOLDER = "tests/results"
DOCUMENT = "tests/RESULTS.md"


class Names(click.ParamType):
    """Comma-separated names of parts."""

    name = "PART,..."

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        names = tuple(value.split(","))
        for name in names:
            if name not in PARTS:
                self.fail(f"{name!r}: choose among {', '.join(PARTS)}", param, ctx)
        return names


@click.command()
@click.option("--only", type=Names(), help=f"Measure these: {', '.join(PARTS)}. [all]")
@click.option("--skip", type=Names(), default=(), help="Do not measure these.")
@click.option("--document", "only_document", is_flag=True, help="Measure nothing, write it anew.")
@click.option("--step", metavar="WORDS", help="Note the headlines of now as a step, so called.")
@click.option("--quick", is_flag=True, help="Tiny runs, to see that all of it works.")
@click.option("--output", default=FOLDER, show_default=True, help="Folder of results.")
@click.option("--to", "path", default=DOCUMENT, show_default=True, help="The document.")
@click.option("--plots/--no-plots", "with_plots", default=True, help="Plots, too. [plots]")
def results(only, skip, only_document, step, quick, output, path, with_plots):
    """Measure all parts and write tests/RESULTS.md from the stored documents.

    Each part replaces its own documents; the others stay as they were measured last. A part that
    cannot be measured here (no QEMU, say) is reported, and the others go on.
    """
    if only_document and (only or quick):
        raise Refusal("--document: measures nothing; leave out --only and --quick")
    if quick and output == FOLDER:
        raise Refusal("--quick: its figures are worth nothing; give it another --output and --to")
    folder = Results(ROOT / output)
    folder.make_folder()
    if with_plots and not only_document:
        require_matplotlib()
    names = () if only_document else [name for name in only or PARTS if name not in skip]
    failed = measure(names, folder, quick, with_plots)
    if step:
        Steps(folder).add(step)
    write_document(folder, path)
    click.echo(f"written: {path}")
    for words in failed:
        click.echo(words, err=True)
    sys.exit(1 if failed else 0)


def measure(names, folder, quick, with_plots):
    """Measure parts one after the other; returns what failed, in words."""
    failed = []
    for name in names:
        click.echo(f"== {name}: {PARTS[name].words}")
        try:
            if not run_part(name, folder, quick, with_plots):
                failed.append(f"{name}: a check failed")
        except Refusal as refusal:
            failed.append(f"{name}: {' '.join(refusal.lines)}")
    return failed


def write_document(folder, path):
    """Render what is stored; raises Refusal."""
    document = ROOT / path
    try:
        document.parent.mkdir(parents=True, exist_ok=True)
        shown = Path(os.path.relpath(folder.path, document.parent)).as_posix()
        document.write_text(render(folder, shown), encoding="utf-8")
    except OSError as error:
        words = f"{document}: cannot be written ({error.strerror}); choose another --to"
        raise Refusal(words) from error
