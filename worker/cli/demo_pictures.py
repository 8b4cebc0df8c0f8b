"""The pictures of the demo: some models drawn, where there is a browser to draw them in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

from handlers import models
from handlers.webgl.chromium import find_chromium, is_off, launch_of
from worker import Fail
from worker.cli import paths
from worker.cli.demo_check import path_of
from worker.cli.outcomes import TaskOutcome, files_of
from worker.cli.submission import Plan

__all__ = ["keep_pictures", "pictures_plan", "why_no_pictures"]

DRAWN: Final = ("gear.glb", "torus-knot.glb", "vase.glb")
SIZE: Final = 512


def why_no_pictures() -> str | None:
    """Return why none can be drawn here, and what to do; None where they can."""
    try:
        program = find_chromium(os.environ)
        if not is_off(os.environ):
            launch_of(program, os.environ, None, with_gpu=False)
    except Fail as exc:
        return str(exc)
    return None


def pictures_plan() -> Plan:
    """Return the tasks: one model each."""
    sources = [models.folder() / name for name in DRAWN]
    size = {"width": SIZE, "height": SIZE, "light": "direct"}
    return Plan(
        key=str(uuid4()),
        type="render-webgl",
        title="millhand demo: pictures",
        parameters=[{"input": path.as_uri(), **size} for path in sources],
        titles=[f"{path.name} → png" for path in sources],
    )


def keep_pictures(outcomes: Sequence[TaskOutcome]) -> list[Path]:
    """Copy the pictures to where they outlive the demo, in place of those of an earlier one."""
    if (cache := paths.cache_folder()) is None:
        return []
    folder = cache / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for one in outcomes for file in files_of(one.run) if (path := path_of(file)) is not None]
    return [Path(shutil.copy(path, folder)) for path in files if path.is_file()]
