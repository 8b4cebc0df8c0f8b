"""A fake engine on the PATH, and the handler called with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handlers.container import container
from tests.unit.containers import fake_engine
from worker.sdk.calling import call_handler
from worker.sdk.testing import ToldContext, make_context

IMAGE_ID = "sha256:" + "1" * 64
DIGEST = "sha256:" + "d" * 64
IMAGE = [{"Id": IMAGE_ID, "RepoDigests": [f"acme/render@{DIGEST}", f"other/render@sha256:{'e' * 64}"]}]
ENDED = {"Status": "exited", "ExitCode": 0, "OOMKilled": False, "Error": ""}
ABSENT = {"code": 1, "out": "[]\n", "err": "Error: No such image: docker.io/acme/render:latest\n"}


class FakeEngine:
    """What the engine shall answer, and what it was asked."""

    def __init__(self, folder: Path, name: str = "docker") -> None:
        self.folder = folder
        self.path = folder / name
        (folder / "containers").mkdir(parents=True)
        (folder / "calls").touch()
        source = Path(fake_engine.__file__).read_text()
        self.path.write_text(f"#!{sys.executable} -S\n{source}")
        self.path.chmod(0o755)
        self._answers: dict[str, Any] = {"--version": {"out": "Docker version 99\n"}}
        self.says("image inspect", out=json.dumps(IMAGE))
        self.says("after pull", out=json.dumps(IMAGE))
        self.ends()

    def says(self, command: str, **answer: Any) -> None:
        """Have it answer a command: code, out, err."""
        self._answers[command] = answer
        (self.folder / "answers.json").write_text(json.dumps(self._answers))

    def ends(self, **state: Any) -> None:
        """Have its container end so."""
        self.says("container inspect", out=json.dumps([{"Id": "c" * 64, "State": {**ENDED, **state}}]))

    def calls(self, command: str) -> list[list[str]]:
        """Return the arguments of its calls of a command."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [argv for argv in map(json.loads, lines) if argv[0] == command]

    @property
    def left(self) -> list[str]:
        """The containers that are there."""
        return [path.name for path in (self.folder / "containers").iterdir()]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Return a docker that has the image acme/render, whose container ends well; it alone is on the PATH."""
    made = FakeEngine(tmp_path / "engine")
    monkeypatch.setenv("PATH", str(made.folder))
    monkeypatch.setenv("MILLHAND_IMAGES", "acme/*")
    monkeypatch.setenv("MILLHAND_TREE", "agent-of-test/child")
    for name in ("ENGINE", "NETWORK", "USER"):
        monkeypatch.delenv(f"MILLHAND_CONTAINER_{name}", raising=False)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return made


def context(tmp_path: Path, parameters: Mapping[str, Any] | None = None, **values: Any) -> ToldContext:
    """Return a context for the handler, in a folder of its own."""
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    return make_context(workdir, parameters={"image": "acme/render", **(parameters or {})}, **values)


def run(ctx: ToldContext) -> dict[str, Any]:
    """Run the handler as a child does."""
    return call_handler(container, ctx).value
