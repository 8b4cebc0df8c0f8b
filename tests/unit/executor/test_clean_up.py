"""What is cleaned up after a run, in a process of its own: it never raises, and says what it could not do."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIMIT_S = 60.0
SCENE = """
import sys
from worker.executor.child_run import clean_up

class Faulty:
    def flush(self):
        raise {fault}

sys.stdout = Faulty()
left = clean_up()
sys.stdout = sys.__stdout__
print(repr(left), end="")
"""


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("OSError()", None),
        ("KeyError()", None),
        ("SystemExit(3)", "what it left could not be cleaned up: SystemExit"),
    ],
)
def test_what_a_stream_of_the_handlers_raises_is_no_fault_of_its_run(fault: str, left: str | None) -> None:
    """Text that cannot be written is lost with its stream; whatever else may be left is told."""
    scene = [sys.executable, "-c", SCENE.format(fault=fault)]
    done = subprocess.run(scene, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stdout) == (0, repr(left))
