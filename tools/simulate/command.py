"""`tinybft simulate`: one seed or many, random faults or a script, on all cores."""

import json
import os
import sys
import time
from dataclasses import replace

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hal.sim_radio import RATES
from tools.refusal import Refusal
from tools.simulate.campaign import Job, run_jobs, shrunk, simulated
from tools.simulate.campaigns import CAMPAIGNS
from tools.simulate.configs import DURABLE, REPLICA_COUNTS, configuration
from tools.simulate.scripts import load_scenario, load_service

_FAILURES_SHOWN = 5
_CASE_COLUMNS = ("seeds", "operations", "messages", "violations")


class Seeds(click.ParamType):
    """A..B, both included."""

    name = "A..B"

    def convert(self, value, param, ctx):
        first, dots, last = str(value).partition("..")
        try:
            seeds = range(int(first), int(last) + 1) if dots else None
        except ValueError:
            seeds = None
        if not seeds or seeds[0] < 0:
            self.fail(f"{value!r}: write the first and the last seed, as in 1..100", param, ctx)
        return seeds


class Faults(click.ParamType):
    """Indices into the plan of a seed."""

    name = "I,I,..."

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            return () if value == "none" else tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r}: write indices with commas between, or none", param, ctx)


class Rate(click.ParamType):
    """Mbit/s of the radio; 0: no radio but the ideal network."""

    name = "MBIT/S"

    def convert(self, value, param, ctx):
        if value == "ideal":
            return 0
        try:
            rate = float(value)
        except ValueError:
            rate = None
        if rate not in RATES:
            known = ", ".join(str(r) for r in RATES)
            self.fail(f"{value!r}: choose one of {known}, or ideal", param, ctx)
        return int(rate) if rate == int(rate) else rate


