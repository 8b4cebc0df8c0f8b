"""What each built-in handler keeps of a handler's promises, as a table: ``python -m tests.conformance``.

The handlers are those that the project declares as entry points; one without parameters here is an error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from msgspec import structs

from handlers import models
from tests.unit.containers.conftest import FakeEngine
from worker.testing import HandlerReport, Verdict, check_handler

__all__ = ["ENVIRONMENT", "HOW", "NEEDS_ENGINE", "built_in", "main", "matrix", "report_of", "type_of"]

ROOT: Final = Path(__file__).resolve().parents[1]
GRACE_S: Final = 60.0  # a busy machine is no fault of a handler
ENVIRONMENT: Final = {  # what the handlers need of their operator
    "MILLHAND_COMMANDS": "echo,sleep",
    "MILLHAND_COMMAND_TEMPLATES": str(ROOT / "tests" / "commands.toml"),
}
MODEL: Final = str(models.folder() / "gear.glb")
# How each is called, some in several ways (a type, then a word for the way): see `check_handler`.
# `long_parameters` last long enough to be stopped and killed.
HOW: Final[Mapping[str, Mapping[str, Any]]] = {
    "noop": {"parameters": {"value": [1, "two", None]}},
    "sleep": {
        "parameters": {"seconds": 0.01},
        "long_parameters": {"seconds": 2, "steps": 100},
        "ignore": ("seconds",),  # what it really took
    },
    "command": {
        "parameters": {"program": "echo", "args": ["said"]},
        "long_parameters": {"program": "sleep", "args": ["2"]},
    },
    "command by template": {
        "parameters": {"template": "say", "values": {"word": "said"}},
        "long_parameters": {"template": "wait"},
    },
    "container": {"parameters": {"image": "acme/render"}, "runs": 20},  # each asks its engine six times
    "mesh-convert": {"parameters": {"input": MODEL, "format": "glb"}},
    "mesh-convert to fewer": {"parameters": {"input": MODEL, "format": "3mf", "ratio": 0.5}},
    "render-webgl": {
        "parameters": {"input": MODEL, "width": 64, "height": 64, "light": "direct"},
        "long_parameters": {"input": MODEL, "width": 64, "height": 64, "light": "direct", "frames": 60},
    },
}
# Those that need an engine, which the tests of real parts install: there they are checked by the tests, too.
NEEDS_ENGINE: Final = frozenset({"render-webgl"})


def built_in() -> dict[str, str]:
    """Return the task types that millhand declares, each with its function as ``module:name``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(project["entry-points"]["millhand.handlers"])


def type_of(way: str) -> str:
    """Return the task type of a way of calling it."""
    return way.partition(" ")[0]


def report_of(way: str) -> HandlerReport:
    """Check one of them, called in one way.

    Raises:
        KeyError: it has no parameters here.
    """
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLHAND_IMAGES", "acme/*")
        patch.setenv("MILLHAND_CONTAINER_ENGINE", str(FakeEngine(Path(folder) / "engine").path))
        report = check_handler(type_of(way), grace_s=GRACE_S, **HOW[way])
    return structs.replace(report, type=way)


def matrix(reports: Sequence[HandlerReport]) -> str:
    """Return a table of markdown: a row a handler, a column a promise."""
    promises = list(dict.fromkeys(check.name for report in reports for check in report.checks))
    rows = [
        [f"`{report.type}`", *(verdict_of(report, promise) for promise in promises)] for report in reports
    ]
    return "\n".join(map(row, [["handler", *promises], ["---"] * (len(promises) + 1), *rows]))


def verdict_of(report: HandlerReport, promise: str) -> str:
    """Return how a handler kept a promise; a dash where it was not looked at."""
    return next((str(check.verdict) for check in report.checks if check.name == promise), "–")


def row(cells: Iterable[str]) -> str:
    """Return a row of markdown."""
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Check the handlers and write the table, then each report; return 1 where a promise is broken."""
    parser = argparse.ArgumentParser(prog="make conformance ARGS=…", description=main.__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help="only these; by default all")
    parser.add_argument("--json", action="store_true", help="write JSON")
    given = parser.parse_args(arguments)
    if unknown := sorted({*given.ways, *built_in()} - HOW.keys()):
        parser.error(f"no parameters in tests/conformance.py for {', '.join(unknown)}")
    os.environ.update(ENVIRONMENT)
    reports = [report_of(way) for way in given.ways or sorted(HOW)]
    if given.json:
        sys.stdout.write(f"{json.dumps([report.as_json() for report in reports])}\n")
    else:
        sys.stdout.write("\n\n".join([matrix(reports), *map(str, reports)]) + "\n")
    return int(any(check.verdict is Verdict.FAILED for report in reports for check in report.checks))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
