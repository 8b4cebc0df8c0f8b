"""The command itself: help, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.unit.cli.conftest import Cli
from worker.cli import main
from worker.cli.exits import ExitCode


def test_help_lists_every_command_and_every_exit_code(cli: Cli) -> None:
    """Who types `millhand` alone sees what there is."""
    ran = cli("--help")
    assert ran.code == 0
    assert all(f"  {name} " in ran.out for name in main.COMMANDS)
    assert all(code.meaning in ran.out for code in ExitCode)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_teaches_with_examples(cli: Cli, name: str) -> None:
    """Each help has a first sentence and at least one example that starts with our name."""
    ran = cli(name, "--help")
    assert ran.code == 0
    assert "Examples:" in ran.out
    assert f"millhand {name}" in ran.out.partition("Examples:")[2]


def test_help_imports_neither_client_nor_server_nor_rich() -> None:
    """`millhand --help` is fast because it loads nothing that it does not show."""
    code = (
        "import sys; from worker.cli import main; main.run(['--help']); print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(ran.stderr.split())
    assert not loaded & {"httpx", "aiohttp", "rich", "structlog", "server", "asyncio", "worker.cli.jobs"}


def test_an_unknown_command_names_the_nearest(cli: Cli) -> None:
    """A slip of the finger costs one look."""
    ran = cli("sumbit")
    assert ran.code == 2
    assert "did you mean 'submit'" in ran.err


def test_an_unknown_option_is_a_usage_error_with_where_to_look(cli: Cli) -> None:
    """The message names the help to read."""
    ran = cli("jobs", "--frobnicate")
    assert ran.code == 2
    assert "millhand jobs --help" in ran.err


def test_a_fault_of_ours_is_no_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """People see one line and how to see more; developers see it with MILLHAND_DEBUG."""

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the wheel came off")

    # a fault cannot be provoked from outside: that is the point of having none
    monkeypatch.setattr(main.group, "main", fail)
    ran = cli("jobs", "--json")
    assert ran.code == ExitCode.INTERNAL
    assert "Traceback" not in ran.err
    assert "the wheel came off" in json.loads(ran.out)["error"]["message"]
    monkeypatch.setenv("MILLHAND_DEBUG", "1")
    assert "Traceback" in cli("jobs").err


def test_ctrl_c_is_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells expect."""

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.group, "main", interrupt)  # a real Ctrl-C would end the test run
    assert cli("jobs").code == 130


def test_the_version_is_told(cli: Cli) -> None:
    """It names Python too, because reports need both."""
    ran = cli("--version")
    assert ran.code == 0
    assert ran.out.startswith("millhand ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_us(cli: Cli, shell: str) -> None:
    """The script asks `millhand` itself."""
    ran = cli("completion", shell)
    assert ran.code == 0
    assert "_MILLHAND_COMPLETE" in ran.out


def test_completion_offers_commands() -> None:
    """What the shell asks is answered."""
    env = {"_MILLHAND_COMPLETE": "bash_complete", "COMP_WORDS": "millhand sub", "COMP_CWORD": "1"}
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "worker.cli.main"],
        capture_output=True, text=True, env=env, check=False, timeout=30,
    )  # fmt: skip
    assert ran.stdout.strip() == "plain,submit"


def test_a_number_that_is_none_is_told_plainly(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name of what holds it."""
    ran = cli("agent", "--concurrency", "many")
    assert (ran.code, "'many' is not a whole number" in ran.err) == (2, True)
    monkeypatch.setenv("MILLHAND_CONCURRENCY", "many")
    ran = cli("agent")
    assert ran.code == 5
    assert "environment variable MILLHAND_CONCURRENCY: 'many' is not a whole number" in ran.err


def test_an_agent_without_a_place_for_its_state_says_where(cli: Cli) -> None:
    """The path and why, and no number of the system."""
    ran = cli("agent", "--state-dir", "/proc/nowhere")
    assert ran.code == 5
    assert "error: /proc/nowhere" in ran.err
    assert "Errno" not in ran.err
