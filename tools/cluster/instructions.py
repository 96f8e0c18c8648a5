"""Instructions per committed operation of single replicas, counted by valgrind's callgrind.

The count of a process contains starting CPython and MicroPython, so each figure is the
difference of two runs with different numbers of operations, divided by the difference of the
numbers. x86-64 instructions are no rv32 instructions; but they repeat to within a few
percent on any machine, which time does not.

An instrumented process is some fifty times slower. So the only client pauses between its
requests, or the others would run ahead of the instrumented replicas; and all time-outs are
stretched by TIME_FACTOR, or one would count repairs of what was never lost.
"""

import re
import shutil
from dataclasses import replace

import rich_click as click

from tools.cluster.commands import prepared
from tools.cluster.processes import Processes
from tools.cluster.run import Course
from tools.cluster.table import Silence
from tools.refusal import Refusal

FEW, MANY = 50, 150
PAUSE_MS = 120
TIME_FACTOR = 200
REPORT_MS = 600000  # reports cost instructions, too; a node reports at its end anyway
PRIMARY, CLIENT, BACKUP = 0, 1, 2
_COLLECTED = re.compile(rb"Collected : (\d+)")


def count_instructions(folder, config_path, chosen, silent):
    """Instructions per operation by role, and the mean over the group; raises Refusal."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Refusal("--instructions: valgrind is not installed; `apt-get install valgrind`")
    chosen.update(operations=FEW, seconds=None, loss=0.0, clients=(CLIENT,))
    config, options = prepared(folder, config_path, chosen, silent, TIME_FACTOR)
    options = replace(options, report_ms=REPORT_MS, pause_ms=PAUSE_MS)
    few, many = (
        _counts(folder, config, replace(options, operations=operations), valgrind)
        for operations in (FEW, MANY)
    )
    primary, client, backup = (
        (many[node_id] - few[node_id]) / (MANY - FEW) for node_id in (PRIMARY, CLIENT, BACKUP)
    )
    others = config.REPLICA_COUNT - 2
    return {
        "value_length": options.sizes[0],
        "mix": options.mix,
        "operations": [FEW, MANY],
        "primary": round(primary),
        "backup_and_client": round(client),
        "backup": round(backup),
        "mean": round((primary + client + others * backup) / config.REPLICA_COUNT),
    }


def _counts(folder, config, options, valgrind):
    """{node_id: instructions} of the instrumented nodes over one whole run."""
    folder.clear()
    nodes = (PRIMARY, CLIENT, BACKUP)
    wrappers = {node_id: _wrapper(folder, valgrind, node_id) for node_id in nodes}
    processes = Processes(folder, options.heap)
    with processes.guarded():
        course = Course(folder, config, replace(options, wrappers=wrappers), processes, Silence())
        course.start()
        course.work()
    if course.failures:
        raise Refusal(f"--instructions: the run failed: {course.failures[0]}")
    return {node_id: _count(folder, options, node_id) for node_id in nodes}


def _wrapper(folder, valgrind, node_id):
    return (
        valgrind,
        "--tool=callgrind",
        f"--callgrind-out-file={folder.node_file(node_id, 'callgrind')}",
        f"--log-file={folder.node_file(node_id, 'valgrind')}",
    )


def _count(folder, options, node_id):
    log = folder.node_file(node_id, "valgrind")
    found = _COLLECTED.search(log.read_bytes())
    if not found:
        raise Refusal(f"--instructions: no count in {log}; does callgrind run on this machine?")
    executed = folder.read_json(folder.node_file(node_id, "json"))["status"]["operations"]
    if executed != options.operations:
        raise Refusal(
            f"--instructions: replica {node_id} executed {executed} of {options.operations}"
            " operations, it could not keep up; is the machine busy?"
        )
    return int(found[1])


def print_instructions(result):
    click.echo(
        f"x86-64 instructions per committed operation ({result['mix']},"
        f" {result['value_length']} bytes, one client, nothing batched):"
    )
    for name in ("primary", "backup_and_client", "backup", "mean"):
        click.echo(f"  {name.replace('_', ' '):<20}{result[name] / 1000:>9.1f} k")
