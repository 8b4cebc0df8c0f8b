"""Ask a short-lived child something about a handler, so that no author's code runs here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from worker.executor.environment import child_environment
from worker.minder import confined

__all__ = ["Answer", "NoAnswer", "ask"]

LOOK_S: Final = 0.5  # between looks whether a child has ended whose pipes stay open


class Answer(Struct, frozen=True):
    """What a child wrote, and how it ended."""

    out: bytes
    err: bytes
    code: int


class NoAnswer(Exception):  # noqa: N818 - what happened
    """The child could not be started, or took too long."""


def ask(
    module: str,
    arguments: list[str],
    *,
    mark: str,
    timeout_s: float,
    question: bytes | None = None,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    wish: Mapping[str, Any] | None = None,
) -> Answer:
    """Run ``python -P -m module arguments`` and return what it answered; blocks.

    Args:
        module: what to run.
        arguments: of it.
        mark: names the tree of processes; whoever asks ends what is left of it (`sweep.end_marked`).
        timeout_s: then the child is killed.
        question: what it reads on its stdin; None: nothing.
        environment: of which it sees an allow-list; ours by default.
        python: the interpreter.
        wish: how it is confined.

    Raises:
        NoAnswer: it could not be started, or was too slow; the message says which, without a subject.
    """
    try:
        child = subprocess.Popen(
            confined.command(dict(wish or {}), [python, "-P", "-m", module, *arguments]),
            stdin=subprocess.DEVNULL if question is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env=child_environment(os.environ if environment is None else environment, gpus=(), mark=mark),
        )
    except OSError as exc:
        raise NoAnswer(f"could not be described: {exc}") from exc
    with child:
        try:
            out, err = heard(child, question, timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # not reaped yet, so the group is still its own
            raise NoAnswer(f"importing took longer than {timeout_s:g} s") from None
    return Answer(out, err, child.returncode)


def heard(child: subprocess.Popen[bytes], question: bytes | None, timeout_s: float) -> tuple[bytes, bytes]:
    """Return what a child wrote until it ended; what an import started may hold its pipes for longer.

    Raises: subprocess.TimeoutExpired where it goes on.
    """
    until, has_ended = time.monotonic() + timeout_s, False
    while True:
        try:
            return child.communicate(question, timeout=LOOK_S)
        except subprocess.TimeoutExpired as exc:
            if has_ended:  # and all that it wrote has been read since
                return exc.output or b"", exc.stderr or b""
            has_ended, question = child.poll() is not None, None
            if not has_ended and time.monotonic() >= until:
                raise
