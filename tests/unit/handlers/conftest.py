"""Contexts and programs for the handlers' tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.command import command
from worker.sdk.testing import ToldContext, make_context

Runs = Callable[..., dict[str, Any]]


@pytest.fixture
def ctx(tmp_path: Path) -> ToldContext:
    """Return a context whose folder is empty."""
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    return make_context(workdir)


@pytest.fixture
def runs(ctx: ToldContext, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Return a function that runs a text of Python as the one allowed program."""
    monkeypatch.setenv("MILLHAND_COMMANDS", sys.executable)

    def run(code: str, **parameters: Any) -> dict[str, Any]:
        return command(ctx, program=sys.executable, args=["-u", "-c", code], **parameters)

    return run
