"""Ctrl-C ends soak and chaos with what they know so far."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

START_S = 120.0  # a bound for a hang, not a measure
LONG = ("--seconds", "600", "--seed", "7")
CELL = "nobody@progress+duplicate"


@pytest.mark.parametrize(
    ("command", "number", "until", "says"),
    [
        (["tests.soak", *LONG], signal.SIGTERM, "RSS", '"survivors": []'),
        (["tests.chaos", *LONG, "--cell", CELL], signal.SIGTERM, " runs ", "cells hit: 1 of 1"),
        (["tests.soak", *LONG], signal.SIGINT, "Ctrl-C ends it", '"runs": 0'),
        (["tests.chaos", *LONG], signal.SIGINT, "Ctrl-C ends it", "cells hit: 0 of"),
    ],
)
def test_ctrl_c_ends_with_the_summary_so_far(command: list[str], number: int, until: str, says: str) -> None:
    """SIGTERM does the same. The exit code is 130, as for all that is interrupted; nothing is left."""
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as it:
        hang = threading.Timer(START_S, it.kill)
        hang.start()
        try:
            assert it.stdout is not None
            seen = ""
            while until not in seen:
                line = it.stdout.readline()
                assert line, seen
                seen += line
            it.send_signal(number)
            rest, errors = it.communicate()
        finally:
            hang.cancel()
    assert "Traceback" not in errors, errors
    assert says in rest
    assert it.returncode == 130, (rest, errors)
