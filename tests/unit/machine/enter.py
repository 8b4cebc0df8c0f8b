"""Run a program in a network namespace of its own, whose address is nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

__all__ = ["in_namespace"]

LIMIT_S: Final = 240.0  # a bound for a hang, not a measure
ENTER: Final = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def in_namespace(module: str, *args: str, **variables: str) -> bytes:
    """Return what a module of the tests writes there; it ends with all that it has started."""
    require_namespace()
    program = subprocess.run(
        [*ENTER, sys.executable, "-m", module, *args],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        check=True,
        timeout=LIMIT_S,
    )
    return program.stdout


def require_namespace() -> None:
    """Skip where no network namespace can be made, but fail where real parts are required."""
    try:
        made = subprocess.run(
            [*ENTER, "ip", "link", "set", "lo", "up"], capture_output=True, check=False, timeout=LIMIT_S
        )
        problem = made.stderr.decode() if made.returncode else ""
    except OSError as exc:
        problem = str(exc)
    if problem and os.environ.get("MILLHAND_REAL_PARTS") == "required":
        pytest.fail(f"no network namespace can be made here: {problem}")
    if problem:
        pytest.skip(f"no network namespace can be made here: {problem}")
