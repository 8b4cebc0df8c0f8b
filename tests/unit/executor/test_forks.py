"""Calls in forks: each has a process of its own, and none holds up the others for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time

CODE = """
import os, sys, time
from worker.executor.forks import in_forks

def call(what):
    if what == "crash":
        os.abort()
    if what == "raise":
        raise RuntimeError
    if what == "hang":
        time.sleep(600)
    if what == "close":
        os.closerange(3, 1024)
        time.sleep(600)
    if what == "daemon" and os.fork() == 0:
        time.sleep(3)  # with the pipe open
        os._exit(0)
    if what == "large":
        return b"x" * 1_000_000
    sys.modules["left by " + what] = sys
    return str(sum(name.startswith("left by") for name in sys.modules)).encode()

found = in_forks(call, sys.argv[2:], float(sys.argv[1]))
print({name: len(answer) if name == "large" else answer.decode() for name, answer in found.items()})
print(sum(name.startswith("left by") for name in sys.modules))
try:
    os.waitpid(-1, os.WNOHANG)
    print("children")
except ChildProcessError:
    print("none left")
"""


def called(limit_s: float, *what: str) -> list[str]:
    """Return the lines of a process that makes the calls: one that has a thread only, as is asked for."""
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(limit_s), *what],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PYTHONFAULTHANDLER": ""},
    )
    return ran.stdout.splitlines()


def test_each_call_has_a_process_of_its_own() -> None:
    """What one changes no other sees; answers of any size come whole; a crash is no answer."""
    assert called(60, "a", "crash", "b", "raise", "large", "c", "d") == [
        "{'a': '1', 'b': '1', 'large': 1000000, 'c': '1', 'd': '1'}",
        "0",
        "none left",
    ]


def test_an_answer_is_whole_before_the_end_of_the_pipe() -> None:
    """A daemon of the call may hold it; who closed the pipe and goes on is ended."""
    begun = time.monotonic()
    assert called(60, "daemon", "close", "a")[0] == "{'daemon': '1', 'a': '1'}"
    assert time.monotonic() - begun < 30


def test_those_that_hang_are_killed_and_the_others_have_answered() -> None:
    """More of them than go on at once, so that some are never begun."""
    assert called(3, "a", "hang", "b", *(str(number) for number in range(3)))[0].startswith(
        "{'a': '1', 'b': '1'"
    )
    assert called(2, "hang", "a") == ["{'a': '1'}", "0", "none left"]
    assert called(0, "a", "b") == ["{}", "0", "none left"]