@click.command()
@click.option("--seed", type=click.IntRange(0), help="One run. [default: 1]")
@click.option("--seeds", type=Seeds(), help="Many runs, in parallel; both ends included.")
@click.option(
    "--campaign",
    type=click.Choice(list(CAMPAIGNS)),
    default="swarm",
    show_default=True,
    help="What a seed means.",
)
@click.option("--replicas", default=4, show_default=True, type=int, help="4, 7, 10, 13 or 25.")
@click.option("--service", metavar="MODULE:CLASS", help="What is replicated. [key-value store]")
@click.option("--script", metavar="FILE", help="A Python file with `def scenario(sim):`.")
@click.option("--ms", type=click.IntRange(1), help="Virtual time under faults; after a script.")
@click.option("--steps", type=click.IntRange(1), help="Steps of nodes under faults instead.")
@click.option("--radio", type=Rate(), help="Broadcast radio at this rate, or ideal.")
@click.option("--durable", type=click.Choice(list(DURABLE)), help="Memory survives power cuts.")
@click.option("--rounds", type=click.IntRange(1), help="Of campaign failover. [default: 20]")
@click.option("--faults", type=Faults(), help="Only these of the seed's faults; or none.")
@click.option("--spare-primary", is_flag=True, help="No fault of replica 0, nor of its links.")
@click.option("--read-only", is_flag=True, help="Reads are not ordered (option read_only).")
@click.option("--turns", is_flag=True, help="Votes take turns (stagger_ms), on any network.")
@click.option("--tentative", is_flag=True, help="One batch is executed ahead (option tentative).")
@click.option("--trace", is_flag=True, help="Tell the story of the run.")
@click.option("--jobs", type=click.IntRange(1), help="Processes. [one per core]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
def simulate(seed, seeds, trace, jobs, as_json, spare_primary, **chosen):
    """Run the real core under seeded faults in virtual time, and check it after every step.

    Without a script each seed is a case of the campaign: faults, which then stop, and every
    client must be answered. Exit code 0: no violation, 1: a violation, 2: bad input.
    """
    if seed is not None and seeds is not None:
        raise Refusal(f"--seed {seed}: --seeds is given too; leave out one of the two")
    _require_sound(chosen)
    chosen["radio"] = _medium(chosen)
    first = Job(with_primary=not spare_primary, **chosen)
    numbers = seeds or (first.course.seeds(first) if seed is None else [seed])
    todo = [replace(first, seed=n) for n in numbers]
    if trace and len(todo) > 1:
        raise Refusal("--trace: tells the story of one run; choose it with --seed")
    begin = time.perf_counter()
    results = [_told(todo[0])] if trace else _all_run(todo, jobs or os.cpu_count() or 1, as_json)
    wall_s = time.perf_counter() - begin
    failures = [shrunk(r) for r in _first_failures(results)]
    summary = _summary(results, wall_s, failures)
    if as_json:
        click.echo(json.dumps(summary, indent=1))
    else:
        _print(summary, results)
    sys.exit(1 if summary["violations"] else 0)


def _medium(chosen):
    """Mbit/s of the radio that is chosen, or else is the campaign's own; None: ideal network."""
    if chosen["radio"] is None and not chosen["script"]:
        return getattr(CAMPAIGNS[chosen["campaign"]], "RADIO", None)
    return chosen["radio"] or None


def _require_sound(chosen):
    """Refuse bad input before the first run."""
    if chosen["replicas"] not in REPLICA_COUNTS:
        configuration(chosen["replicas"])
    load_service(chosen["service"])
    if chosen["rounds"] and chosen["campaign"] != "failover":
        raise Refusal("--rounds: only --campaign failover has rounds; leave it out")
    if chosen["script"]:
        if chosen["campaign"] != "swarm":
            raise Refusal("--script: it is the scenario itself; leave out --campaign")
        if chosen["faults"] is not None or chosen["steps"] is not None:
            raise Refusal("--script: it makes its own faults; leave out --faults and --steps")
        load_scenario(chosen["script"])


def _told(job):
    """One run with its story on stdout."""
    begin = [f"# {job.command()}"]

    def write(line):
        if begin:
            click.echo(begin.pop())
        click.echo(line)

    return simulated(job, write)[1]


def _all_run(todo, process_count, silent):
    results = []
    console = Console(stderr=True)
    if silent or len(todo) == 1 or not console.is_terminal:
        run_jobs(todo, process_count, results.append)
        return results
    columns = (
        TextColumn("seeds"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("seeds", total=len(todo), words="")

        def on_result(result):
            results.append(result)
            failed = sum(1 for r in results if r.violation)
            progress.update(task, advance=1, words=f"{failed} violations")

        run_jobs(todo, process_count, on_result)
    return results


def _first_failures(results):
    return [r for r in results if r.violation][:_FAILURES_SHOWN]


def _summary(results, wall_s, failures):
    operations = sum(r.operations for r in results)
    count = len(results)
    cpu_s = sum(r.wall_s for r in results)
    answered = sorted(r.liveness["answered_ms"] for r in results if "answered_ms" in r.liveness)
    figures = getattr(results[0].job.course, "figures", None)
    return {
        "seeds": count,
        "violations": sum(1 for r in results if r.violation),
        "operations": operations,
        "messages": sum(r.messages for r in results),
        "virtual_s": sum(r.virtual_ms for r in results) / 1000,
        "view_changes": sum(r.liveness.get("view_changes", 0) for r in results),
        "answered_ms": {
            "p50": _quantile(answered, 0.5),
            "p99": _quantile(answered, 0.99),
            "max": answered[-1] if answered else None,
        },
        "wall_s": round(wall_s, 3),
        "operations_per_s": round(operations / wall_s, 1) if wall_s else 0,
        "operations_per_s_and_core": round(operations / cpu_s, 1) if cpu_s else 0,
        "wall_s_per_1000_seeds": round(1000 * wall_s / count, 1),
        "air": results[0].air if count == 1 else None,
        "cases": _by_label(results),
        "figures": figures(results) if figures else None,
        "failures": [{**r.violation, "replay": r.job.command()} for r in failures],
    }


def _by_label(results):
    """{kind of case: numbers}, where the campaign tells kinds apart."""
    table = {}
    for r in results:
        label = r.job.course.label(r.job)
        if label and not r.job.script:
            row = table.setdefault(label, dict.fromkeys(_CASE_COLUMNS, 0))
            row["seeds"] += 1
            row["violations"] += bool(r.violation)
            row["operations"] += r.operations
            row["messages"] += r.messages
    return table


def _quantile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _print(summary, results):
    for failure in summary["failures"]:
        oracle, at_ms = failure["oracle"], failure["at_ms"]
        click.echo(f"{oracle} violated at {at_ms:.3f} ms: {failure['words']}")
        click.echo(f"  replay: {failure['replay']} --trace")
    more = summary["violations"] - len(summary["failures"])
    if more > 0:
        seeds = [str(r.job.seed) for r in results if r.violation][_FAILURES_SHOWN:]
        shown = ", ".join(seeds[:20]) + (", ..." if more > 20 else "")
        click.echo(f"{more} more seeds fail: {shown}")
    click.echo(
        f"{summary['seeds']} seeds, {summary['violations']} violations,"
        f" {summary['operations']} operations, {summary['messages']} messages,"
        f" {summary['virtual_s']:.1f} s of virtual time"
    )
    for label, row in summary["cases"].items():
        click.echo(f"  {label}: " + ", ".join(f"{row[name]} {name}" for name in _CASE_COLUMNS))
    answered = summary["answered_ms"]
    if answered["max"] is not None:
        click.echo(
            f"after the faults all were answered within {answered['p50']} ms (median),"
            f" {answered['max']} ms (longest); {summary['view_changes']} view changes"
        )
    click.echo(
        f"{summary['wall_s']:.1f} s of wall time: {summary['operations_per_s']:.0f} operations"
        f" per second, {summary['wall_s_per_1000_seeds']:.0f} s per 1000 seeds"
    )
    if not results[0].job.script:
        for line in results[0].job.course.report(results):
            click.echo(line)
