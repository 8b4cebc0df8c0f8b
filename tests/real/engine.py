"""Real parts around the agent: a container engine, a booted systemd; started for a test, gone after it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

__all__ = [
    "EATER",
    "HERE",
    "LIMIT_S",
    "MILLHAND",
    "NEEDED_FOLDERS",
    "answer_of",
    "engine",
    "missing",
    "submitted",
    "wait_for_server",
]

HERE: Final = Path(__file__).resolve().parent
EATER: Final = f"{HERE}/eat.py:eat"
MILLHAND: Final = (f"{sys.prefix}/bin/millhand",)
# What a program of ours needs of this machine, wherever it runs; read-only is enough.
NEEDED_FOLDERS: Final = tuple(dict.fromkeys(map(str, (HERE.parents[1], sys.prefix, sys.base_prefix))))
KILLED: Final = 128 + 9
LIMIT_S: Final = 120.0  # a bound for a hang, not a measure


def missing(message: str) -> None:
    """Fail where real parts are required (in CI), skip elsewhere; never returns."""
    if os.environ.get("MILLHAND_REAL_PARTS") == "required":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def engine(
    script: str, variable: str, environment: Mapping[str, str] | None = None, *, end_s: float = LIMIT_S
) -> Iterator[str]:
    """Start one of the scripts here that run a command beside an engine; give a variable that it sets.

    The command waits for the end of its input, so that the engine goes whatever becomes of the test. It has
    `end_s` seconds for that: whoever builds images leaves gigabytes to remove.
    """
    process = subprocess.Popen(
        [str(HERE / script), "sh", "-c", f'echo "ready ${variable}"; cat >/dev/null'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    try:
        word, _, value = process.stdout.readline().strip().partition(" ")
        if word == "ready":
            yield value
    finally:
        _, errors = process.communicate(timeout=end_s)
    if word != "ready":
        missing(f"{script} could not start its engine: {errors[-2000:]}")


def answer_of(prefix: Sequence[str], *command: str) -> dict[str, Any]:
    """Run `millhand` somewhere, and return the JSON that it prints."""
    done = told_by(prefix, *command)
    assert done.stdout.strip(), f"{shlex.join(command)}: {done.returncode}: {done.stderr[-4000:]}"
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert "todo" not in (answer.get("error") or {}), answer  # the command itself was refused
    return answer


def submitted(prefix: Sequence[str], type_: str, *options: str) -> list[dict[str, Any]]:
    """Submit tasks to a server, follow them to their end, and return the last run of each.

    A kernel that is out of memory may kill the command beside the run that took it: the same key is the
    same job, so it is asked again.
    """
    command = ("submit", type_, "--wait", "--idempotency-key", uuid4().hex, *options)
    if told_by(prefix, *command).returncode == KILLED:
        wait_for_server(prefix)
    return [each["run"] for each in answer_of(prefix, *command)["tasks"]]


def told_by(prefix: Sequence[str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run `millhand` somewhere."""
    return subprocess.run(
        [*prefix, *MILLHAND, *command, "--json"], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def wait_for_server(prefix: Sequence[str]) -> None:
    """Wait until `millhand up` answers there."""
    give_up_mono = time.monotonic() + LIMIT_S
    while subprocess.run([*prefix, *MILLHAND, "jobs"], capture_output=True, check=False).returncode != 0:
        assert time.monotonic() < give_up_mono, "the server did not come up"
