"""`make setup` as a person runs it again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "setup.sh"
LIMIT_S = 60.0


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose .venv is out of step with the lock."""
    for folder in ("scripts", "requirements", ".venv/bin"):
        (tmp_path / "checkout" / folder).mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "checkout" / "scripts")
    (tmp_path / "checkout" / "requirements" / "dev.txt").touch()
    (tmp_path / "checkout" / "pyproject.toml").touch()
    return tmp_path / "checkout"


def fake_python(path: Path, log: Path) -> None:
    """Write a Python that is new enough, has no pip, and says in the log that it was asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$0" >>"{log}"\n[ "$1" = -c ]\n')
    path.chmod(0o755)


def test_a_venv_that_is_active_is_not_asked_to_make_itself_anew(checkout: Path, tmp_path: Path) -> None:
    """It is removed on the way: after a change of the lock, `make demo` would end with a broken .venv."""
    log, outer = tmp_path / "log", tmp_path / "bin" / "python3"
    fake_python(checkout / ".venv" / "bin" / "python3", log)
    fake_python(outer, log)
    path = os.pathsep.join([str(checkout / ".venv" / "bin"), str(outer.parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    ran = subprocess.run(
        ["sh", str(checkout / "scripts" / "setup.sh")],
        env={**environment, "PATH": path},
        capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "has no pip" in ran.stderr
    assert set(log.read_text().split()) == {str(outer)}
