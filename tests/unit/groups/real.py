"""Real control groups of this machine for a test, and small programs in them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from worker.minder.groups import Group, Groups

__all__ = ["in_group", "opened", "until"]

ENTER = 'for file in $JOIN; do echo 0 > "$file" || exit 9; done; exec "$@"'
LIMIT_S = 60.0  # a bound for a hang, not a measure


@contextmanager
def opened(name: str) -> Iterator[Groups]:
    """Open groups; skip where this user may make none, but fail where real parts are required."""
    groups = Groups.open(name)
    if {"memory", "pids"} - groups.controllers:
        groups.close()
        message = f"no control groups can be made here: {groups.reason}"
        if os.environ.get("MILLHAND_REAL_PARTS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    try:
        yield groups
    finally:
        groups.close()


def in_group(group: Group, program: str) -> subprocess.Popen[str]:
    """Start a program in Python in a group; its output is a pipe."""
    return subprocess.Popen(
        ["/bin/sh", "-c", ENTER, "sh", sys.executable, "-I", "-S", "-c", program],
        env={"JOIN": " ".join(group.join_files), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that no event tells."""
    give_up_mono = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < give_up_mono, "it did not come about"
        time.sleep(0.005)
