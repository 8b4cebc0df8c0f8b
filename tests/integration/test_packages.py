"""Packages with handlers that do not work, installed beside millhand's wheel in an environment of their own.

One that works: docs/packaging-handlers.md, which `test_pages` follows.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.environment import LIMIT_S, Environment
from tests.wheels import make_wheel

HANDLER = "from worker import Context, handler\n@handler({type!r})\ndef {name}(ctx: Context) -> None: ...\n"


@pytest.fixture(scope="module")
def environment(shelf: Path) -> Iterator[Environment]:
    """An environment with millhand, installed from its wheel; gone at the end."""
    with TemporaryDirectory(prefix="millhand-packages-") as folder:
        made = Environment(Path(folder), shelf)
        made.install("millhand[server,mesh]")
        yield made


class Served:
    """A `millhand up` of an environment."""

    def __init__(self, environment: Environment) -> None:
        """Take whose."""
        self._environment = environment
        self._log = environment.folder / "up.log"

    def __enter__(self) -> None:
        """Start it, and wait until the agent has started."""
        with self._log.open("wb") as log:
            self._up = subprocess.Popen(
                [str(self._environment.bin / "millhand"), "up"], cwd=self._environment.folder,
                env=self._environment.variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until = time.monotonic() + LIMIT_S
        while "agent.started" not in self._log.read_text():
            assert self._up.poll() is None and time.monotonic() < until, self._log.read_text()  # noqa: PT018
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        """End it with Ctrl-C."""
        self._up.send_signal(signal.SIGINT)
        try:
            assert self._up.wait(LIMIT_S) == 0, self._log.read_text()
        finally:
            self._up.kill()


def test_a_broken_package_names_itself_and_its_cure_and_spoils_nothing_else(
    environment: Environment,
) -> None:
    """An import that fails, a library that is missing, a type that is built in, one that two declare."""
    shelf = environment.folder
    wheels = [
        make_wheel(shelf, "raising", {"raising.py": "raise RuntimeError('no licence')\n"},
                   handlers={"licensed": "raising:licensed"}),
        make_wheel(shelf, "lacking", {"lacking.py": "import picturelib\n"},
                   handlers={"pictures": "lacking:pictures"}, requires=["picturelib>=2"]),
        make_wheel(shelf, "clashing", {"clashing.py": HANDLER.format(type="sleep", name="mine")},
                   handlers={"sleep": "clashing:mine"}),
        make_wheel(shelf, "firstcut", {"firstcut.py": HANDLER.format(type="cut", name="cut")},
                   handlers={"cut": "firstcut:cut"}),
        make_wheel(shelf, "secondcut", {"secondcut.py": HANDLER.format(type="cut", name="cut")},
                   handlers={"cut": "secondcut:cut"}),
    ]  # fmt: skip
    environment.install("--no-deps", *map(str, wheels))
    listed = environment.json("millhand", "handlers", code=1)
    problems = {one["type"]: one["problem"] for one in listed["handlers"]}
    assert problems["noop"] is None
    assert problems["sleep"] is None
    assert "RuntimeError: no licence" in problems["licensed"]
    assert "raising 1.0" in problems["licensed"]
    assert "pip uninstall raising" in problems["licensed"]
    assert problems["pictures"].endswith("lacking 1.0 needs picturelib: pip install 'picturelib>=2'")
    assert "firstcut 1.0 and secondcut 1.0" in problems["cut"]
    (clash,) = listed["problems"]
    assert clash["source"] == "clashing 1.0"
    assert "pip uninstall clashing" in clash["message"]
    shown = environment.run("millhand", "handlers", "--no-json", code=1)
    for package in ("raising 1.0", "lacking 1.0", "clashing 1.0", "firstcut 1.0"):
        assert package in shown
    environment.run("millhand", "run", "noop")
    environment.run("millhand", "run", "sleep", "-p", "seconds=0")
    environment.run("millhand", "run", "cut", code=1)
    with Served(environment):
        said = environment.run("millhand", "submit", "noop", "--wait", "--no-json")
        assert "Success" in said
