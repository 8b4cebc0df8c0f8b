"""Which agent is meant, and what a person reads where none answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli
from worker.agent.operators.control.place import SOCKET_NAME, listening_in
from worker.agent.statedir import StateDir
from worker.cli import agent_here, paths
from worker.cli.exits import ExitCode

HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the kernel's list of sockets, which is that of the whole machine elsewhere."""
    path = tmp_path / "unix"
    path.write_text(HEAD)
    monkeypatch.setattr(agent_here, "SOCKETS", path)
    monkeypatch.setattr(agent_here.listed, "__defaults__", (path,))
    return path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Close what was opened."""
    with ExitStack() as opened:
        yield opened


def agent_in(folder: Path, stack: ExitStack) -> Path:
    """Have somebody listen in a folder, who answers nothing."""
    folder.mkdir(parents=True)
    stack.enter_context(listening_in(folder))
    return folder


def line(folder: Path) -> str:
    """Return how the kernel lists the socket of a folder."""
    return f"0000000000000000: 00000002 00000000 00010000 0001 01 31337 {folder / SOCKET_NAME}\n"


def test_an_agent_in_a_usual_folder_is_found(listed: Path, stack: ExitStack) -> None:
    """That of the user, and that of `millhand up`; a socket that nobody listens on is no agent."""
    listening_in_dead = paths.up_state_dir() / "agent"
    listening_in_dead.mkdir(parents=True)
    listening_in(listening_in_dead).close()
    folder = agent_in(paths.agent_state_dir(), stack)
    assert agent_here.agent_here(None).folder == folder


def test_an_agent_elsewhere_is_found_by_its_socket(tmp_path: Path, listed: Path, stack: ExitStack) -> None:
    """Also in a folder with a space in its name; others' sockets are not looked at."""
    folder = agent_in(tmp_path / "a b", stack)
    listed.write_text(HEAD + line(folder) + "0: 2 0 0 1 1 7\n" + "0: 2 0 0 1 1 7 @/abstract/control.sock\n")
    assert agent_here.agent_here(None).folder == folder


def test_of_several_agents_one_must_be_named(
    tmp_path: Path, listed: Path, stack: ExitStack, cli: Cli
) -> None:
    """Both are told: to guess which one ends would be the wrong one half of the time."""
    folders = [agent_in(tmp_path / name, stack) for name in ("one", "two")]
    listed.write_text(HEAD + "".join(line(folder) for folder in folders))
    ran = cli("drain")
    assert ran.code == ExitCode.USAGE
    assert all(str(folder) in ran.err for folder in folders)
    assert "--state-dir" in ran.err


@pytest.mark.usefixtures("listed")
def test_where_there_is_no_agent_it_says_so(tmp_path: Path, cli: Cli) -> None:
    """With an exit code of its own, for scripts."""
    assert cli("status").code == ExitCode.UNREACHABLE
    ran = cli("status", "--state-dir", str(tmp_path))
    assert (ran.code, f"no agent works in {tmp_path}" in ran.err) == (ExitCode.UNREACHABLE, True)
    with StateDir.acquire(tmp_path):
        ran = cli("status", "--state-dir", str(tmp_path))
    assert (ran.code, "does not listen for orders" in ran.err) == (ExitCode.UNREACHABLE, True)


def test_an_agent_that_does_not_answer_is_told_with_what_to_do(
    tmp_path: Path, stack: ExitStack, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop may be stuck: the signal shows where. The limit is short here, so that nobody waits for it."""
    monkeypatch.setattr(agent_here, "LIMIT_S", 0.2)
    ran = cli("status", "--state-dir", str(agent_in(tmp_path / "state", stack)))
    assert ran.code == ExitCode.UNREACHABLE
    assert "kill -USR1" in ran.err


@pytest.mark.parametrize(
    "args", [("pause",), ("resume",), ("pause", "job-1", "--agent"), ("resume", "x", "--agent")]
)
def test_a_job_or_the_agent_is_meant_and_never_both(args: tuple[str, ...], cli: Cli) -> None:
    """Nothing is paused by a word that was left out."""
    ran = cli(*args)
    assert ran.code == ExitCode.USAGE
    assert "JOB_ID" in ran.err
    assert "--agent" in ran.err


def test_a_reason_and_two_times_are_refused(cli: Cli) -> None:
    """A job keeps no reason; `--now` is a time."""
    assert cli("pause", "job-1", "--reason", "x").code == ExitCode.USAGE
    assert cli("drain", "--now", "--timeout", "5s").code == ExitCode.USAGE
