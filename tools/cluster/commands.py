"""`tinybft cluster`, `status` and `kv`: a group of real MicroPython processes on this machine."""

import json
import sys
from dataclasses import replace
from importlib import import_module

import rich_click as click

from hal.sim_radio import RATES
from tools.cluster.checks import verify
from tools.cluster.files import RUN_FOLDER, RunFolder, prepare
from tools.cluster.kept import (
    refuse_if_kept,
    refuse_if_running,
    refuse_unless_kept,
    remember,
    stop_kept,
)
from tools.cluster.keyvalue import kv
from tools.cluster.plans import Options, check_power_cuts, check_victim, client_ids, fitting_sizes
from tools.cluster.processes import Processes
from tools.cluster.result import result_of
from tools.cluster.run import Course
from tools.cluster.status import status
from tools.cluster.table import LiveTable, PlainLines, Silence, print_summary
from tools.config import chosen_file, load

__all__ = ("cluster", "kv", "status")


class Numbers(click.ParamType):
    """Comma-separated whole numbers."""

    name = "N,N,..."

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(
                f"{value!r}: write whole numbers with commas between, as in 16,64", param, ctx
            )


class Rate(click.ParamType):
    """A bit rate of ESP-NOW."""

    name = "MBIT"

    def convert(self, value, param, ctx):
        rates = {str(rate): rate for rate in RATES}
        if str(value) not in rates:
            self.fail(f"{value!r}: is no rate of ESP-NOW; one of {', '.join(rates)}", param, ctx)
        return rates[str(value)]


PERCENT = click.FloatRange(0, 90)
LEAN = click.option(
    "--lean/--plain", default=True, help="Sources as firmware is built of, or as they are. [lean]"
)
BOARD_OPTIONS = ("rate", "console_port", "micropython", "mbedtls")


