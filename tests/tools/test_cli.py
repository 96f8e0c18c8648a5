"""The `tinybft` command itself: its table, its start-up, its exit codes."""

import subprocess
import sys

from tests.tools.support import run
from tools.cli import COMMANDS


def test_table_names_its_commands():
    assert set(COMMANDS) >= {"config", "memory", "keys", "cluster", "status", "kv"}


def test_importing_the_command_imports_no_subcommand():
    script = (
        "import sys, tools.cli;"
        "print([m for m in sys.modules if m.startswith(('tools.', 'tinybft')) and m not in"
        " ('tools.cli', 'tools.refusal')])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_unknown_subcommand_and_option():
    assert run("confg").exit_code == 2
    assert run("config", "--nme", "x").exit_code == 2


def test_help_of_a_subcommand():
    result = run("config", "--help")
    assert result.exit_code == 0
    assert "--check" in result.stdout
