"""Without a safeguard the suite fails; and every safeguard stands in the protocol's page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.safeguards.without import SAFEGUARDS
from tests.simulation.bugs import BUGS

HOME = Path(__file__).resolve().parents[2]
LIMIT_S = 300.0  # for a hang
FAILED = 1  # pytest's exit code where tests failed; another one says that they were not run


@pytest.mark.parametrize("name", SAFEGUARDS)
def test_the_suite_fails_without_a_safeguard(name: str) -> None:
    """By the tests that are named for it: each of them would be green over a broken promise otherwise."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.safeguards.plugin"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *SAFEGUARDS[name].tests],
        cwd=HOME,
        env={**os.environ, "MILLHAND_WITHOUT": name},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == FAILED, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.search(r"\d+ failed", done.stdout)


def test_every_safeguard_stands_in_the_page_of_the_protocol() -> None:
    """With what goes wrong without it, and what catches that; nothing else stands there."""
    page = (HOME / "docs" / "protocol.md").read_text(encoding="utf-8")
    section = page.split("## Safeguards\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| ([^|]+?) \|$", section, re.MULTILINE)
    told = {name: (says, by) for name, says, by in rows if name not in ("safeguard", "---")}
    expected = {name: (bug.says, f"simulation, “{bug.mix}”") for name, bug in BUGS.items()}
    expected |= {name: (one.says, f"`{'`, `'.join(one.tests)}`") for name, one in SAFEGUARDS.items()}
    assert {name: told.get(name) for name in expected} == expected
