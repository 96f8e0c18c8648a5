"""`tinybft cluster --virt`: the same run on emulated boards."""

import json
import signal
import sys
import time
from dataclasses import asdict, replace

import rich_click as click

from tools.cluster.plans import Options, check_power_cuts, check_victim, fitting_sizes
from tools.cluster.result import latency_rows
from tools.config import load
from tools.refusal import Refusal
from tools.virt.course import Course
from tools.virt.group import RUN_FOLDER, Group

# Options of `cluster` that have no meaning for boards, and what they are when nobody gives them.
_ELSEWHERE = {
    "duplicate": 0.0,
    "delay_ms": 0,
    "jitter_ms": 0,
    "freeze": None,
    "clients": None,
    "restart": True,
}


def run(config_path, run_dir, chosen, boards, as_json):
    """chosen: options of `cluster`; boards: those of boards only. Returns the exit code."""
    for name, default in _ELSEWHERE.items():
        if chosen[name] != default:
            option = name.replace("_", "-")
            raise Refusal(f"--{option}: not with --virt; leave one of the two out")
    options = _options(config_path, chosen)
    say = _silence if as_json else click.echo
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # the emulators must not outlive this
    with Group(
        run_dir or RUN_FOLDER, config_path, options.loss / 100, seed=options.seed, **boards
    ) as group:
        say("firmware: " + ", ".join(f"{what} {size}" for what, size in group.sizes.items()))
        course = Course(group, options, say)
        checks = course.run()
        result = _result(group, course, options, checks)
        if as_json:
            click.echo(json.dumps(result, indent=1))
        else:
            _print(result)
        if options.keep:
            _stay(group)
    return 0 if result["ok"] else 1


def _options(config_path, chosen):
    names = ("operations", "loss", "kill", "power_cuts", "seed", "keep")
    config = load(config_path)
    options = Options(**{name: chosen[name] for name in names})
    options = replace(options, clients=(config.REPLICA_COUNT,))
    sizes = fitting_sizes(config, chosen["value_sizes"])
    options = check_power_cuts(config, replace(options, sizes=sizes))
    check_victim(config, replace(options, clients=None))
    return options


def _result(group, course, options, checks):
    latencies = {}
    if course.seconds:
        latencies = latency_rows(group.folder, group.config, options)
    return {
        "ok": all(entry["ok"] for entry in checks),
        "operations": course.acknowledged(),
        "seconds": round(course.seconds, 3),
        "loss_percent": options.loss,
        "latency_ms": latencies,
        "undisturbed_ms": course.undisturbed_ms,
        "watched_ms": course.watched_ms,
        "looks": course.looks,
        "rounds": [asdict(entry) for entry in course.rounds],
        "heap_bytes": course.heap_bytes,
        "stack_bytes": course.stack_bytes,
        "frames": dict(group.radio.frames),
        "firmware": group.sizes,
        "checks": checks,
    }


def _print(result):
    click.echo()
    if result["seconds"]:
        click.echo(
            f"{result['operations']} operations in {result['seconds']:.1f} s;"
            f" {result['loss_percent']:g} % of the frames lost on purpose"
        )
    if result["latency_ms"]:
        click.echo("latency in ms          count      p50      p90      p99")
    for name, row in result["latency_ms"].items():
        figures = "".join(f"{row[key]:>9.2f}" for key in ("p50", "p90", "p99"))
        click.echo(f"  {name:<18}{row['count']:>8}{figures}")
    for entry in result["checks"]:
        mark = click.style("ok  ", fg="green") if entry["ok"] else click.style("FAIL", fg="red")
        click.echo(f"{mark} {entry['name']}: {entry['detail']}")


def _stay(group):
    """Leave the boards on until Ctrl-C."""
    click.echo("the boards stay on until Ctrl-C: `tinybft monitor`, `tinybft repl N`, or")
    for board in group.boards:
        click.echo(f"  mpremote connect {board.device} resume")
    sys.stdout.flush()
    try:
        while not any(board.has_ended() for board in group.boards):
            time.sleep(0.2)
    except KeyboardInterrupt:
        click.echo()


def _end(number, _frame):
    raise SystemExit(128 + number)


def _silence(_words):
    """Say nothing: --json."""
