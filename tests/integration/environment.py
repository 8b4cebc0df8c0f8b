"""A virtual environment as somebody makes it who knows nothing of the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.integration.ports import free_port
from tests.wheels import pip_settings

__all__ = ["LIMIT_S", "Environment"]

LIMIT_S: Final = 120.0


class Environment:
    """A virtual environment in a folder of its own, with a home of its own."""

    def __init__(self, folder: Path, shelf: Path) -> None:
        """Make it, empty."""
        self.folder, self._shelf = folder, shelf
        self.bin = folder / "venv" / "bin"
        (folder / "home").mkdir()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("MILLHAND_", "XDG_"))
        }
        kept.pop("PYTHONPATH", None)
        port = free_port()
        self.variables = {
            **kept, "HOME": str(folder / "home"), "TMPDIR": str(folder), "MILLHAND_CLOUD": "none",
            "MILLHAND_UP_PORT": str(port), "MILLHAND_API_URL": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", str(self.bin.parent)], check=True, timeout=LIMIT_S
        )

    def install(self, *what: str) -> None:
        """Install, as pip does it for everybody."""
        command = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet"]
        done = subprocess.run(
            [*command, *what], env=pip_settings(self._shelf), capture_output=True, text=True,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *command: str, code: int = 0) -> str:
        """Run a program of it, and return what it says."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=self.folder, env=self.variables,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{done.returncode} of {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *command: str, code: int = 0) -> Any:
        """Run a program of it that says JSON."""
        return json.loads(self.run(*command, "--json", code=code))