@click.command()
@click.option("--operations", default=4000, show_default=True, type=click.IntRange(1))
@click.option("--loss", default=5.0, show_default=True, type=PERCENT, help="% of frames lost.")
@click.option("--duplicate", default=0.0, type=PERCENT, help="% of frames that come twice.")
@click.option("--delay-ms", default=0, type=click.IntRange(0, 10000), help="Delay of each frame.")
@click.option("--jitter-ms", default=0, type=click.IntRange(0, 10000), help="Reorders frames.")
@click.option("--value-sizes", type=Numbers(), help="Bytes of the values. [16,64,256,900]")
@click.option("--kill", help="primary, backup, none or a replica id: SIGKILL. [primary]")
@click.option("--restart/--no-restart", default=True, help="The killed one.")
@click.option("--freeze", help="The same as --kill, but SIGSTOP for --freeze-ms, then SIGCONT.")
@click.option("--freeze-ms", default=3000, show_default=True, type=click.IntRange(1, 60000))
@click.option("--power-cuts", type=click.IntRange(0), help="SIGKILL of random ones, then all.")
@click.option("--clients", type=Numbers(), help="Client ids. [all replicas, one external]")
@click.option("--seed", default=1, show_default=True, help="Of the workload and of the losses.")
@click.option("--heap", default="640K", show_default=True, help="Heap of each replica.")
@click.option("--config", "file", metavar="FILE", help="Configuration. [config.toml]")
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead.")
@click.option("--run-dir", default=RUN_FOLDER, show_default=True, help="Folder of the run.")
@click.option("--lean", is_flag=True, help="Sources in the form that firmware is built of.")
@click.option("--keep", is_flag=True, help="Leave the replicas running for `tinybft kv`.")
@click.option("--stop", is_flag=True, help="End the cluster that --keep left running.")
@click.option("--resume", is_flag=True, help="Start it again, with the memory that it has.")
@click.option("--format", "anew", is_flag=True, help="Give up the memory of a kept cluster.")
@click.option("--virt", is_flag=True, help="On emulated rv32 boards, with their firmware.")
@click.option("--rate", type=Rate(), help="--virt: airtime of ESP-NOW at so many Mbit/s. [none]")
@click.option("--console-port", default=47100, show_default=True, help="--virt: of board 0.")
@click.option("--micropython", envvar="MICROPYTHON_DIR", metavar="DIR", help="--virt: sources.")
@click.option("--mbedtls", envvar="MBEDTLS_DIR", metavar="DIR", help="--virt: sources.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
def cluster(file, name, run_dir, stop, resume, anew, as_json, **chosen):  # noqa: PLR0913
    """Run four replicas and a workload, kill the primary, restart it, and check everything.

    While the load goes on the killed replica returns. When it has caught up, others are silenced
    (SIGSTOP), so that nothing can be decided without its vote. With a durable configuration
    (--name durable) all of them then lose power at once. --power-cuts N does so N times, to
    random replicas at random moments; every vote is listened to.
    """
    boards = {option: chosen.pop(option) for option in BOARD_OPTIONS}
    if chosen.pop("virt"):
        chosen["kill"] = chosen["kill"] or "primary"
        path = chosen_file(file, name)
        run_dir = None if run_dir == RUN_FOLDER else run_dir
        sys.exit(import_module("tools.virt.command").run(path, run_dir, chosen, boards, as_json))
    folder = RunFolder(run_dir)
    if stop:
        ended = stop_kept(folder)
        click.echo(f"{run_dir}: ended {ended} nodes")
        return
    refuse_if_running(folder)
    if resume:
        resumed(folder, chosen["heap"])
        click.echo("running: `tinybft kv`, `tinybft status`, `tinybft cluster --stop`")
        return
    if not anew:
        refuse_if_kept(folder)
    if chosen["kill"] is None:
        chosen["kill"] = "none" if chosen["freeze"] else "primary"
    config, options = prepared(folder, chosen_file(file, name), chosen, as_json)
    result = performed(folder, config, options, display(as_json))
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        print_summary(result)
        if options.keep:
            click.echo("still running: `tinybft kv`, `tinybft status`, `tinybft cluster --stop`")
    sys.exit(0 if result["ok"] else 1)


def prepared(folder, config_path, chosen, silent, time_factor=1):
    """(config, Options) of a run whose files are laid out; raises Refusal before that."""
    sizes = chosen.pop("value_sizes")
    options = Options(**chosen)
    checked = load(config_path)
    options = replace(options, sizes=fitting_sizes(checked, sizes))
    options = check_power_cuts(checked, options)
    client_ids(checked, options)
    check_victim(checked, options)
    config, words = prepare(folder, config_path, time_factor, options.lean)
    if words and not silent:
        click.echo(words)
    return config, options


def display(as_json):
    if as_json:
        return Silence()
    return LiveTable() if sys.stdout.isatty() else PlainLines()


def performed(folder, config, options, show):
    """One run from start to rest; returns its result. Nothing of it is left running."""
    processes = Processes(folder, options.heap)
    with processes.guarded():
        with show:
            course = Course(folder, config, options, processes, show)
            course.start()
            course.work()
            course.close_external()
            result = result_of(course, verify(course))
        if options.keep:
            processes.keep()
            nodes = [processes.nodes[i] for i in range(config.REPLICA_COUNT)]
            remember(folder, nodes, kept=bool(config.STATE_DURABLE))
    return result


def resumed(folder, heap):
    """Start the replicas of a kept group as if power returned; they go on by themselves."""
    refuse_unless_kept(folder)
    config = folder.config()
    boot = 1 + folder.read_json(folder.node_file(0, "plan.json"))["boot"]
    for replica_id in range(config.REPLICA_COUNT):
        folder.node_file(replica_id, "json").unlink(missing_ok=True)
    processes = Processes(folder, heap)
    with processes.guarded():
        course = Course(folder, config, Options(loss=0.0, clients=()), processes, Silence())
        course.start(boot)
        processes.keep()
        remember(folder, processes.nodes.values(), kept=True)
