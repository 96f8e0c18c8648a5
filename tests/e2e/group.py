"""What the end-to-end tests share: the `tinybft` command, free ports, and who is left over."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NODE_COUNT = 5


def _heed_interrupts():
    """A shell lets its background jobs ignore SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Group:
    """One run folder with a configuration of its own; `tinybft(...)` runs the command in it."""

    def __init__(self, folder, base="config.toml", **changes):
        self.run_dir = folder / "run"
        self.port = free_port()
        self.config = folder / "config.toml"
        text = (ROOT / base).read_text(encoding="utf-8")
        self.config.write_text(changed(text, port=self.port, **changes), encoding="utf-8")

    def cluster(self, *arguments):
        return tinybft(*self.cluster_command(*arguments))

    def cluster_command(self, *arguments):
        return ["cluster", "--config", self.config, "--run-dir", self.run_dir, *arguments]

    def start(self, *arguments):
        """A running supervisor whose workload has begun."""
        command = [sys.executable, "-m", "tools.cli", *self.cluster_command(*arguments)]
        supervisor = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_heed_interrupts,
        )
        wait_until((self.run_dir / "cluster.json").exists)
        return supervisor

    def kv(self, *arguments):
        return tinybft("kv", "--run-dir", self.run_dir, *arguments)

    def key_file(self, node_id):
        return self.run_dir / "keys" / f"node-{node_id}.key.json"

    def nodes(self):
        """Process ids of this group's nodes."""
        return [pid for pid, line in processes() if str(self.run_dir) in line]


def tinybft(*arguments):
    """Run the command; returns the finished process with its output as text."""
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def changed(text, **values):
    """A configuration text with other values for some keys."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        name = line.split("=")[0].strip()
        if name in values:
            lines[i] = f"{name} = {values[name]}"
    return "\n".join(lines) + "\n"


def free_port():
    """A port such that it and those of all nodes above it are free now."""
    for port in range(42000 + os.getpid() % 1000 * 10, 60000, 10):
        if all(bindable(port + i) for i in range(NODE_COUNT + 1)):
            return port
    raise AssertionError("no free ports on this machine")


def bindable(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def processes():
    """(pid, command line) of every node process on this machine."""
    listing = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        if "tools.cluster.replica" in command:
            yield int(pid), command


def state_of(pid):
    """One letter, as ps has it: T is stopped; "" when it has ended."""
    listing = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout.strip()[:1]


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)


def end(process):
    """End a supervisor that a failed test left running."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
