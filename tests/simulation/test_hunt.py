"""The simulation itself: it repeats what it did, and finds every bug that is put back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.bugs import BUGS, reintroduced
from tests.simulation.histories import history
from tests.simulation.hunt import SEEDS_MAX, Find, hunted, processes
from tests.simulation.mixes import MIXES

DIGEST = """
from tests.simulation.histories import history
from tests.simulation.mixes import MIXES
from tests.simulation.hunt import be_quiet
be_quiet()
print(*(history(mix, 1).digest for mix in MIXES.values()))
"""
LIMIT_S = 300.0  # for a hang


@pytest.fixture(scope="module")
def finds() -> dict[str, Find]:
    """Hunt all bugs, on every core."""
    with processes() as pool:
        return {find.bug: find for find in pool.map(hunted, BUGS)}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_that_is_put_back_is_found(bug: str, finds: dict[str, Find]) -> None:
    """Each safeguard in turn is taken away: within a thousand seeds a history breaks a promise."""
    assert finds[bug].seed is not None, f"{BUGS[bug].says}: not seen in {SEEDS_MAX} histories"


def test_what_is_taken_away_is_back_afterwards() -> None:
    """Else whatever runs later would run without its safeguards."""
    before = {bug: [getattr(of, name) for of, name, _ in BUGS[bug].changes()] for bug in BUGS}
    for bug in BUGS:
        with reintroduced(bug):
            pass
    assert before == {bug: [getattr(of, name) for of, name, _ in BUGS[bug].changes()] for bug in BUGS}


def test_a_seed_repeats_its_history_in_another_process() -> None:
    """Whatever the seed of its hashes, request for request."""
    command = [sys.executable, "-c", DIGEST]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=LIMIT_S, check=True)
    assert done.stdout.decode().split() == [history(mix, 1).digest for mix in MIXES.values()]
    assert history(MIXES["kills"], 1).digest != history(MIXES["kills"], 2).digest
