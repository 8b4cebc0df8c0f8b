"""Importing a module to describe it runs its author's code: it is confined as a run is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.confine.conftest import needs_landlock
from worker.executor.catalogue import open_catalogue
from worker.executor.describer import Describer

READS = '''
"""Reads a secret while it is imported."""
from pathlib import Path
from worker import Context, handler

@handler("reads")
def reads(ctx: Context) -> None:
    pass

reads.__doc__ = Path({secret!r}).read_text()
'''


def described(path: Path, wish: dict[str, list[str]]) -> str:
    """Return what came of describing a file: its handlers and problems as text."""
    catalogue = asyncio.run(open_catalogue([str(path)], Describer(None, wish=wish), []))
    return f"{list(catalogue.types)} {[problem.message for problem in catalogue.problems]}"


@needs_landlock
def test_module_that_reads_a_secret_at_import_finds_none(base: Path) -> None:
    """The same module is described well where nothing is hidden."""
    secret, own = base / "secret", base / "own.py"
    secret.write_text("hidden")
    own.write_text(READS.format(secret=str(secret)))
    assert described(own, {}).startswith("['reads']")
    assert "PermissionError" in described(own, {"hide": [str(secret)]})


def test_child_that_cannot_be_confined_runs_nothing_of_the_author(base: Path) -> None:
    """Rather no description than one by code that runs free."""
    own, mark = base / "own.py", base / "ran"
    own.write_text(f"open({str(mark)!r}, 'w').close()")
    described(own, {})
    assert mark.exists()
    mark.unlink()
    assert described(own, {"user": ["no", "user"]}).startswith("[] ")
    assert not mark.exists()
