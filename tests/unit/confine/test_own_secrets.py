"""What a process that holds a token shows of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.confine.scene import LIMIT_S, ROOT
from worker.agent.own_secrets import values_of_flags, values_of_variables

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="closes a process as Linux does")

TOKEN = "mh-token-0123456789abcdef"
START = """
import os, signal, sys
sys.path.insert(0, {root!r})
from worker.agent.own_secrets import is_closed, keep_to_itself, wipe_settings
keep_to_itself()
wipe_settings(["MILLHAND_TOKEN"], ["--token"])
{then}
"""


def ran(then: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a process that closes itself, and then does something."""
    return subprocess.run(
        [sys.executable, "-c", START.format(root=str(ROOT), then=then), *arguments],
        env={**os.environ, "MILLHAND_TOKEN": TOKEN, "MILLHAND_OTHER": "stays"},
        capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=cwd,
    )  # fmt: skip


def test_environment_shows_no_token_and_keeps_the_rest() -> None:
    """Neither the kernel's view of the environment nor the variables hold it; no other value is touched."""
    opened = "import ctypes; ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)"  # else only root may look at all
    told = ran(f"{opened}; print(open('/proc/self/environ').read(), dict(os.environ))")
    assert TOKEN not in told.stdout, told.stderr
    assert "MILLHAND_OTHER=stays" in told.stdout
    assert f"PATH={os.environ['PATH']}" in told.stdout


@pytest.mark.parametrize("arguments", [["--token", TOKEN], [f"--token={TOKEN}"]])
def test_arguments_show_no_token(arguments: list[str]) -> None:
    """A token that was given as a flag is not in the list of processes any more."""
    told = ran("print(open('/proc/self/cmdline').read())", "serve", *arguments, "--port", "1")
    assert TOKEN not in told.stdout, told.stderr
    assert "serve" in told.stdout
    assert "*" * len(TOKEN) in told.stdout


def test_children_do_not_inherit_the_token() -> None:
    """A program that is started later finds it in neither of its two."""
    told = ran("os.execvp('env', ['env'])")
    assert "MILLHAND_OTHER=stays" in told.stdout
    assert TOKEN not in told.stdout


def test_process_is_closed_and_leaves_no_core(tmp_path: Path) -> None:
    """Where it crashes, no file holds its memory, whatever limits it was started with."""
    told = ran("print(is_closed(), flush=True); os.kill(os.getpid(), signal.SIGABRT)", cwd=tmp_path)
    assert told.stdout == "True\n", told.stderr
    assert told.returncode == -signal.SIGABRT
    assert list(tmp_path.iterdir()) == []


def test_only_whole_names_are_wiped() -> None:
    """A variable whose name or value merely holds another's name keeps its value."""
    block = b"MY_TOKEN=a\0TOKEN=bc\0X=TOKEN=d\0TOKEN_FILE=e\0"
    assert [block[span] for span in values_of_variables(block, ["TOKEN"])] == [b"bc"]


def test_value_behind_a_flag_is_found_in_both_forms() -> None:
    """`--token x` and `--token=x`; not the flags that only begin like it."""
    block = b"prog\0--token\0one\0--token-file\0two\0--token=three\0"
    assert [block[span] for span in values_of_flags(block, ["--token"])] == [b"one", b"three"]
